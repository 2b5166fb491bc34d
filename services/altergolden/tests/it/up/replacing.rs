//! `altergolden up --replace` and SIGHUP.

use discord_sim::{Fault, SimConfig};

use super::*;

fn replace(place: &Place) -> Command {
    let mut command = command("altergolden");
    command.arg("up").arg("--replace").arg("--state").arg(place.state()).current_dir(place.folder.path());
    command
}

#[tokio::test(flavor = "multi_thread")]
async fn replace_keeps_the_pid_and_costs_no_identify() {
    let deployment = Deployment::start(sim_config(40)).await;
    let place = Place::new();
    let mut command = place.command(&deployment);
    // The port of the coordinator's health endpoints is refused at no time.
    let health = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let mut up = Up::start(&place, command.env("MANAGER_HEALTH_PORT", health.port().to_string())).await;
    up.ready_on(&["worker-0", "worker-1"]).await;
    up.says("program serves", "coordinator").await;
    let (spent, before, supervisor) = (identifies(&deployment), up.pids(), up.fleet.process.pid());

    let asking = tokio::spawn(async move {
        loop {
            if let Err(error) = tokio::net::TcpStream::connect(health).await {
                return error;
            }
            tokio::time::sleep(std::time::Duration::from_millis(2)).await;
        }
    });
    let mut replacing = Process::start("replace", &mut replace(&place));
    assert_eq!(replacing.ended().await.code(), Some(0), "{}", replacing.output());
    assert!(replacing.output().contains("3 programs replaced"), "{}", replacing.output());
    assert!(!asking.is_finished(), "the port was refused");
    asking.abort();

    up.ready_on(&["worker-0b", "worker-1b"]).await;
    assert!(before.iter().all(|pid| !is_running(*pid)), "the old programs are gone");
    assert_eq!(up.fleet.process.pid(), supervisor);
    assert!(up.fleet.process.status().is_none(), "the supervisor has its pid");
    assert_eq!(identifies(&deployment), spent, "all shards resumed");

    // And once more, by a signal: the names alternate.
    up.fleet.process.signal(Signal::HUP);
    up.ready_on(&["worker-0", "worker-1"]).await;
    assert_eq!(identifies(&deployment), spent, "all shards resumed");
    up.stop().await;
    deployment.assert_lawful();
}

#[tokio::test(flavor = "multi_thread")]
async fn refused_replacements_change_nothing() {
    let deployment = Deployment::start(sim_config(40)).await;
    let place = Place::new();
    let nothing_runs = replace(&place).output().unwrap();
    assert_eq!(nothing_runs.status.code(), Some(3), "{nothing_runs:?}");

    // The second name of a worker: its replacement does not come up.
    let program = place.worker_program("[ ${WORKER_NAME%b} = $WORKER_NAME ] || exec sleep 1000");
    let mut command = place.command(&deployment);
    command.arg("--worker-program").arg(program).env("SHARD_SPAWN_TIMEOUT", "8s");
    let up = Up::start(&place, &mut command).await;
    up.ready_on(&["worker-0", "worker-1"]).await;
    let (spent, worker) = (identifies(&deployment), up.pid("worker-0"));
    let mut replacing = Process::start("replace", &mut replace(&place));
    assert_eq!(replacing.ended().await.code(), Some(1), "{}", replacing.output());
    assert!(replacing.output().contains("worker-0 did not come up"), "{}", replacing.output());
    up.ready_on(&["worker-0", "worker-1"]).await;
    assert_eq!(up.pid("worker-0"), worker, "the old one stays");
    assert_eq!(identifies(&deployment), spent);
    up.stop().await;
}

/// The number of workers follows from the number of shards that Discord recommends, with room to grow: here 4. Only the coordinator knows it.
#[tokio::test(flavor = "multi_thread")]
async fn automatic_fleet_keeps_its_workers() {
    let deployment = Deployment::start(SimConfig { shards: Some(3), ..sim_config(40) }).await;
    let place = Place::new();
    let mut command = place.command(&deployment);
    command.env("SHARD_COUNT", "auto").env("SHARDS_PER_CLUSTER", "1").env_remove("CLUSTER_COUNT");
    let up = Up::start(&place, &mut command).await;
    up.ready_on(&["worker-0", "worker-1", "worker-2", "worker-3"]).await;
    assert_eq!(identifies(&deployment), SHARDS as usize);
    let mut replacing = Process::start("replace", &mut replace(&place));
    assert_eq!(replacing.ended().await.code(), Some(0), "{}", replacing.output());
    assert!(replacing.output().contains("5 programs replaced"), "{}", replacing.output());
    up.ready_on(&["worker-0b", "worker-1b", "worker-2b", "worker-3b"]).await;
    assert_eq!(identifies(&deployment), SHARDS as usize, "all shards resumed");
    up.stop().await;
    deployment.assert_lawful();
}

#[tokio::test(flavor = "multi_thread")]
async fn signals_while_the_next_image_starts_do_not_end_it() {
    let deployment = Deployment::start(sim_config(40)).await;
    let place = Place::new();
    let mut up = Up::start(&place, &mut place.command(&deployment)).await;
    up.ready_on(&["worker-0", "worker-1"]).await;
    let spent = identifies(&deployment);
    let supervisor = Pid::from_raw(up.fleet.process.pid().cast_signed()).unwrap();
    let signalling = tokio::spawn(async move {
        let mut pause = tokio::time::interval(std::time::Duration::from_millis(1));
        loop {
            pause.tick().await;
            kill_process(supervisor, Signal::HUP).unwrap();
        }
    });
    up.says("program taken over", "worker-1").await;
    signalling.abort();
    up.ready_on(&["worker-0b", "worker-1b"]).await;
    assert_eq!(identifies(&deployment), spent, "all shards resumed");
    up.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn coordinator_is_not_replaced_by_one_that_cannot_act() {
    let deployment = Deployment::start(sim_config(40)).await;
    let place = Place::new();
    let mut command = place.command(&deployment);
    let up = Up::start(&place, command.env("SHARD_SPAWN_TIMEOUT", "8s")).await;
    up.ready_on(&["worker-0", "worker-1"]).await;
    let before = up.pid("coordinator");
    for fault in [|on| Fault::RestDown { on }, |on| Fault::RejectToken { on }] {
        deployment.sim.control().inject(fault(true)).unwrap();
        let mut replacing = Process::start("replace", &mut replace(&place));
        assert_eq!(replacing.ended().await.code(), Some(1), "{}", replacing.output());
        assert!(replacing.output().contains("coordinator did not come up"), "{}", replacing.output());
        deployment.sim.control().inject(fault(false)).unwrap();
        assert_eq!(up.pid("coordinator"), before, "the one that acts stays");
    }
    up.ready_on(&["worker-0", "worker-1"]).await;
    up.stop().await;
}
