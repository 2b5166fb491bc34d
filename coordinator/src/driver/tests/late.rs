//! A driver whose loop was late, because its process was starved or stopped.

use super::*;

/// The worker's lease in the store has expired: only the driver keeps the worker in the fleet.
#[tokio::test(start_paused = true)]
async fn late_loop_loses_no_worker_whose_report_waits() {
    for late in [1_000, 2_400, 4_000, 60_000].map(Duration::from_millis) {
        let shell = shell(Arc::new(FleetMemoryStore::new()), Duration::from_secs(5));
        let driver = driver(&shell, hold(&shell).await).await;
        while_acting(driver, async |fleet| {
            let worker = Worker::join(fleet).await;
            let Registration { worker: name, incarnation, .. } = registration();
            for sequence in 1..=10 {
                // The report waits in the inbox while the clock moves on.
                assert!(worker.fleet.report(worker.stream.stream, sequence, WorkerReport::default()).await);
                tokio::time::advance(late).await;
                // Lets the driver's requests to the store end too.
                for _ in 0..100 {
                    tokio::task::yield_now().await;
                }
                let known = worker.fleet.open_identify(name.clone(), incarnation.clone()).await;
                assert!(known.is_ok(), "worker lost in round {sequence} by a loop that is {late:?} late");
            }
        })
        .await;
    }
}

#[tokio::test(start_paused = true)]
async fn silent_worker_is_lost_by_a_loop_in_time() {
    let shell = shell(Arc::new(FleetMemoryStore::new()), Duration::from_secs(5));
    let driver = driver(&shell, hold(&shell).await).await;
    while_acting(driver, async |fleet| {
        let worker = Worker::join(fleet).await;
        let Registration { worker: name, incarnation, .. } = registration();
        tokio::time::sleep(Duration::from_secs(7)).await;
        assert!(worker.fleet.open_identify(name, incarnation).await.is_err());
    })
    .await;
}
