//! What came of a run, and what is wrong with it.

use std::{fmt, path::PathBuf};

use discord_sim::{Control, Violation, ViolationKind};
use tempfile::TempDir;

use super::Happened;
use crate::{fleet::Setup, ledger::Verdict, schedule::Cost};

/// How many violations are printed.
const FIRST: usize = 5;

/// What came of a run.
#[derive(Debug)]
pub struct Outcome {
    /// The faults, and when each came.
    pub happened: Vec<Happened>,
    /// The comparison.
    pub verdict: Verdict,
    /// IDENTIFYs of the start.
    pub identifies_at_start: u32,
    /// IDENTIFYs after it.
    pub identifies_after: u32,
    /// RESUMEs that worked.
    pub resumes: u32,
    /// What is wrong, in words; empty when nothing is.
    pub failures: Vec<String>,
    /// Logs and ledgers of the processes, kept when something is wrong.
    pub folder: Option<PathBuf>,
}

impl Outcome {
    #[expect(
        clippy::too_many_arguments,
        reason = "a run has that many ends, and they come together here alone"
    )]
    pub(super) fn new(
        control: &Control,
        setup: &Setup,
        happened: Vec<Happened>,
        cost: Cost,
        identifies_at_start: u32,
        verdict: Verdict,
        mut failures: Vec<String>,
        folder: TempDir,
    ) -> Self {
        let shards = control.sessions().shards;
        let identifies = control.identifies().items.len() as u32;
        let identifies_after = identifies - identifies_at_start;
        if !verdict.is_clean() {
            failures.push("the ledgers do not agree".to_owned());
        }
        if !cost.allows(identifies_after) {
            failures.push(format!(
                "{identifies_after} IDENTIFYs after the start, and the plan explains {cost:?}"
            ));
        }
        let heartbeat_ms = setup.heartbeat_interval.as_millis() as u64;
        let broken: Vec<Violation> = control
            .violations()
            .items
            .into_iter()
            .filter(|violation| !is_the_signals_doing(violation, &happened, heartbeat_ms))
            .collect();
        if !broken.is_empty() {
            let first = &broken[..broken.len().min(FIRST)];
            failures.push(format!("Discord's rules were broken {} times: {first:#?}", broken.len()));
        }
        let may_be_open_twice = happened.iter().any(|one| one.planned.fault.silences_a_client());
        for shard in shards.iter().filter(|shard| shard.open_max > 1 && !may_be_open_twice) {
            failures.push(format!("shard {} was connected {} times at once", shard.shard, shard.open_max));
        }
        let folder = if failures.is_empty() { None } else { Some(folder.keep()) };
        let resumes = shards.iter().map(|shard| shard.resumes).sum();
        Self { happened, verdict, identifies_at_start, identifies_after, resumes, failures, folder }
    }

    /// Nothing is wrong.
    pub fn is_clean(&self) -> bool {
        self.failures.is_empty()
    }

    /// Fails a test when something is wrong; `replay` says how to do the same again.
    ///
    /// # Panics
    /// When something is wrong.
    pub fn assert_clean(&self, replay: &str) {
        assert!(self.is_clean(), "{replay}\n{self}");
    }
}

/// A process that is stopped, or whose words don't arrive, can't keep the rules on heartbeats.
fn is_the_signals_doing(violation: &Violation, happened: &[Happened], heartbeat_ms: u64) -> bool {
    let about_heartbeats =
        matches!(violation.kind, ViolationKind::MissedHeartbeat | ViolationKind::ZombieKept);
    about_heartbeats
        && happened.iter().any(|one| {
            one.planned.fault.silences_a_client()
                && (one.began_ms..=one.ended_ms + 3 * heartbeat_ms).contains(&violation.at_ms)
        })
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "faults:")?;
        for one in &self.happened {
            writeln!(f, "  {}   at {} to {} ms", one.planned, one.began_ms, one.ended_ms)?;
        }
        write!(f, "{}", self.verdict)?;
        writeln!(
            f,
            "IDENTIFYs: {} at the start, {} after it; RESUMEs: {}",
            self.identifies_at_start, self.identifies_after, self.resumes
        )?;
        for failure in &self.failures {
            writeln!(f, "WRONG: {failure}")?;
        }
        match &self.folder {
            Some(folder) => writeln!(f, "logs and ledgers of all processes: {}", folder.display()),
            None => writeln!(f, "nothing is wrong"),
        }
    }
}
