//! Events that arrive while the checkpoint is still read wait here, within bounds, and are taken after it.
//!
//! A checkpoint that cannot be read costs only its own session. Readable unfinished events are handled anyway.

use fleet_model::Position;
use std::{collections::VecDeque, sync::Arc};

use checkpoint::{Head, Session};
use process::telemetry::{SpanKind, TimedSpan};
use tokio_util::task::AbortOnDropHandle;

use super::{DispatchOutcome, Intake, held::HeldEvents};
use crate::{
    checkpoints::{
        older,
        restore::{LeftOver, LoadError, NotRestored, Restored, ToRead},
        writer::Stored,
    },
    event::{Arrived, Mark},
    shard::commands::inherit_presence,
    shard_state::Progress,
};

/// A checkpoint that is being read.
pub(super) struct Restoring {
    load: AbortOnDropHandle<Result<Restored, NotRestored>>,
    /// Came meanwhile.
    held: HeldEvents,
    exact: bool,
    session: Arc<Session>,
    /// How far it was read, and when that came.
    read: (u64, u64),
}

impl Restoring {
    /// Lets an event wait.
    pub(super) fn hold(&mut self, arrived: Arrived) -> DispatchOutcome {
        self.held.hold(arrived)
    }
}

impl Intake {
    /// Begins to read what a checkpoint holds beside its head.
    pub(super) fn restore(&mut self, mut head: Head, what: ToRead) {
        self.keep_own_resources(&mut head);
        if let Some(presence) = &head.presence {
            inherit_presence(&self.shard, presence);
        }
        let (checkpoints, shard) = (self.checkpoints.clone(), self.shard.clone());
        let session = Arc::new(head.session.clone());
        self.ordinal = session.ordinal;
        self.shard.set_progress(Some(Progress {
            session: session.clone(),
            began_at: 0,
            read: head.read,
            read_at_unix_ms: head.read_at_unix_ms,
        }));
        self.mark = if head.exact { Mark::Fresh } else { Mark::Replayed };
        let (exact, read) = (head.exact, (head.read, head.read_at_unix_ms));
        let span = self.shard.brought_by().and_then(|trace| {
            let span = TimedSpan::continuing(&trace, "restore_checkpoint", SpanKind::Internal)?;
            span.set("shard.id", i64::from(self.shard.key().slot().0));
            Some(span)
        });
        let load = async move {
            let _span = span;
            checkpoints.restore(what, &head, shard.cache()).await
        };
        self.restoring = Some(Restoring {
            load: AbortOnDropHandle::new(tokio::spawn(load)),
            held: HeldEvents::default(),
            exact,
            session,
            read,
        });
    }

    /// Waits until the checkpoint is read; for ever when there is none. Nothing is lost when the future is dropped.
    pub(in crate::shard) async fn read_through(&mut self) -> Result<Restored, NotRestored> {
        match &mut self.restoring {
            Some(restoring) => match (&mut restoring.load).await {
                Ok(loaded) => loaded,
                // Only a panic in it ends the task without an answer.
                Err(error) => Err(NotRestored {
                    why: LoadError::Store(checkpoint::CheckpointStoreError::Away(error.to_string())),
                    left: LeftOver { pending: Vec::new(), unread: Some(Position::default()) },
                }),
            },
            None => std::future::pending().await,
        }
    }

    /// The checkpoint is being read.
    pub(in crate::shard) fn is_reading(&self) -> bool {
        self.restoring.is_some()
    }

    /// Waits until the checkpoint is read, and takes it, when there is no connection.
    pub(in crate::shard) async fn read_and_install(&mut self) -> Result<(), String> {
        let restored = self.read_through().await;
        self.install(restored).map(drop)
    }

    /// Takes what was read. What came meanwhile is to be taken now, in order; `Err` says why the session is of no use.
    pub(in crate::shard) fn install(
        &mut self,
        restored: Result<Restored, NotRestored>,
    ) -> Result<VecDeque<Arrived>, String> {
        let Some(restoring) = self.restoring.take() else { return Ok(VecDeque::new()) };
        let ordinal = restoring.session.ordinal;
        let same_session = self.shard.progress().is_some_and(|it| it.session.ordinal == ordinal);
        let restored = match restored {
            Ok(restored) => restored,
            Err(NotRestored { why, left: LeftOver { pending, unread } }) => {
                self.metrics_refused(&why.to_string());
                self.queue_all_pending(pending, restoring.exact);
                self.unread = unread.map_or(self.unread, |unread| older(self.unread, unread));
                if !same_session {
                    // The gap that was reported with the next session begins later.
                    self.report_unread(&restoring.session, restoring.read);
                }
                self.write(None);
                self.check_suspects();
                // A session that has begun meanwhile does not need it.
                return if same_session { Err(why.to_string()) } else { Ok(restoring.held.into_events()) };
            }
        };
        let Restored { guilds, pending, format } = restored;
        let layouts = guilds.layouts();
        let positions = pending.iter().map(|event| event.position).collect();
        self.queue_all_pending(pending, restoring.exact);
        if same_session {
            self.shard.cache().adopt(guilds);
        }
        self.report_unread(&restoring.session, restoring.read);
        self.write(Some(Stored { session: ordinal, pending: positions, format, layouts }));
        self.check_suspects();
        Ok(restoring.held.into_events())
    }

    fn metrics_refused(&self, why: &str) {
        self.checkpoints.metrics.count_refused();
        tracing::warn!(shard.id = %self.shard.key(), why, "cannot use the checkpoint; identifying");
    }

    /// The connection is over and the next one resumes from `read`: what waits will come again.
    pub(in crate::shard) fn forget_held(&mut self) {
        if let Some(restoring) = &mut self.restoring {
            restoring.held = HeldEvents::default();
        }
    }

    /// What is being read, when it is of the session that goes on.
    pub(super) fn restoring_this_session(&mut self) -> Option<&mut Restoring> {
        self.restoring.as_ref()?;
        let session = self.shard.progress().map(|progress| progress.session.ordinal);
        self.restoring.as_mut().filter(|restoring| session == Some(restoring.session.ordinal))
    }
}
