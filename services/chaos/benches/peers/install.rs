//! What must be there before the measurement: the programs, Node.js, the peers' packages at their locked versions.

use std::{
    fs,
    path::Path,
    process::{Command, Stdio},
};

use serde_json::Value;

/// discord.js needs this version of Node.js.
const NODE: (u32, u32) = (18, 17);

/// Checks for the programs, and installs the peers' packages if they are missing or old.
pub(crate) fn prepare(folder: &Path, with_peers: bool) -> Result<(), String> {
    let own = std::env::current_exe().map_err(|error| error.to_string())?;
    let programs = own.ancestors().nth(2).ok_or("the benchmark is not in cargo's folder")?;
    for program in ["coordinator", "ledger-bot"] {
        if !programs.join(program).exists() {
            return Err(format!(
                "needs {}: run `cargo build --release --workspace --bins --locked` first",
                programs.join(program).display()
            ));
        }
    }
    if output("redis-server", &["--version"]).is_none() {
        return Err("needs redis-server on the PATH".to_owned());
    }
    if !with_peers {
        return Ok(());
    }
    let node = output("node", &["--version"]).ok_or("needs node (18.17 or newer) on the PATH")?;
    let version: Vec<u32> =
        node.trim_start_matches('v').split('.').filter_map(|part| part.parse().ok()).collect();
    if !matches!(version[..], [major, minor, ..] if (major, minor) >= NODE) {
        return Err(format!("needs node 18.17 or newer, not {node}"));
    }
    install(folder)
}

/// A copy of the lock file records what was installed.
fn install(folder: &Path) -> Result<(), String> {
    let (lock, stamp) = (folder.join("package-lock.json"), folder.join("node_modules/.installed"));
    let wanted = fs::read(&lock).map_err(|error| format!("cannot read {}: {error}", lock.display()))?;
    if fs::read(&stamp).is_ok_and(|installed| installed == wanted) {
        return Ok(());
    }
    let installed = Command::new("npm")
        .args(["ci", "--loglevel", "error", "--prefix"])
        .arg(folder)
        .stdout(Stdio::null())
        .status()
        .map_err(|error| format!("needs npm on the PATH, to install the peers: {error}"))?;
    if !installed.success() {
        return Err(format!("npm ci in {} failed: {installed}", folder.display()));
    }
    fs::write(&stamp, wanted).map_err(|error| format!("cannot write {}: {error}", stamp.display()))
}

/// The first line that a program prints.
pub(crate) fn output(program: &str, args: &[&str]) -> Option<String> {
    let output = Command::new(program).args(args).stdin(Stdio::null()).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    Some(text.lines().next()?.trim().to_owned())
}

/// The installed version of a package.
pub(crate) fn package(folder: &Path, name: &str) -> Option<String> {
    let text = fs::read(folder.join("node_modules").join(name).join("package.json")).ok()?;
    Some(serde_json::from_slice::<Value>(&text).ok()?["version"].as_str()?.to_owned())
}
