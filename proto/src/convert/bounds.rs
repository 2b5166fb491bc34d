//! Bounds on requests, checked before anything in them is used.
//!
//! Names have their own rule (`fleet_model::InvalidName`). Text for people is cut and escaped where it enters the domain
//! ([`for_people`]).

use fleet_model::ShardSlot;
use outside_text::printable_within;

use super::{MAX_SHARDS, Malformed};
use crate::v1;

/// Bytes of a name, an incarnation or a generation; their own rule is stricter and explains more.
const NAME: usize = 256;
/// Bytes of a URL.
const URL: usize = 512;
/// Bytes of a version, a kind, a transport, a resource's name or a traceparent.
const WORD: usize = 128;
/// Bytes of text for people, before it is cut.
const TEXT: usize = 8 * 1024;
/// Characters kept of text for people.
const KEPT: usize = 300;
/// Cache resources in a registration.
const RESOURCES: usize = 64;
/// Head keys in a registration.
const HEAD_KEYS: usize = 8;
/// Kinds in a question about the history.
const KINDS: usize = 32;
/// Refused directives in a report.
const REFUSED: usize = 64;
/// Names, guilds and ranges of shards in the filter of a tap.
const FILTERED: usize = 100;

/// A request with bounds.
pub trait Bounded {
    /// Checks all texts and lists.
    ///
    /// # Errors
    /// [`Malformed::TooLong`] or [`Malformed::TooMany`], with the field's name.
    fn check_bounds(&self) -> Result<(), Malformed>;
}

/// Returns text for people in one line, cut, with control characters escaped.
pub fn for_people(text: &str) -> String {
    printable_within(text, KEPT).to_string()
}

fn text(field: &'static str, text: &str, most: usize) -> Result<(), Malformed> {
    if text.len() > most {
        return Err(Malformed::TooLong { field, bytes: text.len(), most });
    }
    Ok(())
}

fn count<T>(field: &'static str, list: &[T], most: usize) -> Result<(), Malformed> {
    if list.len() > most {
        return Err(Malformed::TooMany { field, count: list.len(), most });
    }
    Ok(())
}

/// Checks the number of shards in all ranges: a short message can name billions.
fn ranges(field: &'static str, ranges: &[v1::ShardRange]) -> Result<(), Malformed> {
    let most = MAX_SHARDS as usize;
    count(field, ranges, most)?;
    if let Some(&v1::ShardRange { first, last, .. }) =
        ranges.iter().find(|range| range.first > range.last || range.last >= MAX_SHARDS)
    {
        return Err(Malformed::Range { first, last });
    }
    let length = |range: &v1::ShardRange| u64::from(range.last - range.first) + 1;
    let shards: u64 = ranges.iter().map(length).sum();
    if shards > u64::from(MAX_SHARDS) {
        return Err(Malformed::TooMany { field, count: usize::try_from(shards).unwrap_or(usize::MAX), most });
    }
    Ok(())
}

fn names(worker: &str, incarnation: &str) -> Result<(), Malformed> {
    text("worker_id", worker, NAME)?;
    text("incarnation", incarnation, NAME)
}

impl Bounded for v1::TapRequest {
    fn check_bounds(&self) -> Result<(), Malformed> {
        count("events", &self.events, FILTERED)?;
        count("guild_ids", &self.guild_ids, FILTERED)?;
        count("shards", &self.shards, FILTERED)?;
        for event in &self.events {
            text("events", event, WORD)?;
        }
        if let Some(&v1::TapShards { first, last }) =
            self.shards.iter().find(|range| range.first > range.last)
        {
            return Err(Malformed::Range { first, last });
        }
        // Not a number is outside too.
        if !(0.0..=1.0).contains(&self.sample) {
            return Err(Malformed::Share);
        }
        Ok(())
    }
}

impl Bounded for v1::RegisterRequest {
    fn check_bounds(&self) -> Result<(), Malformed> {
        names(&self.worker_id, &self.incarnation)?;
        text("advertise_url", &self.advertise_url, URL)?;
        text("version", &self.version, WORD)?;
        text("generation", &self.generation, NAME)?;
        ranges("running", &self.running)?;
        count("head_keys", &self.head_keys, HEAD_KEYS)?;
        self.head_keys.iter().try_for_each(|id| text("head_keys", id, WORD))?;
        let Some(needs) = &self.needs else { return Ok(()) };
        text("needs.transport", &needs.transport, WORD)?;
        count("needs.resources", &needs.resources, RESOURCES)?;
        needs.resources.iter().try_for_each(|resource| text("needs.resources", resource, WORD))
    }
}

impl Bounded for v1::WorkerReport {
    fn check_bounds(&self) -> Result<(), Malformed> {
        let most = MAX_SHARDS as usize;
        names(&self.worker_id, &self.incarnation)?;
        count("shards", &self.shards, most)?;
        count("released", &self.released, most)?;
        count("arrived", &self.arrived, most)?;
        count("refused", &self.refused, REFUSED)?;
        // Text for people is only cut: a report is also a lease's renewal.
        self.refused.iter().try_for_each(|refused| text("refused.kind", &refused.kind, WORD))
    }
}

impl Bounded for v1::ReportExitRequest {
    fn check_bounds(&self) -> Result<(), Malformed> {
        names(&self.worker_id, &self.incarnation)?;
        text("reason", &self.reason, TEXT)
    }
}

impl Bounded for v1::IdentifyHello {
    fn check_bounds(&self) -> Result<(), Malformed> {
        names(&self.worker_id, &self.incarnation)
    }
}

impl Bounded for v1::IdentifyAsk {
    fn check_bounds(&self) -> Result<(), Malformed> {
        text("traceparent", &self.traceparent, WORD)?;
        if self.shard_id >= MAX_SHARDS {
            return Err(Malformed::Shard(ShardSlot(self.shard_id)));
        }
        Ok(())
    }
}

impl Bounded for v1::ListShardsRequest {
    fn check_bounds(&self) -> Result<(), Malformed> {
        text("worker_id", &self.worker_id, NAME)?;
        text("page_token", &self.page_token, NAME)
    }
}

impl Bounded for v1::ListWorkersRequest {
    fn check_bounds(&self) -> Result<(), Malformed> {
        text("page_token", &self.page_token, NAME)
    }
}

impl Bounded for v1::GetAggregateStatsRequest {
    fn check_bounds(&self) -> Result<(), Malformed> {
        text("page_token", &self.page_token, NAME)
    }
}

impl Bounded for v1::StartPlanRequest {
    fn check_bounds(&self) -> Result<(), Malformed> {
        use v1::start_plan_request::Plan;
        match &self.plan {
            Some(Plan::Drain(drain)) => text("drain.worker_id", &drain.worker_id, NAME),
            Some(Plan::Move(moving)) => text("move.worker_id", &moving.worker_id, NAME),
            Some(Plan::Promote(promote)) => text("promote.generation", &promote.generation, NAME),
            Some(Plan::Rebalance(_)) | None => Ok(()),
        }
    }
}

impl Bounded for v1::ListHistoryRequest {
    fn check_bounds(&self) -> Result<(), Malformed> {
        text("worker_id", &self.worker_id, NAME)?;
        text("before", &self.before, WORD)?;
        count("kinds", &self.kinds, KINDS)?;
        self.kinds.iter().try_for_each(|kind| text("kinds", kind, WORD))?;
        match self.shard_id {
            Some(shard) if shard >= MAX_SHARDS => Err(Malformed::Shard(ShardSlot(shard))),
            _ => Ok(()),
        }
    }
}

impl Bounded for v1::SetAsideId {
    fn check_bounds(&self) -> Result<(), Malformed> {
        if self.shard_id >= MAX_SHARDS {
            return Err(Malformed::Shard(ShardSlot(self.shard_id)));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(request: &impl Bounded) -> String {
        let status = tonic::Status::from(request.check_bounds().unwrap_err());
        assert_eq!(status.code(), tonic::Code::InvalidArgument);
        assert!(status.message().len() < 300, "the answer does not echo the field");
        status.message().to_owned()
    }

    #[test]
    fn registration_error_names_the_oversized_field() {
        type Change = fn(&mut v1::RegisterRequest);
        let long = || "\u{1b}".repeat(4_000_000);
        let rows: [(&str, Change); 11] = [
            ("head_keys", |request| request.head_keys = vec![String::new(); 9]),
            ("head_keys", |request| request.head_keys = vec!["k".repeat(129)]),
            ("worker_id", |request| request.worker_id = "x".repeat(1_000_000)),
            ("incarnation", |request| request.incarnation = "x".repeat(300)),
            ("advertise_url", |request| request.advertise_url = format!("http://{}:1", "a".repeat(600))),
            ("version", |request| request.version = "9".repeat(129)),
            ("generation", |request| request.generation = "g".repeat(300)),
            ("running", |request| request.running = vec![v1::ShardRange::default(); 65_537]),
            // Ten bytes that name 65,536 shards each.
            ("running", |request| {
                request.running = vec![v1::ShardRange { first: 0, last: MAX_SHARDS - 1, epoch: 1 }; 1_000];
            }),
            ("needs.transport", |request| request.needs.as_mut().unwrap().transport = "t".repeat(129)),
            ("needs.resources", |request| {
                request.needs.as_mut().unwrap().resources = vec![String::new(); 65];
            }),
        ];
        let good = || v1::RegisterRequest { needs: Some(v1::SessionNeeds::default()), ..Default::default() };
        assert_eq!(good().check_bounds(), Ok(()));
        for (field, change) in rows {
            let mut request = good();
            change(&mut request);
            assert!(refused(&request).starts_with(field), "{field}: {}", refused(&request));
        }
        let version = v1::RegisterRequest { version: long(), ..good() };
        assert!(!refused(&version).contains('\u{1b}'));
    }

    #[test]
    fn report_error_names_the_oversized_field() {
        type Change = fn(&mut v1::WorkerReport);
        let shard = |detail: &str| v1::ShardReport { detail: detail.to_owned(), ..Default::default() };
        let good = || v1::WorkerReport { shards: vec![shard("why")], ..Default::default() };
        let rows: [(&str, Change); 5] = [
            ("shards ", |report| report.shards = vec![v1::ShardReport::default(); 65_537]),
            ("released", |report| report.released = vec![v1::ShardEpoch::default(); 65_537]),
            ("arrived", |report| report.arrived = vec![v1::ShardEpoch::default(); 65_537]),
            ("refused ", |report| report.refused = vec![v1::DirectiveRefused::default(); 65]),
            ("refused.kind", |report| {
                report.refused = vec![v1::DirectiveRefused { kind: "k".repeat(200), reason: String::new() }];
            }),
        ];
        assert_eq!(good().check_bounds(), Ok(()));
        for (field, change) in rows {
            let mut report = good();
            change(&mut report);
            assert!(refused(&report).starts_with(field), "{field}: {}", refused(&report));
        }
    }

    /// Otherwise one odd text would cost a worker all its renewals.
    #[test]
    fn long_text_for_people_is_cut_on_both_sides() {
        use fleet_model::{Gap, StartKind, StartOutcome};
        let long = || "\u{1b}é".repeat(100_000);
        let gap = Gap { since_unix_ms: 1, until_unix_ms: 2, last_sequence: 3, reason: long() };
        let kind = StartKind::Reidentified;
        let took = std::time::Duration::ZERO;
        let mut sent =
            v1::StartOutcome::from(StartOutcome { kind, took, replayed: 0, at_unix_ms: 0, gap: Some(gap) });
        assert!(sent.gap.as_ref().unwrap().reason.len() < 4_096);
        sent.gap.as_mut().unwrap().reason = long();
        let shard = v1::ShardReport {
            status: v1::ShardStatus::Ready.into(),
            detail: long(),
            outcome: Some(sent),
            ..Default::default()
        };
        let report = v1::WorkerReport { shards: vec![shard.clone()], ..Default::default() };
        assert_eq!(report.check_bounds(), Ok(()));
        let taken = fleet_model::ShardReport::try_from(shard).unwrap();
        assert!(taken.detail.len() < 4_096 && taken.outcome.unwrap().gap.unwrap().reason.len() < 4_096);
    }

    #[test]
    fn every_other_request_has_bounds() {
        use v1::start_plan_request::Plan;
        let long = || "x".repeat(1_000_000);
        refused(&v1::ListShardsRequest { worker_id: long(), ..Default::default() });
        refused(&v1::ListShardsRequest { page_token: long(), ..Default::default() });
        refused(&v1::ListWorkersRequest { page_token: long(), ..Default::default() });
        refused(&v1::GetAggregateStatsRequest { page_token: long(), ..Default::default() });
        refused(&v1::IdentifyHello { worker_id: long(), ..Default::default() });
        refused(&v1::IdentifyAsk { traceparent: long(), ..Default::default() });
        refused(&v1::IdentifyAsk { shard_id: u32::MAX, ..Default::default() });
        refused(&v1::SetAsideId { shard_id: MAX_SHARDS, ..Default::default() });
        refused(&v1::ReportExitRequest { reason: long(), ..Default::default() });
        refused(&v1::ListHistoryRequest { before: long(), ..Default::default() });
        refused(&v1::ListHistoryRequest { kinds: vec![String::new(); 33], ..Default::default() });
        refused(&v1::ListHistoryRequest { shard_id: Some(MAX_SHARDS), ..Default::default() });
        refused(&v1::ReportExitRequest { incarnation: long(), ..Default::default() });
        let plan = Some(Plan::Promote(v1::Promote { generation: long() }));
        refused(&v1::StartPlanRequest { plan, dry_run: true });
    }

    #[test]
    fn text_for_people_is_one_short_line() {
        let shown = for_people(&format!("a\n\u{1b}[2J{}", "é".repeat(1_000)));
        assert!(shown.starts_with("a\\n\\u{1b}[2J") && shown.chars().count() < 330, "{shown}");
    }
}
