//! The program as a process.

use std::{
    io::{BufRead, BufReader},
    process::{Command, Stdio},
};

fn program() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_discord-sim"));
    command.env_clear();
    command
}

#[test]
fn program_prints_its_address_and_exits_on_sigterm() {
    let mut child = program()
        .args(["--listen", "127.0.0.1:0"])
        .env("SIM_GUILDS", "3")
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let port = line.strip_prefix("discord-sim listening on http://127.0.0.1:").expect("the line").trim();
    assert_ne!(port.parse::<u16>().unwrap(), 0);
    let killed = Command::new("kill").args(["-TERM", &child.id().to_string()]).status().unwrap();
    assert!(killed.success());
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

#[test]
fn invalid_setting_is_one_line_and_exit_code_2() {
    for (arguments, part) in [
        (["--guilds", "many"], "--guilds"),
        (["--identify-interval", "5"], "such as 500ms, 5s or 3m"),
        (["--max-concurrency", "0"], "--max-concurrency must be at least 1"),
        (["--largest-guild", "3"], "--largest-guild must be a number of members"),
        (["--profile", "giant"], "--profile"),
        (["--nonsense", "1"], "--nonsense"),
    ] {
        let output = program().args(arguments).output().unwrap();
        let error = String::from_utf8(output.stderr).unwrap();
        assert_eq!((output.status.code(), error.lines().count()), (Some(2), 1), "{error}");
        assert!(error.contains(part), "{error}");
    }
}

#[test]
fn help_names_settings_and_defaults() {
    let output = program().arg("--help").output().unwrap();
    let help = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success());
    for part in ["SIM_LISTEN", "127.0.0.1:3900", "SIM_TOKEN", "/sim/faults", "SIM_PROFILE", "50,000 guilds"] {
        assert!(help.contains(part), "{part}: {help}");
    }
}
