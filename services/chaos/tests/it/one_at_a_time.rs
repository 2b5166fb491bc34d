//! Whole deployments share the machine's cores: more than a few at once and every process is starved.

use tokio::sync::{Semaphore, SemaphorePermit};

static AT_ONCE: Semaphore = Semaphore::const_new(2);

/// Held for as long as a test's fleet runs.
pub(crate) async fn turn() -> SemaphorePermit<'static> {
    AT_ONCE.acquire().await.unwrap()
}
