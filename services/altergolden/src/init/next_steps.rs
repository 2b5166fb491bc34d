//! What the operator does after `init`: commands that work as they are.

use std::{fmt::Write as _, path::Path, process::Command, process::Stdio};

use super::{
    Target,
    answers::{Answers, COMPOSE_WORKERS, Token},
    files::{CREDENTIALS, ENV, UNIT, UNIT_CREDENTIALS, UNIT_ENV},
};

/// The lines to print.
pub(super) fn text(answers: &Answers, folder: &Path) -> String {
    let mut text = String::new();
    let settings = folder.join(if answers.target == Target::Systemd { UNIT_ENV } else { ENV });
    if answers.token.secret().is_some() && is_open_to_git(&settings) {
        writeln!(text, "git does not ignore {}: add it to .gitignore, it holds secrets", settings.display())
            .expect("a String takes all text");
    }
    let own_redis = answers.target != Target::Compose && answers.redis_url.is_none();
    if own_redis && !supervisor::redis_server::is_installed() {
        text.push_str("redis-server is not installed here: apt-get install redis-server (dnf install valkey, brew install redis)\n");
    }
    text.push_str("\nnext:\n");
    if answers.token == Token::Later {
        command(
            &mut text,
            &format!("${{EDITOR:-vi}} {}", quoted(&settings)),
            "enter the bot's token: DISCORD_TOKEN=...",
        );
    }
    let is_here = folder == Path::new(".");
    let enter = if is_here { String::new() } else { format!("cd {} && ", quoted(folder)) };
    match answers.target {
        Target::Env => {
            command(&mut text, &format!("{enter}altergolden up"), "starts the fleet; Ctrl-C stops it");
            let with = if answers.make_credentials {
                format!("CREDENTIALS={} ", quoted(&folder.join(CREDENTIALS)))
            } else {
                String::new()
            };
            let status = format!("{with}altergolden status");
            command(&mut text, &status, "in another terminal: the fleet in one sentence");
        }
        Target::Compose => {
            let workers = answers.workers.unwrap_or(COMPOSE_WORKERS);
            let up = format!("{enter}docker compose up --build --detach --scale gateway-worker={workers}");
            command(&mut text, &up, "builds and starts the fleet");
            command(
                &mut text,
                "docker compose exec coordinator altergolden status",
                "the fleet in one sentence",
            );
        }
        Target::Systemd => {
            let program = std::env::current_exe().unwrap_or_else(|_| "altergolden".into());
            let (env, unit) = (quoted(&folder.join(UNIT_ENV)), quoted(&folder.join(UNIT)));
            command(
                &mut text,
                &format!("sudo install -D -m 755 {} /usr/local/bin/altergolden", quoted(&program)),
                "",
            );
            command(&mut text, &format!("sudo install -D -m 600 {env} /etc/altergolden/{UNIT_ENV}"), "");
            command(&mut text, &format!("sudo install -D -m 644 {unit} /etc/systemd/system/{UNIT}"), "");
            if answers.make_credentials {
                let credentials = folder.join(CREDENTIALS);
                let files = ["coordinator.pem", "worker.pem", "supervisor.pem"];
                let files = files.map(|name| quoted(&credentials.join(name))).join(" ");
                command(
                    &mut text,
                    &format!("sudo install -D -m 600 -t {UNIT_CREDENTIALS} {files}"),
                    "systemd gives them to the unit's user",
                );
            }
            command(&mut text, "sudo systemctl daemon-reload && sudo systemctl enable --now altergolden", "");
        }
    }
    text.pop();
    text
}

fn command(text: &mut String, command: &str, what: &str) {
    let line = if what.is_empty() { format!("  {command}\n") } else { format!("  {command}    # {what}\n") };
    text.push_str(&line);
}

/// A path as a shell takes it.
fn quoted(path: &Path) -> String {
    let text = path.to_string_lossy();
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "_-./".contains(c);
    if text.chars().all(is_plain) { text.into_owned() } else { format!("'{}'", text.replace('\'', r"'\''")) }
}

/// The file is in a git repository that would take it in. False where there is no git.
fn is_open_to_git(file: &Path) -> bool {
    let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let ask = Command::new("git")
        .arg("-C")
        .arg(folder)
        .args(["check-ignore", "--quiet"])
        .args(file.file_name())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    // 0: ignored; 1: not ignored; 128: no repository.
    ask.is_ok_and(|status| status.code() == Some(1))
}
