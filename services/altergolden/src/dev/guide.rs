//! Addresses of the running parts, and commands to try, with ids that exist.

use altergolden_proto::v1;

use super::Running;
use crate::{
    exit::{print_line, print_text},
    screen::Screen,
    table,
};

/// Prints the table and the commands.
pub(super) fn print(running: &Running, shards: &[v1::Shard]) {
    print_text(&table::started(shards, Screen::stdout()));
    let coordinator = running.coordinator;
    let guild = example_guild(running);
    let port = |address: std::net::SocketAddr| format!("http://{address}");
    let discord = match &running.sim {
        Some(sim) => format!("simulated, at {} (its log: {0}/sim/ledger)", sim.http_origin()),
        None => "the real one".to_owned(),
    };
    let workers: Vec<String> = running.worker_healths.iter().map(|address| port(*address)).collect();
    let rests: Vec<String> =
        running.worker_rests.iter().map(|address| format!("{}/api", port(*address))).collect();
    print_line(format_args!(
        "\n  Discord       {discord}\
         \n  coordinator   gRPC {coordinator}, health {}\
         \n  workers       health {}\
         \n  REST proxy    {}\n",
        port(running.coordinator_health),
        workers.join(", "),
        rests.join(", "),
    ));
    // The commands need the address unless it is the default.
    let url = match coordinator.to_string().as_str() {
        "127.0.0.1:50051" => String::new(),
        other => format!(" --url http://{other}"),
    };
    let this = "cargo run --release -p altergolden --";
    print_line(format_args!("Try, in another terminal:\n"));
    print_line(format_args!("  {this} status{url}"));
    print_line(format_args!("  {this} find-guild {guild}{url}"));
    print_line(format_args!("  {this} broadcast cacheInvalidate '{{\"key\":\"settings:*\"}}'{url}"));
    if workers.len() > 1 {
        print_line(format_args!("  {this} drain worker-1{url}"));
    }
    print_line(format_args!("\nMore commands, gRPC and curl: docs/tour.md"));
    print_line(format_args!("Ctrl-C stops everything."));
}

/// A guild of the simulated Discord; for the real one, the example id of Discord's documentation.
fn example_guild(running: &Running) -> String {
    let guild = running
        .sim
        .as_ref()
        .and_then(|sim| sim.control().guilds(1, 1).first().map(|guild| guild.id.to_string()));
    guild.unwrap_or_else(|| "613425648685547541".to_owned())
}
