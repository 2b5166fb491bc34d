//! `altergolden doctor --probe`: asks the real Discord what cannot be tried without it. Says first what it spends, asks, runs the steps of
//! the crate `gateway-probe`, and prints a table.

use std::{
    fs::File,
    io::{IsTerminal as _, Write as _, stderr, stdin},
    path::{Path, PathBuf},
    time::Duration,
};

use coordinator::discord::{DiscordError, GatewayInfo};
use dialoguer::Confirm;
use gateway_probe::{
    Check, CheckResult, MOST_IDENTIFIES, PLANNED_IDENTIFIES, ProbeAddress, ProbeReport, ProbeSettings,
    planned_time,
};
use outside_text::{printable_lines, printable_within};
use process::settings::{self, ApiOrigin, Secret, SettingsError};

use super::{
    DoctorArgs, capacity::in_words, discord::gateway_info, fleet, fleet::FleetFacts, redis, redis::RedisState,
};
use crate::{ask::ServerArgs, exit::CommandOutcome, screen::SafeText};

/// How long an answer of the gateway may take before it counts as missing.
const PATIENCE: Duration = Duration::from_secs(30);
/// Time limit of `GET /gateway/bot`.
const REST_WITHIN: Duration = Duration::from_secs(10);
/// Discord's own interval between two IDENTIFYs of a bucket.
const INTERVAL: Duration = Duration::from_secs(5);
/// Characters of a column's text.
const LONGEST_TEXT: usize = 400;

/// The longest pause before a RESUME is tried.
const LONGEST_WAIT: Duration = Duration::from_hours(2);
/// The longest time for which a step listens.
const LONGEST_LISTEN: Duration = Duration::from_mins(10);

fn wait_duration(text: &str) -> Result<Duration, String> {
    settings::duration(text).and_then(|wait| within(wait, LONGEST_WAIT, "2h"))
}

fn listen_duration(text: &str) -> Result<Duration, String> {
    settings::duration(text).and_then(|listen| within(listen, LONGEST_LISTEN, "10m"))
}

fn within(duration: Duration, longest: Duration, in_words: &str) -> Result<Duration, String> {
    if duration <= longest { Ok(duration) } else { Err(format!("it takes at most {in_words}")) }
}

/// Settings of the probe.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Probe of the real Discord")]
pub(super) struct ProbeArgs {
    /// Check against the real Discord, with the token of a test bot, what the fleet assumes about its gateway. Spends at most 10
    /// IDENTIFYs, and asks first
    #[arg(long)]
    pub(super) probe: bool,

    /// Do not ask before IDENTIFYs are spent
    #[arg(long, requires = "probe")]
    yes: bool,

    /// File for the report as JSON, to attach to an issue: no token, no session id, no content
    #[arg(long, requires = "probe", value_name = "FILE")]
    report: Option<PathBuf>,

    /// Also try whether a session can be resumed after this time without a connection
    #[arg(long, requires = "probe", value_name = "DURATION", value_parser = wait_duration)]
    wait: Option<Duration>,

    /// How long each step listens for events
    #[arg(long, requires = "probe", value_name = "DURATION", default_value = "15s", value_parser = listen_duration)]
    listen: Duration,

    /// Name the guilds in the report
    #[arg(long, requires = "probe")]
    with_ids: bool,

    /// Time between two IDENTIFYs of a bucket; below 5s only with a simulated Discord on this machine
    #[arg(long, env = "IDENTIFY_INTERVAL", hide_short_help = true, value_name = "DURATION", default_value = "5s", value_parser = settings::duration)]
    identify_interval: Duration,
}

/// Runs the probe.
pub(super) async fn run(args: &DoctorArgs, server: &ServerArgs) -> CommandOutcome {
    match prepare(args, server).await {
        Ok(prepared) => probe(prepared, args, server).await,
        Err(outcome) => outcome,
    }
}

/// What a run needs.
struct Prepared {
    settings: ProbeSettings,
    token: Secret,
    info: GatewayInfo,
    report: Option<File>,
}

/// Refuses what must not be probed, says what a run spends, and asks.
async fn prepare(args: &DoctorArgs, server: &ServerArgs) -> Result<Prepared, CommandOutcome> {
    let probe = &args.probe;
    let wrong = |error: SettingsError| CommandOutcome::wrong_setting(error);
    let is_stand_in = args.discord.discord_api_url.as_ref().is_some_and(ApiOrigin::is_loopback);
    if probe.identify_interval < INTERVAL && !is_stand_in {
        return Err(wrong(SettingsError::new(
            "--identify-interval (IDENTIFY_INTERVAL)",
            "Discord allows one IDENTIFY per bucket in 5s; less is only for a --discord-api-url on this machine",
        )));
    }
    if !probe.yes && !stdin().is_terminal() {
        return Err(CommandOutcome::wrong_setting(
            "--probe spends IDENTIFYs and asks first, but standard input is not a terminal: add --yes",
        ));
    }
    let token = settings::discord_token().and_then(settings::required_token).map_err(wrong)?;
    refuse_beside_a_fleet(args, server).await?;
    let info = gateway_info(&token, &args.discord, REST_WITHIN).await.map_err(|error| match error {
        DiscordError::TokenRefused => CommandOutcome::refused_token(error),
        _ => CommandOutcome::unreachable(error),
    })?;
    if info.remaining < MOST_IDENTIFIES {
        return Err(CommandOutcome::failed(format!(
            "{} IDENTIFYs are left today, and the probe may need {MOST_IDENTIFIES}: try again in {}",
            info.remaining,
            in_words(info.reset_after)
        )));
    }
    let settings = ProbeSettings {
        token: token.clone(),
        gateway: ProbeAddress::new(&info.url).map_err(CommandOutcome::failed)?,
        shard: (0, info.advice.shards.max(1)),
        intents: args.intents.0.bits(),
        max_concurrency: info.advice.max_concurrency,
        interval: probe.identify_interval,
        listen: probe.listen,
        patience: PATIENCE,
        wait: probe.wait,
        with_ids: probe.with_ids,
    };
    announce(&settings, &info);
    if !probe.yes && !confirm().await? {
        return Err(CommandOutcome::failed("nothing was spent"));
    }
    // Before anything is spent.
    let report = probe.report.as_deref().map(create).transpose()?;
    Ok(Prepared { settings, token, info, report })
}

/// A running fleet needs its bot's IDENTIFYs, and the probe's sessions would receive its events a second time.
async fn refuse_beside_a_fleet(args: &DoctorArgs, server: &ServerArgs) -> Result<(), CommandOutcome> {
    let (facts, redis) = tokio::join!(fleet::ask(server), redis::ask(&args.store));
    if facts.running().is_some() {
        return Err(CommandOutcome::failed(
            "a fleet runs at COORDINATOR_URL: the probe would spend its IDENTIFYs; use the token of a test bot, and another COORDINATOR_URL",
        ));
    }
    if let FleetFacts::Unknown(why) = facts {
        return Err(CommandOutcome::unknown(format!("cannot tell whether a fleet runs: {why}")));
    }
    match redis {
        RedisState::NotSet => Ok(()),
        RedisState::Answers(facts) => match facts.live_leases() {
            Ok(0) => Ok(()),
            Ok(workers) => Err(CommandOutcome::failed(format!(
                "{workers} workers hold leases in Redis under this REDIS_PREFIX: the probe would spend their IDENTIFYs"
            ))),
            Err(why) => Err(CommandOutcome::unknown(format!("cannot tell whether a fleet runs: {why}"))),
        },
        RedisState::Invalid(why) => Err(CommandOutcome::wrong_setting(why)),
        RedisState::Away(url, why) => {
            Err(CommandOutcome::unknown(format!("cannot tell whether a fleet runs: {url}: {why}")))
        }
    }
}

/// Says what a run spends.
fn announce(settings: &ProbeSettings, info: &GatewayInfo) {
    let place = if settings.gateway.is_discord() { "the real Discord" } else { "a stand-in for Discord" };
    say(&format!(
        "The probe opens sessions of shard 0 of {} at {place}, for about {}.\n\
         It spends {PLANNED_IDENTIFIES} IDENTIFYs, and at most {MOST_IDENTIFIES} if a session is lost; {} of {} are left today, and \
         the count resets in {}.\n\
         Use the token of a test bot: while the probe runs, its sessions get the bot's events, and nothing handles them.",
        settings.shard.1,
        in_words(planned_time(settings)),
        info.remaining,
        info.total,
        in_words(info.reset_after),
    ));
}

/// Writes lines for people to standard error: standard output is for the result.
fn say(lines: &str) {
    // Fails only when the reader has closed the pipe.
    let _ = writeln!(stderr(), "{}", printable_lines(lines));
}

async fn confirm() -> Result<bool, CommandOutcome> {
    let asking =
        tokio::task::spawn_blocking(|| Confirm::new().with_prompt("Go on?").default(false).interact());
    match asking.await {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(error)) => Err(CommandOutcome::failed(format!("cannot ask: {error}"))),
        Err(error) => Err(CommandOutcome::failed(format!("cannot ask: {error}"))),
    }
}

fn create(path: &Path) -> Result<File, CommandOutcome> {
    File::create(path).map_err(|error| {
        CommandOutcome::wrong_setting(format!("--report: cannot write {}: {error}", path.display()))
    })
}

async fn probe(prepared: Prepared, args: &DoctorArgs, server: &ServerArgs) -> CommandOutcome {
    let Prepared { settings, token, info, report: file } = prepared;
    let stop = process::stop_on_signal();
    // Dropped on a signal, which ends its connections.
    let running = gateway_probe::run(settings, |line| say(&format!("- {line}")));
    let mut report = tokio::select! {
        report = running => report,
        () = stop.cancelled() => return CommandOutcome::unknown("stopped: the probe was not finished"),
    };
    report.identifies.left_before = Some(info.remaining);
    report.identifies.left_after =
        gateway_info(&token, &args.discord, REST_WITHIN).await.ok().map(|info| info.remaining);
    let json = match serde_json::to_value(&report) {
        Ok(json) => json,
        Err(error) => return CommandOutcome::failed(format!("cannot write the report as JSON: {error}")),
    };
    server.show(|_| table(&report), || &json);
    if let Some(mut file) = file {
        let text = outside_text::printable_json(&format!("{json:#}")).to_string();
        if let Err(error) = writeln!(file, "{text}") {
            return CommandOutcome::failed(format!("--report: {error}"));
        }
    }
    outcome(&report)
}

fn outcome(report: &ProbeReport) -> CommandOutcome {
    let has = |result| report.checks.iter().any(|check| check.result == result);
    if has(CheckResult::Differs) {
        CommandOutcome::negative()
    } else if let Some(why) = &report.ended_early {
        CommandOutcome::unknown(format!("the probe ended early: {why}"))
    } else if has(CheckResult::NotObserved) {
        CommandOutcome::incomplete()
    } else {
        CommandOutcome::success()
    }
}

/// A line for each check: how it ended, its name, what was seen; below it the assumption when Discord differs.
fn table(report: &ProbeReport) -> SafeText {
    let word = |check: &Check| match check.result {
        CheckResult::AsAssumed => "as assumed",
        CheckResult::Differs => "differs",
        CheckResult::NotObserved => "not seen",
    };
    let mut lines = Vec::new();
    for check in &report.checks {
        let found = printable_within(&check.found, LONGEST_TEXT);
        lines.push(format!("{:<12}{:<21}{found}", word(check), check.check.replace('_', " ")));
        if check.result == CheckResult::Differs {
            lines.push(format!("{:33}assumed: {}", "", check.assumed));
        }
    }
    let left = |left: Option<u32>| left.map_or("?".to_owned(), |left| left.to_string());
    let identifies = &report.identifies;
    lines.push(format!(
        "{} IDENTIFYs spent; left today: {} before, {} after",
        identifies.spent,
        left(identifies.left_before),
        left(identifies.left_after)
    ));
    if let Some(why) = &report.ended_early {
        lines.push(format!("ended early: {}", printable_within(why, LONGEST_TEXT)));
    }
    SafeText::from_escaped(lines.join("\n"))
}
