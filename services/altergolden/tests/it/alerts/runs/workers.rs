//! Alerts about workers, coordinators and Redis.

use fleet_fixture::{Coordinator, Proxy};

use super::scene::Scene;

#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes minutes: .ci/night alerts"]
async fn alerts_about_coordinators_redis_and_leases_fire_and_clear() {
    let mut scene = Scene::start(4).await;
    scene.start_worker("a", &[]).await;
    let redis = std::net::SocketAddr::from(([127, 0, 0, 1], scene.deployment.redis.port()));
    let coordinator = scene.coordinator.socket();
    let (to_redis, to_coordinator) = (Proxy::to(redis).await, Proxy::to(coordinator).await);
    let urls = [
        ("REDIS_URL", format!("redis://{}", to_redis.address())),
        ("COORDINATOR_URL", to_coordinator.address().to_string()),
    ];
    let urls: Vec<(&str, &str)> = urls.iter().map(|(name, url)| (*name, url.as_str())).collect();
    scene.start_worker("b", &urls).await;
    scene.until_ready().await;

    // Another fleet in the same Prometheus.
    let mut other = scene.deployment.coordinator_command(4);
    let mut other = Coordinator::start(other.env("REDIS_PREFIX", "other")).await;
    scene.prometheus.watch("coordinator", &other.health);
    scene.fires("TwoActingCoordinators").await;
    assert_eq!(other.process.stop().await, 0);
    scene.prometheus.forget(&other.health);
    scene.clears("TwoActingCoordinators").await;

    scene.deployment.redis.pause();
    scene.fires("RedisAway").await;
    scene.deployment.redis.resume();
    scene.clears("RedisAway").await;
    scene.until_ready().await;

    // One worker without Redis: the coordinator renews its lease.
    to_redis.cut();
    scene.fires("ProblemLasts").await;
    scene.fires("CheckpointLag").await;
    to_redis.heal();
    scene.clears("CheckpointLag").await;
    scene.clears("ProblemLasts").await;

    // Without both it loses its lease.
    to_redis.cut();
    to_coordinator.cut();
    scene.fires("LeaseLost").await;
    scene.fires("WorkerWithoutLease").await;
    to_redis.heal();
    to_coordinator.heal();
    scene.clears("WorkerWithoutLease").await;
    scene.clears("LeaseLost").await;

    let health = scene.worker("a").health.clone();
    scene.prometheus.forget(&health);
    scene.fires("WorkersNotScraped").await;
    scene.prometheus.watch("gateway-worker", &health);
    scene.clears("WorkersNotScraped").await;
}
