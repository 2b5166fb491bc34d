//! Pages of lists that grow with the fleet, so that an answer fits into the 4 MiB that gRPC clients take by default.

use std::{fmt::Display, str::FromStr};

use super::Malformed;

/// Entries of a page when the caller names no number. A shard of an answer takes up to about 300 bytes.
const USUAL_PAGE: usize = 10_000;

/// Returns one page of a list that is sorted by `key`, and the token of the next page; an empty token after the last one. A token is the key of
/// the last entry of the page before, so entries that come or go meanwhile neither repeat nor hide others.
///
/// # Errors
/// [`Malformed::PageToken`] for a token that no answer had.
pub fn page<T, K: Ord + FromStr + Display>(
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
    let size = if page_size == 0 { USUAL_PAGE } else { page_size as usize };
    if list.len() <= size {
        return Ok((list, String::new()));
    }
    list.truncate(size);
    let token = list.last().map(|last| key(last).to_string()).unwrap_or_default();
    Ok((list, token))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn pages_together_are_the_list(numbers in prop::collection::btree_set(0..100_000_u32, 0..200), size in 1..50_u32) {
            let list: Vec<u32> = numbers.into_iter().collect();
            let (mut pages, mut token) = (Vec::new(), String::new());
            loop {
                let (entries, next) = page(list.clone(), size, &token, |entry| *entry).unwrap();
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
    fn page_without_a_size_is_bounded_and_goes_on_behind_an_entry_that_has_gone() {
        let list: Vec<u32> = (0..25_000).collect();
        let (first, next) = page(list.clone(), 0, "", |entry| *entry).unwrap();
        assert_eq!((first.len(), &*next), (USUAL_PAGE, "9999"));
        let without: Vec<u32> = list.into_iter().filter(|entry| *entry != 9_999).collect();
        let (second, _) = page(without, 0, &next, |entry| *entry).unwrap();
        assert_eq!(second.first(), Some(&10_000));
    }

    #[test]
    fn token_of_no_answer_is_refused() {
        for wrong in ["x", "-1", "1 ", "99999999999"] {
            assert_eq!(page(vec![1_u32], 1, wrong, |entry| *entry), Err(Malformed::PageToken), "{wrong:?}");
        }
    }
}
