//! The lease's second path: renewals through the store, made by a task of its own, so that a slow store never holds up the
//! stream to the coordinator.

use std::{sync::Arc, time::Duration};

use fleet_store::{FleetStore, LeaseRenewal, StoreError, WorkerRecord};
use tokio::{
    sync::{mpsc, watch},
    task::JoinHandle,
};

use crate::{clock::BootTime, lease::LeaseWindow};

/// What is renewed, and how often.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Renewing {
    pub(super) record: WorkerRecord,
    pub(super) ttl: Duration,
    pub(super) interval: Duration,
}

/// One answer of the store.
pub(super) struct Renewal {
    pub(super) sent_at: BootTime,
    pub(super) ttl: Duration,
    pub(super) answer: Result<LeaseRenewal, StoreError>,
}

/// The answers of one life. Its task ends with it.
pub(super) struct Renewals {
    answers: mpsc::Receiver<Renewal>,
    renewing: watch::Sender<Option<Renewing>>,
    task: JoinHandle<()>,
}

impl Renewals {
    /// Nothing is renewed before [`Renewals::renew`] says what.
    pub(super) fn start(store: Arc<dyn FleetStore>, window: LeaseWindow) -> Self {
        let (sender, answers) = mpsc::channel(1);
        let (renewing, told) = watch::channel(None);
        let task = tokio::spawn(renew_on(store, window, told, sender));
        Self { answers, renewing, task }
    }

    /// Renews this from here on.
    pub(super) fn renew(&self, renewing: Renewing) {
        self.renewing.send_if_modified(|known| {
            let news = known.as_ref() != Some(&renewing);
            *known = Some(renewing);
            news
        });
    }

    /// The next answer. Safe to drop and call again.
    pub(super) async fn next(&mut self) -> Renewal {
        match self.answers.recv().await {
            Some(renewal) => renewal,
            // The task ends only when this is dropped.
            None => std::future::pending().await,
        }
    }
}

impl Drop for Renewals {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn renew_on(
    store: Arc<dyn FleetStore>,
    window: LeaseWindow,
    mut told: watch::Receiver<Option<Renewing>>,
    answers: mpsc::Sender<Renewal>,
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
        let answer = store.renew_lease(&record, ttl, window.is_open(sent_at)).await;
        if answers.send(Renewal { sent_at, ttl, answer }).await.is_err() {
            return;
        }
        tokio::time::sleep(interval).await;
    }
}
