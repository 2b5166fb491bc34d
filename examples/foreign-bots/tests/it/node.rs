//! Node programs: dependencies as locked, built from the current sources.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    sync::OnceLock,
};

use fleet_fixture::Process;
use serde_json::Value;

/// Returns the path of a file of the examples.
pub(crate) fn example(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join(path)
}

/// Asserts that the installed packages match the lock file.
fn installed(wanted: &str, present: &str) {
    let read = |path: &str| fs::read(example(path)).ok();
    assert!(
        read(present).is_some_and(|present| Some(present) == read(wanted)),
        "the installed packages do not match examples/{wanted}: run examples/install"
    );
}

/// Returns the command of a program of the examples. The first call builds them.
pub(crate) fn node(script: &str) -> Command {
    static BUILT: OnceLock<()> = OnceLock::new();
    BUILT.get_or_init(|| {
        installed("package-lock.json", "node_modules/.installed");
        let tsc = Command::new("node")
            .arg(example("node_modules/typescript/bin/tsc"))
            .arg("--build")
            .current_dir(example(""))
            .output()
            .unwrap_or_else(|error| panic!("node does not start ({error}): .ci/test installs it"));
        assert!(tsc.status.success(), "tsc failed:\n{}", String::from_utf8_lossy(&tsc.stdout));
    });
    let mut command = Command::new("node");
    command.arg("--enable-source-maps").arg(example(script));
    for (key, _) in std::env::vars() {
        if ["DISCORD", "BOT_TOKEN", "REDIS", "COORDINATOR", "RELAY", "REST_", "CREDENTIALS", "FLEET"]
            .iter()
            .any(|ours| key.starts_with(ours))
        {
            command.env_remove(key);
        }
    }
    command
}

/// Returns the command of a program in Python, which keeps its cursor in this folder.
pub(crate) fn python(script: &str, state: &Path) -> Command {
    installed("python-events/requirements.txt", "python-events/.venv/.installed");
    let mut command = Command::new(example("python-events/.venv/bin/python"));
    command.arg("-u").arg(example("python-events").join(script)).env("XDG_STATE_HOME", state);
    command
}

/// Starts a call of the TypeScript client that keeps running.
pub(crate) fn asking(url: &str, words: &[&str]) -> Process {
    Process::start("the TypeScript client", node("foreign-bots/node/ask.mjs").arg(url).args(words))
}

/// Makes a call of the TypeScript client and returns its result.
pub(crate) async fn ask(url: &str, words: &[&str]) -> Value {
    let mut process = asking(url, words);
    let said = process.line("an answer", |line| serde_json::from_str(line).ok()).await;
    assert!(process.ended().await.success(), "{}", process.output());
    said
}
