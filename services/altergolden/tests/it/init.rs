//! `altergolden init` as an operator runs it: with flags, and with answers on a terminal.

#[cfg(target_os = "linux")]
mod terminal;

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::Path,
    process::{Command, Output, Stdio},
};

use fleet_fixture::command;
use tempfile::TempDir;

const TOKEN: &str = "MTAx.Gabc_d-e.x1";

fn init(folder: &Path, words: &[&str]) -> Output {
    command("altergolden")
        .arg("init")
        .args(words)
        .arg("--dir")
        .arg(folder)
        .stdin(Stdio::null())
        .output()
        .unwrap()
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

fn token_file() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("token"), format!("{TOKEN}\n")).unwrap();
    folder
}

/// Checks the settings as `altergolden up` does at its start.
fn check_up(folder: &Path) -> Output {
    command("altergolden").args(["up", "--check"]).current_dir(folder).output().unwrap()
}

#[test]
fn up_accepts_what_init_writes() {
    let (folder, token) = (tempfile::tempdir().unwrap(), token_file());
    let file = token.path().join("token");
    let output = init(
        folder.path(),
        &["--yes", "--token-file", file.to_str().unwrap(), "--shards=4", "--workers=2", "--intents=GUILDS"],
    );
    assert!(output.status.success(), "{}", text(&output));
    assert!(text(&output).contains("altergolden up"), "{}", text(&output));
    let written = fs::read_to_string(folder.path().join(".env")).unwrap();
    assert!(written.contains(&format!("DISCORD_TOKEN_FILE={}\n", file.display())), "{written}");
    assert!(!written.contains(TOKEN) && !text(&output).contains(TOKEN));
    let checked = check_up(folder.path());
    assert!(checked.status.success(), "{}", text(&checked));
    // The check reads the file: a setting that contradicts it is refused.
    fs::write(folder.path().join(".env"), written.replace("CLUSTER_COUNT=2", "CLUSTER_COUNT=5")).unwrap();
    let checked = check_up(folder.path());
    assert!(
        checked.status.code() == Some(2) && text(&checked).contains("CLUSTER_COUNT=5"),
        "{}",
        text(&checked)
    );
}

#[test]
fn init_makes_credentials_that_up_takes() {
    let (folder, token) = (tempfile::tempdir().unwrap(), token_file());
    let file = token.path().join("token");
    let words = ["--yes", "--make-credentials", "--token-file", file.to_str().unwrap(), "--workers=2"];
    let output = init(folder.path(), &words);
    assert!(output.status.success(), "{}", text(&output));
    let credentials = folder.path().join("credentials");
    assert!(text(&output).contains("CREDENTIALS=") && credentials.join("coordinator.pem").is_file());
    let written = fs::read_to_string(folder.path().join(".env")).unwrap();
    assert!(written.contains(&format!("CREDENTIALS={}\n", credentials.display())), "{written}");
    assert!(check_up(folder.path()).status.success());
    // A folder that lacks a role's file is refused before anything starts.
    fs::remove_file(credentials.join("supervisor.pem")).unwrap();
    let checked = check_up(folder.path());
    assert!(checked.status.code() == Some(2) && text(&checked).contains("CREDENTIALS"), "{}", text(&checked));
}

#[test]
fn token_of_the_environment_is_written_and_not_shown() {
    let folder = tempfile::tempdir().unwrap();
    let output = command("altergolden")
        .args(["init", "--yes", "--dir"])
        .arg(folder.path())
        .env("DISCORD_TOKEN", TOKEN)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    assert!(output.status.success() && !text(&output).contains(TOKEN), "{}", text(&output));
    let file = folder.path().join(".env");
    assert!(fs::read_to_string(&file).unwrap().contains(&format!("DISCORD_TOKEN={TOKEN}\n")));
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    assert!(check_up(folder.path()).status.success());
}

#[test]
fn without_a_token_it_says_where_to_enter_one() {
    let folder = tempfile::tempdir().unwrap();
    let output = init(folder.path(), &["--yes"]);
    assert!(output.status.success() && text(&output).contains("enter the bot's token"), "{}", text(&output));
    let checked = check_up(folder.path());
    assert!(
        checked.status.code() == Some(2) && text(&checked).contains("DISCORD_TOKEN"),
        "{}",
        text(&checked)
    );
}

#[test]
fn existing_file_is_kept() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join(".env");
    fs::write(&file, "MINE=1\n").unwrap();
    let output = init(folder.path(), &["--yes"]);
    assert!(output.status.code() == Some(1) && text(&output).contains("--force"), "{}", text(&output));
    assert_eq!(fs::read_to_string(&file).unwrap(), "MINE=1\n");
    assert!(init(folder.path(), &["--yes", "--force"]).status.success());
    assert!(fs::read_to_string(&file).unwrap().contains("SHARD_COUNT=auto"));
}

#[test]
fn wrong_values_end_it_before_anything_is_written() {
    let folder = tempfile::tempdir().unwrap();
    for (words, says) in [
        (&["--yes", "--intents=GILDS"][..], "is not an intent"),
        (&["--yes", "--shards=0"], "--shards"),
        (&["--yes", "--workers=0"], "--workers"),
        (&["--yes", "--redis-url=redis://:hunter2@host:port"], "--redis-url"),
        (&["--yes", "--token-file=/nonexistent/token"], "/nonexistent/token"),
        (&["--yes", "--target=compose"], "compose.yaml"),
        (&["--yes", "--token=abc"], "--token"),
        (&[], "--yes"),
    ] {
        let output = init(folder.path(), words);
        let code = output.status.code().unwrap();
        assert!((1..=2).contains(&code) && text(&output).contains(says), "{words:?}: {}", text(&output));
        assert!(!text(&output).contains("hunter2"), "{}", text(&output));
    }
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
}

#[test]
fn unit_passes_systemds_own_check() {
    let (folder, token) = (tempfile::tempdir().unwrap(), token_file());
    let file = token.path().join("token");
    let output = init(folder.path(), &["--yes", "--target=systemd", "--token-file", file.to_str().unwrap()]);
    assert!(output.status.success() && text(&output).contains("systemctl enable --now"), "{}", text(&output));
    let settings = folder.path().join("altergolden.env");
    assert_eq!(fs::metadata(&settings).unwrap().permissions().mode() & 0o777, 0o600);
    assert!(fs::read_to_string(&settings).unwrap().contains(&format!("DISCORD_TOKEN={TOKEN}\n")));
    let unit = folder.path().join("altergolden.service");
    // The program is installed by the operator.
    let text = fs::read_to_string(&unit).unwrap();
    assert!(text.contains("ExecStart=/usr/local/bin/altergolden up\n"));
    fs::write(&unit, text.replace("/usr/local/bin/altergolden", "/bin/true")).unwrap();
    match Command::new("systemd-analyze").arg("verify").arg(&unit).output() {
        Ok(output) => {
            let said = String::from_utf8_lossy(&output.stderr);
            let ours: Vec<_> = said.lines().filter(|line| line.contains("altergolden")).collect();
            assert!(output.status.success() && ours.is_empty(), "{said}");
        }
        Err(error) => eprintln!("not checked, as systemd-analyze is not installed: {error}"),
    }
}
