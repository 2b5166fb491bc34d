//! A message that kills the worker that handles it.

use std::time::Duration;

use chaos::{
    fleet::{Fleet, Setup},
    run::{self, Happened},
    schedule::Cost,
};
use discord_sim::Fault;
use tokio::time::Instant;

use crate::one_at_a_time;

/// The text of the message.
const POISON: &str = "a poisonous message";

/// Three deaths, with the breaker's waits of 5 and 10 s after the second and third.
const PATIENCE: Duration = Duration::from_secs(90);

/// Sends the message, and starts workers again that die of it until it is set aside; how many died.
async fn poison(fleet: &mut Fleet) -> Result<usize, String> {
    let guild = fleet.control().guilds(1, 4).remove(0);
    let message = Fault::Message { guild_id: guild.id, content: Some(POISON.to_owned()) };
    fleet.control().inject(message).map_err(|error| error.to_string())?;
    let until = Instant::now() + PATIENCE;
    let mut deaths = 0;
    loop {
        deaths += fleet.restart_dead();
        let mut client = fleet.coordinator().client().await;
        let events = client.set_asides().await.map_err(|error| error.to_string())?;
        if let [event] = &events[..] {
            let shown = client.set_aside(event.id.unwrap()).await.map_err(|error| error.to_string())?;
            let right = event.id.is_some_and(|id| id.shard_id == guild.shard.number)
                && event.name == "MESSAGE_CREATE"
                && (event.deaths, event.payload.is_empty()) == (2, true)
                && shown.payload.contains(POISON);
            return if right { Ok(deaths) } else { Err(format!("set aside was {shown:?}")) };
        }
        if !events.is_empty() {
            return Err(format!("others were set aside too: {events:?}"));
        }
        if Instant::now() > until {
            return Err(format!("{deaths} workers died and nothing is set aside after {PATIENCE:?}"));
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_kills_is_set_aside_and_all_else_is_handled() {
    let _turn = one_at_a_time::turn().await;
    // Others are in their handlers when it kills, and are not to blame.
    let setup = Setup { shards: 4, guilds: 32, events_per_second: 60.0, ..Setup::default() }
        .with("INTENTS", "GUILDS,GUILD_MESSAGES,GUILD_VOICE_STATES,MESSAGE_CONTENT")
        .with("LEDGER_HANDLE_MS", "10")
        .with("LEDGER_ABORT_ON", POISON);
    let mut deaths = 0;
    let outcome = run::run_with(setup, Cost::AtMost(0), async |fleet| {
        let poisoned = poison(fleet).await;
        deaths = *poisoned.as_ref().unwrap_or(&0);
        (Vec::<Happened>::new(), poisoned.err().into_iter().collect())
    })
    .await;
    outcome.assert_clean("a poisonous message: the same each time");
    assert_eq!(deaths, 3, "one fresh, two with the turn alone: {outcome}");
    let aborted = outcome.verdict.handled.values().filter(|process| process.died_at.is_some()).count();
    assert_eq!(aborted, deaths, "no worker died of anything else: {outcome}");
}
