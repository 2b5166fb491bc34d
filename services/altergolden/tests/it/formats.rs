//! Workers with an older and a newer checkpoint format take over shards from each other.

use std::collections::BTreeSet;

use fleet_fixture::{Coordinator, Deployment, Worker, sim_config, until};

const SHARDS: u32 = 4;

/// The formats of everything that the store holds of checkpoints; `None` while a shard has none.
async fn formats(deployment: &Deployment) -> Option<BTreeSet<u16>> {
    let mut formats = BTreeSet::new();
    for shard in 0..SHARDS {
        let key = format!("{{altergolden:shard:{shard}}}:checkpoint");
        let values: Vec<Vec<u8>> = deployment.redis.command(&["HVALS", &key]).await;
        let of_shard: Vec<u16> = values.iter().filter_map(|value| checkpoint::format_of(value)).collect();
        if of_shard.is_empty() {
            return None;
        }
        formats.extend(of_shard);
    }
    Some(formats)
}

async fn until_written_in(deployment: &Deployment, expected: &[u16]) {
    let expected: BTreeSet<u16> = expected.iter().copied().collect();
    until(&format!("checkpoints in {expected:?}"), async || {
        (formats(deployment).await.as_ref() == Some(&expected)).then_some(())
    })
    .await;
}

/// Asserts that all shards are ready on these workers, with all guilds, and that no shard sent another IDENTIFY.
async fn assert_resumed(deployment: &Deployment, coordinator: &Coordinator, on: &[&Worker]) {
    coordinator.until_balanced(on).await;
    let stats = coordinator.client().await.aggregate_stats(std::time::Duration::ZERO).await.unwrap();
    assert!(stats.complete && stats.total_guilds == 40, "{stats:?}");
    let spent = deployment.sim.control().identifies().items.len();
    assert_eq!(spent, SHARDS as usize, "one for each shard, at the start");
}

#[tokio::test(flavor = "multi_thread")]
async fn older_and_newer_formats_resume_from_each_other() {
    let deployment = Deployment::start(sim_config(40)).await;
    let coordinator = deployment.coordinator(SHARDS).await;
    let old = async |name| {
        let mut command = deployment.worker_command(name, &coordinator.address);
        Worker::start(name, command.env("CHECKPOINT_FORMAT_MAX", "1")).await
    };
    let (mut a, mut b) =
        tokio::join!(deployment.worker("a", &coordinator), deployment.worker("b", &coordinator));
    coordinator.until_balanced(&[&a, &b]).await;
    until_written_in(&deployment, &[2]).await;

    // An older worker joins: all write its format, so that it can resume any shard.
    let mut old = old("old").await;
    coordinator.until_balanced(&[&a, &b, &old]).await;
    until_written_in(&deployment, &[1]).await;
    a.process.kill().await;
    assert_resumed(&deployment, &coordinator, &[&b, &old]).await;
    b.process.kill().await;
    assert_resumed(&deployment, &coordinator, &[&old]).await;

    // Newer workers again: existing checkpoints stay, new ones use the newer format.
    let mut c = deployment.worker("c", &coordinator).await;
    coordinator.until_balanced(&[&old, &c]).await;
    let written = c.metric("altergolden_checkpoint_writes_total").await;
    c.until_metric("altergolden_checkpoint_writes_total", |writes| writes > written + u64::from(SHARDS))
        .await;
    assert_eq!(c.metric("altergolden_checkpoint_format").await, 1);
    until_written_in(&deployment, &[1]).await;
    assert_eq!(old.process.stop().await, 0);
    assert_resumed(&deployment, &coordinator, &[&c]).await;
    until_written_in(&deployment, &[1, 2]).await;
    let d = deployment.worker("d", &coordinator).await;
    coordinator.until_balanced(&[&c, &d]).await;
    c.process.kill().await;
    assert_resumed(&deployment, &coordinator, &[&d]).await;
    deployment.assert_lawful();
}
