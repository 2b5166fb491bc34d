//! Who the bot is, as READY says it: asked once, and again after the user has changed.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use tokio::{sync::Mutex, time::timeout};

use crate::{AskIdentity, BotIdentity};

/// How long the question may take. Behind Discord's limits its answer can be late, and clients ask again.
const ASK_WITHIN: Duration = Duration::from_secs(10);

/// See the module's documentation.
pub(crate) struct Identity {
    ask: AskIdentity,
    /// The last answer, and how often the user had changed before it was asked for.
    known: Mutex<Option<(u64, BotIdentity)>>,
    changes: AtomicU64,
}

impl Identity {
    pub(crate) fn new(ask: AskIdentity) -> Self {
        Self { ask, known: Mutex::default(), changes: AtomicU64::new(0) }
    }

    /// The bot's user has changed, or may have.
    pub(crate) fn note_change(&self) {
        self.changes.fetch_add(1, Ordering::AcqRel);
    }

    /// Who the bot is. The error says why that is unknown now.
    pub(crate) async fn get(&self) -> Result<BotIdentity, String> {
        let asking = async {
            let mut known = self.known.lock().await;
            let changes = self.changes.load(Ordering::Acquire);
            if let Some((asked_at, identity)) = &*known
                && *asked_at == changes
            {
                return Ok(identity.clone());
            }
            let identity = (self.ask)().await?;
            *known = Some((changes, identity.clone()));
            Ok(identity)
        };
        let too_late = |_| "Discord did not say in time who the bot is".to_owned();
        timeout(ASK_WITHIN, asking).await.unwrap_or_else(|late| Err(too_late(late)))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use futures_util::FutureExt as _;

    use super::*;

    /// Answers with the number of the question; the first one never.
    fn identity() -> (Arc<Identity>, Arc<AtomicU64>) {
        let asked = Arc::new(AtomicU64::new(0));
        let counted = asked.clone();
        let ask: AskIdentity = Arc::new(move || {
            let number = counted.fetch_add(1, Ordering::Relaxed) + 1;
            async move {
                if number == 1 {
                    std::future::pending::<()>().await;
                }
                Ok(BotIdentity { user_id: 7, user: number.to_string(), application: String::new() })
            }
            .boxed()
        });
        (Arc::new(Identity::new(ask)), asked)
    }

    #[tokio::test(start_paused = true)]
    async fn user_is_asked_for_again_after_a_change_and_not_waited_for_for_ever() {
        let (identity, asked) = identity();
        let began = tokio::time::Instant::now();
        let late = tokio::join!(identity.get(), identity.get());
        assert!(late.0.is_err() && late.1.is_err(), "{late:?}");
        assert_eq!(began.elapsed(), ASK_WITHIN);
        let user = async || identity.get().await.unwrap().user;
        let first = user().await;
        assert_eq!((user().await, asked.load(Ordering::Relaxed).to_string()), (first.clone(), first.clone()));
        identity.note_change();
        assert_ne!(user().await, first);
        assert_eq!(user().await, asked.load(Ordering::Relaxed).to_string());
    }
}
