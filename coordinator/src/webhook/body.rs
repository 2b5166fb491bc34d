//! The body of a notice: fields for programs, and the same as text for chats. Pure.
//!
//! Slack and its kind show `text`, Discord shows `content`. Names and close reasons come from outside: neither field may
//! mention people or forge a line.

use std::time::Duration;

use fleet_model::Problem;
use outside_text::{printable_within, without_secrets};
use process::telemetry::health::problems_json;
use serde_json::{Value, json};

use super::notices::Notice;

/// The most characters of a chat message, as UTF-16 units
/// ([Discord](https://docs.discord.com/developers/resources/webhook#execute-webhook)).
const LONGEST_TEXT: usize = 2_000;

/// The most characters of a problem's line.
const LONGEST_LINE: usize = 300;

/// Room for the last line about omitted problems and for the fleet's line.
const LAST_LINES: usize = 200;

/// The most entries of each list.
const MOST_ENTRIES: usize = 50;

/// What a notice says besides the problems.
pub(super) struct FleetLine {
    pub(super) ready: usize,
    pub(super) total: u32,
    pub(super) workers: usize,
    pub(super) term: u64,
}

impl std::fmt::Display for FleetLine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { ready, total, workers, term } = self;
        write!(f, "{ready} of {total} shards ready on {workers} workers, term {term}")
    }
}

/// Returns the body as JSON text. `time` is in RFC 3339.
pub(super) fn body(notice: &Notice, fleet: &FleetLine, time: &str) -> String {
    let status = if notice.lasting.is_empty() { "cleared" } else { "raised" };
    let text = text(notice, fleet);
    let cleared: Vec<Value> = notice.cleared.iter().take(MOST_ENTRIES).map(cleared_json).collect();
    let omitted = [notice.raised.len(), notice.cleared.len(), notice.lasting.len()]
        .map(|entries| entries.saturating_sub(MOST_ENTRIES));
    let body = json!({
        "version": 1,
        "status": status,
        "time": time,
        "fleet": fleet.to_string(),
        "raised": problems_json(first(&notice.raised)),
        "cleared": cleared,
        "problems": problems_json(first(&notice.lasting)),
        "omitted": omitted.iter().sum::<usize>(),
        "text": for_slack(&text),
        "content": text,
        "allowed_mentions": { "parse": [] },
    });
    without_secrets(&body.to_string()).into_owned()
}

fn first(problems: &[Problem]) -> &[Problem] {
    &problems[..problems.len().min(MOST_ENTRIES)]
}

fn cleared_json((problem, lasted): &(Problem, Option<Duration>)) -> Value {
    let mut entry = problems_json(std::slice::from_ref(problem))[0].take();
    entry["lastedSeconds"] = lasted.map(|lasted| lasted.as_secs()).into();
    entry
}

/// The text for people, at most [`LONGEST_TEXT`] long.
fn text(notice: &Notice, fleet: &FleetLine) -> String {
    let raised = notice.raised.iter().map(|problem| format!("🔴 {}: {}", problem.code, shown(problem)));
    let cleared = notice.cleared.iter().map(|(problem, lasted)| {
        let after = lasted.map(|lasted| format!(" after {}", duration(lasted))).unwrap_or_default();
        format!("🟢 {} cleared{after}: {}", problem.code, shown(problem))
    });
    let lines: Vec<String> = raised.chain(cleared).collect();
    let lasting = match notice.lasting.len() {
        0 => "no open problems".to_owned(),
        1 => "1 open problem".to_owned(),
        lasting => format!("{lasting} open problems"),
    };
    let last = format!("altergolden: {lasting}; {fleet}");
    let mut text = String::new();
    for (at, line) in lines.iter().enumerate() {
        if units(&text) + units(line) + 1 > LONGEST_TEXT - LAST_LINES {
            text += &["… and ", &(lines.len() - at).to_string(), " more\n"].concat();
            break;
        }
        text.push_str(line);
        text.push('\n');
    }
    text + &last
}

fn shown(problem: &Problem) -> String {
    printable_within(&problem.to_string(), LONGEST_LINE).to_string().replace('@', "@\u{200b}")
}

/// Slack reads `<!channel>` as a mention; it wants three characters escaped
/// ([Slack](https://docs.slack.dev/messaging/formatting-message-text#escaping)).
fn for_slack(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

fn units(text: &str) -> usize {
    text.encode_utf16().count()
}

/// `40 s`, `12 min`, `3 h`.
fn duration(lasted: Duration) -> String {
    match lasted.as_secs() {
        seconds @ ..120 => format!("{seconds} s"),
        seconds @ 120..7_200 => format!("{} min", seconds / 60),
        seconds => format!("{} h", seconds / 3_600),
    }
}

#[cfg(test)]
mod tests {
    use fleet_model::{ProblemCode, ShardSlot};

    use super::*;

    const FLEET: FleetLine = FleetLine { ready: 2, total: 4, workers: 1, term: 7 };

    fn notice(raised: Vec<Problem>, cleared: Vec<Problem>) -> Notice {
        let cleared = cleared.into_iter().map(|problem| (problem, Some(Duration::from_secs(150)))).collect();
        Notice { lasting: raised.clone(), raised, cleared, ..Notice::default() }
    }

    #[test]
    fn body_has_fields_for_programs_and_for_chats() {
        let away = Problem::new(ProblemCode::StoreAway, "the fleet store is away").since(1_790_000_000_000);
        let shard = Problem::of_shard(ProblemCode::ShardNotReady, ShardSlot(3), "reconnecting");
        let body: Value =
            serde_json::from_str(&body(&notice(vec![away], vec![shard]), &FLEET, "now")).unwrap();
        assert_eq!((&body["status"], &body["version"]), (&json!("raised"), &json!(1)));
        let raised = json!([{
            "code": "store_away",
            "message": "the fleet store is away",
            "since": "2026-09-21T14:13:20Z",
            "weight": "problem",
        }]);
        assert_eq!((&body["raised"], &body["problems"]), (&raised, &raised));
        assert_eq!(body["cleared"][0]["lastedSeconds"], 150);
        let text = "🔴 store_away: the fleet store is away\n\
                    🟢 shard_not_ready cleared after 2 min: shard 3 reconnecting\n\
                    altergolden: 1 open problem; 2 of 4 shards ready on 1 workers, term 7";
        assert_eq!((&body["text"], &body["content"]), (&json!(text), &json!(text)));
        assert_eq!(body["allowed_mentions"], json!({ "parse": [] }));
    }

    #[test]
    fn text_from_outside_mentions_no_people_and_forges_no_line() {
        let message = "closed with <!channel> & <@123> @everyone\n🟢 all well";
        let problem = Problem::new(ProblemCode::DiscordUnreachable, message);
        let body: Value = serde_json::from_str(&body(&notice(vec![problem], vec![]), &FLEET, "now")).unwrap();
        let (text, content) = (body["text"].as_str().unwrap(), body["content"].as_str().unwrap());
        assert_eq!((text.lines().count(), content.lines().count()), (2, 2), "{text}");
        assert!(
            !text.contains('<') && !text.contains("@everyone") && !content.contains("@everyone"),
            "{text}"
        );
    }

    #[test]
    fn many_long_problems_fit_into_a_chat_message() {
        let problem = |n: u32| {
            let worker = format!("worker w-{n} {}", "é😀".repeat(400));
            Problem::new(ProblemCode::WorkerCutOff, worker)
        };
        let notice = notice((0..500).map(problem).collect(), vec![]);
        let body: Value = serde_json::from_str(&body(&notice, &FLEET, "now")).unwrap();
        let content = body["content"].as_str().unwrap();
        assert!(
            units(content) <= LONGEST_TEXT && content.contains(" more\naltergolden: 500 open problems"),
            "{content}"
        );
        assert_eq!(body["raised"].as_array().unwrap().len(), MOST_ENTRIES);
        assert_eq!(body["omitted"], 900);
    }
}
