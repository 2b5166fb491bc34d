use serde_json::{Value, json};

use super::*;
use crate::testing;

/// Sends that are free on a fresh connection.
const FREE: u8 = 117;

fn commands() -> Commands {
    Commands::new(testing::shard_at(testing::EPOCH, "none"))
}

fn voice(guild: u64) -> GatewayCommand {
    GatewayCommand::parse(json!({ "op": 4, "d": { "guild_id": guild.to_string() } })).unwrap()
}

fn presence(status: &str) -> GatewayCommand {
    GatewayCommand::parse(json!({ "op": 3, "d": { "status": status } })).unwrap()
}

fn status(due: &DueCommand) -> String {
    let payload: Value = serde_json::from_str(due.text()).unwrap();
    payload["d"]["status"].as_str().unwrap().to_owned()
}

async fn send(commands: &Commands, command: GatewayCommand) -> Result<(), CommandRefused> {
    let until = Instant::now() + Duration::from_secs(2);
    commands.send(command, until, |others| CommandRefused::NotConnected(format!("{others} others"))).await
}

fn room() -> SendRoom {
    SendRoom { free: FREE, from: Instant::now() }
}

/// Sends all that is due, as a shard's task does.
async fn connection(commands: &Commands) {
    loop {
        commands.due(Some(room())).await;
        while let Some(due) = commands.take(FREE) {
            commands.went_out(due);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn send_ends_once_the_command_has_gone_out() {
    let commands = commands();
    tokio::select! {
        () = connection(&commands) => {}
        sent = send(&commands, voice(1)) => assert_eq!(sent, Ok(())),
    }
    assert_eq!(commands.waiting(), 0);
}

#[tokio::test(start_paused = true)]
async fn command_is_not_sent_after_its_deadline() {
    let commands = commands();
    let began = Instant::now();
    let (one, two) = tokio::join!(send(&commands, voice(1)), async {
        tokio::select! {
            () = commands.due(None) => unreachable!("there is no room"),
            sent = send(&commands, voice(2)) => sent,
        }
    });
    let told = [one, two].map(|sent| sent.unwrap_err().to_string());
    assert!(told.contains(&"1 others".to_owned()) && told.contains(&"0 others".to_owned()), "{told:?}");
    assert_eq!(began.elapsed(), Duration::from_secs(2));
    assert!(commands.take(FREE).is_none());
}

#[tokio::test(start_paused = true)]
async fn connection_sends_waiting_commands() {
    let commands = commands();
    let late = async {
        tokio::time::sleep(Duration::from_millis(1_900)).await;
        connection(&commands).await;
    };
    tokio::select! {
        () = late => {}
        sent = send(&commands, voice(1)) => assert_eq!(sent, Ok(())),
    }
}

#[tokio::test(start_paused = true)]
async fn command_goes_with_its_caller() {
    let commands = commands();
    let impatient = tokio::time::timeout(Duration::from_millis(1), send(&commands, voice(1))).await;
    assert!(impatient.is_err());
    assert_eq!(commands.waiting(), 0);
}

#[tokio::test(start_paused = true)]
async fn command_being_sent_is_reported_lost_with_its_connection() {
    let commands = commands();
    let losing = async {
        commands.due(Some(room())).await;
        let due = commands.take(FREE).unwrap();
        tokio::time::sleep(Duration::from_millis(5)).await;
        commands.was_lost(due);
    };
    let (sent, ()) = tokio::join!(send(&commands, voice(1)), losing);
    assert_eq!(sent, Err(CommandRefused::Lost));
    // Past the deadline the outcome is unknown too.
    let dawdling = async {
        commands.due(Some(room())).await;
        let due = commands.take(FREE).unwrap();
        tokio::time::sleep(Duration::from_secs(5)).await;
        commands.went_out(due);
    };
    let (sent, ()) = tokio::join!(send(&commands, voice(1)), dawdling);
    assert_eq!(sent, Err(CommandRefused::Lost));
}

#[tokio::test(start_paused = true)]
async fn older_presence_is_reported_as_replaced() {
    let commands = commands();
    let newer = async {
        tokio::time::sleep(Duration::from_millis(10)).await;
        tokio::select! {
            biased;
            sent = send(&commands, presence("dnd")) => sent,
            () = connection(&commands) => unreachable!(),
        }
    };
    let (older, newer) = tokio::join!(send(&commands, presence("idle")), newer);
    assert_eq!((older, newer), (Err(CommandRefused::Replaced), Ok(())));
    assert!(commands.shard.presence().unwrap().contains("dnd"));
}

#[tokio::test(start_paused = true)]
async fn closing_refuses_waiting_and_later_commands() {
    let commands = commands();
    let closing = async {
        tokio::time::sleep(Duration::from_millis(10)).await;
        commands.close(CommandRefused::NotMine);
    };
    let (sent, ()) = tokio::join!(send(&commands, voice(1)), closing);
    assert_eq!(sent, Err(CommandRefused::NotMine));
    assert_eq!(send(&commands, voice(1)).await, Err(CommandRefused::NotMine));
}

#[tokio::test(start_paused = true)]
async fn last_presence_goes_into_each_new_session() {
    let commands = commands();
    commands.session_began();
    assert!(commands.take(FREE).is_none(), "there was none");
    inherit_presence(&commands.shard, "nonsense");
    inherit_presence(&commands.shard, voice(1).text());
    assert_eq!(commands.shard.presence(), None);
    inherit_presence(&commands.shard, presence("idle").text());
    commands.session_began();
    let due = commands.take(FREE).unwrap();
    assert_eq!(status(&due), "idle");
    // The connection goes before it is sent, and the next one resumes.
    commands.was_lost(due);
    let due = commands.take(FREE).unwrap();
    commands.went_out(due);
    inherit_presence(&commands.shard, presence("dnd").text());
    assert!(commands.shard.presence().unwrap().contains("idle"), "an older one's word comes late");
    // A newer one that waits goes in its place.
    let newer = async {
        tokio::task::yield_now().await;
        commands.session_began();
        assert_eq!(commands.waiting(), 1);
        connection(&commands).await;
    };
    tokio::select! {
        () = newer => {}
        sent = send(&commands, presence("online")) => assert_eq!(sent, Ok(())),
    }
    assert!(commands.shard.presence().unwrap().contains("online"));
}

#[tokio::test(start_paused = true)]
async fn session_gets_its_presence_after_a_newer_one_failed() {
    let commands = commands();
    inherit_presence(&commands.shard, presence("idle").text());
    commands.session_began();
    // It takes the place of the one that is owed, and is too late itself.
    let newer = send(&commands, presence("online")).await;
    assert!(matches!(newer, Err(CommandRefused::NotConnected(_))), "{newer:?}");
    let due = commands.take(FREE).expect("the one that is owed");
    assert_eq!(status(&due), "idle");
    commands.went_out(due);
    // Owed no more: what comes to nothing leaves nothing behind.
    let newer = send(&commands, presence("online")).await;
    assert!(newer.is_err() && commands.waiting() == 0);
}

#[tokio::test(start_paused = true)]
async fn command_past_its_deadline_is_refused() {
    let commands = commands();
    let late =
        commands.send(voice(1), Instant::now(), |_| CommandRefused::NotConnected("late".to_owned())).await;
    assert_eq!((late, commands.waiting()), (Err(CommandRefused::NotConnected("late".to_owned())), 0));
}
