//! The Grafana boards of `deploy/grafana`: that they are what their sources say, that the documents list their questions, and that
//! they stay usable with 25,000 shards.

use std::{env, fmt::Write as _, fs, process::Command};

use serde_json::Value;
use source::{Draw, Source, file, text};

mod exported;
mod promql;
mod render;
mod source;

/// Between these lines docs/MONITORING.md lists the questions.
const LIST: [&str; 2] = [
    "<!-- boards: written by `UPDATE_DOCUMENTS=1 cargo test --workspace --test it boards` -->\n",
    "<!-- boards end -->\n",
];

/// The only labels by which workers' series of shards may be told apart in a graph.
const SHARD: &str = "shard_id";

fn updates() -> bool {
    env::var_os("UPDATE_DOCUMENTS").is_some()
}

#[test]
fn boards_are_what_their_sources_say() {
    let source = Source::read();
    for board in &source.boards {
        let json = render::board(&source, board);
        let path = format!("deploy/grafana/{}.json", board.id);
        if updates() {
            fs::write(file(&path), format!("{json:#}\n")).unwrap();
        }
        let committed: Value = serde_json::from_str(&text(&path)).unwrap();
        assert!(
            committed == json,
            "{path} differs from {}.toml beside it: UPDATE_DOCUMENTS=1 writes it (deploy/grafana/README.md)",
            board.id
        );
    }
}

#[test]
fn documents_list_the_questions_of_the_boards() {
    let mut list = String::new();
    for board in &Source::read().boards {
        writeln!(list, "\n### {}\n\n{}\n", board.title, board.about).unwrap();
        for panel in &board.panels {
            let title = if panel.title() == panel.question {
                String::new()
            } else {
                format!("**{}**: ", panel.title())
            };
            writeln!(list, "- {title}{}", panel.question).unwrap();
        }
    }
    list.push('\n');
    let path = "docs/MONITORING.md";
    let document = text(path);
    let (before, rest) = document.split_once(LIST[0]).unwrap();
    let (written, after) = rest.split_once(LIST[1]).unwrap();
    if updates() {
        fs::write(file(path), [before, LIST[0], &list, LIST[1], after].concat()).unwrap();
    } else {
        assert_eq!(written, list, "{path}: UPDATE_DOCUMENTS=1 writes the list of boards");
    }
}

#[test]
fn no_panel_draws_a_series_for_each_shard() {
    let source = Source::read();
    for board in &source.boards {
        for panel in &board.panels {
            for (_, query) in &panel.queries {
                let names = promql::names(query, "altergolden_");
                let aggregates =
                    ["sum", "min", "max", "count", "quantile"].iter().any(|by| query.contains(by));
                let few = ["topk(10,", "topk(20,", "bottomk(10,"].iter().any(|few| query.starts_with(few));
                let place = format!("{}.toml, {:?}: {query}", board.id, panel.title());
                assert!(!names.groups.contains(SHARD), "one series a shard: {place}");
                assert!(aggregates || few, "neither aggregated nor limited: {place}");
                assert!(panel.draw != Draw::Table || few, "a table without a limit: {place}");
            }
        }
    }
}

/// promtool reads a query as the expression of a recording rule.
#[test]
fn queries_are_valid_promql() {
    let source = Source::read();
    let mut rules = String::from("groups:\n- name: boards\n  rules:\n");
    let annotations = render::ANNOTATIONS.iter().map(|[name, _, _, query]| ((*name).to_owned(), *query));
    for (place, query) in source.queries().chain(annotations) {
        let query =
            query.replace("$__rate_interval", "5m").replace("$__interval", "1m").replace("$__range", "1h");
        // The place stands in front of what promtool says.
        writeln!(rules, "  # {place}\n  - record: boards:query\n    expr: {}\n", Value::from(query)).unwrap();
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("rules.yml");
    fs::write(&path, &rules).unwrap();
    let checked = Command::new("promtool").args(["check", "rules", "--lint=none"]).arg(&path).output();
    let checked = checked.expect("needs promtool (Debian: apt-get install prometheus; .ci/test does)");
    let said = String::from_utf8_lossy(&checked.stderr);
    assert!(checked.status.success(), "{said}\n{rules}");
}
