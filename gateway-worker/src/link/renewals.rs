//! The lease's second path: a task renews the lease through the store and applies renewals by itself, so that neither a slow
//! store nor a hanging coordinator delays the other path.

use std::{sync::Arc, time::Duration};

use fleet_model::Term;
use fleet_store::{FleetStore, FleetStoreError, LeaseRenewal, WorkerRecord};
use tokio::{sync::watch, task::JoinHandle};

use crate::{clock::BootTime, lease::Lease};

/// What is renewed, and how often.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Renewing {
    pub(super) record: WorkerRecord,
    pub(super) ttl: Duration,
    pub(super) interval: Duration,
}

/// The last answer of the store.
#[derive(Clone, Debug)]
pub(super) struct StoreAnswer {
    /// It refused: the lease is over.
    pub(super) refused: bool,
    /// It answers, or why not.
    pub(super) answers: Result<(), String>,
    /// The highest term that has written to this worker's record.
    pub(super) term: Term,
}

/// The renewals of one membership. Their task ends with it.
pub(super) struct Renewals {
    word: watch::Receiver<StoreAnswer>,
    renewing: watch::Sender<Option<Renewing>>,
    task: JoinHandle<()>,
}

impl Renewals {
    /// Nothing is renewed before [`Renewals::renew`] says what.
    pub(super) fn start(store: Arc<dyn FleetStore>, lease: Lease) -> Self {
        let (sender, word) = watch::channel(StoreAnswer { refused: false, answers: Ok(()), term: Term(0) });
        let (renewing, told) = watch::channel(None);
        let task = tokio::spawn(renew_on(store, lease, told, sender));
        Self { word, renewing, task }
    }

    /// Starts to renew this.
    pub(super) fn renew(&self, renewing: Renewing) {
        self.renewing.send_if_modified(|known| {
            let news = known.as_ref() != Some(&renewing);
            *known = Some(renewing);
            news
        });
    }

    /// Stops renewing.
    pub(super) fn stop(&self) {
        self.task.abort();
    }

    /// Waits for a new answer of the store. Cancel safe.
    pub(super) async fn news(&mut self) -> StoreAnswer {
        if self.word.changed().await.is_err() {
            // The task ends only when this is dropped or stopped.
            std::future::pending::<()>().await;
        }
        self.word.borrow_and_update().clone()
    }
}

impl Drop for Renewals {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn renew_on(
    store: Arc<dyn FleetStore>,
    lease: Lease,
    mut told: watch::Receiver<Option<Renewing>>,
    word: watch::Sender<StoreAnswer>,
) {
    loop {
        let renewing = told.borrow_and_update().clone();
        let Some(Renewing { record, ttl, interval }) = renewing else {
            if told.changed().await.is_err() {
                return;
            }
            continue;
        };
        let sent_at = BootTime::now();
        let answer = store.renew_lease(&record, ttl, lease.is_open(sent_at)).await;
        match &answer {
            Ok(LeaseRenewal::Held(_)) => lease.renewed(sent_at, ttl),
            Ok(LeaseRenewal::Refused) => lease.refused(),
            Ok(LeaseRenewal::Lapsed) | Err(_) => {}
        }
        word.send_if_modified(|word| update(word, &answer));
        tokio::time::sleep(interval).await;
    }
}

/// Applies an answer. Returns whether something changed.
fn update(word: &mut StoreAnswer, answer: &Result<LeaseRenewal, FleetStoreError>) -> bool {
    let before = (word.refused, word.answers.clone(), word.term);
    match answer {
        Ok(LeaseRenewal::Held(term)) => word.term = word.term.max(*term),
        Ok(LeaseRenewal::Refused) => word.refused = true,
        Ok(LeaseRenewal::Lapsed) | Err(_) => {}
    }
    word.answers = answer.as_ref().map(|_| ()).map_err(ToString::to_string);
    before != (word.refused, word.answers.clone(), word.term)
}
