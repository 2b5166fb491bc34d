//! `altergolden`: tries the platform in one process, and operates a running fleet.

mod ask;
mod dev;
mod exit;
mod health;
mod json;
mod plan;
mod screen;
mod status_line;
mod table;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::exit::CommandOutcome;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// A sharding platform for large Discord bots: try it, and operate a running fleet
#[derive(Debug, Parser)]
#[command(
    name = "altergolden",
    version,
    after_help = "Exit codes: 0 success; 1 no (not found, not healthy); 2 wrong setting; 3 unreachable; 4 incomplete or unknown \
                  answer; 78 Discord refused the token."
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
    #[command(flatten)]
    server: ask::ServerArgs,
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
        #[arg(value_name = "URL")]
        endpoint: health::ProbeUrl,
    },
}

#[tokio::main]
async fn main() -> ExitCode {
    process::run_main("altergolden", log_filter, async |cli| run(cli).await.finish()).await
}

/// What to log when `RUST_LOG` does not say.
fn log_filter(cli: &Cli) -> &'static str {
    match cli.command {
        Command::Dev(_) => "warn,twilight_http=error",
        _ => "error",
    }
}

async fn run(cli: Cli) -> CommandOutcome {
    match cli.command {
        Command::Dev(args) => dev::run(args).await,
        Command::Ask(command) => ask::run(command, &cli.server).await,
        Command::Plan(command) => plan::run(command, &cli.server).await,
        Command::Health { endpoint } => health::probe(&endpoint).await,
    }
}
