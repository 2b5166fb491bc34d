//! Discord libraries as independent judges, in `judges/`. These tests fail if the libraries are not installed.

use crate::client::start;
use discord_sim::SimConfig;
use std::{
    fs::{self, File},
    path::Path,
    time::Duration,
};
use tokio::{process::Command, time::timeout};

/// Timeout of a judge, on a busy machine.
const DEADLINE: Duration = Duration::from_mins(1);

const JUDGES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/judges");

/// The libraries wait 5 s between two IDENTIFYs of a bucket by their own clock. The shorter interval allows 200 ms for the way to a busy
/// simulator.
fn discord() -> SimConfig {
    SimConfig { guilds: 40, identify_interval: Duration::from_millis(4_800), ..SimConfig::default() }
}

async fn node(config: SimConfig, script: &str, arguments: &[&str]) {
    installed("node/package-lock.json", "node/node_modules/.installed");
    judge(config, "node", &format!("node/{script}"), arguments).await;
}

async fn python(config: SimConfig, script: &str, scenario: &str) {
    installed("python/requirements.txt", "python/.venv/.installed");
    let script = format!("python/{script}");
    judge(config, &format!("{JUDGES}/python/.venv/bin/python"), &script, &[scenario]).await;
}

/// Asserts that the installed libraries match the lock file.
fn installed(wanted: &str, present: &str) {
    let read = |path: &str| fs::read(Path::new(JUDGES).join(path)).ok();
    assert!(
        read(present).is_some_and(|present| Some(present) == read(wanted)),
        "the judges' libraries do not match {wanted}: run services/discord-sim/judges/install"
    );
}

async fn judge(config: SimConfig, program: &str, script: &str, arguments: &[&str]) {
    let sim = start(config).await;
    let test = std::thread::current().name().expect("tests have names").replace("::", "-");
    let log = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{test}.log"));
    let output = File::create(&log).unwrap();
    let mut child = Command::new(program)
        .arg(format!("{JUDGES}/{script}"))
        .arg(sim.http_origin())
        .args(arguments)
        .stdout(output.try_clone().unwrap())
        .stderr(output)
        .kill_on_drop(true)
        .spawn()
        .unwrap_or_else(|error| panic!("{program} does not start ({error}): .ci/test installs it"));
    let ended = timeout(DEADLINE, child.wait()).await;
    let output = fs::read_to_string(&log).unwrap();
    let status =
        ended.unwrap_or_else(|_| panic!("{script} took longer than {DEADLINE:?}:\n{output}")).unwrap();
    assert!(status.success(), "{script} failed:\n{output}");
    sim.shutdown().await;
}

#[tokio::test]
async fn discordjs_logs_in_with_the_guilds_of_the_simulator() {
    let config = SimConfig { shards: Some(2), max_concurrency: 2, ..discord() };
    node(config, "discordjs/login.mjs", &[]).await;
}

#[tokio::test]
async fn discordjs_resumes_without_loss() {
    node(discord(), "discordjs/resume.mjs", &[]).await;
}

#[tokio::test]
async fn discordjs_identifies_after_an_invalid_session() {
    node(discord(), "discordjs/new_session.mjs", &[]).await;
}

#[tokio::test]
async fn discordjs_registers_commands() {
    node(discord(), "discordjs/commands.mjs", &[]).await;
}

#[tokio::test]
async fn discordjs_answers_commands() {
    node(discord(), "discordjs/interaction.mjs", &[]).await;
}

#[tokio::test]
async fn discordjs_answers_buttons_menus_modals_and_autocomplete() {
    node(discord(), "discordjs/components.mjs", &[]).await;
}

#[tokio::test]
async fn discordjs_writes_messages_within_their_bucket() {
    node(discord(), "discordjs/messages.mjs", &[]).await;
}

#[tokio::test]
async fn discordjs_obeys_429s() {
    node(discord(), "discordjs/rate_limit.mjs", &[]).await;
}

#[tokio::test]
async fn discordjs_ws_1_with_zlib_sync_starts_four_shards_in_two_buckets() {
    node(SimConfig { max_concurrency: 2, ..discord() }, "ws/start.mjs", &["1"]).await;
}

#[tokio::test]
async fn discordjs_ws_1_with_zlib_sync_resumes_four_shards() {
    node(SimConfig { max_concurrency: 4, ..discord() }, "ws/resume.mjs", &["1"]).await;
}

#[tokio::test]
async fn discordjs_ws_2_with_native_zlib_starts_four_shards_in_two_buckets() {
    node(SimConfig { max_concurrency: 2, ..discord() }, "ws/start.mjs", &["2"]).await;
}

#[tokio::test]
async fn discordjs_ws_2_with_native_zlib_resumes_four_shards() {
    node(SimConfig { max_concurrency: 4, ..discord() }, "ws/resume.mjs", &["2"]).await;
}

#[tokio::test]
async fn hikari_starts_two_shards_in_one_bucket() {
    python(discord(), "judge.py", "start").await;
}

#[tokio::test]
async fn hikari_resumes_without_loss() {
    python(SimConfig { max_concurrency: 2, ..discord() }, "judge.py", "resume").await;
}

#[tokio::test]
async fn hikari_answers_commands_and_obeys_429s() {
    python(SimConfig { max_concurrency: 2, ..discord() }, "judge.py", "interaction").await;
}

#[tokio::test]
async fn discordpy_logs_in_with_the_guilds_of_the_simulator() {
    python(discord(), "discordpy.py", "login").await;
}

#[tokio::test]
async fn discordpy_syncs_and_answers_slash_commands() {
    python(discord(), "discordpy.py", "commands").await;
}

#[tokio::test]
async fn discordpy_writes_edits_and_purges_messages() {
    python(discord(), "discordpy.py", "messages").await;
}

#[tokio::test]
async fn discordpy_resumes_after_op_7_without_loss() {
    python(discord(), "discordpy.py", "resume").await;
}
