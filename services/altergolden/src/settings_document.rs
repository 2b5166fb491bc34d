//! The tables of `docs/settings.md`, made from the command lines of the programs.
//!
//! `UPDATE_DOCUMENTS=1 cargo test -p altergolden --bins settings_document` writes them.

use std::{env, fmt::Write as _, fs};

use clap::{Arg, ArgAction, Command, CommandFactory as _};

use crate::Cli;

const PATH: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/settings.md");
const BEGIN: &str =
    "<!-- tables: written by `UPDATE_DOCUMENTS=1 cargo test -p altergolden --bins settings_document` -->\n";
const END: &str = "<!-- end of tables -->\n";

/// A row: flag, environment, default, description.
type Row = [String; 4];

fn row(arg: &Arg, prefix: &str) -> Option<Row> {
    let flag = format!("`{prefix}--{}`", arg.get_long()?);
    let environment = arg.get_env().map_or_else(String::new, |name| format!("`{}`", name.display()));
    let values: Vec<_> = arg.get_default_values().iter().map(|value| value.to_string_lossy()).collect();
    let default = match values.concat().as_str() {
        "" | "false" if matches!(arg.get_action(), ArgAction::SetTrue) => "off".to_owned(),
        "" => "none".to_owned(),
        values => format!("`{values}`"),
    };
    let help = arg.get_long_help().or(arg.get_help()).map(ToString::to_string).unwrap_or_default();
    let (help, default) = match help.strip_suffix(']').and_then(|help| help.rsplit_once(" [default: ")) {
        Some((help, default)) => (help.to_owned(), default.to_owned()),
        None => (help, default),
    };
    // In Markdown these would end the cell or begin an element.
    let help = help.replace('\n', " ").replace('|', "\\|").replace('<', "\\<");
    Some([flag, environment, default, help])
}

fn rows(command: &Command, prefix: &str) -> Vec<Row> {
    command.get_arguments().filter_map(|arg| row(arg, prefix)).collect()
}

fn table(heading: &str, rows: &[Row]) -> String {
    assert!(!rows.is_empty(), "{heading} has no settings");
    let mut text = format!("\n### {heading}\n\n| flag | environment | default | |\n|---|---|---|---|\n");
    for row in rows {
        assert!(!row[3].is_empty(), "{} has no help", row[0]);
        writeln!(text, "| {} |", row.join(" | ")).unwrap();
    }
    text
}

fn tables() -> String {
    let (mut coordinator, mut worker) = (
        rows(&coordinator::CoordinatorArgs::command(), ""),
        rows(&gateway_worker::WorkerArgs::command(), ""),
    );
    let both: Vec<Row> = coordinator.iter().filter(|row| worker.contains(row)).cloned().collect();
    coordinator.retain(|row| !both.contains(row));
    worker.retain(|row| !both.contains(row));
    let cli = Cli::command();
    let of = |name: &str| rows(cli.find_subcommand(name).unwrap(), &format!("{name} "));
    // The doctor's other settings are settings of the programs too.
    let doctor: Vec<Row> = of("doctor").into_iter().filter(|row| row[1].is_empty()).collect();
    let up = cli.find_subcommand("up").unwrap();
    let init = cli.find_subcommand("init").unwrap();
    [
        table("coordinator and gateway-worker", &both),
        table("coordinator", &coordinator),
        table("gateway-worker", &worker),
        table("altergolden", &[rows(&cli, ""), of("dev"), doctor].concat()),
        table("altergolden up", &rows(up, "")),
        table("altergolden init", &rows(init, "")),
        table("discord-sim", &rows(&discord_sim::SimArgs::command(), "")),
    ]
    .concat()
}

#[test]
fn settings_document_matches_the_programs() {
    let document = fs::read_to_string(PATH).unwrap();
    let (before, rest) = document.split_once(BEGIN).unwrap();
    let (_, after) = rest.split_once(END).unwrap();
    let expected = format!("{before}{BEGIN}{}\n{END}{after}", tables());
    if env::var_os("UPDATE_DOCUMENTS").is_some() {
        fs::write(PATH, expected).unwrap();
        return;
    }
    let different = expected.lines().zip(document.lines()).find(|(expected, found)| expected != found);
    assert!(
        document == expected,
        "docs/settings.md differs from the programs' settings: UPDATE_DOCUMENTS=1 writes its tables; first difference: \
         {different:?}"
    );
}

/// Settings that compose.yaml does not pass on: all workers would get the same address and name, and containers are stopped after
/// `stop_grace_period`.
const NOT_IN_COMPOSE: [&str; 3] = ["`DRAIN_TIMEOUT`", "`WORKER_ADVERTISE`", "`WORKER_NAME`"];

#[test]
fn compose_passes_every_other_setting_on() {
    let compose = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../../compose.yaml")).unwrap();
    let passed: Vec<&str> = compose.lines().filter_map(|line| line.trim().split(':').next()).collect();
    let commands = [coordinator::CoordinatorArgs::command(), gateway_worker::WorkerArgs::command()];
    let settings = commands.iter().flat_map(|command| rows(command, "")).map(|[_, variable, ..]| variable);
    let wrong: Vec<String> = settings
        .filter(|variable| !variable.is_empty())
        .filter(|variable| {
            let expected = !NOT_IN_COMPOSE.contains(&variable.as_str());
            passed.contains(&variable.trim_matches('`')) != expected
        })
        .collect();
    assert!(wrong.is_empty(), "in compose.yaml {wrong:?} must be passed on, or must not be");
}

#[test]
fn compose_hardens_every_container() {
    let compose = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../../compose.yaml")).unwrap();
    let (_, services) = compose.split_once("\nservices:\n").unwrap();
    let (services, _) = services.split_once("\nvolumes:\n").unwrap();
    let is_name = |line: &str| line.starts_with("  ") && !line.starts_with("   ") && line.ends_with(':');
    let mut containers: Vec<(&str, bool)> = Vec::new();
    for line in services.lines() {
        if is_name(line) {
            containers.push((line.trim(), false));
        } else if let ("<<: *hardened" | "<<: *program", Some(last)) = (line.trim(), containers.last_mut()) {
            last.1 = true;
        }
    }
    assert!(
        containers.len() >= 5 && containers.iter().all(|(_, is_hardened)| *is_hardened),
        "{containers:?}"
    );
}

/// The image is built from the folders that `.dockerignore` lets in: a file that the code includes from elsewhere is missing there.
#[test]
fn image_has_every_file_that_the_code_includes() {
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");
    let sent = fs::read_to_string(format!("{root}/.dockerignore")).unwrap();
    let sent: Vec<&str> = sent.lines().filter_map(|line| line.strip_prefix('!')).collect();
    let (mut folders, mut included) = (vec![std::path::PathBuf::from(root)], 0);
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap().map(Result::unwrap) {
            let path = entry.path();
            if path.is_dir() && !path.ends_with("target") && !path.ends_with("node_modules") {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = fs::read_to_string(&path).unwrap();
                for file in text.split("include_str!(\"").skip(1).filter_map(|rest| rest.split('"').next()) {
                    let Ok(file) = fs::canonicalize(folder.join(file)) else { continue };
                    let inside = file.strip_prefix(fs::canonicalize(root).unwrap()).unwrap();
                    included += 1;
                    assert!(
                        sent.iter().any(|sent| inside.starts_with(sent)),
                        "{}: {}",
                        path.display(),
                        inside.display()
                    );
                }
            }
        }
    }
    assert!(included > 10, "{included}");
}
