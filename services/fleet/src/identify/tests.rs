use proptest::prelude::*;

use super::{slack::LEAST, *};

const INTERVAL: Duration = Duration::from_secs(5);

fn ms(n: u64) -> Time {
    Duration::from_millis(n)
}

fn budget(remaining: u32, reserve: u32) -> IdentifyBudget {
    IdentifyBudget { total: 1000, remaining, reserve, resets_at: Duration::from_hours(24) }
}

fn queue(max_concurrency: u32) -> IdentifyQueue {
    IdentifyQueue::new(max_concurrency, INTERVAL, budget(1000, 100), Time::ZERO)
}

fn id(ticket: u64) -> TicketId {
    TicketId { stream: 1, ticket }
}

fn request(shard: u32) -> PermitRequest {
    PermitRequest { worker: "w".parse().unwrap(), shard: ShardKey::new(shard, 1_000), epoch: Epoch(1) }
}

fn granted(queue: &mut IdentifyQueue, now: Time) -> Vec<u32> {
    let grants = queue.take_due(now);
    for grant in &grants {
        assert!(queue.mark_sent(grant.id, now));
    }
    grants.iter().map(|grant| grant.request.shard.number()).collect()
}

#[test]
fn one_permit_per_bucket_in_the_order_of_shards() {
    let mut queue = queue(2);
    for shard in [5, 4, 1, 0, 3, 2] {
        queue.request(id(u64::from(shard)), request(shard), ms(0));
    }
    assert_eq!(granted(&mut queue, ms(0)), [0, 1]);
    assert_eq!(granted(&mut queue, ms(10)), [] as [u32; 0]);
    assert!(queue.mark_used(id(0), ms(100)) && queue.mark_used(id(1), ms(700)));
    assert_eq!(granted(&mut queue, ms(100) + INTERVAL + LEAST), [2]);
    assert_eq!(granted(&mut queue, ms(700) + INTERVAL + LEAST), [3]);
}

#[test]
fn dead_holder_does_not_block_the_bucket() {
    let mut queue = queue(1);
    queue.request(TicketId { stream: 1, ticket: 1 }, request(0), ms(0));
    let other = PermitRequest { worker: "v".parse().unwrap(), ..request(1) };
    queue.request(TicketId { stream: 2, ticket: 1 }, other, ms(0));
    assert_eq!(granted(&mut queue, ms(0)), [0]);
    queue.stream_ended(1, ms(1000));
    // The stream is gone, the worker may not be: it can use the permit until it dies.
    assert_eq!(granted(&mut queue, (PERMIT_VALID + INTERVAL + LEAST).saturating_sub(ms(1))), [] as [u32; 0]);
    assert_eq!(granted(&mut queue, PERMIT_VALID + INTERVAL + LEAST), [1]);
}

#[test]
fn unused_permit_expires_and_counts_as_used_at_its_end() {
    let mut queue = queue(1);
    queue.request(id(1), request(0), ms(0));
    queue.request(id(2), request(1), ms(0));
    assert_eq!(granted(&mut queue, ms(0)), [0]);
    assert_eq!(granted(&mut queue, PERMIT_VALID), [] as [u32; 0]);
    assert!(!queue.mark_used(id(1), PERMIT_VALID + ms(1)), "the permit is dead");
    assert_eq!(granted(&mut queue, PERMIT_VALID + INTERVAL + LEAST), [1]);
}

/// Rows: permits that are out when Discord is asked, granted before it answers, and given back.
#[test]
fn permits_that_a_budget_answer_may_miss_stay_spent() {
    for (out, granted_since, taken_back) in [(0, 0, 0), (1, 0, 0), (0, 1, 0), (2, 2, 0), (2, 2, 1), (3, 0, 3)]
    {
        let row = (out, granted_since, taken_back);
        let mut queue = queue(4);
        for shard in 0..out {
            queue.request(id(shard), request(shard as u32), ms(0));
        }
        assert_eq!(queue.take_due(ms(0)).len() as u64, out);
        queue.note_budget_request();
        for shard in out..out + granted_since {
            queue.request(id(shard), request(shard as u32), ms(1));
        }
        assert_eq!(queue.take_due(ms(1)).len() as u64, granted_since);
        for shard in 0..taken_back {
            queue.withdraw(id(shard), ms(2));
        }
        queue.set_budget(budget(500, 100));
        assert_eq!(u64::from(queue.budget().remaining), 500 - out - granted_since + taken_back, "{row:?}");
        queue.set_budget(budget(400, 100));
        assert_eq!(queue.budget().remaining, 400, "the next answer starts over: {row:?}");
    }
}

#[test]
fn withdrawn_grant_is_not_spent() {
    let mut queue = queue(1);
    queue.request(id(1), request(0), ms(0));
    let grant = queue.take_due(ms(0)).remove(0);
    assert_eq!(queue.budget().remaining, 999);
    queue.withdraw(grant.id, ms(1000));
    assert_eq!(queue.budget().remaining, 1000);
    assert!(queue.take_due(ms(999)).is_empty());
    assert_eq!(granted(&mut queue, ms(1000)), [0]);
}

#[test]
fn request_that_ends_while_it_is_written_is_not_sent() {
    let mut queue = queue(1);
    queue.request(id(1), request(0), ms(0));
    let grant = queue.take_due(ms(0)).remove(0);
    queue.end_request(grant.id, ms(1));
    assert!(!queue.mark_sent(grant.id, ms(2)));
    assert_eq!(queue.budget().remaining, 1000);
}

#[test]
fn reserve_is_not_granted() {
    let mut queue = IdentifyQueue::new(4, INTERVAL, budget(102, 100), Time::ZERO);
    for shard in 0..4 {
        queue.request(id(u64::from(shard)), request(shard), ms(0));
    }
    assert_eq!(granted(&mut queue, ms(0)), [0, 1]);
    assert!(queue.budget().is_short());
    queue.set_budget(budget(1000, 100));
    assert_eq!(granted(&mut queue, ms(1)), [2, 3]);
}

#[test]
fn halted_queue_grants_nothing() {
    let mut queue = queue(1);
    queue.request(id(1), request(0), ms(0));
    queue.halt("token refused");
    assert!(queue.take_due(ms(0)).is_empty());
    assert_eq!(queue.halted(), Some("token refused"));
}

#[test]
fn lifting_a_halt_resumes_waiting_requests() {
    let mut queue = queue(1);
    queue.request(id(1), request(0), ms(0));
    queue.halt("token refused");
    queue.lift_halt();
    assert_eq!(granted(&mut queue, ms(0)), [0]);
}

#[test]
fn fewer_buckets_apply_to_waiting_requests_and_open_permits() {
    let mut queue = queue(4);
    for shard in 0..8 {
        queue.request(id(u64::from(shard)), request(shard), ms(0));
    }
    assert_eq!(granted(&mut queue, ms(0)), [0, 1, 2, 3]);
    queue.set_max_concurrency(1);
    assert!((0..3).all(|ticket| queue.mark_used(id(ticket), ms(100))));
    assert_eq!(granted(&mut queue, PERMIT_VALID), [] as [u32; 0], "the permit of shard 3 has expired");
    assert_eq!(
        granted(&mut queue, ms(100) + INTERVAL + LEAST),
        [] as [u32; 0],
        "the permit may have been used until then"
    );
    assert_eq!(granted(&mut queue, PERMIT_VALID + INTERVAL + LEAST), [4]);
    assert_eq!(granted(&mut queue, PERMIT_VALID + INTERVAL + LEAST), [] as [u32; 0], "one at a time now");
}

#[test]
fn more_buckets_apply_to_waiting_requests() {
    let mut queue = queue(1);
    for shard in 0..5 {
        queue.request(id(u64::from(shard)), request(shard), ms(0));
    }
    assert_eq!(granted(&mut queue, ms(0)), [0]);
    assert!(queue.mark_used(id(0), ms(100)));
    queue.set_max_concurrency(16);
    assert_eq!(granted(&mut queue, ms(200)), [] as [u32; 0], "shard 16 was in the bucket of shard 0");
    assert_eq!(granted(&mut queue, ms(100) + INTERVAL + LEAST), [1, 2, 3, 4]);
}

#[test]
fn permits_of_the_previous_coordinator_end_after_validity_interval_and_slack() {
    assert_eq!(unknown_permits_end(ms(5_000)), ms(7_500));
    assert_eq!(unknown_permits_end(ms(20)), ms(2_520));
}

#[test]
fn hold_until_closes_every_bucket_and_opens_none_earlier() {
    let mut queue = queue(2);
    for shard in 0..4 {
        queue.request(id(u64::from(shard)), request(shard), ms(0));
    }
    queue.hold_until(ms(1_000));
    assert_eq!(granted(&mut queue, ms(999)), [] as [u32; 0]);
    assert_eq!(granted(&mut queue, ms(1_000)), [0, 1]);
    assert!(queue.mark_used(id(0), ms(1_000)) && queue.mark_used(id(1), ms(1_000)));
    queue.hold_until(ms(2_000));
    assert_eq!(granted(&mut queue, ms(999) + INTERVAL + LEAST), [] as [u32; 0]);
    assert_eq!(granted(&mut queue, ms(1_000) + INTERVAL + LEAST), [2, 3]);
}

#[test]
fn sent_permit_cannot_be_withdrawn() {
    let mut queue = queue(1);
    queue.request(id(1), request(0), ms(0));
    queue.request(id(2), request(1), ms(0));
    assert_eq!(granted(&mut queue, ms(0)), [0]);
    queue.withdraw(id(1), ms(10));
    assert_eq!((queue.budget().remaining, queue.waiting()), (999, 1));
    assert_eq!(granted(&mut queue, ms(10)), [] as [u32; 0], "the worker holds its permit");
    assert!(queue.mark_used(id(1), ms(20)));
}

#[test]
fn withdraw_changes_only_its_own_permit() {
    let mut queue = queue(2);
    queue.request(id(0), request(0), ms(0));
    queue.request(id(1), request(1), ms(0));
    assert_eq!(queue.take_due(ms(0)).len(), 2);
    queue.set_max_concurrency(1);
    queue.withdraw(id(7), ms(10));
    assert_eq!((queue.budget().remaining, queue.waiting()), (998, 0), "an unknown ticket changes nothing");
    queue.withdraw(id(0), ms(10));
    assert_eq!((queue.budget().remaining, queue.waiting()), (999, 1));
    assert!(!queue.mark_sent(id(0), ms(10)), "the withdrawn permit is gone");
    assert!(queue.mark_sent(id(1), ms(10)), "the other permit of the bucket stays");
    assert_eq!(granted(&mut queue, ms(10)), [] as [u32; 0], "the other permit keeps the bucket closed");
}

#[test]
fn withdraw_opens_no_bucket_earlier() {
    let mut queue = queue(2);
    queue.request(id(0), request(0), ms(0));
    queue.request(id(1), request(1), ms(0));
    assert_eq!(queue.take_due(ms(0)).len(), 2);
    assert!(queue.mark_sent(id(0), ms(0)) && queue.mark_used(id(0), ms(100)));
    queue.set_max_concurrency(1);
    queue.withdraw(id(1), ms(200));
    assert_eq!(granted(&mut queue, ms(99) + INTERVAL + LEAST), [] as [u32; 0]);
    assert_eq!(granted(&mut queue, ms(100) + INTERVAL + LEAST), [1]);
}

#[test]
fn second_request_replaces_only_the_same_shard_of_the_same_worker() {
    let mut queue = queue(1);
    let other_worker = PermitRequest { worker: "v".parse().unwrap(), ..request(0) };
    assert_eq!(queue.request(id(1), request(0), ms(0)), None);
    assert_eq!(queue.request(id(2), request(1), ms(0)), None);
    assert_eq!(queue.request(id(3), other_worker, ms(0)), None);
    assert_eq!(queue.waiting(), 3);
    assert_eq!(queue.request(id(4), request(0), ms(0)), Some(id(1)));
    assert_eq!(queue.request(id(4), request(0), ms(0)), None, "the same ticket replaces itself");
    assert_eq!((queue.waiting(), queue.max_concurrency()), (3, 1));
}

#[test]
fn permit_that_was_not_sent_cannot_be_used() {
    let mut queue = queue(1);
    queue.request(id(1), request(0), ms(0));
    assert!(!queue.mark_used(id(1), ms(0)), "it waits");
    assert_eq!(queue.take_due(ms(0)).len(), 1);
    assert!(!queue.mark_used(id(1), ms(0)), "it is being written down");
    assert!(queue.mark_sent(id(1), ms(0)) && queue.mark_used(id(1), ms(0)));
    assert!(!queue.mark_used(id(1), ms(0)), "a permit is used once");
}

#[test]
fn ended_stream_ends_only_its_own_requests() {
    let mut queue = queue(1);
    for (stream, ticket) in [(1, 0), (1, u64::MAX), (2, 0), (0, u64::MAX)] {
        let worker = format!("w{stream}-{ticket}").parse().unwrap();
        queue.request(TicketId { stream, ticket }, PermitRequest { worker, ..request(0) }, ms(0));
    }
    queue.stream_ended(1, ms(0));
    assert_eq!(queue.waiting(), 2);
}

#[test]
fn waiting_requests_are_those_without_a_permit() {
    let mut queue = queue(1);
    for shard in [1, 0, 2] {
        queue.request(id(u64::from(shard)), request(shard), ms(0));
    }
    assert_eq!(granted(&mut queue, ms(0)), [0]);
    let waiting: Vec<_> = queue.waiting_requests().map(|(id, request)| (id, request.clone())).collect();
    assert_eq!(waiting, [(id(1), request(1)), (id(2), request(2))]);
}

/// Uses the permit of a shard, and returns when the next one of its bucket is granted.
fn used_at(queue: &mut IdentifyQueue, ticket: u64, now: Time) -> Time {
    queue.request(id(ticket + 1_000), request(999), now);
    assert!(queue.mark_used(id(ticket), now));
    let due = queue.next_due().unwrap();
    assert_eq!(granted(queue, due.saturating_sub(ms(1))), [] as [u32; 0]);
    queue.end_request(id(ticket + 1_000), now);
    due
}

#[test]
fn slack_follows_latency_and_grows_when_an_identify_is_refused() {
    let mut queue = queue(1);
    let mut now = ms(1_000);
    let mut spacing = |queue: &mut IdentifyQueue, shard: u32, ticket: u64| {
        queue.request(id(ticket), request(shard), now);
        assert_eq!(granted(queue, now), [shard]);
        let due = used_at(queue, ticket, now);
        std::mem::replace(&mut now, due).abs_diff(due).saturating_sub(INTERVAL)
    };
    assert_eq!(spacing(&mut queue, 1, 1), LEAST);
    queue.note_latency(ms(80));
    assert_eq!(spacing(&mut queue, 2, 2), LEAST + ms(80));
    queue.note_latency(Duration::from_mins(5));
    assert_eq!(spacing(&mut queue, 3, 3), LEAST + ms(400), "bounded");
    queue.note_latency(ms(0));
    // It asks again although it has just used its permit.
    assert_eq!(spacing(&mut queue, 3, 4), LEAST + ms(200));
    assert_eq!(spacing(&mut queue, 3, 5), LEAST + ms(400));
    for ticket in 10..90 {
        spacing(&mut queue, ticket as u32, ticket);
    }
    assert!(spacing(&mut queue, 99, 99) < LEAST + ms(100), "it shrinks again");
}

#[derive(Clone, Debug)]
enum Step {
    Request { stream: u64, shard: u32 },
    Use(usize),
    Withdraw,
    End(usize),
    StreamEnds(u64),
    Wait(u64),
    MaxConcurrency(u32),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        4 => (0u64..3, 0u32..8).prop_map(|(stream, shard)| Step::Request { stream, shard }),
        3 => (0usize..8).prop_map(Step::Use),
        1 => Just(Step::Withdraw),
        1 => (0usize..8).prop_map(Step::End),
        1 => (0u64..3).prop_map(Step::StreamEnds),
        5 => (1u64..3000).prop_map(Step::Wait),
        1 => (1u32..6).prop_map(Step::MaxConcurrency),
    ];
    prop::collection::vec(step, 1..120)
}

proptest! {
    /// For any behavior of workers, Discord sees at most one IDENTIFY per bucket and interval, and never more than the budget.
    /// Workers use each permit as late as they can, which is the worst case. Permits that are out when Discord changes
    /// its buckets cannot be recalled; every later one keeps its distance from all before it.
    #[test]
    fn identifies_keep_their_distance(steps in steps(), mut max_concurrency in 1u32..4) {
        let start = budget(30, 10);
        let mut queue = IdentifyQueue::new(max_concurrency, INTERVAL, start, Time::ZERO);
        let mut now = ms(0);
        let mut next_ticket = 0;
        // Permits that workers hold, with their expiry; and every IDENTIFY.
        let mut held: Vec<(Grant, Time)> = Vec::new();
        // Permits whose stream has ended: they may be used, but the use cannot be reported.
        let mut ended: BTreeSet<TicketId> = BTreeSet::new();
        // Permits that were out when the buckets changed.
        let mut older: BTreeSet<TicketId> = BTreeSet::new();
        let mut identified: Vec<(u32, Time)> = Vec::new();
        let mut sent = 0;
        let mut identify = |grant: &Grant, at: Time, older: &BTreeSet<TicketId>, max_concurrency: u32| {
            let shard = grant.request.shard.number();
            for (other, before) in &identified {
                let same = other % max_concurrency == shard % max_concurrency;
                let too_soon = same && at < *before + INTERVAL && !older.contains(&grant.id);
                prop_assert!(!too_soon, "shards {other} and {shard} identify at {before:?} and {at:?}");
            }
            identified.push((shard, at));
            Ok(())
        };
        for step in steps {
            match step {
                Step::Request { stream, shard } => {
                    next_ticket += 1;
                    // A worker that requests again has dropped its permit for that shard; it may just have used it.
                    while let Some(n) = held.iter().position(|(grant, _)| {
                        grant.id.stream == stream && grant.request.shard.number() == shard
                    }) {
                        let (grant, _) = held.remove(n);
                        identify(&grant, now, &older, max_concurrency)?;
                    }
                    let worker = format!("w{stream}").parse().unwrap();
                    let request = PermitRequest { worker, ..request(shard) };
                    queue.request(TicketId { stream, ticket: next_ticket }, request, now);
                }
                Step::Use(n) if n < held.len() => {
                    let (grant, _) = held.remove(n);
                    identify(&grant, now, &older, max_concurrency)?;
                    prop_assert_eq!(queue.mark_used(grant.id, now), !ended.contains(&grant.id));
                }
                Step::End(n) if n < held.len() => {
                    let (grant, _) = held.remove(n);
                    identify(&grant, now, &older, max_concurrency)?;
                    queue.end_request(grant.id, now);
                }
                Step::Use(_) | Step::End(_) => {}
                Step::Withdraw => {
                    for grant in queue.take_due(now) {
                        queue.withdraw(grant.id, now + ms(10));
                    }
                }
                // Its worker lives on, and uses what it holds at the last moment.
                Step::StreamEnds(stream) => {
                    ended.extend(held.iter().map(|(grant, _)| grant.id).filter(|id| id.stream == stream));
                    queue.stream_ended(stream, now);
                }
                Step::MaxConcurrency(changed) => {
                    older.extend(held.iter().map(|(grant, _)| grant.id));
                    let waiting = queue.waiting();
                    queue.set_max_concurrency(changed);
                    prop_assert_eq!((queue.waiting(), queue.max_concurrency()), (waiting, changed));
                    max_concurrency = changed;
                }
                Step::Wait(n) => {
                    let until = now + ms(n);
                    held.sort_by_key(|(_, dead_at)| *dead_at);
                    while let Some((_, dead_at)) = held.first() && *dead_at <= until {
                        let (grant, dead_at) = held.remove(0);
                        // Used at the last moment, and the word of it is lost.
                        identify(&grant, dead_at, &older, max_concurrency)?;
                    }
                    now = until;
                }
            }
            for grant in queue.take_due(now) {
                prop_assert!(queue.mark_sent(grant.id, now));
                sent += 1;
                held.push((grant, now + PERMIT_VALID));
            }
            prop_assert!(sent <= start.remaining - start.reserve);
        }
    }
}
