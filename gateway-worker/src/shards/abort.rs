//! Ends a shard's task that does not stop by itself.

use std::time::Duration;

use tokio::task::JoinHandle;

use super::RunningShard;

/// How long an aborted task may take to end. One that blocks its thread ends only at its next await.
const ABORTED: Duration = Duration::from_secs(1);

/// Aborts a shard's task. From here on no handler starts and nothing is relayed, so a task that blocks its thread is
/// not waited for; it ends at its next await.
pub(super) async fn abort(shard: &RunningShard, task: JoinHandle<()>) {
    shard.detach_queue();
    task.abort();
    if tokio::time::timeout(ABORTED, task).await.is_err() {
        tracing::error!(shard.id = %shard.key(), "shard task blocks its thread; abandoned");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing;

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn task_that_blocks_its_thread_is_not_waited_for() {
        let shard = testing::running(&testing::shard_at(testing::EPOCH, ""));
        let (release, blocked) = std::sync::mpsc::channel::<()>();
        let (tell, blocks) = tokio::sync::oneshot::channel();
        let task = tokio::spawn(async move {
            let _ = tell.send(());
            let _ = blocked.recv();
        });
        blocks.await.unwrap();
        tokio::time::timeout(ABORTED * 5, abort(&shard, task)).await.expect("the task is abandoned");
        drop(release);
    }
}
