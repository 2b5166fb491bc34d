//! Settings that are refused before anything starts.

use super::*;

fn run(command: &mut Command) -> (i32, String) {
    let output = command.output().unwrap();
    (output.status.code().unwrap_or(-1), String::from_utf8_lossy(&output.stderr).into_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn second_supervisor_on_a_folder_is_refused() {
    let deployment = Deployment::start(sim_config(4)).await;
    let place = Place::new();
    let up = Up::start(&place, &mut place.command(&deployment)).await;
    let (code, said) = run(&mut place.command(&deployment));
    assert_eq!(code, 2, "{said}");
    let pid = format!("pid {}", up.fleet.process.pid());
    assert!(said.contains(&pid) && said.contains("--state"), "{said}");
    up.ready_on(&["worker-0", "worker-1"]).await;
    up.stop().await;
}

#[test]
fn wrong_settings_are_one_line() {
    let place = Place::new();
    let held = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = held.local_addr().unwrap();
    let (port, taken) = (taken.port().to_string(), taken.to_string());
    for (name, value, says) in [
        ("DISCORD_TOKEN", "", "--simulate"),
        ("SHARD_COUNT", "many", "--shard-count"),
        ("SHARDS_PER_CLUSTER", "1", "room for 2 shards"),
        ("CLUSTER_COUNT", "5", "more than SHARD_COUNT=4"),
        ("INTENTS", "GILDS", "is not an intent"),
        ("MAX_MEMORY_RESTART", "much", "2G, 500M"),
        ("HEALTH_PORT", port.as_str(), "--health-port (HEALTH_PORT), worker 0"),
        ("HEALTH_PORT", "65535", "too high"),
        ("COORDINATOR_LISTEN", taken.as_str(), "--coordinator-listen"),
        ("MAX_MEMORY_RESTART", "2", "at least 32M"),
        ("SHARD_SPAWN_TIMEOUT", "500000000y", "at most 366days"),
        ("DRAIN_TIMEOUT", "500000000y", "at most 366days"),
        ("WORKER_PROGRAM", "/nonexistent", "/nonexistent"),
        ("WORKER_PROGRAM", "/", "is not an executable file"),
        ("WORKER_PROGRAM", "/etc/passwd", "is not an executable file"),
        ("WORKER_LISTEN", "127.0.0.1:7000", "port 0"),
        ("REDIS_URL", "http://x", "REDIS_URL"),
    ] {
        let mut command = place.bare_command();
        command.env("DISCORD_TOKEN", "a-token").env("REDIS_URL", "redis://127.0.0.1:1").env(name, value);
        let (code, said) = run(&mut command);
        assert_eq!(code, 2, "{name}={value}: {said}");
        assert!(said.contains(says), "{name}={value}: {said}");
        assert!(!said.contains(": error: "), "{said}");
        assert_eq!(said.lines().count(), 1, "{said}");
    }
}

#[test]
fn settings_file_is_read_and_the_environment_wins() {
    let place = Place::new();
    let file = place.folder.path().join(".env");
    fs::write(&file, "DISCORD_TOKEN=from-the-file\nCLUSTER_COUNT=9\nSHARD_COUNT=3\n").unwrap();
    let mut command = place.bare_command();
    command.arg("--check").env_remove("CLUSTER_COUNT").env("REDIS_URL", "redis://127.0.0.1:1");
    let (code, said) = run(&mut command);
    assert_eq!(code, 2, "{said}");
    assert!(said.contains("CLUSTER_COUNT=9 is more than SHARD_COUNT=4"), "{said}");
    for (text, line) in [
        ("DISCORD_TOKEN='broken\n", 1),
        ("# The bot's\nSHARD_COUNT=3\n\nDISCORD_TOKEN broken\n", 4),
        ("SHARD_COUNT=3\nDISCORD_TOKEN=\"broken\nCLUSTER_COUNT=9\n", 2),
    ] {
        fs::write(&file, text).unwrap();
        let (code, said) = run(&mut command);
        assert_eq!(code, 2, "{said}");
        assert!(
            said.contains(&format!(".env: line {line} is invalid")) && !said.contains("broken"),
            "{said}"
        );
    }
}

/// `doctor` reads the same `.env`, and asks the Redis that `up` has started.
#[tokio::test(flavor = "multi_thread")]
async fn doctor_checks_the_fleet_that_up_runs() {
    let deployment = Deployment::start(sim_config(40)).await;
    let place = Place::new();
    let file = place.folder.path().join(".env");
    fs::write(&file, "DISCORD_TOKEN=a-token-of-the-settings-tests\n").unwrap();
    let mut command = place.command(&deployment);
    command.env_remove("REDIS_URL").env_remove("DISCORD_TOKEN");
    let up = Up::start(&place, &mut command).await;
    up.ready_on(&["worker-0", "worker-1"]).await;

    let mut command = place.command(&deployment);
    command.env_remove("REDIS_URL").env_remove("DISCORD_TOKEN");
    let mut doctor = Command::new(command.get_program());
    doctor.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
    doctor.env_remove("DISCORD_TOKEN").env_remove("REDIS_URL").env("STATE_DIRECTORY", place.state());
    doctor
        .env("COORDINATOR_URL", &up.fleet.address)
        .current_dir(place.folder.path())
        .args(["doctor", "--json"]);
    let output = tokio::task::spawn_blocking(move || doctor.output().unwrap()).await.unwrap();
    let answer: Value = serde_json::from_slice(&output.stdout).unwrap();
    for (check, text) in [
        ("token", "Discord accepts it"),
        ("redis", "version"),
        ("redis_persistence", "appendonly"),
        ("fleet", "4 of 4 shards ready on 2 workers"),
    ] {
        let line = answer["lines"].as_array().unwrap().iter().find(|line| line["check"] == check).unwrap();
        assert!(line["result"] == "ok" && line["text"].as_str().unwrap().contains(text), "{line}");
    }
    up.stop().await;
}

/// A program that can't read the state of the supervisor must say so before it takes over.
#[test]
fn check_refuses_the_state_of_another_format() {
    let place = Place::new();
    let mut command = place.bare_command();
    command.arg("--check").env("DISCORD_TOKEN", "a-token").env("REDIS_URL", "redis://127.0.0.1:1");
    command.env("ALTERGOLDEN_UP_CHECK_HANDOVER", "1");
    let state = place.folder.path().join("handed");
    for (text, expected, says) in [
        (r#"{"format":1,"children":[],"coordinator":null,"simulator":null,"has_client":false}"#, 0, ""),
        (r#"{"format":9}"#, 1, "state on in format 9"),
        ("", 1, "cannot take over"),
    ] {
        fs::write(&state, text).unwrap();
        let (code, said) = run(command.stdin(fs::File::open(&state).unwrap()));
        assert_eq!(code, expected, "{text}: {said}");
        assert!(said.contains(says), "{text}: {said}");
    }
}
