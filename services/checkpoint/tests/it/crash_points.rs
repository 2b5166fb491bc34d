//! A writer that dies at any step of any write leaves a checkpoint from which the next owner has everything.
//!
//! A model of guilds stands for the worker's cache, a log of events for Discord, which sends again what is above the sequence that a
//! RESUME names. Each script of passes is run once for every step in it, cut there; the next owner restores, is compared with what
//! truly happened, and goes on until it dies as well. To show that the comparison sees something, each rule of the write is broken in
//! turn, and then harm must be found.

mod model;
mod pack;
mod reader;
mod writer;

use checkpoint::{CheckpointMemoryStore, CheckpointStore, StepAnswer};
use fleet_model::{Epoch, ShardKey};
use model::{Event, Log};
use proptest::{
    prelude::*,
    strategy::ValueTree,
    test_runner::{Config, TestRunner},
};
use reader::{Harm, restore};
use writer::{Fault, Writer};

const SHARD: ShardKey = ShardKey::new(0, 1);

/// One write of a checkpoint, and what happens around it.
#[derive(Clone, Debug)]
struct Pass {
    /// Events before it.
    before: Vec<Event>,
    /// Events after `read` was looked at, before the changes are taken.
    meanwhile: Vec<Event>,
    /// An event after each step, as far as they go.
    during: Vec<Event>,
    /// How many pending events bot code finishes before it.
    finished: usize,
    /// The store lost what it was told, so everything is written again.
    from_scratch: bool,
}

fn event() -> impl Strategy<Value = Event> {
    let guild = 1u64..5;
    prop_oneof![
        3 => guild.clone().prop_map(Event::Create),
        3 => guild.clone().prop_map(Event::Change),
        3 => guild.clone().prop_map(Event::Channel),
        4 => (guild.clone(), 0u32..3).prop_map(|(guild, block)| Event::Member(guild, block)),
        1 => guild.prop_map(Event::Delete),
        1 => Just(Event::Message),
    ]
}

fn script() -> impl Strategy<Value = (Vec<Pass>, usize)> {
    let events = |most| prop::collection::vec(event(), 0..most);
    let pass = (events(6), events(3), events(3), 0usize..6, prop::bool::weighted(0.1)).prop_map(
        |(before, meanwhile, during, finished, from_scratch)| Pass {
            before,
            meanwhile,
            during,
            finished,
            from_scratch,
        },
    );
    (prop::collection::vec(pass, 1..5), prop_oneof![Just(1usize), 50usize..400])
}

/// Result of a script that was cut after a number of steps.
struct Run {
    /// Steps that were written before the cut.
    steps: usize,
    /// The script ended before the cut came.
    whole: bool,
}

/// Runs a script, cuts it after `cut` steps, and lets the next owner take over and go on.
async fn run(script: &[Pass], max_bytes: usize, cut: usize, fault: Fault) -> Result<Run, Harm> {
    let store = CheckpointMemoryStore::new();
    let mut log = Log::default();
    let mut first = Writer::new(store.clone(), Epoch(1), fault, max_bytes).await;
    let mut left = cut;
    let mut passes = script.iter();
    let mut unsent = None;
    for pass in passes.by_ref() {
        unsent = first.pass(pass, &mut log, &mut left).await;
        if unsent.is_some() {
            break;
        }
    }
    let steps = cut - left;
    let whole = unsent.is_none();
    let restored = restore(&store, Epoch(2)).await;
    let Some(restored) = restored else {
        // A shard without a checkpoint identifies. That is right only if none was ever finished.
        return if steps == 0 { Ok(Run { steps, whole }) } else { Err(Harm::NoHead) };
    };
    restored.compare(&log)?;
    if let Some(step) = unsent {
        let late = store.write(SHARD, Epoch(1), first.serial(), &step).await.unwrap();
        assert_eq!(late, StepAnswer::Outranked(Epoch(2)), "the first owner is not dead, only late");
    }
    let mut second = Writer::resume(store.clone(), Epoch(2), fault, max_bytes, restored, &log);
    let mut endless = usize::MAX;
    for pass in passes {
        second.pass(pass, &mut log, &mut endless).await;
    }
    restore(&store, Epoch(3)).await.ok_or(Harm::NoHead)?.compare(&log)?;
    Ok(Run { steps, whole })
}

/// Runs a script with every cut there is.
async fn every_cut(script: &[Pass], max_bytes: usize, fault: Fault) -> Result<usize, (usize, Harm)> {
    for cut in 0.. {
        let run = run(script, max_bytes, cut, fault).await.map_err(|harm| (cut, harm))?;
        if run.whole {
            return Ok(run.steps);
        }
    }
    unreachable!("a script ends")
}

fn block_on<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(work)
}

proptest! {
    #![proptest_config(Config { cases: 200, ..Config::default() })]
    #[test]
    fn restore_after_any_step_has_everything((script, max_bytes) in script()) {
        let outcome = block_on(every_cut(&script, max_bytes, Fault::None));
        prop_assert!(outcome.is_ok(), "cut after step {:?}", outcome);
    }
}

/// Runs scripts until one shows harm; how it shows.
fn harm_by(fault: Fault) -> Option<Harm> {
    let mut runner = TestRunner::deterministic();
    (0..300).find_map(|_| {
        let (script, max_bytes) = script().new_tree(&mut runner).unwrap().current();
        block_on(every_cut(&script, max_bytes, fault)).err().map(|(_, harm)| harm)
    })
}

#[test]
fn each_rule_of_the_write_is_needed() {
    assert_eq!(harm_by(Fault::None), None);
    let faults = [
        Fault::HeadFirst,
        Fault::ReadAfterChanges,
        Fault::EncodedLater,
        Fault::GroupsSplit,
        Fault::CoreBeforeBlocks,
        Fault::PendingAfterHead,
        Fault::RemovedForgotten,
    ];
    for fault in faults {
        let harm = harm_by(fault);
        eprintln!("{fault:?}: {harm:?}");
        assert!(harm.is_some(), "{fault:?} does no harm");
    }
}
