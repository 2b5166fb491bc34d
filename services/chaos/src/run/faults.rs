//! What a fault does to the fleet, and what undoes it.

use altergolden_proto::v1::{self, start_plan_request::Plan as Wish};
use discord_sim::{Fault as DiscordFault, Switches};
use fleet_fixture::{Signal, Traffic};

use crate::{
    fleet::Fleet,
    schedule::{Fault, Switch},
};

/// Begins a fault.
///
/// # Errors
/// Something did not do what it must, in words.
pub(super) async fn begin(fleet: &mut Fleet, fault: &Fault) -> Result<(), String> {
    match fault {
        Fault::KillWorker(worker) => fleet.kill_worker(*worker).await,
        Fault::StopWorker(worker) => fleet.signal_worker(*worker, Signal::STOP),
        Fault::KillCoordinator => fleet.kill_coordinator().await?,
        Fault::SecondCoordinator => fleet.start_second().await,
        Fault::EmptyRedis => fleet.deployment().redis.kill(),
        Fault::EmptyRedisAndKillWorker(worker) => {
            fleet.deployment().redis.kill();
            fleet.kill_worker(*worker).await;
        }
        Fault::PauseRedis => fleet.deployment().redis.pause(),
        Fault::RedisAway => {
            for link in fleet.redis_links() {
                fleet.link(link).cut();
            }
        }
        Fault::Cut(link) => fleet.link(*link).set(Traffic::Cut),
        Fault::Hang(link) => fleet.link(*link).set(Traffic::Hung),
        Fault::DrainWorker(worker) => fleet.drain_worker(*worker).await?,
        Fault::Move(shard, worker) => {
            let worker_id = fleet.worker_name(*worker);
            // Where it is already, or while another plan is under way, nothing happens.
            if fleet.start_plan(Wish::Move(v1::MoveShard { shard_id: *shard, worker_id })).await.is_ok() {
                fleet.plan_is_over().await;
            }
        }
        Fault::Deploy => fleet.deploy().await?,
        Fault::RestartFleet => fleet.stop_all().await?,
        // A guild that has an outage already, and the like: nothing happens.
        Fault::Discord(fault) => drop(fleet.control().inject((**fault).clone())),
        Fault::DiscordFor(both) => drop(fleet.control().inject(both[0].clone())),
        Fault::Oddity(odd) => {
            let preset = DiscordFault::Preset(odd.preset.clone());
            fleet.control().inject(preset).map_err(|error| format!("preset {}: {error}", odd.preset.name))?;
            drop(fleet.control().inject(odd.then.clone()));
        }
        Fault::Switch(switch) => switched(fleet, |switches| switch.set(switches))?,
    }
    Ok(())
}

/// Ends a fault.
///
/// # Errors
/// Something did not do what it must, in words.
pub(super) async fn end(fleet: &mut Fleet, fault: &Fault) -> Result<(), String> {
    match fault {
        Fault::KillWorker(worker) | Fault::DrainWorker(worker) => fleet.start_worker(*worker),
        Fault::StopWorker(worker) => fleet.signal_worker(*worker, Signal::CONT),
        Fault::KillCoordinator => fleet.start_coordinator().await,
        Fault::SecondCoordinator => fleet.stop_second().await?,
        Fault::EmptyRedis => fleet.deployment().redis.restart().await,
        Fault::EmptyRedisAndKillWorker(worker) => {
            fleet.deployment().redis.restart().await;
            fleet.start_worker(*worker);
        }
        Fault::PauseRedis => fleet.deployment().redis.resume(),
        Fault::RedisAway => {
            for link in fleet.redis_links() {
                fleet.link(link).heal();
            }
        }
        Fault::Cut(link) | Fault::Hang(link) => fleet.link(*link).heal(),
        Fault::RestartFleet => fleet.start_all().await,
        Fault::Discord(_) | Fault::Move(..) | Fault::Deploy => {}
        Fault::DiscordFor(both) => drop(fleet.control().inject(both[1].clone())),
        Fault::Oddity(odd) => {
            if let Some(undo) = &odd.undo {
                drop(fleet.control().inject(undo.clone()));
            }
            let name = Some(odd.preset.name.clone());
            drop(fleet.control().inject(DiscordFault::ClearOddities { name }));
        }
        Fault::Switch(switch) => switched(fleet, |switches| reset(*switch, switches))?,
    }
    Ok(())
}

fn switched(fleet: &Fleet, change: impl FnOnce(&mut Switches)) -> Result<(), String> {
    fleet.control().switch(change).map(drop).map_err(|error| error.to_string())
}

/// Sets a switch back. Two switches may be on at a time, each with its own end.
fn reset(switch: Switch, switches: &mut Switches) {
    let usual = Switches::default();
    match switch {
        Switch::ResumeWhileOpen(_) => switches.resume_while_open = usual.resume_while_open,
        Switch::HeartbeatTrims => switches.heartbeat_trims = usual.heartbeat_trims,
        Switch::NoCloseFrames => switches.close_frames = usual.close_frames,
        Switch::HelloDelay(_) => switches.hello_delay = usual.hello_delay,
        Switch::ResumeUrlDead => switches.resume_url_dead = usual.resume_url_dead,
        Switch::ZombieCloseCode(_) => switches.zombie_close_code = usual.zombie_close_code,
    }
}
