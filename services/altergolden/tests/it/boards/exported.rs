//! That every metric named in a board, an alert or a document is exported by a real process, and that every exported one is
//! documented.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
};

use fleet_fixture::{Coordinator, Deployment, Worker, http, sim_config, until};

use super::{
    SHARD, promql, render,
    source::{Source, file, text},
};

/// METRICS_PREFIX by default.
const PREFIX: &str = "altergolden_";

/// Labels that Prometheus adds to every series, and a histogram to its buckets.
const ADDED: [&str; 3] = ["instance", "job", "le"];

/// The document with a row for every metric.
const METRICS: &str = "docs/metrics.md";

/// Series that a worker exports for each shard, as docs/MONITORING.md says; with 25,000 shards Prometheus has 300,000 of them.
const SERIES_A_SHARD: usize = 12;

/// Metric families, without the prefix, as Prometheus names their series; with labels, as far as a series was there.
type Families = BTreeMap<String, Option<BTreeSet<String>>>;

/// The families in the text of `/metrics`.
fn families(scraped: &str) -> Families {
    let mut kinds = BTreeMap::new();
    let mut families = Families::new();
    for line in scraped.lines() {
        if let Some(line) = line.strip_prefix("# TYPE ") {
            let (name, kind) = line.split_once(' ').unwrap();
            let name = name.strip_prefix(PREFIX).unwrap_or_else(|| panic!("without the prefix: {line}"));
            let suffix = if kind == "counter" { "_total" } else { "" };
            families.insert(format!("{name}{suffix}"), None);
            if kind == "histogram" {
                kinds.extend(
                    ["_bucket", "_sum", "_count"].map(|part| (format!("{name}{part}"), name.to_owned())),
                );
            }
        } else if !line.starts_with('#') {
            let names = promql::names(line, PREFIX);
            let [(series, labels)] = names.selectors.as_slice() else { panic!("not a series: {line}") };
            let series = series.strip_prefix(PREFIX).unwrap();
            let family = kinds.get(series).map_or(series, String::as_str);
            let known =
                families.get_mut(family).unwrap_or_else(|| panic!("a series without a family: {line}"));
            let labels = labels.iter().filter(|label| *label != "le").cloned();
            known.get_or_insert_default().extend(labels);
        }
    }
    families
}

/// The names in the first column of the document's tables, with their labels. `_x` stands for the name before it with another end.
fn documented(exported: &Families) -> BTreeMap<String, BTreeSet<String>> {
    let mut documented: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for row in text(METRICS).lines().filter_map(|line| line.strip_prefix("| `")) {
        let cell = row.split_once(" | ").unwrap_or_else(|| panic!("not a row: {row}")).0;
        let mut before = String::new();
        for name in cell.split('`').filter(|name| !name.is_empty() && *name != ", ") {
            let (name, labels) = name.trim_end_matches('}').split_once('{').unwrap_or((name, ""));
            let labels = labels.split(',').filter(|label| !label.is_empty()).map(str::to_owned).collect();
            let whole = if name.starts_with('_') {
                let ends = before.match_indices('_').map(|(at, _)| format!("{}{name}", &before[..at]));
                let known: Vec<_> = ends.filter(|whole| exported.contains_key(whole)).collect();
                assert_eq!(
                    known.len(),
                    1,
                    "{METRICS}: `{name}` after `{before}` is not one metric: {known:?}"
                );
                known[0].clone()
            } else {
                name.to_owned()
            };
            before.clone_from(&whole);
            assert!(documented.insert(whole, labels).is_none(), "{METRICS} has `{before}` twice");
        }
    }
    documented
}

/// What a coordinator and a worker export, once everything that shows on first use has been used.
async fn exported() -> Families {
    let deployment = Deployment::start(sim_config(20)).await;
    let coordinator = Coordinator::start(deployment.coordinator_command(2).env("RELAY", "redis")).await;
    let mut command = deployment.worker_command("measured", &coordinator.address);
    let worker = Worker::start("measured", command.env("RELAY", "redis")).await;
    coordinator.until_balanced(&[&worker]).await;

    coordinator.client().await.find_guild(1).await.unwrap();
    worker.client().await.find_guild(1).await.unwrap();
    let (_, health) = http::request(&format!("{}/health", worker.health), None).await.unwrap();
    let health: serde_json::Value = serde_json::from_str(&health).unwrap();
    // A webhook has its own token: the proxy asks for none.
    let webhook = format!("http://{}/api/v10/webhooks/7/secret", health["rest"].as_str().unwrap());
    http::request(&webhook, Some("{}".to_owned())).await.unwrap();
    // Streams of the relay end with the name of an event.
    let stream = until("a stream of the relay", async || {
        let scan = ["SCAN", "0", "TYPE", "stream", "COUNT", "1000"];
        let (_, keys): (String, Vec<String>) = deployment.redis.command(&scan).await;
        keys.into_iter().find(|key| key.ends_with("MESSAGE_CREATE"))
    })
    .await;
    let _: String = deployment.redis.command(&["XGROUP", "CREATE", &stream, "a-bot", "0"]).await;

    let mut families = families(&scrape(&coordinator.health).await);
    let of_worker = until("the worker's series", async || {
        let families = self::families(&scrape(&worker.health).await);
        let shown =
            ["relay_group_lag", "rest_requests_total", "discord_gateway_latency_ms", "bridge_answer_seconds"];
        shown.iter().all(|name| families.get(*name).is_some_and(Option::is_some)).then_some(families)
    })
    .await;
    let scraped = scrape(&worker.health).await;
    let of_shard = scraped.lines().filter(|line| line.contains("{shard_id=\"0\"")).count();
    assert!((8..=SERIES_A_SHARD).contains(&of_shard), "{of_shard} series of shard 0 in\n{scraped}");
    for (name, labels) in of_worker {
        let known = families.entry(name).or_default();
        if let Some(labels) = labels {
            known.get_or_insert_default().extend(labels);
        }
    }
    families
}

async fn scrape(health: &str) -> String {
    http::request(&format!("{health}/metrics"), None).await.unwrap().1
}

/// Every text that names metrics, with its place.
fn texts() -> Vec<(String, String)> {
    let source = Source::read();
    let mut texts: Vec<_> = source.queries().map(|(place, query)| (place, query.to_owned())).collect();
    texts.extend(render::ANNOTATIONS.map(|[name, _, _, query]| (name.to_owned(), query.to_owned())));
    texts.push(("the variable `worker`".to_owned(), render::WORKERS.to_owned()));
    for (folder, ends) in [("deploy/prometheus", ".yml"), ("docs", ".md"), (".", "README.md")] {
        for entry in fs::read_dir(file(folder)).unwrap() {
            let name = entry.unwrap().file_name().into_string().unwrap();
            if name.ends_with(ends) {
                let path = format!("{folder}/{name}");
                texts.extend(selectors(&text(&path)).map(|selector| (path.clone(), selector.to_owned())));
            }
        }
    }
    texts
}

/// Metrics in a text that is more than PromQL, each with the braces after it.
fn selectors(text: &str) -> impl Iterator<Item = &str> {
    text.match_indices(PREFIX).map(|(at, _)| {
        let selector = text[at..].lines().next().unwrap_or_default();
        let name = selector
            .find(|next: char| !next.is_ascii_alphanumeric() && next != '_')
            .unwrap_or(selector.len());
        let braces = selector[name..].strip_prefix('{').and_then(|braces| braces.find('}'));
        &selector[..braces.map_or(name, |braces| name + braces + 2)]
    })
}

/// A name as it may stand in a query: of a family, or of a part of a histogram.
fn family<'a>(name: &'a str, documented: &BTreeMap<String, BTreeSet<String>>) -> Option<&'a str> {
    let parts = ["", "_bucket", "_sum", "_count"].into_iter();
    parts.filter_map(|part| name.strip_suffix(part)).find(|name| documented.contains_key(*name))
}

#[tokio::test(flavor = "multi_thread")]
async fn metrics_named_anywhere_exist_and_exported_ones_are_documented() {
    let exported = exported().await;
    let documented = documented(&exported);
    let of_shards = documented.values().filter(|labels| labels.contains(SHARD)).count();
    assert_eq!(of_shards, SERIES_A_SHARD, "families with {SHARD}: another one costs 25,000 series");
    let mut wrong = Vec::new();
    for (name, labels) in &documented {
        match exported.get(name) {
            None => wrong.push(format!("{METRICS}: no process exports {name}")),
            Some(Some(shown)) if shown != labels => {
                wrong.push(format!("{METRICS}: {name} has the labels {shown:?}, not {labels:?}"));
            }
            Some(_) => {}
        }
    }
    let undocumented = exported.keys().filter(|name| !documented.contains_key(*name));
    wrong.extend(undocumented.map(|name| format!("{METRICS} has no row for {name}")));

    for (place, text) in texts() {
        let names = promql::names(&text, PREFIX);
        let mut possible: BTreeSet<&str> = ADDED.into();
        for (name, labels) in names.selectors.iter().filter(|(name, _)| name != PREFIX) {
            let Some(family) = family(&name[PREFIX.len()..], &documented) else {
                wrong.push(format!("{place}: no process exports {name}"));
                continue;
            };
            possible.extend(documented[family].iter().map(String::as_str));
            for label in labels {
                if !documented[family].contains(label) && !ADDED.contains(&label.as_str()) {
                    wrong.push(format!("{place}: {name} has no label {label}"));
                }
            }
        }
        let strange = names.groups.iter().filter(|group| !possible.contains(group.as_str()));
        wrong.extend(strange.map(|group| format!("{place}: no metric there has the label {group}")));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
