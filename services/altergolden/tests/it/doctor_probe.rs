//! `altergolden doctor --probe` against discord-sim, with each of its verdicts seen both ways. The real Discord is never dialled.

use std::{process::Command, time::Duration};

use discord_sim::{
    Action, Edit, Fault, Intents, Moment, Patch, ResumeWhileOpen, Script, Sim, SimConfig, Switches,
};
use fleet_fixture::{Deployment, all_ready, command, sim_config, until};
use redis_fixture::RedisServer;
use serde_json::Value;

const TOKEN: &str = "MTIzNDU2Nzg5.Gabcde.a-token-of-the-probes-tests";
/// Discord's 5 s, shortened.
const INTERVAL: Duration = Duration::from_millis(500);

/// A busy bot that may identify soon again.
fn busy() -> SimConfig {
    SimConfig { guilds: 20, identify_interval: INTERVAL, events_per_second: 40.0, ..SimConfig::default() }
}

/// The probe's answer.
struct Answer {
    code: i32,
    json: Value,
    out: String,
    err: String,
}

impl Answer {
    fn check(&self, name: &str) -> &Value {
        let checks = self.json["checks"].as_array().unwrap_or_else(|| panic!("{} {}", self.out, self.err));
        checks
            .iter()
            .find(|check| check["check"] == name)
            .unwrap_or_else(|| panic!("no {name}: {}", self.out))
    }

    #[track_caller]
    fn expect(&self, name: &str, result: &str, part: &str) {
        let check = self.check(name);
        let found = check["found"].as_str().unwrap();
        assert!(
            check["result"] == result && found.contains(part),
            "{name}: {check}; expected {result}: {part}"
        );
    }
}

fn probe(sim: &Sim) -> Command {
    listening(sim, "1500ms")
}

fn listening(sim: &Sim, time: &str) -> Command {
    let mut command = command("altergolden");
    command
        .args(["doctor", "--probe", "--yes", "--json", "--listen", time])
        .env("DISCORD_TOKEN", TOKEN)
        .env("DISCORD_API_URL", sim.http_origin())
        .env("IDENTIFY_INTERVAL", "500ms")
        // No coordinator listens there.
        .env("COORDINATOR_URL", "http://127.0.0.1:1")
        .env_remove("INTENTS");
    command
}

/// Runs beside the test, which steers the simulator meanwhile.
async fn run(mut command: Command) -> Answer {
    let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
    let out = String::from_utf8(output.stdout).unwrap();
    let err = String::from_utf8(output.stderr).unwrap();
    assert!(!format!("{out}{err}").contains("a-token-of-the-probes-tests"), "the token is shown: {out}{err}");
    let json = serde_json::from_str(&out).unwrap_or(Value::Null);
    Answer { code: output.status.code().unwrap(), json, out, err }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_whole_run_spends_six_identifies_and_shows_no_secret() {
    let sim = Sim::start(busy()).await.unwrap();
    let folder = std::env::temp_dir().join(format!("probe-report-{}.json", std::process::id()));
    let mut command = probe(&sim);
    command.arg("--report").arg(&folder);
    let answer = run(command).await;
    answer.expect("key_order", "as_assumed", "t,s,op,d in");
    answer.expect("two_sessions_order", "as_assumed", "0 out of order, 0 in only one of them");
    answer.expect("two_sessions_bytes", "as_assumed", "0 of");
    answer.expect("resume_after_break", "as_assumed", "RESUMED");
    assert_ne!(answer.check("resume_after_break")["detail"]["replayed"], 0, "{}", answer.out);
    answer.expect("resume_while_open", "as_assumed", "takeover");
    answer.expect("identify_spacing", "as_assumed", "ms later: op 9 (false)");
    assert!(
        answer.err.contains("It spends 6 IDENTIFYs, and at most 10 if a session is lost"),
        "{}",
        answer.err
    );
    let identifies = &answer.json["identifies"];
    let (spent, before, after) = (
        &identifies["spent"],
        identifies["left_before"].as_u64().unwrap(),
        identifies["left_after"].as_u64().unwrap(),
    );
    assert_eq!((spent, before), (&6.into(), 1_000));
    assert!(after < before, "{identifies}");
    assert_eq!(answer.json["ended_early"], Value::Null);
    assert_eq!(answer.json["real_discord"], false);

    let control = sim.control();
    assert_eq!(control.identifies().items.len(), 6);
    until("every connection to be closed", async || {
        control.sessions().shards.iter().all(|shard| shard.open == 0).then_some(())
    })
    .await;
    let file = std::fs::read_to_string(&folder).unwrap();
    std::fs::remove_file(&folder).unwrap();
    assert_eq!(serde_json::from_str::<Value>(&file).unwrap(), answer.json);
    let secrets = control.ledger().sessions.into_iter().map(|session| session.session_id);
    let guilds = control.guilds(20, 1).into_iter().map(|guild| guild.id.to_string());
    for hidden in secrets.chain(guilds) {
        assert!(!file.contains(&hidden), "{hidden} is in the report: {file}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_answer_to_a_resume_while_open_is_told_apart() {
    for (switch, kind) in [
        (ResumeWhileOpen::Refuse, "refused"),
        (ResumeWhileOpen::RefuseForNow, "refused for now"),
        (ResumeWhileOpen::Both, "both get events"),
    ] {
        let switches = Switches { resume_while_open: switch, ..Switches::default() };
        let sim = Sim::start(SimConfig { switches, ..busy() }).await.unwrap();
        let answer = run(probe(&sim)).await;
        answer.expect("resume_while_open", "differs", kind);
        assert_eq!(answer.check("resume_while_open")["detail"]["kind"], kind);
        answer.expect("resume_after_break", "as_assumed", "RESUMED");
        assert_eq!(answer.code, 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn early_identifies_that_are_accepted_differ() {
    let sim = Sim::start(SimConfig { identify_interval: Duration::from_millis(10), ..busy() }).await.unwrap();
    let answer = run(probe(&sim)).await;
    answer.expect("identify_spacing", "differs", "ms later: READY");
    assert_eq!(answer.code, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn resumes_that_are_refused_differ() {
    let sim = Sim::start(busy()).await.unwrap();
    sim.control().inject(Fault::DenyResumes { on: true }).unwrap();
    let answer = run(probe(&sim)).await;
    answer.expect("resume_after_break", "differs", "op 9 (false)");
    answer.expect("resume_while_open", "not_observed", "no session is left");
    answer.expect("identify_spacing", "as_assumed", "");
}

#[tokio::test(flavor = "multi_thread")]
async fn other_bytes_and_missing_events_of_one_session_are_found() {
    let sim = Sim::start(busy()).await.unwrap();
    let control = sim.control();
    let command = listening(&sim, "4s");
    let changing = async {
        // READY, 20 guilds, and then messages.
        until("two sessions with messages", async || {
            let sessions = control.ledger().sessions;
            let busy = sessions.iter().filter(|one| one.ended_at_ms.is_none() && one.sequence > 30);
            (busy.count() == 2).then_some(())
        })
        .await;
        // Each changes the copy of one event for one of the sessions.
        let edits = vec![Edit::Set { path: "/content".to_owned(), value: "other".into() }];
        let patch = Patch { event: "MESSAGE_CREATE".to_owned(), times: Some(1), ..Patch::default() };
        control.inject(Fault::Patch(Patch { edits, ..patch.clone() })).unwrap();
        until("the first patch to be applied", async || {
            control.oddities().iter().all(|one| one.left == Some(0)).then_some(())
        })
        .await;
        // Not the other session's copy of the same event.
        let sent = control.ledger().messages_dispatched;
        until("more messages", async || (control.ledger().messages_dispatched > sent + 5).then_some(()))
            .await;
        control.inject(Fault::Patch(Patch { leave_out: true, ..patch })).unwrap();
    };
    let (answer, ()) = tokio::join!(run(command), changing);
    answer.expect("two_sessions_bytes", "differs", "1 of");
    answer.expect("two_sessions_order", "differs", "1 in only one of them");
}

fn once_after_ready(text: &str) -> Fault {
    Fault::Script(Script {
        name: None,
        at: Moment::Ready,
        address: None,
        shards: None,
        times: Some(1),
        instead: false,
        actions: vec![Action::Text { text: text.to_owned(), times: 1 }],
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn other_order_of_keys_is_found() {
    let sim = Sim::start(busy()).await.unwrap();
    let odd = r#"{"op":0,"t":"TYPING_START","s":2,"d":{"guild_id":"5","user_id":"9"}}"#;
    sim.control().inject(once_after_ready(odd)).unwrap();
    let answer = run(probe(&sim)).await;
    answer.expect("key_order", "differs", "op,t,s,d in 1");
    answer.expect("guild_id_last", "differs", "last in 0 of");
    assert_eq!(answer.code, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_silent_bot_leaves_checks_open() {
    let sim = Sim::start(SimConfig { guilds: 0, ..busy() }).await.unwrap();
    let last = r#"{"t":"TYPING_START","s":1,"op":0,"d":{"user_id":"9","guild_id":"5"}}"#;
    sim.control().inject(once_after_ready(last)).unwrap();
    let answer = run(probe(&sim)).await;
    answer.expect("guild_id_last", "as_assumed", "last in 1 of 1");
    answer.expect("two_sessions_order", "not_observed", "0 events came to both");
    answer.expect("two_sessions_bytes", "not_observed", "no event came to both");
    answer.expect("resume_while_open", "as_assumed", "takeover");
    assert_eq!(answer.code, 4, "{}", answer.out);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wait_is_tried_as_long_as_asked() {
    let switches = Switches { session_life: Duration::from_secs(5), ..Switches::default() };
    let sim = Sim::start(SimConfig { switches, ..busy() }).await.unwrap();
    let mut command = probe(&sim);
    command.args(["--wait", "1s"]);
    run(command).await.expect("resume_after_wait", "as_assumed", "after 1 s without a connection: RESUMED");
    let mut command = probe(&sim);
    command.args(["--wait", "7s"]);
    run(command).await.expect("resume_after_wait", "differs", "after 7 s without a connection: op 9 (false)");
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_spent_beside_a_fleet_or_without_consent() {
    let deployment = Deployment::start(sim_config(8)).await;
    let coordinator = deployment.coordinator(2).await;
    let worker = deployment.worker("a", &coordinator).await;
    coordinator.until("the fleet to be ready", all_ready).await;
    let spent = deployment.sim.control().identifies().items.len();

    let mut beside = probe(&deployment.sim);
    beside.env("COORDINATOR_URL", &coordinator.address);
    let answer = run(beside).await;
    assert!(answer.code == 1 && answer.err.contains("a fleet runs at COORDINATOR_URL"), "{}", answer.err);
    // Its coordinator is elsewhere, and its leases are in Redis.
    let mut leases = probe(&deployment.sim);
    leases.env("REDIS_URL", deployment.redis.url());
    let answer = run(leases).await;
    assert!(answer.code == 1 && answer.err.contains("1 workers hold leases"), "{}", answer.err);
    let mut silent = Command::new(fleet_fixture::binary("altergolden"));
    silent.args(["doctor", "--probe"]).env("DISCORD_API_URL", deployment.sim.http_origin());
    silent.env("DISCORD_TOKEN", TOKEN).stdin(std::process::Stdio::null());
    let answer = run(silent).await;
    assert!(answer.code == 2 && answer.err.contains("add --yes"), "{}", answer.err);
    assert_eq!(deployment.sim.control().identifies().items.len(), spent);
    drop(worker);
}

#[tokio::test(flavor = "multi_thread")]
async fn short_budgets_wrong_tokens_and_intents_end_it() {
    let mut config = busy();
    config.privileged_intents = Intents(0);
    let sim = Sim::start(config).await.unwrap();
    let control = sim.control();
    let mut intents = probe(&sim);
    intents.env("INTENTS", "GUILDS,GUILD_MEMBERS");
    let answer = run(intents).await;
    assert!(answer.code == 4 && answer.err.contains("closed with 4014: correct INTENTS"), "{}", answer.err);
    assert_eq!(answer.json["identifies"]["spent"], 1);
    let limit = Fault::SessionLimit { max_concurrency: None, remaining: Some(9), shards: None };
    control.inject(limit).unwrap();
    let answer = run(probe(&sim)).await;
    assert!(answer.code == 1 && answer.err.contains("9 IDENTIFYs are left today"), "{}", answer.err);
    control.inject(Fault::RejectToken { on: true }).unwrap();
    let answer = run(probe(&sim)).await;
    assert_eq!(answer.code, 78, "{}", answer.err);
    let mut hasty = probe(&sim);
    hasty.env_remove("DISCORD_API_URL");
    let answer = run(hasty).await;
    assert!(answer.code == 2 && answer.err.contains("IDENTIFY_INTERVAL"), "{}", answer.err);
    let redis = RedisServer::start().await;
    redis.pause();
    let mut unknown = probe(&sim);
    unknown.env("REDIS_URL", redis.url());
    let answer = run(unknown).await;
    assert!(answer.code == 4 && answer.err.contains("cannot tell whether a fleet runs"), "{}", answer.err);
    redis.resume();
}
