//! Oddities of gateway connections.

#![expect(
    clippy::unnecessary_wraps,
    reason = "rows have one type, and some need a guild that may be missing"
)]

use super::{Preset, PresetContext};
use crate::{
    fault_error::FaultError,
    faults::Fault,
    odd::{Action, Address, Moment, Script},
};
use std::collections::BTreeMap;

type PresetFaults = Result<Vec<Fault>, FaultError>;

fn close(code: Option<u16>) -> Action {
    Action::Close { code, reason: String::new() }
}

fn text(text: impl Into<String>, times: u64) -> Action {
    Action::Text { text: text.into(), times }
}

fn bytes(hex: &str, fill: u64, times: u64) -> Action {
    Action::Bytes { hex: hex.to_owned(), fill, times }
}

fn at(context: &PresetContext<'_>, at: Moment, actions: Vec<Action>) -> PresetFaults {
    Ok(vec![Fault::Script(context.script(at, actions))])
}

/// Replaces HELLO with one that has this `d`.
fn hello(context: &PresetContext<'_>, d: &str) -> PresetFaults {
    let actions = vec![text(format!(r#"{{"t":null,"s":null,"op":10,"d":{d}}}"#), 1)];
    Ok(vec![Fault::Script(Script { instead: true, ..context.script(Moment::BeforeHello, actions) })])
}

fn interval(context: &PresetContext<'_>, interval: &str) -> PresetFaults {
    hello(context, &format!(r#"{{"heartbeat_interval":{interval}}}"#))
}

fn at_resume_url(context: &PresetContext<'_>, moment: Moment, actions: Vec<Action>) -> PresetFaults {
    Ok(vec![Fault::Script(Script { address: Some(Address::Resume), ..context.script(moment, actions) })])
}

fn refused(status: u16, headers: &[(&str, &str)], body: &str) -> Action {
    let headers: BTreeMap<String, String> =
        headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    Action::Refuse { status, headers, body: body.to_owned() }
}

pub(super) const PRESETS: &[Preset] = &[
    // Short-lived success.
    Preset {
        name: "resumed_then_close",
        what: "each RESUME is answered with RESUMED, then close code 1011",
        source: "https://github.com/discord/discord-api-docs/issues/1023",
        make: |context| at(context, Moment::Resumed, vec![close(Some(1011))]),
    },
    Preset {
        name: "resumed_then_reconnect",
        what: "each RESUME is answered with RESUMED, then op 7",
        source: "https://github.com/discordjs/discord.js/issues/4095",
        make: |context| at(context, Moment::Resumed, vec![Action::Reconnect]),
    },
    Preset {
        name: "resumed_then_reset",
        what: "each RESUME is answered with RESUMED, then the TCP connection is reset",
        source: "",
        make: |context| at(context, Moment::Resumed, vec![Action::Reset]),
    },
    Preset {
        name: "ready_then_close",
        what: "each READY is followed by close code 1011, and RESUME by op 9 false: every try costs an IDENTIFY",
        source: "https://github.com/discord/discord-api-docs/issues/1023",
        make: |context| {
            let refuse = vec![Action::InvalidSession { resumable: false }];
            Ok(vec![
                Fault::Script(context.script(Moment::Ready, vec![close(Some(1011))])),
                Fault::Script(context.script(Moment::Resume, refuse)),
            ])
        },
    },
    Preset {
        name: "resume_invalid_for_now",
        what: "each RESUME is answered with op 9 true",
        source: "",
        make: |context| at(context, Moment::Resume, vec![Action::InvalidSession { resumable: true }]),
    },
    Preset {
        name: "identify_invalid",
        what: "each IDENTIFY is answered with op 9 false",
        source: "",
        make: |context| at(context, Moment::Identify, vec![Action::InvalidSession { resumable: false }]),
    },
    Preset {
        name: "resume_reset",
        what: "each RESUME is answered with a TCP reset",
        source: "https://github.com/discord/discord-api-docs/issues/1619",
        make: |context| at(context, Moment::Resume, vec![Action::Reset]),
    },
    Preset {
        name: "resume_closed_without_code",
        what: "each RESUME is answered with a close frame that has no code",
        source: "https://github.com/openclaw/openclaw/issues/14331",
        make: |context| at(context, Moment::Resume, vec![close(None)]),
    },
    Preset {
        name: "hello_then_close",
        what: "each HELLO is followed by close code 1011",
        source: "https://github.com/discord/discord-api-docs/issues/1023",
        make: |context| at(context, Moment::AfterHello, vec![close(Some(1011))]),
    },
    Preset {
        name: "reconnect_before_hello",
        what: "op 7 comes in HELLO's place",
        source: "https://github.com/hikari-py/hikari/pull/1867",
        make: |context| {
            let actions = vec![Action::Reconnect];
            Ok(vec![Fault::Script(Script { instead: true, ..context.script(Moment::BeforeHello, actions) })])
        },
    },
    // Silence.
    Preset {
        name: "slow_ready",
        what: "READY takes 40 s, heartbeats are acknowledged meanwhile",
        source: "https://github.com/bwmarrin/discordgo/issues/144",
        make: |context| at(context, Moment::Identify, vec![Action::Withhold { ms: 40_000 }]),
    },
    Preset {
        name: "slow_replay",
        what: "what follows a RESUME takes 4 s, heartbeats are acknowledged meanwhile",
        source: "",
        make: |context| at(context, Moment::Resume, vec![Action::Withhold { ms: 4_000 }]),
    },
    Preset {
        name: "acks_without_events",
        what: "connections that are open now get ACKs but no more events",
        source: "https://github.com/NousResearch/hermes-agent/pull/111178",
        make: |context| at(context, Moment::Now, vec![Action::Withhold { ms: 0 }]),
    },
    Preset {
        name: "resume_url_silent",
        what: "the host of resume_gateway_url accepts the WebSocket and never says HELLO",
        source: "https://github.com/openclaw/openclaw/issues/14331",
        make: |context| at_resume_url(context, Moment::BeforeHello, vec![Action::Silence]),
    },
    Preset {
        name: "resume_url_unavailable",
        what: "the host of resume_gateway_url answers 503 to the WebSocket handshake",
        source: "https://github.com/Rapptz/discord.py/issues/10511",
        make: |context| at_resume_url(context, Moment::Connect, vec![refused(503, &[], "")]),
    },
    Preset {
        name: "handshake_520",
        what: "Cloudflare answers 520 to the WebSocket handshake",
        source: "https://github.com/discord/discord-api-docs/issues/7016",
        make: |context| {
            let page = refused(520, &[("content-type", "text/html")], "error code: 520");
            at(context, Moment::Connect, vec![page])
        },
    },
    Preset {
        name: "handshake_429",
        what: "Cloudflare answers 429 with Retry-After: 20 to the WebSocket handshake",
        source: "",
        make: |context| {
            let headers = [("content-type", "text/html"), ("retry-after", "20")];
            at(context, Moment::Connect, vec![refused(429, &headers, "error code: 1015")])
        },
    },
    Preset {
        name: "handshake_silent",
        what: "the WebSocket handshake is never answered",
        source: "",
        make: |context| at(context, Moment::Connect, vec![Action::Silence]),
    },
    // HELLO.
    Preset {
        name: "hello_interval_zero",
        what: "HELLO has the heartbeat interval 0",
        source: "",
        make: |context| interval(context, "0"),
    },
    Preset {
        name: "hello_interval_negative",
        what: "HELLO has the heartbeat interval -1",
        source: "",
        make: |context| interval(context, "-1"),
    },
    Preset {
        name: "hello_interval_huge",
        what: "HELLO has the heartbeat interval 18446744073709551615",
        source: "",
        make: |context| interval(context, "18446744073709551615"),
    },
    Preset {
        name: "hello_interval_text",
        what: "HELLO has the heartbeat interval \"45000\", a string",
        source: "",
        make: |context| interval(context, r#""45000""#),
    },
    Preset {
        name: "hello_interval_tiny",
        what: "HELLO has the heartbeat interval 1: a client that follows it sends 1,000 a second",
        source: "",
        make: |context| interval(context, "1"),
    },
    Preset {
        name: "hello_without_interval",
        what: "HELLO has no heartbeat interval",
        source: "",
        make: |context| hello(context, "{}"),
    },
    // Storms.
    Preset {
        name: "heartbeat_requests",
        what: "op 1 comes 20,000 times at once on connections that are open now",
        source: "",
        make: |context| {
            at(context, Moment::Now, vec![text(r#"{"t":null,"s":null,"op":1,"d":null}"#, 20_000)])
        },
    },
    Preset {
        name: "garbage_texts",
        what: "10,000 payloads that are not JSON come on connections that are open now",
        source: "",
        make: |context| at(context, Moment::Now, vec![text("{\"op\":0,\"t\":\"\u{1b}[31mgarbage", 10_000)]),
    },
    Preset {
        name: "deep_payload",
        what: "a payload nested 100,000 deep comes on connections that are open now",
        source: "",
        make: |context| {
            let (open, shut) = ("[".repeat(100_000), "]".repeat(100_000));
            let payload = format!(r#"{{"t":"DISCORD_SIM","s":null,"op":0,"d":{open}{shut}}}"#);
            at(context, Moment::Now, vec![text(payload, 1)])
        },
    },
    Preset {
        name: "unknown_opcode",
        what: "a payload with op 4294967295 comes on connections that are open now",
        source: "",
        make: |context| {
            at(context, Moment::Now, vec![text(r#"{"t":null,"s":null,"op":4294967295,"d":null}"#, 1)])
        },
    },
    // Frames.
    Preset {
        name: "frame_oversized",
        what: "the header of a frame of 2^62 bytes comes in HELLO's place, then nothing",
        source: "",
        make: |context| {
            let actions = vec![bytes("827f 3fffffffffffffff", 0, 1), Action::Silence];
            Ok(vec![Fault::Script(Script { instead: true, ..context.script(Moment::BeforeHello, actions) })])
        },
    },
    Preset {
        name: "frame_fragments",
        what: "a message of 16,384 fragments, 1 GiB, comes after HELLO and does not end",
        source: "",
        make: |context| {
            let actions =
                vec![bytes("017effff", 65_535, 1), bytes("007effff", 65_535, 16_383), Action::Silence];
            at(context, Moment::AfterHello, actions)
        },
    },
    Preset {
        name: "frame_reserved_opcode",
        what: "a frame with an opcode that WebSocket reserves comes after HELLO",
        source: "",
        make: |context| at(context, Moment::AfterHello, vec![bytes("8300", 0, 1)]),
    },
    Preset {
        name: "frame_masked",
        what: "a frame with a mask, which servers must not use, comes after HELLO",
        source: "",
        make: |context| at(context, Moment::AfterHello, vec![bytes("8182 00000000 7b7d", 0, 1)]),
    },
    Preset {
        name: "frame_not_utf8",
        what: "a text frame that is not UTF-8 comes after HELLO",
        source: "",
        make: |context| at(context, Moment::AfterHello, vec![bytes("8102 c328", 0, 1)]),
    },
    Preset {
        name: "frame_pings",
        what: "20,000 WebSocket pings come on connections that are open now",
        source: "",
        make: |context| at(context, Moment::Now, vec![bytes("8900", 0, 20_000)]),
    },
    Preset {
        name: "bytes_not_websocket",
        what: "bytes that are not WebSocket frames come in HELLO's place",
        source: "",
        make: |context| {
            let actions = vec![bytes("485454502f312e3120353030200d0a0d0a", 200, 1), Action::Silence];
            Ok(vec![Fault::Script(Script { instead: true, ..context.script(Moment::BeforeHello, actions) })])
        },
    },
    Preset {
        name: "inflating_payload",
        what: "a payload comes after HELLO that inflates to 256 MiB (40 MiB where nothing is compressed)",
        source: "",
        make: |context| at(context, Moment::AfterHello, vec![Action::Inflate { bytes: 256 << 20 }]),
    },
];
