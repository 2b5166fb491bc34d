//! A real Prometheus with our rules, in a shorter time: it scrapes the processes of a test.
//!
//! Minutes of the rules become seconds: every duration in them is divided by [`FASTER`]. Thresholds stay.

use std::{
    fmt::Write as _,
    process::Command,
    time::{Duration, Instant},
};

use fleet_fixture::{Process, http, until};
use serde_json::Value;
use tempfile::TempDir;

use super::rules;

/// How much faster than in the files the rules are: 10 minutes become 20 s.
pub(super) const FASTER: u32 = 30;

/// How often it scrapes and looks at the rules; 15 s / 30.
const INTERVAL: &str = "500ms";

/// A running Prometheus.
pub(super) struct Prometheus {
    pub(super) process: Process,
    url: String,
    folder: TempDir,
    targets: Vec<(&'static str, String)>,
}

/// Divides the durations of the rules: `for: 10m`, `[10m]`, `offset 10m`, `[1m]`.
fn hastened(rules: &str) -> String {
    let mut out = String::new();
    for line in rules.lines() {
        // Prose has minutes too.
        let is_rule = !line.trim_start().starts_with('#') && !line.contains("summary:");
        let mut rest = line;
        while let Some(at) = rest.find(['[', ' ']) {
            let (before, after) = rest.split_at(at + 1);
            out.push_str(before);
            rest = after;
            let digits = rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_digit()).len();
            let (number, unit) = rest.split_at(digits);
            let Ok(minutes) = number.parse::<u32>() else { continue };
            let is_over =
                unit.strip_prefix('m').is_some_and(|end| !end.starts_with(|c: char| c.is_alphanumeric()));
            if is_rule && is_over {
                let _ = write!(out, "{}ms", minutes * 60_000 / FASTER);
                rest = &unit[1..];
            }
        }
        out.push_str(rest);
        out.push('\n');
    }
    out
}

impl Prometheus {
    /// Starts one that scrapes these targets: job and URL.
    ///
    /// # Panics
    /// `prometheus` is not installed.
    pub(super) async fn start(targets: &[(&'static str, &str)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        let rules = hastened(&rules::text("deploy/prometheus/alerts.yml"));
        assert!(
            rules.contains("for: 4000ms") && rules.contains("[20000ms]") && rules.contains("offset 20000ms")
        );
        std::fs::write(path("alerts.yml"), rules).unwrap();
        let job = |name: &str| {
            format!(
                "  - job_name: {name}\n    file_sd_configs: [{{ files: [{name}.json], refresh_interval: 1s }}]\n"
            )
        };
        let config = format!(
            "global: {{ scrape_interval: {INTERVAL}, scrape_timeout: {INTERVAL}, evaluation_interval: {INTERVAL} }}\n\
             rule_files: [alerts.yml]\nscrape_configs:\n{}{}",
            job("coordinator"),
            job("gateway-worker")
        );
        std::fs::write(path("prometheus.yml"), config).unwrap();
        let mut command = Command::new("prometheus");
        command.current_dir(folder.path()).args([
            "--config.file=prometheus.yml",
            "--storage.tsdb.path=data",
            "--web.listen-address=127.0.0.1:0",
        ]);
        let found = Command::new("prometheus").arg("--version").output();
        found.unwrap_or_else(|error| panic!("needs prometheus (Debian: prometheus): {error}"));
        let mut prometheus = Self {
            process: Process::start("prometheus", &mut command),
            url: String::new(),
            folder,
            targets: Vec::new(),
        };
        for (job, url) in targets {
            prometheus.watch(job, url);
        }
        let address = prometheus
            .process
            .line("where it listens", |line| {
                line.split_once("\"Listening on\" address=").map(|(_, address)| address.trim().to_owned())
            })
            .await;
        prometheus.url = format!("http://{address}");
        let ready = format!("{}/-/ready", prometheus.url);
        until("Prometheus to be ready", async || {
            http::request(&ready, None).await.is_ok_and(|(status, _)| status == 200).then_some(())
        })
        .await;
        prometheus
    }

    /// Scrapes one more process.
    pub(super) fn watch(&mut self, job: &'static str, url: &str) {
        self.targets.push((job, url.trim_start_matches("http://").to_owned()));
        self.write_targets(job);
    }

    /// Forgets a process, as a discovery does when its container is gone.
    pub(super) fn forget(&mut self, url: &str) {
        let host = url.trim_start_matches("http://");
        let Some(at) = self.targets.iter().position(|(_, target)| target == host) else { return };
        let (job, _) = self.targets.remove(at);
        self.write_targets(job);
    }

    fn write_targets(&self, job: &str) {
        let hosts: Vec<&String> =
            self.targets.iter().filter(|(of, _)| *of == job).map(|(_, host)| host).collect();
        let path = self.folder.path().join(format!("{job}.json"));
        // It may read at any time: a new file takes the old one's name.
        let new = path.with_extension("new");
        std::fs::write(&new, serde_json::json!([{ "targets": hosts }]).to_string()).unwrap();
        std::fs::rename(new, path).unwrap();
    }

    /// Asks a question in PromQL: the labels and the value of each series.
    pub(super) async fn ask(&self, query: &str) -> Vec<(Value, f64)> {
        let mut url = format!("{}/api/v1/query?query=", self.url);
        for byte in query.bytes() {
            let _ = write!(url, "%{byte:02x}");
        }
        let answer: Value = http::json(&url).await;
        assert_eq!(answer["status"], "success", "{answer}");
        let series = answer["data"]["result"].as_array().unwrap();
        let value = |series: &Value| series["value"][1].as_str().unwrap().parse().unwrap();
        series.iter().map(|series| (series["metric"].clone(), value(series))).collect()
    }

    /// The alerts that fire now, with their annotations.
    pub(super) async fn firing(&self) -> Vec<Value> {
        let answer: Value = http::json(&format!("{}/api/v1/alerts", self.url)).await;
        let alerts = answer["data"]["alerts"].as_array().unwrap();
        alerts.iter().filter(|alert| alert["state"] == "firing").cloned().collect()
    }

    /// Waits until the alert fires: the time that it took, and the alert.
    pub(super) async fn until_fires(&self, alert: &str) -> (Duration, Value) {
        let began = Instant::now();
        let found = until(&format!("{alert} to fire"), async || {
            self.firing().await.into_iter().find(|firing| firing["labels"]["alertname"] == alert)
        })
        .await;
        (began.elapsed(), found)
    }

    /// Waits until the alert does not fire: the time that it took.
    pub(super) async fn until_clears(&self, alert: &str) -> Duration {
        let began = Instant::now();
        until(&format!("{alert} to clear"), async || {
            let firing = self.firing().await;
            firing.iter().all(|firing| firing["labels"]["alertname"] != alert).then_some(())
        })
        .await;
        began.elapsed()
    }

    /// The alerts that have fired since then, by name.
    pub(super) async fn fired(&self, since: Instant) -> Vec<String> {
        let window = since.elapsed().as_millis();
        let query =
            format!("count by (alertname) (count_over_time(ALERTS{{alertstate=\"firing\"}}[{window}ms]))");
        let fired = self.ask(&query).await;
        let mut names: Vec<String> =
            fired.iter().map(|(labels, _)| labels["alertname"].as_str().unwrap().to_owned()).collect();
        names.sort_unstable();
        names
    }
}

#[test]
fn durations_of_rules_are_divided_and_prose_is_not() {
    let rules = "  # within 10m of it\n  expr: increase(x[10m]) > x offset 10m\n  for: 5m\n  summary: \"for 10m\"\n  y: 10ms 3\n";
    let expected = "  # within 10m of it\n  expr: increase(x[20000ms]) > x offset 20000ms\n  for: 10000ms\n  summary: \"for 10m\"\n  y: 10ms 3\n";
    assert_eq!(hastened(rules), expected);
}
