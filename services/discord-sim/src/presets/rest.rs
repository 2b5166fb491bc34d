//! Oddities of REST.

#![expect(
    clippy::unnecessary_wraps,
    reason = "rows have one type, and some need a guild that may be missing"
)]

use super::{Preset, PresetContext};
use crate::{
    fault_error::FaultError,
    faults::Fault,
    odd::{Edit, RestAnswer},
};
use serde_json::json;

type PresetFaults = Result<Vec<Fault>, FaultError>;

/// Cloudflare's answer to a blocked address.
const BLOCKED: &str = r#"{"code": 0, "message": "You are being blocked from accessing our API temporarily due to exceeding our rate limits frequently. Please read our docs at https://discord.com/developers/docs/topics/rate-limits to prevent this moving forward."}"#;
const BAD_GATEWAY: &str = "<html>\r\n<head><title>502 Bad Gateway</title></head>\r\n<body>\r\n<center><h1>502 Bad \
     Gateway</h1></center>\r\n<hr><center>nginx</center>\r\n</body>\r\n</html>\r\n";
const LIMITED: &str = r#"{"message": "You are being rate limited.", "retry_after": 2.5, "global": false}"#;

/// A replacement answer; an empty `route` means every call.
fn answer(
    context: &PresetContext<'_>,
    route: &str,
    status: u16,
    headers: &[(&str, &str)],
    body: &str,
) -> RestAnswer {
    let headers = headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    RestAnswer {
        name: Some(context.wanted.name.clone()),
        route: (!route.is_empty()).then(|| route.to_owned()),
        times: context.wanted.times,
        status: Some(status),
        headers: headers.collect(),
        body: body.to_owned(),
        ..RestAnswer::default()
    }
}

fn instead(
    context: &PresetContext<'_>,
    route: &str,
    status: u16,
    headers: &[(&str, &str)],
    body: &str,
) -> PresetFaults {
    Ok(vec![Fault::RestAnswer(answer(context, route, status, headers, body))])
}

const BOT: &str = "/gateway/bot";
const JSON: (&str, &str) = ("content-type", "application/json");
const HTML: (&str, &str) = ("content-type", "text/html");
/// A header of Discord's own answers.
const VIA: (&str, &str) = ("via", "1.1 google");

pub(super) const PRESETS: &[Preset] = &[
    Preset {
        name: "gateway_bot_blocked",
        what: "GET /gateway/bot is answered with 429, a page with error code 1015 and Retry-After: 20",
        source: "https://github.com/openclaw/openclaw/pull/74489",
        make: |context| instead(context, BOT, 429, &[HTML, ("retry-after", "20")], "error code: 1015"),
    },
    Preset {
        name: "gateway_bot_global_429",
        what: "GET /gateway/bot is answered with a global 429 without bucket headers",
        source: "",
        make: |context| {
            let headers = [JSON, VIA, ("x-ratelimit-global", "true"), ("retry-after", "20")];
            let body = r#"{"message": "You are being rate limited.", "retry_after": 20.0, "global": true}"#;
            instead(context, BOT, 429, &headers, body)
        },
    },
    Preset {
        name: "gateway_bot_html",
        what: "GET /gateway/bot is answered with 200 and a page of HTML",
        source: "",
        make: |context| {
            instead(
                context,
                BOT,
                200,
                &[HTML],
                "<!DOCTYPE html><html><body>We'll be right back</body></html>",
            )
        },
    },
    Preset {
        name: "gateway_bot_url_foreign",
        what: "GET /gateway/bot names a host that is not Discord's, to which no token may go",
        source: "",
        make: |context| {
            let url = json!("wss://gateway.discord.gg.example.invalid");
            Ok(vec![Fault::RestAnswer(RestAnswer {
                name: Some(context.wanted.name.clone()),
                route: Some(BOT.to_owned()),
                times: context.wanted.times,
                edits: vec![Edit::Set { path: "/url".to_owned(), value: url }],
                ..RestAnswer::default()
            })])
        },
    },
    Preset {
        name: "max_concurrency_one",
        what: "max_concurrency becomes 1, and IDENTIFYs are judged by it",
        source: "https://github.com/discord/discord-api-docs/pull/1621",
        make: |_| Ok(vec![Fault::SessionLimit { max_concurrency: Some(1), remaining: None, shards: None }]),
    },
    Preset {
        name: "session_starts_used_up",
        what: "no IDENTIFY is left for today",
        source: "",
        make: |_| Ok(vec![Fault::SessionLimit { max_concurrency: None, remaining: Some(0), shards: None }]),
    },
    Preset {
        name: "shards_doubled",
        what: "twice as many shards are recommended",
        source: "",
        make: |context| {
            let shards = Some(context.input.shards.saturating_mul(2));
            Ok(vec![Fault::SessionLimit { max_concurrency: None, remaining: None, shards }])
        },
    },
    Preset {
        name: "address_blocked",
        what: "every call is answered with 429 and JSON, without via, wait or bucket: the address is blocked",
        source: "https://github.com/discord/discord-api-docs/issues/5810",
        make: |context| instead(context, "", 429, &[JSON], BLOCKED),
    },
    Preset {
        name: "address_blocked_page",
        what: "every call is answered with 429 and a page with error code 1015, without Retry-After",
        source: "https://github.com/discord/discord-api-docs/issues/1771",
        make: |context| instead(context, "", 429, &[HTML], "error code: 1015"),
    },
    Preset {
        name: "rest_html_502",
        what: "every call is answered with 502 and a page of HTML",
        source: "https://github.com/bwmarrin/discordgo/issues/659",
        make: |context| instead(context, "", 502, &[HTML], BAD_GATEWAY),
    },
    Preset {
        name: "rest_429_wait_in_body",
        what: "every call is answered with 429, and only the body says how long to wait: 2.5 s",
        source: "",
        make: |context| instead(context, "", 429, &[JSON, VIA], LIMITED),
    },
    Preset {
        name: "rest_429_http_date",
        what: "every call is answered with 429, and Retry-After is a date",
        source: "",
        make: |context| {
            let answer =
                answer(context, "", 429, &[JSON, VIA], r#"{"message": "You are being rate limited."}"#);
            Ok(vec![Fault::RestAnswer(RestAnswer { retry_after_date: Some(3), ..answer })])
        },
    },
    Preset {
        name: "rest_429_wait_malformed",
        what: "every call is answered with 429, and its waits are not numbers",
        source: "",
        make: |context| {
            let headers = [JSON, VIA, ("retry-after", "-1"), ("x-ratelimit-reset-after", "NaN")];
            instead(context, "", 429, &headers, r#"{"retry_after": "soon", "global": "no"}"#)
        },
    },
    Preset {
        name: "rest_reset",
        what: "the connection of every call is reset instead of an answer",
        source: "",
        make: |context| {
            let answer = RestAnswer { status: None, reset: true, ..answer(context, "", 200, &[], "") };
            Ok(vec![Fault::RestAnswer(answer)])
        },
    },
    Preset {
        name: "rest_not_json",
        what: "every call is answered with 200 and half of a JSON object",
        source: "",
        make: |context| instead(context, "", 200, &[JSON, VIA], r#"{"id": "1", "name": "#),
    },
];
