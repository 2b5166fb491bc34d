//! `altergolden status --watch`, and progress bars, in a real terminal.

use std::process::Command;

use fleet_fixture::{Coordinator, Deployment, binary, sim_config};

use crate::{cli::altergolden, tmux::Tmux};

/// The command line that opens the screen, and prints its exit code when it is over.
fn command_line(url: &str) -> String {
    format!("{} status --watch --url {url}; echo \"code $?\"", binary("altergolden").display())
}

/// The terminal is in the mode of before: lines are edited and typed characters shown.
async fn assert_restored(tmux: &Tmux) {
    tmux.says("stty -a | tr ' ;' '\\n\\n' | grep -cx -e icanon -e echo -e isig", "3").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn live_screen_shows_the_fleet_and_restores_the_terminal() {
    let deployment = Deployment::start(sim_config(40)).await;
    let coordinator = deployment.coordinator(4).await;
    let (a, b) = tokio::join!(deployment.worker("a", &coordinator), deployment.worker("b", &coordinator));
    coordinator.until_balanced(&[&a, &b]).await;
    let tmux = Tmux::start(80, 24).await;
    let line = command_line(&coordinator.address);
    tmux.run(&line);

    let rows = [
        "4 shards ready   40 guilds",
        "2 workers",
        "acting",
        "none waiting",
        "plan      none",
        "0 ■",
        "3 ■",
        " a ",
    ];
    let overview = tmux.until_all(&[&rows[..], &[" b ", "2/2", "? help  q quit"]].concat()).await;
    assert!(overview.lines().count() <= 24, "{overview}");
    tmux.until("a rate", |screen| screen.lines().next().is_some_and(|line| !line.contains("– events/s")))
        .await;

    // Keys.
    tmux.keys(&["2", "Down", "Enter"]);
    let rows = ["shard 1 ──", "state       ■ ready for ", "start       identified in ", "gap         none"];
    tmux.until_all(&rows).await;
    tmux.keys(&["Escape"]);
    tmux.until("the list", |screen| screen.contains("SHARD WORKER")).await;
    tmux.keys(&["/", "3", "Enter"]);
    tmux.until("the filtered list", |screen| {
        let lists_shard_1 = screen.lines().any(|line| line.starts_with("     1 "));
        screen.contains("shards that pass the filter") && !lists_shard_1
    })
    .await;
    tmux.keys(&["?"]);
    tmux.until("the help", |screen| screen.contains(" keys ──")).await;
    tmux.keys(&["?", "1"]);
    tmux.until("the overview again", |screen| screen.contains("1 of 4 shards")).await;

    // Another size.
    tmux.resize(60, 12);
    tmux.until("a small screen", |screen| {
        let rows: Vec<&str> = screen.lines().collect();
        rows.len() == 12 && rows[0].contains("4 shards ready") && rows[11].contains("overview")
    })
    .await;

    tmux.keys(&["q"]);
    tmux.until("the exit code on the screen of before", |screen| {
        screen.contains("code 0") && !screen.contains("shards ready")
    })
    .await;
    assert_restored(&tmux).await;

    // Ctrl-C and SIGTERM.
    tmux.run(&format!("clear; {line}"));
    tmux.until("the overview", |screen| screen.contains("4 shards ready")).await;
    tmux.keys(&["C-c"]);
    tmux.until("the exit code", |screen| screen.contains("code 0")).await;
    assert_restored(&tmux).await;
    let pid = tmux.file("pid");
    let (program, after) = line.split_once(';').unwrap();
    tmux.run(&format!("clear; sh -c 'echo $$ > {}; exec {program}'; {after}", pid.display()));
    tmux.until("the overview", |screen| screen.contains("4 shards ready")).await;
    let pid = std::fs::read_to_string(pid).unwrap();
    let kill = format!("kill -TERM {}", pid.trim());
    assert!(Command::new("sh").args(["-c", &kill]).status().unwrap().success());
    tmux.until("the exit code", |screen| screen.contains("code 0")).await;
    assert_restored(&tmux).await;

    // The terminal goes away.
    let pid = tmux.file("pid");
    tmux.run(&format!("clear; sh -c 'echo $$ > {}; exec {program}'", pid.display()));
    tmux.until("the overview", |screen| screen.contains("4 shards ready")).await;
    let pid = std::fs::read_to_string(pid).unwrap();
    tmux.close();
    fleet_fixture::until("the end of the program", async || {
        let Ok(stat) = std::fs::read_to_string(format!("/proc/{}/stat", pid.trim())) else { return Some(()) };
        // A zombie has ended too.
        stat.rsplit(") ").next().is_some_and(|state| state.starts_with('Z')).then_some(())
    })
    .await;
    deployment.assert_lawful();
}

#[tokio::test(flavor = "multi_thread")]
async fn live_screen_says_that_its_data_is_old_and_connects_again() {
    let deployment = Deployment::start(sim_config(20)).await;
    let mut coordinator = deployment.coordinator(2).await;
    let worker = deployment.worker("solo", &coordinator).await;
    coordinator.until_balanced(&[&worker]).await;
    let tmux = Tmux::start(80, 24).await;
    tmux.run(&command_line(&coordinator.address));
    tmux.until("the overview", |screen| screen.contains("2 shards ready")).await;

    coordinator.process.kill().await;
    tmux.until_all(&["coordinator unreachable", "STALE: ", "2 shards ready"]).await;
    let mut command = deployment.coordinator_command(2);
    let address = coordinator.socket().to_string();
    let next = Coordinator::start(command.env("COORDINATOR_LISTEN", address)).await;
    tmux.until("the next coordinator", |screen| screen.contains("acting") && !screen.contains("STALE")).await;
    next.until_balanced(&[&worker]).await;
    tmux.until("all shards", |screen| screen.contains("2 shards ready")).await;
    deployment.assert_lawful();
}

#[tokio::test(flavor = "multi_thread")]
async fn live_screen_needs_a_terminal_and_a_coordinator() {
    let refused = altergolden("http://127.0.0.1:1", &["status", "--watch"]);
    assert_eq!((refused.code, refused.out.as_str()), (2, ""), "{}", refused.err);
    assert!(refused.err.contains("needs a terminal"), "{}", refused.err);
    let refused = altergolden("http://127.0.0.1:1", &["status", "--watch", "--json"]);
    assert!(refused.code == 2 && refused.err.contains("--json"), "{}", refused.err);
    let tmux = Tmux::start(80, 24).await;
    // Nothing listens on port 1.
    tmux.run(&command_line("http://127.0.0.1:1"));
    tmux.until_all(&["code 3", "cannot reach http://127.0.0.1:1"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn plans_show_a_bar_on_a_terminal_and_lines_in_a_file() {
    let deployment = Deployment::start(sim_config(20)).await;
    let coordinator = deployment.coordinator(4).await;
    let (mut a, b) = tokio::join!(deployment.worker("a", &coordinator), deployment.worker("b", &coordinator));
    coordinator.until_balanced(&[&a, &b]).await;
    let tmux = Tmux::start(80, 24).await;
    let (raw, out) = (tmux.file("raw"), tmux.file("out"));
    tmux.record(&raw);
    let program = binary("altergolden");
    tmux.run(&format!(
        "{} drain a --url {} > {}; echo \"code $?\"",
        program.display(),
        coordinator.address,
        out.display()
    ));
    tmux.until("the exit code", |screen| screen.contains("code 0")).await;
    assert_eq!(a.process.ended().await.code(), Some(0));
    let lines = std::fs::read_to_string(&out).unwrap();
    assert!(lines.contains("[########################] 2/2 shards\n"), "{lines}");
    assert!(lines.ends_with("no IDENTIFY\n") && !lines.contains('\u{1b}'), "{lines}");
    // tmux writes the file a moment later than the screen.
    let shown = fleet_fixture::until("the bar", async || {
        let shown = std::fs::read_to_string(&raw).ok()?;
        shown.contains(" of 2 shards, ").then_some(shown)
    })
    .await;
    assert!(shown.contains('░'), "{shown}");
    assert!(!tmux.screen().contains(" of 2 shards, "), "the bar is removed at the end:\n{}", tmux.screen());
    deployment.assert_lawful();
}
