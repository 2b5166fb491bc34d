//! Processes that are killed, hang, leak, or never serve.

use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn killed_supervisor_leaves_no_orphans_and_the_next_one_resumes() {
    let deployment = Deployment::start(sim_config(40)).await;
    let place = Place::new();
    let mut up = Up::start(&place, &mut place.command(&deployment)).await;
    up.ready_on(&["worker-0", "worker-1"]).await;
    let (spent, pids) = (identifies(&deployment), up.pids());
    assert_eq!(pids.len(), 3);
    up.fleet.process.kill().await;
    gone("the children to end by themselves", &pids).await;

    let up = Up::start(&place, &mut place.command(&deployment)).await;
    up.ready_on(&["worker-0", "worker-1"]).await;
    assert_eq!(identifies(&deployment), spent, "all shards resumed");
    up.stop().await;
    deployment.assert_lawful();
}

/// A program that does not notice the end of the supervisor is ended by the next one.
#[tokio::test(flavor = "multi_thread")]
async fn next_supervisor_ends_what_is_left() {
    let deployment = Deployment::start(sim_config(40)).await;
    let place = Place::new();
    let program = place.worker_program("[ \"$WORKER_NAME\" != worker-1 ] || exec sleep 1000");
    let mut command = place.command(&deployment);
    command.arg("--worker-program").arg(program).env("SHARD_SPAWN_TIMEOUT", "10m");
    let mut up = Up::start(&place, &mut command).await;
    up.ready_on(&["worker-0"]).await;
    let (spent, pids) = (identifies(&deployment), up.pids());
    let stays = up.pid("worker-1");
    up.fleet.process.kill().await;
    let others: Vec<Pid> = pids.iter().copied().filter(|pid| *pid != stays).collect();
    gone("the others to end", &others).await;
    assert!(is_running(stays));

    let up = Up::start(&place, &mut place.command(&deployment)).await;
    assert!(!is_running(stays));
    up.ready_on(&["worker-0", "worker-1"]).await;
    assert_eq!(identifies(&deployment), spent, "all shards resumed");
    up.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_programs_come_back() {
    let deployment = Deployment::start(sim_config(40)).await;
    let place = Place::new();
    let mut up = Up::start(&place, &mut place.command(&deployment)).await;
    up.ready_on(&["worker-0", "worker-1"]).await;
    let spent = identifies(&deployment);

    let worker = up.pid("worker-1");
    kill(worker);
    up.fleet
        .process
        .line("the exit to be reported", |line| {
            let line: Value = serde_json::from_str(line).ok()?;
            let reported =
                line["message"] == "exit reported to the coordinator" && line["worker.id"] == "worker-1";
            (reported && line["reason"] == "signal 9").then_some(())
        })
        .await;
    until("another worker-1", async || up.pid_if_listed("worker-1").filter(|pid| *pid != worker)).await;
    up.ready_on(&["worker-0", "worker-1"]).await;

    let coordinator = up.pid("coordinator");
    kill(coordinator);
    until("another coordinator", async || up.pid_if_listed("coordinator").filter(|pid| *pid != coordinator))
        .await;
    up.ready_on(&["worker-0", "worker-1"]).await;
    assert_eq!(identifies(&deployment), spent, "all shards resumed");
    up.stop().await;
    deployment.assert_lawful();
}

#[tokio::test(flavor = "multi_thread")]
async fn own_redis_comes_back_and_survives_the_supervisor() {
    let deployment = Deployment::start(sim_config(40)).await;
    let place = Place::new();
    let command = || {
        let mut command = place.command(&deployment);
        command.env_remove("REDIS_URL");
        command
    };
    let redis_pid = |up: &Up, message: &str| {
        let output = up.fleet.process.output();
        let line = output
            .lines()
            .filter_map(|line| serde_json::from_str::<Value>(line).ok())
            .rfind(|line| line["message"] == message);
        line.and_then(|line| line["process.pid"].as_i64()).and_then(|pid| Pid::from_raw(pid as i32))
    };
    let mut up = Up::start(&place, &mut command()).await;
    up.ready_on(&["worker-0", "worker-1"]).await;
    let spent = identifies(&deployment);
    kill(redis_pid(&up, "redis-server started").unwrap());
    let again = until("redis to run again", async || redis_pid(&up, "redis-server runs again")).await;
    up.ready_on(&["worker-0", "worker-1"]).await;

    let pids = up.pids();
    up.fleet.process.kill().await;
    gone("the children to end", &pids).await;
    assert!(is_running(again), "redis-server survives, with the sessions");
    let up = Up::start(&place, &mut command()).await;
    assert_eq!(redis_pid(&up, "redis-server adopted"), Some(again));
    up.ready_on(&["worker-0", "worker-1"]).await;
    assert_eq!(identifies(&deployment), spent, "all shards resumed");
    up.stop().await;
    assert!(!is_running(again));
}

#[tokio::test(flavor = "multi_thread")]
async fn worker_that_never_serves_holds_up_no_other() {
    let deployment = Deployment::start(sim_config(40)).await;
    let place = Place::new();
    let program = place.worker_program("[ \"$WORKER_NAME\" != worker-0 ] || exec sleep 1000");
    let mut command = place.command(&deployment);
    command.arg("--worker-program").arg(program).env("SHARD_SPAWN_TIMEOUT", "8s");
    let mut up = Up::start(&place, &mut command).await;
    up.ready_on(&["worker-1"]).await;
    up.says("program did not serve in time, killing it", "worker-0").await;
    up.says("program ended; it is restarted", "worker-0").await;
    assert!(up.said("program ended", "worker-1").is_empty());
    up.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn frozen_worker_is_killed_and_comes_back() {
    frozen_program_is_killed_and_comes_back("worker-1").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn frozen_coordinator_is_killed_and_comes_back() {
    frozen_program_is_killed_and_comes_back("coordinator").await;
}

/// A frozen process keeps its connections open and its ports bound.
async fn frozen_program_is_killed_and_comes_back(name: &str) {
    let deployment = Deployment::start(sim_config(40)).await;
    let place = Place::new();
    let mut command = place.command(&deployment);
    let mut up = Up::start(&place, command.env("SHARD_SPAWN_TIMEOUT", "15s")).await;
    up.ready_on(&["worker-0", "worker-1"]).await;
    let spent = identifies(&deployment);
    let frozen = up.pid(name);
    kill_process(frozen, Signal::STOP).unwrap();
    up.says("program does not answer, killing it", name).await;
    gone("the frozen program to be killed", &[frozen]).await;
    up.says("program ended; it is restarted", name).await;
    up.ready_on(&["worker-0", "worker-1"]).await;
    assert!(up.said("program does not answer, killing it", "worker-0").is_empty());
    assert_eq!(identifies(&deployment), spent, "all shards resumed");
    up.stop().await;
    // Not `assert_lawful`: a frozen worker's sockets stay open while another worker runs its shards.
    let violations = deployment.sim.control().violations();
    assert!(violations.items.is_empty(), "{:#?}", violations.items);
}

#[tokio::test(flavor = "multi_thread")]
async fn worker_that_exits_at_once_is_restarted_later_each_time() {
    let deployment = Deployment::start(sim_config(40)).await;
    let place = Place::new();
    let program = place.worker_program("[ \"$WORKER_NAME\" != worker-0 ] || exit 7");
    let mut command = place.command(&deployment);
    command.arg("--worker-program").arg(program).env("SHARD_RESPAWN_DELAY", "100ms");
    let up = Up::start(&place, &mut command).await;
    up.ready_on(&["worker-1"]).await;
    let waits = until("five restarts", async || {
        let restarts = up.said("program ended; it is restarted", "worker-0");
        (restarts.len() >= 5)
            .then(|| restarts.iter().filter_map(|line| line["restart_in_ms"].as_u64()).collect::<Vec<_>>())
    })
    .await;
    for (at, wait) in waits.iter().enumerate().take(5) {
        let bound = 100 << at;
        // The wait is rounded down to milliseconds.
        assert!((bound / 2 - 1..=bound).contains(wait), "{waits:?}");
    }
    assert!(up.said("program ended", "worker-1").is_empty());
    up.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn leaking_worker_is_replaced_without_an_identify() {
    let deployment = Deployment::start(sim_config(40)).await;
    let place = Place::new();
    // What the worker starts counts too. The replacement does not leak.
    let leak = "if [ \"$WORKER_NAME\" = worker-0 ]; then (leak=$(head -c 250000000 /dev/zero | tr '\\0' x); sleep 1000; :) & fi";
    let mut command = place.command(&deployment);
    command.arg("--worker-program").arg(place.worker_program(leak));
    let up = Up::start(&place, command.env("MAX_MEMORY_RESTART", "150M")).await;
    up.ready_on(&["worker-0b", "worker-1"]).await;
    until("worker-0 to be gone", async || up.pid_if_listed("worker-0").is_none().then_some(())).await;
    assert_eq!(up.said("program ended", "worker-0").len(), 1);
    assert_eq!(up.said("program ended", "worker-0")[0]["exit"], "exit code 0", "drained, not killed");
    assert_eq!(identifies(&deployment), SHARDS as usize);
    up.stop().await;
    deployment.assert_lawful();
}

#[tokio::test(flavor = "multi_thread")]
async fn worker_that_is_signalled_twice_keeps_its_sessions() {
    let deployment = Deployment::start(sim_config(40)).await;
    let place = Place::new();
    let mut up = Up::start(&place, &mut place.command(&deployment)).await;
    up.ready_on(&["worker-0", "worker-1"]).await;
    let spent = identifies(&deployment);
    // As a service manager does that signals the whole process tree.
    for worker in ["worker-0", "worker-1"] {
        kill_process(up.pid(worker), Signal::TERM).unwrap();
    }
    assert_eq!(up.fleet.process.stop().await, 0, "{}", up.fleet.process.output());
    for worker in ["worker-0", "worker-1"] {
        let ended = up.said("program ended", worker);
        assert!(!ended.is_empty() && ended.iter().all(|line| line["exit"] == "exit code 0"), "{ended:?}");
    }
    let up = Up::start(&place, &mut place.command(&deployment)).await;
    up.ready_on(&["worker-0", "worker-1"]).await;
    assert_eq!(identifies(&deployment), spent, "all shards resumed");
    up.stop().await;
}
