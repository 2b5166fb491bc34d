//! Workers with an older and a newer checkpoint format take over shards from each other.
//!
//! `OLDER_WORKER` names a program of an older version to test instead of this version with a lower `CHECKPOINT_FORMAT_MAX`.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use checkpoint::FORMAT_MAX;
use fleet_fixture::{Coordinator, Deployment, Worker, sim_config, until};
use serde_json::Value;
use shard_bridge::ObjectKind;

const SHARDS: u32 = 4;
const GUILDS: u32 = 40;

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

async fn until_written_in(deployment: &Deployment, format: u16) {
    until(&format!("checkpoints in format {format}"), async || {
        (formats(deployment).await? == BTreeSet::from([format])).then_some(())
    })
    .await;
}

/// All guilds and their roles, by id.
async fn guilds(deployment: &Deployment, coordinator: &Coordinator) -> BTreeMap<u64, [Value; 2]> {
    let mut client = coordinator.client().await;
    let mut guilds = BTreeMap::new();
    for guild in deployment.sim.control().guilds(GUILDS as usize, SHARDS) {
        let id = guild.id.0;
        let mut parts = [Value::Null, Value::Null];
        for (part, kind) in parts.iter_mut().zip([ObjectKind::Guild, ObjectKind::Roles]) {
            let found = client.object(id, kind, Vec::new()).await.unwrap();
            assert!(found.doubt.is_empty(), "{found:?}");
            *part = serde_json::from_str(&found.json).unwrap();
        }
        guilds.insert(id, parts);
    }
    guilds
}

/// Asserts that all shards are ready on these workers, with all guilds and channels, and that no shard sent another IDENTIFY.
async fn assert_resumed(deployment: &Deployment, coordinator: &Coordinator, on: &[&Worker]) {
    coordinator.until_balanced(on).await;
    let stats = coordinator.client().await.aggregate_stats(Duration::ZERO).await.unwrap();
    let expected = deployment.sim.control().stats(SHARDS);
    assert!(stats.complete, "{stats:?}");
    assert_eq!(u64::from(stats.total_guilds), u64::from(GUILDS));
    assert_eq!(stats.total_channels.map(u64::from), Some(expected.total.channels));
    let spent = deployment.sim.control().identifies().items.len();
    assert_eq!(spent, SHARDS as usize, "one for each shard, at the start");
}

/// Workers that read checkpoints up to format `older`, and workers of this version, take over shards from each other by failover and
/// handoff.
async fn resume_from_each_other(older: u16) {
    let deployment = Deployment::start(sim_config(GUILDS)).await;
    let coordinator = deployment.coordinator(SHARDS).await;
    let older_program = std::env::var("OLDER_WORKER").ok();
    // Older versions do not keep all fields.
    let keeps_all_fields = older_program.is_none();
    let older_program = older_program.unwrap_or_else(|| "gateway-worker".to_owned());
    let older_worker = async |name| {
        let mut command = deployment.bot_command(&older_program, name, &coordinator.address);
        Worker::start(name, command.env("CHECKPOINT_FORMAT_MAX", older.to_string())).await
    };
    let (mut a, mut b) =
        tokio::join!(deployment.worker("a", &coordinator), deployment.worker("b", &coordinator));
    coordinator.until_balanced(&[&a, &b]).await;
    until_written_in(&deployment, FORMAT_MAX).await;
    let at_first = guilds(&deployment, &coordinator).await;

    // An older worker joins: all write its format, so that it can resume any shard.
    let mut old = older_worker("old").await;
    coordinator.until_balanced(&[&a, &b, &old]).await;
    until_written_in(&deployment, older).await;
    a.process.kill().await;
    assert_resumed(&deployment, &coordinator, &[&b, &old]).await;
    b.process.kill().await;
    assert_resumed(&deployment, &coordinator, &[&old]).await;

    // A newer worker takes over from an older worker that dies. It writes the older format while another older worker runs.
    let mut c = deployment.worker("c", &coordinator).await;
    let mut old_too = older_worker("old-too").await;
    coordinator.until_balanced(&[&old, &old_too, &c]).await;
    old.process.kill().await;
    assert_resumed(&deployment, &coordinator, &[&old_too, &c]).await;
    let written = c.metric("altergolden_checkpoint_writes_total").await;
    c.until_metric("altergolden_checkpoint_writes_total", |writes| writes > written + u64::from(SHARDS))
        .await;
    assert_eq!(c.metric("altergolden_checkpoint_format").await, u64::from(older));
    until_written_in(&deployment, older).await;

    // The last older worker stops. The newest format is written again, and read.
    assert_eq!(old_too.process.stop().await, 0);
    assert_resumed(&deployment, &coordinator, &[&c]).await;
    assert!(!keeps_all_fields || guilds(&deployment, &coordinator).await == at_first);
    until_written_in(&deployment, FORMAT_MAX).await;
    let d = deployment.worker("d", &coordinator).await;
    coordinator.until_balanced(&[&c, &d]).await;
    c.process.kill().await;
    assert_resumed(&deployment, &coordinator, &[&d]).await;
    assert!(!keeps_all_fields || guilds(&deployment, &coordinator).await == at_first);
    deployment.assert_lawful();
}

#[tokio::test(flavor = "multi_thread")]
async fn workers_of_format_1_and_of_the_newest_resume_from_each_other() {
    resume_from_each_other(1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn workers_of_format_2_and_of_the_newest_resume_from_each_other() {
    resume_from_each_other(2).await;
}
