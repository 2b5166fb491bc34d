//! The files as they are: promtool's checks and tests, a test for each alert, a section in the guide for each alert.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

/// A file of the project.
pub(super) fn project_file(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(path)
}

pub(super) fn text(path: &str) -> String {
    let path = project_file(path);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("cannot read {}: {error}", path.display()))
}

fn promtool(words: &[&str], folder: &Path) {
    let output = Command::new("promtool").args(words).current_dir(folder).output();
    let output = output.unwrap_or_else(|error| panic!("needs promtool (Debian: prometheus): {error}"));
    let said = [output.stdout, output.stderr].map(|said| String::from_utf8_lossy(&said).into_owned());
    assert!(output.status.success(), "promtool {words:?}:\n{}{}", said[0], said[1]);
}

/// The alerts, each with its lines in the rules.
pub(super) fn alerts(rules: &str) -> Vec<(&str, Vec<&str>)> {
    let mut alerts: Vec<(&str, Vec<&str>)> = Vec::new();
    for line in rules.lines() {
        if let Some(name) = line.trim().strip_prefix("- alert: ") {
            alerts.push((name, Vec::new()));
        } else if let Some((_, lines)) = alerts.last_mut() {
            lines.push(line.trim());
        }
    }
    assert!(!alerts.is_empty(), "no alerts in {rules}");
    alerts
}

#[test]
fn promtool_accepts_rules_and_configuration() {
    let folder = project_file("deploy/prometheus");
    promtool(&["check", "rules", "alerts.yml"], &folder);
    // The files that it names are in the containers of compose.yaml.
    promtool(&["check", "config", "--syntax-only", "prometheus.yml"], &folder);
}

#[test]
fn rules_do_what_their_tests_say() {
    promtool(&["test", "rules", "alerts_test.yml"], &project_file("deploy/prometheus"));
}

#[test]
fn rules_hold_under_another_metrics_prefix() {
    let folder = tempfile::tempdir().unwrap();
    let rules = text("deploy/prometheus/alerts.yml");
    let other = rules.replace("altergolden_", "mybot_").replace("altergolden:", "mybot:");
    std::fs::write(folder.path().join("alerts.yml"), &other).unwrap();
    promtool(&["check", "rules", "alerts.yml"], folder.path());
    // Two files in one Prometheus: no rule may write into the other's series.
    let expressions =
        other.lines().filter(|line| !line.trim().starts_with('#') && !line.contains("`altergolden "));
    let left: Vec<&str> = expressions.filter(|line| line.contains("altergolden")).collect();
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn each_alert_is_tested_before_it_fires_while_it_fires_and_when_it_has_cleared() {
    let (rules, tests) = (text("deploy/prometheus/alerts.yml"), text("deploy/prometheus/alerts_test.yml"));
    let mut fires: Vec<(&str, bool)> = Vec::new();
    for line in tests.lines() {
        // A silent case is one line; one in which the alert fires has its alerts on lines of their own.
        if let Some((_, rest)) = line.split_once("alertname: ").filter(|_| !line.contains("exp_labels")) {
            let (name, expected) =
                rest.split_once(',').map_or((rest, ""), |(name, expected)| (name, expected));
            fires.push((name.trim(), !expected.contains("exp_alerts: []")));
        }
    }
    for (alert, _) in alerts(&rules) {
        let found: Vec<bool> =
            fires.iter().filter(|(name, _)| *name == alert).map(|(_, fires)| *fires).collect();
        assert!(found.starts_with(&[false, true]), "{alert}: fires by case: {found:?}");
        assert_eq!(found.last(), Some(&false), "{alert}: the last case must be silent");
    }
    for quiet in ["a healthy fleet", "a planned deploy", "a fleet starts", "a worker restarts"] {
        assert!(tests.contains(&format!("- name: {quiet}\n")), "no test group {quiet}");
    }
}

#[test]
fn each_alert_says_how_bad_it_is_and_has_its_section_in_the_guide() {
    let (rules, guide) = (text("deploy/prometheus/alerts.yml"), text("docs/operations.md"));
    let headings: Vec<&str> = guide.lines().filter_map(|line| line.strip_prefix("### ")).collect();
    let alerts = alerts(&rules);
    for (alert, lines) in &alerts {
        let anchor = format!("runbook_url: docs/operations.md#{}", alert.to_lowercase());
        assert!(lines.contains(&anchor.as_str()), "{alert} lacks {anchor}");
        assert!(headings.contains(alert), "docs/operations.md has no heading `### {alert}`");
        assert!(lines.contains(&"severity: page") ^ lines.contains(&"severity: ticket"), "{alert}");
        for key in ["summary:", "description:"] {
            assert!(lines.iter().any(|line| line.starts_with(key)), "{alert} lacks {key}");
        }
        let listed = format!("| [{alert}](#{}) |", alert.to_lowercase());
        assert!(guide.contains(&listed), "the table of alerts in docs/operations.md lacks {listed}");
    }
    // A section of an alert that was removed would mislead.
    let section = guide.split("\n## ").find(|part| part.starts_with("An alert fired")).unwrap();
    let sections = section.lines().filter_map(|line| line.strip_prefix("### "));
    let stale: Vec<&str> =
        sections.filter(|heading| !alerts.iter().any(|(alert, _)| alert == heading)).collect();
    assert!(stale.is_empty(), "docs/operations.md explains alerts that there are not: {stale:?}");
}

/// `increase` does not see what was counted before the first scrape.
#[test]
fn rules_about_growth_take_first_counts_as_growth() {
    let rules = text("deploy/prometheus/alerts.yml");
    let mut counters = 0;
    for (alert, lines) in alerts(&rules) {
        let grows = |line: &&str| line.ends_with("[10m])) > 0");
        let lines = lines.iter().map(|line| line.trim_start_matches("expr: "));
        for line in lines.clone().filter(grows) {
            let counter = line.split_once("(increase(").unwrap().1.strip_suffix("[10m])) > 0").unwrap();
            let first = format!("({counter} unless {counter} offset 10m and on () count(up offset 10m)) > 0");
            assert!(lines.clone().any(|line| line.ends_with(&first)), "{alert} lacks ...{first}");
            counters += 1;
        }
    }
    assert!(counters > 10, "the rules have another form now: {counters}");
}
