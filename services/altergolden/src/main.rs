//! `altergolden`: try the platform in one process, and ask a running fleet.

mod ask;
mod dev;
mod exit;
mod health;
mod json;
mod line;
mod plan;
mod table;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::exit::Outcome;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// A sharding platform for large Discord bots: try it, and ask a running fleet
#[derive(Debug, Parser)]
#[command(
    name = "altergolden",
    version,
    after_help = "Exit codes: 0 yes; 1 no (not found, not healthy); 2 a wrong setting; 3 nobody answers; 4 the answer is not \
                  complete; 78 Discord refused the token."
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run everything in one process, with a simulated Discord: no token, no Redis, no Docker
    Dev(dev::DevArgs),
    #[command(flatten)]
    Ask(ask::AskCommand),
    #[command(flatten)]
    Plan(plan::PlanCommand),
    /// Ask a health endpoint: exit 0 when it answers 200
    Health {
        /// The endpoint, as http://127.0.0.1:3001/live
        url: health::ProbeUrl,
    },
}

#[tokio::main]
async fn main() -> ExitCode {
    let cli = match settings::parse::<Cli>() {
        Ok(cli) => cli,
        Err(code) => return code,
    };
    // Nothing else can have installed one: this is the first thing that happens.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let filter = match cli.command {
        Command::Dev(_) => "warn,twilight_http=error",
        _ => "error",
    };
    let telemetry = match telemetry::init("altergolden", filter) {
        Ok(telemetry) => telemetry,
        Err(error) => return Outcome::settings(error).finish(),
    };
    let outcome = match cli.command {
        Command::Dev(args) => dev::run(args).await,
        Command::Ask(command) => ask::run(command).await,
        Command::Plan(command) => plan::run(command).await,
        Command::Health { url } => health::probe(&url).await,
    };
    telemetry.shutdown().await;
    outcome.finish()
}
