//! One message in bot code: whether its handler starts, whether it accepts the message, and its end.

use std::{
    future::poll_fn,
    sync::{
        Arc,
        atomic::{AtomicU8, Ordering},
    },
    task::Poll,
};

use dispatch::panics;
use tokio::{sync::oneshot, time::timeout};

use super::{CallbackSlot, LONGEST_MESSAGE, log_panic, may_begin};
use crate::{
    handler::{Context, EventHandler, MessageOutcome, ShardMessage},
    lease::LeaseWindow,
};

/// Whether the handler of a message starts: decided once, by its task or by the caller that no longer waits.
#[derive(Debug, Default)]
pub(super) struct StartDecision(AtomicU8);

impl StartDecision {
    const OPEN: u8 = 0;
    const BEGUN: u8 = 1;
    pub(super) const GIVEN_UP: u8 = 2;

    /// Decides, unless the other side has. Returns whether this call decided.
    pub(super) fn decide(&self, as_what: u8) -> bool {
        self.0.compare_exchange(Self::OPEN, as_what, Ordering::AcqRel, Ordering::Acquire).is_ok()
    }
}

/// One message on its way into bot code.
pub(super) struct MessageCall {
    pub(super) handler: Arc<dyn EventHandler>,
    pub(super) context: Context,
    pub(super) lease: LeaseWindow,
    pub(super) message: Arc<ShardMessage>,
    pub(super) decision: Arc<StartDecision>,
    pub(super) slot: CallbackSlot,
}

impl MessageCall {
    /// Runs the handler. Sends the outcome as soon as it is certain; nothing when the handler did not start.
    pub(super) async fn run(self, said: oneshot::Sender<MessageOutcome>) {
        let Self { handler, context, lease, message, decision, slot } = self;
        // The process may have slept since it was looked at.
        if may_begin(&context.shard, &lease).is_err() || !decision.decide(StartDecision::BEGUN) {
            return;
        }
        let work = panics::caught(async { handler.message(&context, &message).await });
        let mut work = std::pin::pin!(timeout(LONGEST_MESSAGE, work));
        // A handler declines a message before it awaits anything.
        let first = poll_fn(|task| Poll::Ready(work.as_mut().poll(task))).await;
        let ended = match first {
            Poll::Ready(ended) => {
                // The sender may have gone.
                let _ = said.send(match &ended {
                    Ok(Ok(taken)) => *taken,
                    _ => MessageOutcome::Accepted,
                });
                ended
            }
            Poll::Pending => {
                let _ = said.send(MessageOutcome::Accepted);
                work.await
            }
        };
        match ended {
            Ok(Ok(_)) => {}
            Ok(Err(panic)) => {
                log_panic(&slot.metrics, &panic, &context, &message.kind, "a message's handler panicked");
            }
            Err(_) => tracing::warn!(
                shard.id = %context.shard(), kind = message.kind,
                "message handler timed out after 60 s; cancelled"
            ),
        }
    }
}
