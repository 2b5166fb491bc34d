//! A live sample of Discord's events, one line each.

use std::{
    io::{IsTerminal as _, stdout},
    time::Duration,
};

use altergolden_proto::v1::{self, tap_item::Item};
use clap::Args;
use outside_text::{printable, printable_within};
use serde_json::{Map, Value, json};
use shard_bridge::ClientError;
use tokio::time::{Instant, sleep, timeout_at};

use super::{
    ServerArgs, discord_id,
    moment::{self, TimeStyle},
};
use crate::exit::{CommandOutcome, print_json, print_line};

/// Characters shown of an event's data on one line.
const LONGEST_DATA: usize = 2_000;

/// The shortest and the longest wait before the coordinator is asked again.
const FIRST_WAIT: Duration = Duration::from_millis(500);
const LONGEST_WAIT: Duration = Duration::from_secs(5);

#[derive(Debug, Args)]
pub(crate) struct TapArgs {
    /// Only events of this name, such as MESSAGE_CREATE; may be repeated
    #[arg(long, value_name = "NAME", value_delimiter = ',', value_parser = event_name)]
    event: Vec<String>,
    /// Only events of this guild; may be repeated
    #[arg(long, value_name = "ID", value_delimiter = ',', value_parser = discord_id, allow_negative_numbers = true)]
    guild: Vec<u64>,
    /// Only events of these shards: 3, 0-3; may be repeated
    #[arg(long, value_name = "NUMBER|FIRST-LAST", value_delimiter = ',', value_parser = shards, allow_hyphen_values = true)]
    shard: Vec<v1::TapShards>,
    /// Ratio of these events to show: 0.01 shows one in a hundred
    #[arg(long, value_name = "RATIO", default_value = "1", value_parser = share, allow_negative_numbers = true)]
    sample: f64,
    /// End after this many events
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u64).range(1..))]
    limit: Option<u64>,
    /// End after this time; at most 1h
    #[arg(long = "for", value_name = "DURATION", default_value = "5m", value_parser = lasts)]
    lasts: Duration,
    /// Show names and what users wrote, not only ids, numbers and counts
    #[arg(long)]
    content: bool,
}

fn event_name(text: &str) -> Result<String, String> {
    let name = text.to_ascii_uppercase();
    let is_name =
        !name.is_empty() && name.len() <= 100 && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
    is_name
        .then_some(name)
        .ok_or_else(|| "expected the name of a Discord event, such as MESSAGE_CREATE".to_owned())
}

fn shards(text: &str) -> Result<v1::TapShards, String> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let range = first.parse().ok().zip(last.parse().ok()).filter(|(first, last)| first <= last);
    let (first, last) = range.ok_or("expected the number of a shard, or a range such as 0-3")?;
    Ok(v1::TapShards { first, last })
}

fn share(text: &str) -> Result<f64, String> {
    let share = text.parse().ok().filter(|share| *share > 0.0 && *share <= 1.0);
    share.ok_or_else(|| "expected a ratio above 0 and up to 1, such as 0.01".to_owned())
}

fn lasts(text: &str) -> Result<Duration, String> {
    let lasts = process::settings::duration(text)?;
    let is_short = lasts <= Duration::from_hours(1);
    is_short.then_some(lasts).ok_or_else(|| "expected at most 1h".to_owned())
}

impl TapArgs {
    fn request(&self, left: Duration) -> v1::TapRequest {
        v1::TapRequest {
            events: self.event.clone(),
            guild_ids: self.guild.clone(),
            shards: self.shard.clone(),
            sample: self.sample,
            content: self.content,
            max_per_second: 0,
            duration_ms: u32::try_from(left.as_millis()).unwrap_or(u32::MAX).max(1),
        }
    }

    /// What is shown: `1 in 100 of MESSAGE_CREATE in guild 5 on shards 0-3`.
    fn describe(&self) -> String {
        let one_in = 1.0 / self.sample;
        let share = if self.sample >= 1.0 {
            "all".to_owned()
        } else if (one_in - one_in.round()).abs() < 1e-6 {
            format!("1 in {}", one_in.round())
        } else {
            format!("{} %", self.sample * 100.0)
        };
        let events = match (self.event.is_empty(), self.sample >= 1.0) {
            (true, true) => " events".to_owned(),
            (true, false) => " of the events".to_owned(),
            (false, _) => format!(" of {}", self.event.join(", ")),
        };
        let list = |what: &str, of: Vec<String>, is_one: bool| match (of.is_empty(), is_one) {
            (true, _) => String::new(),
            (_, true) => format!(" {what} {}", of.concat()),
            (_, false) => format!(" {what}s {}", of.join(", ")),
        };
        let guilds: Vec<String> = self.guild.iter().map(u64::to_string).collect();
        let guilds = list("in guild", guilds, self.guild.len() == 1);
        let is_one_shard = matches!(self.shard.as_slice(), [one] if one.first == one.last);
        let shards = list("on shard", self.shard.iter().copied().map(range_text).collect(), is_one_shard);
        format!("{share}{events}{guilds}{shards}")
    }
}

/// `5m`, `90s`.
fn shown_duration(lasts: Duration) -> String {
    match lasts.as_secs() {
        seconds if seconds > 0 && seconds % 60 == 0 => format!("{}m", seconds / 60),
        _ => format!("{lasts:?}"),
    }
}

fn range_text(range: v1::TapShards) -> String {
    if range.first == range.last {
        range.first.to_string()
    } else {
        format!("{}-{}", range.first, range.last)
    }
}

/// Prints events until the limit or the time is reached. A connection that breaks is made again.
pub(super) async fn answer(args: TapArgs, server: &ServerArgs) -> Result<CommandOutcome, ClientError> {
    let until = Instant::now() + args.lasts;
    let mut printer = Printer::new(server.is_json());
    let mut stream = server.connect().await?.tap(args.request(args.lasts)).await?;
    printer.begin(&args);
    let mut wait = FIRST_WAIT;
    loop {
        let ended = match timeout_at(until, stream.message()).await {
            Err(_) => return Ok(CommandOutcome::success()),
            Ok(Ok(Some(v1::TapItem { item }))) => {
                wait = FIRST_WAIT;
                if let Some(item) = item {
                    printer.show(&item);
                }
                if args.limit.is_some_and(|limit| printer.events >= limit) {
                    return Ok(CommandOutcome::success());
                }
                continue;
            }
            Ok(Ok(None)) if until.saturating_duration_since(Instant::now()) < Duration::from_secs(1) => {
                return Ok(CommandOutcome::success());
            }
            Ok(Ok(None)) => "the coordinator ended the stream".to_owned(),
            Ok(Err(status)) => status.message().to_owned(),
        };
        printer.note("lost", &format!("connection to the coordinator lost: {ended}; reconnecting"));
        stream = loop {
            sleep(wait).await;
            wait = (wait * 2).min(LONGEST_WAIT);
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(CommandOutcome::unknown("the connection to the coordinator was lost"));
            }
            let Ok(mut client) = server.connect().await else { continue };
            if let Ok(stream) = client.tap(args.request(left)).await {
                break stream;
            }
        };
        printer.note("connected", "reconnected to the coordinator");
    }
}

/// Prints items, and counts the events.
struct Printer {
    json: bool,
    style: TimeStyle,
    events: u64,
}

impl Printer {
    fn new(json: bool) -> Self {
        let style = if stdout().is_terminal() { TimeStyle::Local } else { TimeStyle::Utc };
        Self { json, style, events: 0 }
    }

    fn begin(&self, args: &TapArgs) {
        let shows = args.describe();
        if self.json {
            print_json(json!({ "kind": "begun", "shows": shows, "content": args.content }));
            return;
        }
        let content =
            if args.content { "with content" } else { "ids and numbers only (--content shows the rest)" };
        print_line(format!("{shows}, {content}, for {}; Ctrl-C ends", shown_duration(args.lasts)));
    }

    fn note(&self, kind: &str, text: &str) {
        if self.json {
            print_json(json!({ "kind": kind, "reason": text }));
        } else {
            print_line(format!("-- {text}"));
        }
    }

    fn show(&mut self, item: &Item) {
        self.events += u64::from(matches!(item, Item::Event(_)));
        if self.json {
            print_json(json_of(item));
        } else {
            print_line(text_of(item, self.style));
        }
    }
}

fn json_of(item: &Item) -> Value {
    match item {
        Item::Event(event) => json!({
            "kind": "event",
            "event": event.name,
            "shard_id": event.shard_id,
            "worker_id": event.worker_id,
            "guild_id": (event.guild_id != 0).then(|| event.guild_id.to_string()),
            "received_at": moment::show(event.received_at_unix_ms, TimeStyle::Utc),
            "session": event.session,
            "sequence": event.sequence,
            "bytes": event.bytes,
            "delay_ms": event.delay_ms,
            "data": serde_json::from_str::<Value>(&event.json).unwrap_or_default(),
            "cut": event.is_cut,
        }),
        Item::Dropped(dropped) => {
            json!({ "kind": "dropped", "events": dropped.events, "worker_id": dropped.worker_id })
        }
        Item::Worker(worker) => json!({
            "kind": "worker",
            "worker_id": worker.worker_id,
            "shown": worker.is_shown,
            "reason": worker.reason,
        }),
    }
}

fn text_of(item: &Item, style: TimeStyle) -> String {
    match item {
        Item::Event(event) => {
            let at = moment::show(event.received_at_unix_ms, style);
            let guild =
                if event.guild_id == 0 { String::new() } else { format!("  guild {}", event.guild_id) };
            let delay = event.delay_ms.map(|delay| format!("  {delay} ms old")).unwrap_or_default();
            let data = match serde_json::from_str(&event.json) {
                Ok(Value::Object(data)) if !data.is_empty() => format!("  {}", fields(&data)),
                Ok(Value::Object(_)) | Err(_) => String::new(),
                Ok(data) => format!("  {data}"),
            };
            let cut = if event.is_cut { "  (cut)" } else { "" };
            let data = printable_within(&data, LONGEST_DATA);
            let name = printable(&event.name);
            format!("{at}  shard {}  {name}{guild}  {} B{delay}{data}{cut}", event.shard_id, event.bytes)
        }
        Item::Dropped(dropped) => {
            let (events, worker) = (dropped.events, printable(&dropped.worker_id));
            format!(
                "-- {events} events of worker {worker} not shown: too many, or read too slowly; use a smaller --sample"
            )
        }
        Item::Worker(worker) if worker.is_shown => {
            format!("-- events of worker {} are shown", printable(&worker.worker_id))
        }
        Item::Worker(worker) => {
            let (name, reason) = (printable(&worker.worker_id), printable(&worker.reason));
            format!("-- events of worker {name} are missing: {reason}")
        }
    }
}

/// `id=5 channel_id=6 embeds=2`.
fn fields(data: &Map<String, Value>) -> String {
    let field = |(name, value): (&String, &Value)| match value {
        Value::String(id) if !id.is_empty() && id.bytes().all(|byte| byte.is_ascii_digit()) => {
            format!("{name}={id}")
        }
        value => format!("{name}={value}"),
    };
    data.iter().map(field).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;

    #[derive(clap::Parser)]
    struct Program {
        #[command(flatten)]
        tap: TapArgs,
    }

    fn args(flags: &[&str]) -> Result<TapArgs, clap::Error> {
        Program::try_parse_from([&["tap"], flags].concat()).map(|program| program.tap)
    }

    #[test]
    fn head_line_says_what_is_shown() {
        for (flags, text) in [
            (&[][..], "all events"),
            (&["--sample=0.01"], "1 in 100 of the events"),
            (
                &["--sample=0.01", "--event=message_create", "--shard=0-3"],
                "1 in 100 of MESSAGE_CREATE on shards 0-3",
            ),
            (&["--sample=0.3", "--guild=5"], "30 % of the events in guild 5"),
            (&["--event=A,B", "--shard=7", "--guild=5,6"], "all of A, B in guilds 5, 6 on shard 7"),
        ] {
            assert_eq!(args(flags).unwrap().describe(), text, "{flags:?}");
        }
    }

    #[test]
    fn wrong_values_are_refused() {
        for wrong in [
            "--sample=0",
            "--sample=-1",
            "--sample=1.5",
            "--sample=NaN",
            "--shard=3-1",
            "--shard=-1",
            "--shard=x",
            "--guild=0",
            "--event=",
            "--event=A B",
            "--limit=0",
            "--for=2h",
            "--for=5",
        ] {
            assert!(args(&[wrong]).is_err(), "{wrong} passed");
        }
    }

    #[test]
    fn text_from_outside_stays_on_its_line() {
        let event = v1::TapEvent {
            name: "MESSAGE_CREATE".to_owned(),
            guild_id: 5,
            bytes: 1_500,
            delay_ms: Some(12),
            json: r#"{"id":"7","content":"a\nb\u001b[2K"}"#.to_owned(),
            ..v1::TapEvent::default()
        };
        let text = text_of(&Item::Event(event), TimeStyle::Utc);
        assert!(text.contains("shard 0  MESSAGE_CREATE  guild 5") && text.contains("12 ms old"), "{text}");
        assert!(text.contains(" id=7") && text.contains("content=\"a\\nb\\u001b[2K\""), "{text}");
        assert!(!text.contains('\u{1b}') && text.lines().count() == 1, "{text}");
    }
}
