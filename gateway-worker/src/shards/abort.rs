//! The end of a shard's task that does not stop by itself.

use std::time::Duration;

use tokio::task::JoinHandle;

use crate::shard::Shard;

/// How long a task that was aborted may take to end. One that blocks its thread ends only where it next waits.
const ABORTED: Duration = Duration::from_secs(1);

/// Aborts a shard's task. One that blocks its thread is not waited for: no handler begins and nothing is relayed from here on, and when it
/// comes to wait it ends.
pub(super) async fn abort(shard: &Shard, task: JoinHandle<()>) {
    shard.let_deliveries_go();
    task.abort();
    if tokio::time::timeout(ABORTED, task).await.is_err() {
        tracing::error!(shard.id = %shard.number(), "a shard's task blocks its thread: left behind");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing;

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn task_that_blocks_its_thread_is_not_waited_for() {
        let shard = testing::shard_at(testing::EPOCH, "");
        let (release, blocked) = std::sync::mpsc::channel::<()>();
        let (tell, blocks) = tokio::sync::oneshot::channel();
        let task = tokio::spawn(async move {
            let _ = tell.send(());
            let _ = blocked.recv();
        });
        blocks.await.unwrap();
        tokio::time::timeout(ABORTED * 5, abort(&shard, task)).await.expect("it is left behind");
        drop(release);
    }
}
