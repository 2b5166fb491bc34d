//! Handlers that are slow when their worker dies.

use chaos::{fleet::Setup, schedule::Fault};

use crate::{fault, one_at_a_time, survives};

#[tokio::test(flavor = "multi_thread")]
async fn unfinished_events_of_slow_handlers_are_delivered_again() {
    let _turn = one_at_a_time::turn().await;
    let setup = Setup::default().with("LEDGER_HANDLE_MS", "20").with("LEDGER_SLOW_EVERY", "50:1500");
    let outcome = survives(setup, &[fault(1_000, 5_000, Fault::KillWorker(2))]).await;
    assert!(outcome.resumes >= 4, "{outcome}");
}
