//! Numbers in broadcasts, messages, requests and replies are exact, or refused with a clear error.

use fleet_fixture::{Process, Signal, command};

use crate::cli::altergolden;

/// What bot code in Rust gets in a message or a request.
enum InRust {
    /// A reply that echoes the value is this text.
    Echo(&'static str),
    /// The value is refused; the error contains this.
    Refused(&'static str),
}
use InRust::{Echo, Refused};

/// JSON texts; broadcasts and messages to the manager arrive unchanged.
const ROWS: &[(&str, InRust)] = &[
    ("9007199254740991", Echo("9007199254740991")),
    ("9007199254740993", Echo("9007199254740993")),
    ("800356270543470593", Echo("800356270543470593")),
    ("-9007199254740993", Echo("-9007199254740993")),
    ("9223372036854775807", Echo("9223372036854775807")),
    ("9223372036854775808", Echo("9223372036854775808")),
    ("-9223372036854775808", Echo("-9223372036854775808")),
    ("18446744073709551615", Echo("18446744073709551615")),
    ("18446744073709551616", Refused("18446744073709551616")),
    ("-9223372036854775809", Refused("-9223372036854775809")),
    ("123456789012345678901234567890", Refused("123456789012345678901234567890")),
    ("1e400", Refused("1e400")),
    ("-1E+999", Refused("-1E+999")),
    ("0.1", Echo("0.1")),
    ("1e-9", Echo("1e-9")),
    (r#"{"a":[800356270543470593,{"b":-0.5}]}"#, Echo(r#"{"a":[800356270543470593,{"b":-0.5}]}"#)),
    (r#"["9007199254740993","1e400 [{"]"#, Echo(r#"["9007199254740993","1e400 [{"]"#)),
];

/// Texts that a double or a map would change; they arrive unchanged.
const AS_SENT: &[&str] = &[
    "-0",
    "1.0",
    "1e2",
    "3.14159265358979323846264338327950288",
    r#"{"b":1,"a":2,"b":3}"#,
    r#"{"z":9007199254740993,"a":"\u00e9\n\""}"#,
    "[]",
    "null",
];

#[tokio::test(flavor = "multi_thread")]
async fn numbers_arrive_exactly_or_are_refused() {
    let mut command = command("altergolden");
    command.args([
        "dev",
        "--guilds=2",
        "--shards=1",
        "--workers=1",
        "--coordinator-listen=127.0.0.1:0",
        "--manager-health-port=0",
        "--health-port=0",
        "--rest-listen=127.0.0.1:0",
        "--sim-listen=127.0.0.1:0",
        "--gateway-listen=127.0.0.1:0",
    ]);
    let mut dev = Process::start("dev", &mut command);
    let address = |line: &str| {
        let (_, rest) = line.split_once("coordinator   gRPC ")?;
        Some(format!("http://{}", rest.split_once(',')?.0))
    };
    let url = dev.line("the coordinator's address", address).await;
    dev.line("what to try", |line| line.contains("Ctrl-C stops everything").then_some(())).await;
    let mut command = fleet_fixture::command("altergolden");
    command.args(["subscribe", "n", "--url", &url]);
    let mut subscribed = Process::start("subscribe", &mut command);
    let mut command = fleet_fixture::command("altergolden");
    command.args(["subscribe", "--url", &url, "probe"]);
    // When the later subscriber receives something, the first is subscribed too.
    let mut later = Process::start("later", &mut command);
    fleet_fixture::until("both are subscribed", async || {
        assert_eq!(altergolden(&url, &["broadcast", "probe"]).code, 0);
        assert_eq!(altergolden(&url, &["broadcast", "n", "\"probe\""]).code, 0);
        let both = later.output().contains("probe") && subscribed.output().contains("probe");
        both.then_some(())
    })
    .await;
    later.signal(Signal::INT);
    later.ended().await;

    for text in ROWS.iter().map(|(text, _)| text).chain(AS_SENT) {
        for sends in ["broadcast", "send-to-manager"] {
            let sent = altergolden(&url, &[sends, "n", "--", text]);
            assert_eq!(sent.code, 0, "{sends} {text}: {}", sent.err);
            let kind = if sends == "broadcast" { "all" } else { "manager" };
            let data = format!(r#"{{"data":{text},"#);
            let recipient = format!(r#""recipient":"{kind}""#);
            let arrives = |line: &str| (line.starts_with(&data) && line.contains(&recipient)).then_some(());
            subscribed.line(&format!("{text} by {sends}"), arrives).await;
        }
    }
    for (text, in_rust) in ROWS {
        let asked = altergolden(&url, &["request", "--json", "echo", "--", text]);
        let told = altergolden(&url, &["send-to-shard", "0", "n", "--", text]);
        match in_rust {
            Echo(reply) => {
                assert_eq!((asked.code, told.code), (0, 0), "{text}: {} {}", asked.err, told.err);
                assert!(asked.out.contains(&format!(r#""value":{reply}"#)), "{text}: {}", asked.out);
                let table = altergolden(&url, &["request", "echo", "--", text]).out;
                assert!(table.contains(reply), "{text}: {table}");
                let line = format!(r#"was sent "n" by coordinator: {reply}"#);
                dev.line(text, |said| said.ends_with(&line).then_some(())).await;
            }
            Refused(number) => {
                assert_eq!((asked.code, told.code), (2, 2), "{text}: {} {}", asked.out, told.out);
                for err in [&asked.err, &told.err] {
                    assert!(err.contains(number) && err.contains("64 bits"), "{text}: {err}");
                }
            }
        }
    }
    for invalid in ["01", "1.", "+1", "NaN", "[1,]", "{\"a\"}", "1 2"] {
        let sent = altergolden(&url, &["broadcast", "n", "--", invalid]);
        assert!(sent.code == 2 && sent.err.contains("JSON"), "{invalid}: {} {}", sent.code, sent.err);
    }
    subscribed.signal(Signal::INT);
    subscribed.ended().await;
    dev.signal(Signal::INT);
    dev.ended().await;
}
