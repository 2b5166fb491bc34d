//! A fleet whose programs log in to Redis as the users of `deploy/redis/users.acl`.

use discord_sim::Sim;
use fleet_fixture::{Coordinator, Deployment, Worker, all_ready, command, sim_config, until};
use redis_fixture::{RedisServer, RedisUser};

#[tokio::test(flavor = "multi_thread")]
async fn fleet_runs_and_fails_over_as_the_member_user() {
    let (redis, sim) = tokio::join!(RedisServer::start_with_users(), Sim::start(sim_config(20)));
    let deployment = Deployment { redis, sim: sim.unwrap() };
    let url = deployment.redis.url_as(RedisUser::Member);
    let mut coordinator_command = deployment.coordinator_command(4);
    let coordinator = Coordinator::start(coordinator_command.env("REDIS_URL", &url)).await;
    let mut workers = Vec::new();
    for name in ["a", "b"] {
        let mut command = deployment.worker_command(name, &coordinator.address);
        command.env("REDIS_URL", &url).env("RELAY", "redis");
        workers.push(Worker::start(name, &mut command).await);
    }
    coordinator.until_balanced(&workers.iter().collect::<Vec<_>>()).await;
    for worker in &workers {
        worker.until_metric("altergolden_checkpoint_writes_total", |writes| writes > 0).await;
    }
    let identified = deployment.sim.control().identifies().items.len();
    let mut killed = workers.remove(0);
    killed.process.kill().await;
    coordinator.until_balanced(&[&workers[0]]).await;
    assert_eq!(deployment.sim.control().identifies().items.len(), identified, "the other resumed from Redis");
    // Events reach the streams, which the keeper of shard 0's worker trims and measures.
    until("events reach the streams", async || {
        (deployment.redis.command::<u64>(&["XLEN", "MESSAGE_CREATE"]).await > 0).then_some(())
    })
    .await;
    let broadcast = crate::cli::altergolden(&coordinator.address, &["broadcast", "x", "1"]);
    assert_eq!(broadcast.code, 0, "{}", broadcast.err);
    coordinator.until("all shards are ready", all_ready).await;
    let (_, health) = coordinator.health().await;
    assert_eq!(health["problems"].as_array().map(Vec::len), Some(0), "{health}");
    for output in [coordinator.process.output(), killed.process.output(), workers[0].process.output()] {
        assert!(!output.contains("NOPERM"), "{output}");
    }
    // Repair may not list the keys of others; it looks at the fleet's own.
    let mut repair = command("altergolden");
    let repair = repair.arg("repair").env("REDIS_URL", &url).output().unwrap();
    assert!(repair.status.success(), "{repair:?}");
    deployment.assert_lawful();
}
