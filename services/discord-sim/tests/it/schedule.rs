//! Fault schedules.

use crate::client::{Client, PATIENCE, USUAL, first_guild, quick, start};
use discord_sim::{Fault, FaultKind, GuildState, Schedule};

fn schedule(kinds: Vec<FaultKind>, count: u64) -> Schedule {
    Schedule { seed: 7, mean_ms: 10, kinds, presets: Vec::new(), shards: Some(1), count: Some(count) }
}

#[tokio::test]
async fn schedule_injects_and_lists_its_faults() {
    let sim = start(quick()).await;
    let (mut client, ..) = Client::open_all(&sim, (0, 1), USUAL).await;
    sim.control().set_schedule(Some(schedule(vec![FaultKind::RequestHeartbeat], 3))).unwrap();
    for _ in 0..3 {
        assert_eq!(client.payload().await["op"], 1);
    }
    let faults = sim.control().faults().items;
    assert_eq!(faults.len(), 3);
    assert!(
        faults.iter().all(|one| one.scheduled && one.connections == 1 && one.error.is_none()),
        "{faults:?}"
    );
    sim.shutdown().await;
}

#[tokio::test]
async fn schedule_ends_only_its_own_faults_and_then_stops() {
    let sim = start(quick()).await;
    let control = sim.control();
    control.inject(Fault::RestDown { on: true }).unwrap();
    control.set_schedule(Some(schedule(vec![FaultKind::RestDown], 3))).unwrap();
    assert!(control.wait_until(PATIENCE, |control| control.schedule().is_none()).await);
    let faults = control.faults().items;
    assert_eq!(faults.iter().filter(|one| one.scheduled && one.error.is_some()).count(), 3, "{faults:?}");
    assert!(!faults.iter().any(|one| matches!(one.fault, Fault::RestDown { on: false })), "{faults:?}");
    sim.shutdown().await;
}

#[tokio::test]
async fn scheduled_resets_do_not_add_up_and_messages_are_not_listed() {
    let sim = start(quick()).await;
    let control = sim.control();
    control.set_schedule(Some(schedule(vec![FaultKind::AcceptThenClose], 5))).unwrap();
    assert!(control.wait_until(PATIENCE, |control| control.schedule().is_none()).await);
    let mut reset = Client::dial(&sim, "/?v=10&encoding=json").await;
    assert!(reset.raw().await.is_none());
    let _second = Client::connect(&sim).await;
    let guild_id = first_guild(&control);
    control.inject(Fault::Message { guild_id, content: None }).unwrap();
    assert_eq!(control.faults().items.len(), 5);
    sim.shutdown().await;
}

#[tokio::test]
async fn ending_a_schedule_ends_its_faults() {
    let sim = start(quick()).await;
    let control = sim.control();
    let in_outage = |control: &discord_sim::Control| {
        control.guilds(8, 1).iter().any(|guild| guild.state == GuildState::Outage)
    };
    control
        .set_schedule(Some(Schedule { count: None, ..schedule(vec![FaultKind::GuildOutage], 0) }))
        .unwrap();
    assert!(control.wait_until(PATIENCE, in_outage).await);
    control.set_schedule(None).unwrap();
    assert!(control.wait_until(PATIENCE, |control| !in_outage(control)).await);
    let begun = control.faults().items;
    let ends = begun.iter().filter(|one| matches!(one.fault, Fault::GuildOutage { on: false, .. })).count();
    assert!(ends > 0 && control.schedule().is_none());
    assert!(control.set_schedule(Some(Schedule { mean_ms: 1, ..schedule(vec![], 1) })).is_err());
    sim.shutdown().await;
}
