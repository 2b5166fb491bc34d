//! Where things are on the screen: pure arithmetic on the size and on how much there is to show.

use altergolden_proto::v1;

/// Rows above the page: the fleet, the coordinator, the identify queue, the plan.
pub(super) const HEADER: u16 = 4;

/// The row with the pages and keys, or with the filter that is typed.
pub(super) const FOOTER: u16 = 1;

/// Rows of a list page: without header, title, column headings and footer.
pub(super) fn list_rows((_, height): (u16, u16)) -> usize {
    usize::from(height.saturating_sub(HEADER + FOOTER + 2)).max(1)
}

/// Rows of a page of text: without header, title and footer.
pub(super) fn text_rows((_, height): (u16, u16)) -> usize {
    usize::from(height.saturating_sub(HEADER + FOOTER + 1)).max(1)
}

/// Columns of a page of text, without a space on each side.
pub(super) fn text_width((width, _): (u16, u16)) -> usize {
    usize::from(width.saturating_sub(2)).max(1)
}

/// The rows of each part of the overview, without the titles.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Overview {
    /// The grid of shards.
    pub(super) cells: Cells,
    /// Workers, without the column headings.
    pub(super) workers: usize,
    /// Problems.
    pub(super) problems: usize,
}

/// The grid of shards.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Cells {
    /// How each cell looks.
    pub(super) style: CellStyle,
    /// How many consecutive shards share a cell.
    pub(super) group: usize,
    /// Cells in a row.
    pub(super) per_row: usize,
    /// Rows.
    pub(super) rows: usize,
    /// Digits of the largest shard number.
    pub(super) digits: usize,
}

/// How a cell of the grid looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum CellStyle {
    /// Number and letter of each shard.
    Numbered,
    /// Letters alone, ten together, with a number before each row.
    Letters,
}

/// Letters that stand together.
pub(super) const TOGETHER: usize = 10;

impl Cells {
    /// Lays out `shards` cells with numbers of up to `digits` digits in `width` columns and at most `rows` rows.
    fn new(shards: usize, digits: usize, width: usize, rows: usize) -> Self {
        // A space before each cell and between number and letter, two behind.
        let numbered = match width / (digits + 5) {
            // Rows that begin with 0, 10, 20, ... are easy to count.
            most @ TOGETHER.. => most / TOGETHER * TOGETHER,
            most => most.max(1),
        };
        if shards.div_ceil(numbered) <= rows {
            let rows = shards.div_ceil(numbered);
            return Self { style: CellStyle::Numbered, group: 1, per_row: numbered, rows, digits };
        }
        let tens = (width.saturating_sub(digits + 2) / (TOGETHER + 1)).max(1);
        let per_row = tens * TOGETHER;
        let group = shards.div_ceil(per_row * rows.max(1)).max(1);
        // Groups of 1, 2, 5, 10, 20, ... are easy to count.
        let group = round_up(group);
        let rows = shards.div_ceil(group).div_ceil(per_row);
        Self { style: CellStyle::Letters, group, per_row, rows, digits }
    }

    /// The shard of the selected group that most needs a look; the first of the worst.
    pub(super) fn worst_of_group(&self, shards: &[&v1::Shard], selected: usize) -> Option<u32> {
        let first = selected / self.group * self.group;
        let group = shards.iter().skip(first).take(self.group);
        Some(worst(group.copied())?.shard_id)
    }
}

/// The first of the shards whose state most needs a look.
pub(super) fn worst<'a>(shards: impl Iterator<Item = &'a v1::Shard>) -> Option<&'a v1::Shard> {
    shards.reduce(|worst, shard| if severity(shard.status) > severity(worst.status) { shard } else { worst })
}

/// How much a state needs a look.
fn severity(status: i32) -> u8 {
    match v1::ShardStatus::try_from(status) {
        Ok(v1::ShardStatus::Ready) => 0,
        Ok(v1::ShardStatus::Resuming | v1::ShardStatus::Moving) => 1,
        Ok(v1::ShardStatus::Identifying) => 2,
        Ok(v1::ShardStatus::Queued) => 3,
        Ok(v1::ShardStatus::Reconnecting) => 4,
        Ok(v1::ShardStatus::Silent | v1::ShardStatus::Stopped) => 5,
        Ok(v1::ShardStatus::Unassigned) => 6,
        Ok(v1::ShardStatus::Failed) => 8,
        Ok(v1::ShardStatus::Unspecified) | Err(_) => 7,
    }
}

fn round_up(group: usize) -> usize {
    let mut decade = 1_usize;
    loop {
        for step in [1, 2, 5] {
            if decade.saturating_mul(step) >= group {
                return decade.saturating_mul(step);
            }
        }
        decade = decade.saturating_mul(10);
    }
}

/// Divides the rows of the overview: the grid gets what it needs, and leaves a few rows for workers and problems.
pub(super) fn overview(
    (width, height): (u16, u16),
    shards: &[&v1::Shard],
    all_workers: usize,
    all_problems: usize,
) -> Overview {
    // Three titles, and the headings of the workers.
    let rows = usize::from(height.saturating_sub(HEADER + FOOTER + 4));
    let digits = shards.last().map_or(1, |shard| shard.shard_id.to_string().len());
    // An empty list has a line that says so.
    let (all_workers, all_problems) = (all_workers.max(1), all_problems.max(1));
    let mut workers = all_workers.min((rows / 4).max(2));
    let mut problems = all_problems.min((rows / 5).max(2));
    let most = rows.saturating_sub(workers + problems).max(1);
    let cells = Cells::new(shards.len(), digits, usize::from(width), most);
    let mut spare = rows.saturating_sub(workers + problems + cells.rows.max(1));
    let more = (all_workers - workers).min(spare);
    workers += more;
    spare -= more;
    problems += (all_problems - problems).min(spare);
    Overview { cells, workers, problems }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grid_shows_numbers_while_they_fit() {
        use CellStyle::{Letters, Numbered};
        let cells = |shards, digits, rows| {
            let Cells { style, group, per_row, rows, .. } = Cells::new(shards, digits, 80, rows);
            (style, group, per_row, rows)
        };
        assert_eq!(cells(4, 1, 10), (Numbered, 1, 10, 1));
        assert_eq!(cells(64, 2, 10), (Numbered, 1, 10, 7));
        assert_eq!(cells(64, 2, 5), (Letters, 1, 60, 2));
        assert_eq!(cells(400, 3, 10), (Letters, 1, 60, 7));
        assert_eq!(cells(2048, 4, 9), (Letters, 5, 60, 7));
        assert_eq!(cells(0, 1, 9), (Numbered, 1, 10, 0));
        assert_eq!(cells(25_000, 5, 9).1, 50);
        // Never more rows than there are.
        for shards in (0..30_000).step_by(97) {
            for rows in 1..12 {
                assert!(Cells::new(shards, 5, 80, rows).rows <= rows, "{shards} in {rows}");
                assert!(Cells::new(shards, 5, 1, rows).per_row > 0);
            }
        }
    }

    #[test]
    fn group_shows_its_worst_shard() {
        use v1::ShardStatus::{Failed, Queued, Ready};
        let shard = |shard_id, status: v1::ShardStatus| v1::Shard {
            shard_id,
            status: status.into(),
            ..v1::Shard::default()
        };
        let shards = [shard(0, Ready), shard(1, Queued), shard(2, Failed), shard(3, Failed), shard(4, Ready)];
        assert_eq!(worst(shards.iter()).unwrap().shard_id, 2);
        let cells = Cells { style: CellStyle::Letters, group: 2, per_row: 10, rows: 1, digits: 1 };
        let shards: Vec<&v1::Shard> = shards.iter().collect();
        let worst_at = [0, 1, 2, 3, 4, 5, 99].map(|selected| cells.worst_of_group(&shards, selected));
        assert_eq!(worst_at, [Some(1), Some(1), Some(2), Some(2), Some(4), Some(4), None]);
    }
}
