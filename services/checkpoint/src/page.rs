//! How much a page asks for. Pure.
//!
//! Redis can bound a page only by its count of records, so each page's size decides how many the next one asks for.

use crate::Cursor;

/// About as large a page should be, in bytes: some milliseconds of Redis's time.
pub(crate) const PAGE: usize = 512 * 1024;

/// Fewest and most records that a page asks for.
const COUNTS: std::ops::RangeInclusive<u32> = 4..=2048;

impl Cursor {
    /// Where the next page begins after one with this many records and bytes. Grows to twice the count at most: the next records may be
    /// larger.
    pub(crate) fn after(self, position: u64, records: usize, bytes: usize) -> Self {
        let fitting = PAGE.saturating_mul(records).checked_div(bytes).unwrap_or(usize::MAX);
        let most = self.count.saturating_mul(2);
        let count = u32::try_from(fitting).unwrap_or(u32::MAX).min(most);
        Self { position, count: count.clamp(*COUNTS.start(), *COUNTS.end()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_records_make_larger_pages_and_large_ones_smaller() {
        let mut cursor = Cursor::START;
        let mut counts = Vec::new();
        for _ in 0..6 {
            let records = cursor.count as usize;
            cursor = cursor.after(1, records, records * 100);
            counts.push(cursor.count);
        }
        assert_eq!(counts, [128, 256, 512, 1024, 2048, 2048]);
        cursor = cursor.after(1, 2048, 2048 * 1024);
        assert_eq!(cursor.count, 512, "as many as fit");
        assert_eq!(cursor.after(1, 2, 64 * PAGE).count, 4, "never less: a page has to get on");
        assert_eq!(cursor.after(1, 0, 0).count, 1024);
    }
}
