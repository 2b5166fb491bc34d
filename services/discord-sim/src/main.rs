//! The `discord-sim` program: parses settings, starts a simulator, waits for Ctrl-C or SIGTERM.

use anyhow::Context;
use clap::Parser;
use discord_sim::{Sim, SimArgs, SimConfig, StartError};
use std::{
    io::{IsTerminal as _, Write},
    process::ExitCode,
};
use tokio::signal::unix::{SignalKind, signal};
use tracing::Level;
use tracing_subscriber::{
    Layer as _,
    filter::{FilterExt as _, LevelFilter, Targets, filter_fn},
    layer::SubscriberExt as _,
    util::SubscriberInitExt as _,
};

/// Exit code of an invalid setting.
const BAD_SETTING: u8 = 2;

fn main() -> ExitCode {
    let config = match settings() {
        Ok(config) => config,
        Err(code) => return code,
    };
    // An empty part would set the level to ERROR.
    let asked = std::env::var("RUST_LOG").unwrap_or_default();
    let parts = asked.split(',').map(str::trim).filter(|part| !part.is_empty());
    let asked = parts.collect::<Vec<_>>().join(",");
    let asked = Some(asked).filter(|asked| !asked.is_empty()).and_then(|asked| asked.parse::<Targets>().ok());
    let filter = asked.unwrap_or_else(|| Targets::new().with_default(LevelFilter::WARN));
    let lines = tracing_subscriber::fmt::layer()
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr);
    // Below INFO the WebSocket library writes whole messages, and IDENTIFY has the bot's token, which may be a real one.
    let quiet = filter_fn(|of| *of.level() <= Level::INFO || !of.target().contains("tungstenite"));
    tracing_subscriber::registry().with(lines.with_filter(filter.and(quiet))).init();
    match run(config) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if error.is::<StartError>() => refuse(&format!("discord-sim: {error:#} (--listen)")),
        Err(error) => {
            tracing::error!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Parses the settings. On an error prints one line and returns the exit code.
fn settings() -> Result<SimConfig, ExitCode> {
    let args = SimArgs::try_parse().map_err(|error| {
        if !error.use_stderr() {
            error.exit();
        }
        // The error and the valid values come first; the usage after the blank line is in --help.
        let text = error.to_string();
        let lines: Vec<&str> = text.lines().map(str::trim).take_while(|line| !line.is_empty()).collect();
        refuse(&lines.join(" "))
    })?;
    let token = std::env::var("SIM_TOKEN").ok();
    args.into_config(token).map_err(|error| {
        let (flag, needs) = (error.setting.replace('_', "-"), error.needs);
        refuse(&format!("error: --{flag} must be {needs}"))
    })
}

fn refuse(line: &str) -> ExitCode {
    // Standard error may be closed; the exit code reports the error too.
    let _ = writeln!(std::io::stderr(), "{line}");
    ExitCode::from(BAD_SETTING)
}

#[tokio::main]
async fn run(config: SimConfig) -> anyhow::Result<()> {
    let mut terminate = signal(SignalKind::terminate()).context("cannot install the SIGTERM handler")?;
    let sim = Sim::start(config).await?;
    // Tests read this line; flush it before waiting.
    let mut stdout = std::io::stdout();
    writeln!(stdout, "discord-sim listening on {}", sim.http_origin())?;
    stdout.flush()?;
    tokio::select! {
        interrupted = tokio::signal::ctrl_c() => interrupted.context("cannot wait for Ctrl-C")?,
        _ = terminate.recv() => {}
    }
    sim.shutdown().await;
    Ok(())
}
