//! Addresses of the running parts, the settings of a bot beside them, and commands to try, with ids that exist.

use std::fmt::Write as _;

use altergolden_proto::v1;
use discord_sim::Sim;

use super::{Running, relay::RelayTarget};
use crate::{
    exit::{print_line, print_text},
    screen::Screen,
    table,
};

/// Prints the table, the addresses and the commands.
pub(super) fn print(running: &Running, shards: &[v1::Shard]) {
    print_text(&table::started(shards, Screen::stdout()));
    print_line(addresses(running));
    print_line(beside(running));
    print_line("Try, in another terminal:\n");
    for command in commands(running) {
        print_line(format_args!("  {command}"));
    }
    print_line("\nBots in any language: docs/bots.md. More commands, gRPC and curl: docs/tour.md");
    print_line("Ctrl-C stops everything.");
}

fn addresses(running: &Running) -> String {
    let discord = match &running.sim {
        Some(sim) => format!("simulated, at {} (its log: /sim/ledger)", sim.http_origin()),
        None => "not simulated".to_owned(),
    };
    let workers: Vec<String> =
        running.worker_healths.iter().map(|address| format!("http://{address}")).collect();
    let relay = match &running.relay {
        RelayTarget::Memory => "in memory: ShardBridge/Events over gRPC".to_owned(),
        RelayTarget::Redis { url, .. } => format!("streams in {url}, and ShardBridge/Events over gRPC"),
        RelayTarget::Off => "off".to_owned(),
    };
    let gateway = running.gateway.map_or_else(|| "off".to_owned(), |address| format!("ws://{address}"));
    format!(
        "\n  Discord       {discord}\
         \n  coordinator   gRPC {}, health http://{}\
         \n  workers       health {}\
         \n  REST proxy    http://{}/api\
         \n  gateway       {gateway}\
         \n  relay         {relay}\n",
        running.coordinator,
        running.coordinator_health,
        workers.join(", "),
        running.rest,
    )
}

/// The settings of a bot in a process of its own, as the examples read them; with a simulated Discord also how a user types a command.
fn beside(running: &Running) -> String {
    let mut settings =
        format!("COORDINATOR_URL=http://{} REST_PROXY_URL=http://{}/api", running.coordinator, running.rest);
    if running.sim.is_some() {
        settings.push_str(" DISCORD_TOKEN=any");
    }
    if let RelayTarget::Redis { url, prefix, .. } = &running.relay {
        // What was before an @ is not shown. Writing to a string does not fail.
        let _ = write!(settings, " REDIS_URL={url}");
        if !prefix.as_str().is_empty() {
            let _ = write!(settings, " RELAY_PREFIX={}", prefix.as_str());
        }
    }
    let mut lines =
        format!("A bot in any language takes these settings, and runs beside this:\n\n  export {settings}\n");
    if running.gateway.is_some() {
        // Writing to a string does not fail.
        let _ = write!(
            lines,
            "\nAn existing discord.js bot connects to this fleet instead of Discord with:\n\n  new Client({{ intents, rest: {{ api: 'http://{}/api' }} }})\n",
            running.rest
        );
    }
    if let Some(sim) = &running.sim {
        lines.push_str(&typed(sim));
    }
    lines
}

/// A user types `/ping`.
fn typed(sim: &Sim) -> String {
    format!(
        "\nTo type /ping as a user of the simulated Discord:\n\n  curl {}/sim/faults -H 'content-type: application/json' -d '{{\"kind\":\"interaction\",\"command\":\"ping\"}}'\n",
        sim.http_origin()
    )
}

/// Four commands, as they can be typed; with one worker there is nothing to drain.
fn commands(running: &Running) -> Vec<String> {
    // The commands need the address unless it is the default.
    let url = match running.coordinator.to_string().as_str() {
        "127.0.0.1:50051" => String::new(),
        other => format!(" --url http://{other}"),
    };
    let this = program();
    let mut commands = vec![
        format!("{this} status{url}"),
        format!("{this} find-guild {}{url}", example_guild(running)),
        format!("{this} broadcast cacheInvalidate '{{\"key\":\"settings:*\"}}'{url}"),
    ];
    if running.worker_healths.len() > 1 {
        commands.push(format!("{this} drain worker-1{url}"));
    }
    commands
}

/// How this program was started: by cargo, or by its own name.
fn program() -> String {
    if std::env::var_os("CARGO_MANIFEST_DIR").is_some() {
        return "cargo run --release -p altergolden --".to_owned();
    }
    std::env::args().next().unwrap_or_else(|| "altergolden".to_owned())
}

/// A guild of the simulated Discord; for the real one, the example id of Discord's documentation.
fn example_guild(running: &Running) -> String {
    let guild = running
        .sim
        .as_ref()
        .and_then(|sim| sim.control().guilds(1, 1).first().map(|guild| guild.id.to_string()));
    guild.unwrap_or_else(|| "613425648685547541".to_owned())
}
