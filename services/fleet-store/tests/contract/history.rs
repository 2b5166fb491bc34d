//! The history.

use fleet_store::{HISTORY_BYTES, HISTORY_ENTRIES, HistoryText, StoredHistory};

use crate::{Store, incarnation};

fn entries(numbers: impl IntoIterator<Item = u64>) -> Vec<HistoryText> {
    numbers.into_iter().map(|number| HistoryText { number, text: format!("entry {number}") }).collect()
}

fn numbers(stored: &[StoredHistory]) -> Vec<u64> {
    stored.iter().map(|stored| stored.entry.number).collect()
}

/// All entries, newest first, read in pages.
async fn all(store: &Store, page: usize) -> Vec<StoredHistory> {
    let mut all: Vec<StoredHistory> = Vec::new();
    loop {
        let more = store.read_history(all.last().map(|last| last.id), page).await.unwrap();
        if more.is_empty() {
            return all;
        }
        all.extend(more);
    }
}

pub(crate) async fn entries_are_read_newest_first_and_in_pages(store: Store) {
    assert!(store.read_history(None, 10).await.unwrap().is_empty());
    store.append_history(&incarnation("c"), false, &entries(1..=7)).await.unwrap();
    store.append_history(&incarnation("c"), false, &entries(8..=9)).await.unwrap();
    let newest = store.read_history(None, 1).await.unwrap();
    assert_eq!((newest[0].writer.as_str(), newest[0].entry.text.as_str()), ("c", "entry 9"));
    for page in [1, 2, 9, 100] {
        let all = all(&store, page).await;
        assert_eq!(numbers(&all), [9, 8, 7, 6, 5, 4, 3, 2, 1], "pages of {page}");
        assert!(all.windows(2).all(|pair| pair[0].id > pair[1].id));
    }
}

pub(crate) async fn repeated_write_skips_what_was_written(store: Store) {
    let writer = incarnation("c");
    store.append_history(&writer, false, &entries(1..=3)).await.unwrap();
    // Another coordinator's entries and numbers do not matter.
    store.append_history(&incarnation("d"), false, &entries(1..=9)).await.unwrap();
    store.append_history(&writer, true, &entries(2..=5)).await.unwrap();
    store.append_history(&writer, true, &entries(2..=5)).await.unwrap();
    let stored = all(&store, 50).await;
    let ours: Vec<u64> =
        numbers(&stored.into_iter().filter(|stored| stored.writer == "c").collect::<Vec<_>>());
    assert_eq!(ours, [5, 4, 3, 2, 1]);
}

pub(crate) async fn two_writers_append_side_by_side(store: Store) {
    for number in 1..=3 {
        store.append_history(&incarnation("c"), false, &entries([number])).await.unwrap();
        store.append_history(&incarnation("d"), false, &entries([number])).await.unwrap();
    }
    let writers: Vec<String> = all(&store, 4).await.into_iter().map(|stored| stored.writer).collect();
    assert_eq!(writers, ["d", "c", "d", "c", "d", "c"]);
}

pub(crate) async fn number_of_entries_is_bounded(store: Store) {
    let many = HISTORY_ENTRIES as u64 + 500;
    let written: Vec<u64> = (1..=many).collect();
    for numbers in written.chunks(500) {
        store.append_history(&incarnation("c"), false, &entries(numbers.iter().copied())).await.unwrap();
    }
    let stored = numbers(&all(&store, 1_000).await);
    assert_eq!((stored.len(), stored.first(), stored.last()), (HISTORY_ENTRIES, Some(&many), Some(&501)));
}

pub(crate) async fn bytes_of_entries_are_bounded(store: Store) {
    let big = |number| HistoryText { number, text: "x".repeat(HISTORY_BYTES / 100) };
    for number in 1..=150 {
        store.append_history(&incarnation("c"), false, &[big(number)]).await.unwrap();
    }
    assert_eq!(numbers(&all(&store, 40).await), (51..=150).rev().collect::<Vec<_>>());
    // Small ones take the place of one big one.
    store.append_history(&incarnation("c"), false, &entries(151..=200)).await.unwrap();
    assert_eq!(numbers(&all(&store, 40).await), (52..=200).rev().collect::<Vec<_>>());
}
