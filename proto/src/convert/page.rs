//! Pages of lists that grow with the fleet, so that an answer fits into the 4 MiB that gRPC clients take by default.

use std::{fmt::Display, str::FromStr};

use prost::Message;

use super::Malformed;

/// Bytes of a page when the caller names no number of entries. Leaves room for the rest of the answer.
const PAGE: usize = 3 * 1024 * 1024;

/// The most around an entry in its list: its tag and length.
const AROUND: usize = 6;

/// Returns one page of a list that is sorted by `key`, and the token of the next page; an empty token after the last one. `page_size`: the most
/// entries; 0 means as many as fit into 3 MiB. A token is the key of the last entry of the page before, so entries that come or go meanwhile
/// neither repeat nor hide others.
///
/// # Errors
/// [`Malformed::PageToken`] for a token that no answer had.
pub fn page<T: Message, K: Ord + FromStr + Display>(
    mut list: Vec<T>,
    page_size: u32,
    page_token: &str,
    key: impl Fn(&T) -> K,
) -> Result<(Vec<T>, String), Malformed> {
    if !page_token.is_empty() {
        let after: K = page_token.parse().map_err(|_| Malformed::PageToken)?;
        let before = list.partition_point(|entry| key(entry) <= after);
        list.drain(..before);
    }
    let size = if page_size == 0 { fitting(&list) } else { page_size as usize };
    if list.len() <= size {
        return Ok((list, String::new()));
    }
    list.truncate(size);
    let token = list.last().map(|last| key(last).to_string()).unwrap_or_default();
    Ok((list, token))
}

/// Returns how many entries fit into a page; at least one.
fn fitting<T: Message>(list: &[T]) -> usize {
    let mut left = PAGE;
    let fits = |entry: &&T| match left.checked_sub(entry.encoded_len() + AROUND) {
        Some(less) => {
            left = less;
            true
        }
        None => false,
    };
    list.iter().take_while(fits).count().max(1)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::v1::Shard;

    fn shard(shard_id: u32) -> Shard {
        Shard { shard_id, ..Shard::default() }
    }

    fn number(shard: &Shard) -> u32 {
        shard.shard_id
    }

    proptest! {
        #[test]
        fn pages_together_are_the_list(numbers in prop::collection::btree_set(0..100_000_u32, 0..200), size in 1..50_u32) {
            let list: Vec<Shard> = numbers.into_iter().map(shard).collect();
            let (mut pages, mut token) = (Vec::new(), String::new());
            loop {
                let (entries, next) = page(list.clone(), size, &token, number).unwrap();
                prop_assert!(entries.len() <= size as usize);
                pages.extend(entries);
                if next.is_empty() {
                    break;
                }
                token = next;
            }
            prop_assert_eq!(pages, list);
        }
    }

    #[test]
    fn page_without_a_size_fits_into_its_bytes() {
        for bytes in [0, 100, 1_000, PAGE, 2 * PAGE] {
            let long = |shard_id| Shard { detail: "x".repeat(bytes), ..shard(shard_id) };
            let list: Vec<Shard> = (0..if bytes < 2_000 { 40_000 } else { 3 }).map(long).collect();
            let (first, next) = page(list.clone(), 0, "", number).unwrap();
            let sum: usize = first.iter().map(|entry| entry.encoded_len() + AROUND).sum();
            assert!(sum <= PAGE || first.len() == 1, "{bytes}");
            if let Some(after) = list.get(first.len()) {
                assert_eq!(next, (after.shard_id - 1).to_string());
                assert!(sum + after.encoded_len() + AROUND > PAGE, "{bytes}");
            } else {
                assert_eq!(next, "");
            }
        }
    }

    #[test]
    fn pages_go_on_behind_an_entry_that_has_gone() {
        let (_, next) = page((0..20).map(shard).collect(), 10, "", number).unwrap();
        let without = (0..20).filter(|entry| *entry != 9).map(shard).collect();
        let (second, _) = page(without, 10, &next, number).unwrap();
        assert_eq!(second.first().map(number), Some(10));
    }

    #[test]
    fn token_of_no_answer_is_refused() {
        for wrong in ["x", "-1", "1 ", "99999999999"] {
            assert_eq!(page(vec![shard(1)], 1, wrong, number), Err(Malformed::PageToken), "{wrong:?}");
        }
    }
}
