//! Odd READYs, unreadable events, and events of other shards' guilds.

use std::{
    fmt::Debug,
    sync::{Arc, Mutex},
};

use fleet_model::{Problem, ProblemCode, ShardStatus};
use serde_json::{Value, json};
use tracing::{
    Event as Logged, Metadata, Subscriber,
    field::{Field, Visit},
    span,
};

use super::super::{tests::intake, *};
use crate::{
    payload::Payload,
    testing::{arrived, guilds::guild},
};

/// A guild of the shard under test (3 of 4), and one of another.
const OWN: u64 = 3 << 22;
const OTHER_OWN: u64 = (3 << 22) + 1;
const FOREIGN: u64 = 5;

fn dispatch(name: &str, sequence: u64, d: &str) -> Arrived {
    let text = format!(r#"{{"t":"{name}","s":{sequence},"op":0,"d":{d}}}"#);
    arrived(name, sequence, text)
}

fn ready(guilds: &[u64]) -> Value {
    let guilds: Vec<Value> =
        guilds.iter().map(|id| json!({"id": id.to_string(), "unavailable": true})).collect();
    json!({
        "v": 10, "guilds": guilds, "session_id": "s", "resume_gateway_url": "wss://x", "application": {"id": "1", "flags": 0},
        "user": {"id": "1", "username": "bot", "discriminator": "0", "mfa_enabled": false, "avatar": null},
    })
}

fn created(id: u64) -> String {
    guild(id).to_string()
}

#[tokio::test]
async fn odd_ready_is_read_part_by_part() {
    // Pointer, value (`None`: the field is missing), whether all guilds are known, and the resume URL.
    type Row = (&'static str, Option<Value>, bool, &'static str);
    let rows: [Row; 24] = [
        ("/application", None, true, "wss://x"),
        ("/application", Some(json!({"id": {}, "flags": "many"})), true, "wss://x"),
        ("/user", None, true, "wss://x"),
        ("/user", Some(json!({"id": "x"})), true, "wss://x"),
        ("/user/discriminator", Some(json!("#1")), true, "wss://x"),
        ("/user/avatar", Some(json!("odd")), true, "wss://x"),
        ("/v", Some(json!("ten")), true, "wss://x"),
        ("/shard", Some(json!(["3", null])), true, "wss://x"),
        ("/shard", Some(json!([3, 4])), true, "wss://x"),
        ("/shard", Some(json!([3])), true, "wss://x"),
        ("/shard", Some(json!([7.5, 4])), true, "wss://x"),
        ("/shard", Some(json!({"0": 1})), true, "wss://x"),
        ("/shard", Some(json!(null)), true, "wss://x"),
        ("/resume_gateway_url", Some(json!(format!("wss://{}", "x".repeat(600)))), true, ""),
        ("/resume_gateway_url", None, true, ""),
        ("/resume_gateway_url", Some(json!(null)), true, ""),
        ("/resume_gateway_url", Some(json!(7)), true, ""),
        ("/guilds/0/unavailable", Some(json!("yes")), true, "wss://x"),
        ("/guilds/0/unavailable", None, true, "wss://x"),
        ("/guilds/0/id", Some(json!(OWN)), true, "wss://x"),
        ("/guilds/2", Some(json!(null)), false, "wss://x"),
        ("/guilds/2/id", Some(json!("")), false, "wss://x"),
        ("/guilds/2/id", None, false, "wss://x"),
        ("/private_channels", Some(json!({"a": [1]})), true, "wss://x"),
    ];
    for (pointer, value, expects_all, resume_url) in rows {
        let mut d = ready(&[OWN, OTHER_OWN, OTHER_OWN + 1]);
        let (parent, field) = pointer.rsplit_once('/').unwrap();
        match (d.pointer_mut(parent).unwrap(), value.clone()) {
            (Value::Object(parent), Some(value)) => drop(parent.insert(field.to_owned(), value)),
            (Value::Object(parent), None) => drop(parent.remove(field)),
            (parent, value) => parent[field.parse::<usize>().unwrap()] = value.unwrap(),
        }
        let row = format!("{pointer} = {value:?}");
        let mut intake = intake(100).await;
        assert_eq!(intake.take(dispatch("READY", 1, &d.to_string())), DispatchOutcome::Applied, "{row}");
        let session = intake.shard.progress().unwrap().session;
        assert_eq!((session.id.as_str(), session.resume_url.as_str()), ("s", resume_url), "{row}");
        let cache = intake.shard.cache();
        assert_eq!(cache.pending_guilds(), if expects_all { 3 } else { 2 }, "{row}");
        for (sequence, guild) in [(2, OWN), (3, OTHER_OWN), (4, OTHER_OWN + 1)] {
            assert_eq!(
                intake.take(dispatch("GUILD_CREATE", sequence, &created(guild))),
                DispatchOutcome::Applied
            );
        }
        let cache = intake.shard.cache();
        assert_eq!(cache.figures().0, 3, "{row}");
        assert_eq!(cache.doubt().is_none(), expects_all, "{row}: {:?}", cache.doubt());
        assert_eq!(intake.shard.report().uncertain_guilds == 0, expects_all, "{row}");
    }
}

#[tokio::test]
async fn ready_without_guilds_leaves_them_in_doubt() {
    for guilds in [None, Some(json!(null)), Some(json!({"0": {}}))] {
        let mut d = ready(&[]);
        match guilds {
            Some(guilds) => d["guilds"] = guilds,
            None => drop(d.as_object_mut().unwrap().remove("guilds")),
        }
        let mut intake = intake(100).await;
        assert_eq!(intake.take(dispatch("READY", 1, &d.to_string())), DispatchOutcome::Applied);
        assert!(intake.shard.cache().doubt().is_some() && intake.shard.report().uncertain_guilds > 0);
    }
}

#[tokio::test]
async fn ready_without_a_session_id_is_rejected() {
    for id in
        [json!(null), json!(""), json!(7), json!({}), json!("s".repeat(257)), json!("s".repeat(2_000_000))]
    {
        let mut d = ready(&[OWN]);
        d["session_id"] = id;
        let mut intake = intake(100).await;
        assert!(matches!(intake.take(dispatch("READY", 1, &d.to_string())), DispatchOutcome::Unusable(_)));
        assert!(intake.shard.progress().is_none());
        assert_eq!(
            intake.take(dispatch("READY", 1, &ready(&[OWN]).to_string())),
            DispatchOutcome::Applied,
            "a good READY still works"
        );
    }
    for d in ["null", "[]", "{", r#"{"session_id":"#] {
        assert!(
            matches!(intake(100).await.take(dispatch("READY", 1, d)), DispatchOutcome::Unusable(_)),
            "{d}"
        );
    }
}

#[tokio::test]
async fn session_of_another_shard_is_refused() {
    let only = |shard: Value, guilds: &[u64]| {
        let mut d = ready(guilds);
        d["shard"] = shard;
        d
    };
    for (what, d) in [
        ("another number", only(json!([1, 4]), &[OWN])),
        ("another total", only(json!([3, 5]), &[OWN])),
        ("a huge number", only(json!([u64::MAX, 4]), &[])),
        ("only guilds of other shards", only(json!([3, 4]), &[FOREIGN, FOREIGN + 1])),
        ("only such guilds, without a pair", ready(&[FOREIGN])),
    ] {
        let mut intake = intake(100).await;
        let refused = intake.take(dispatch("READY", 1, &d.to_string()));
        assert!(matches!(refused, DispatchOutcome::Hopeless(_)), "{what}: {refused:?}");
        assert!(intake.shard.progress().is_none(), "{what}");
        let shard = intake.shard.clone();
        let shown = |status| {
            shard.set_status(status, "");
            let problem = Problem::of_report(&shard.report()).unwrap();
            (problem.code, problem.message.contains("another shard"))
        };
        for status in [ShardStatus::Reconnecting, ShardStatus::Queued, ShardStatus::Identifying] {
            assert_eq!(shown(status), (ProblemCode::WrongSession, true), "{what}");
        }
        // The guilds of the shard's own session.
        intake.lost_connection();
        assert_eq!(
            intake.take(dispatch("READY", 1, &ready(&[OWN]).to_string())),
            DispatchOutcome::Applied,
            "{what}"
        );
        shard.set_status(ShardStatus::Ready, "");
        assert_eq!(shown(ShardStatus::Reconnecting).0, ProblemCode::ShardNotReady, "{what}");
    }
}

#[tokio::test]
async fn event_that_cannot_be_numbered_leaves_its_guild_in_doubt() {
    let own = OWN.to_string();
    for (what, name, d, guild_in_doubt, shard_in_doubt) in [
        ("a guild that is known", Some("GUILD_DELETE"), json!({"id": own}), true, false),
        ("a channel of it", Some("CHANNEL_CREATE"), json!({"guild_id": own}), true, false),
        ("a new guild", Some("GUILD_CREATE"), json!({"id": OTHER_OWN.to_string()}), false, true),
        ("no guild", Some("CHANNEL_CREATE"), json!({}), false, true),
        ("no name", None, json!({"guild_id": own}), true, false),
        ("no name and guild", None, json!([]), false, true),
        ("not kept", Some("TYPING_START"), json!({"guild_id": own}), false, false),
        ("another shard's", Some("GUILD_DELETE"), json!({"id": FOREIGN.to_string()}), false, false),
    ] {
        let mut intake = intake(100).await;
        intake.take(dispatch("READY", 1, &ready(&[OWN]).to_string()));
        intake.take(dispatch("GUILD_CREATE", 2, &created(OWN)));
        assert_eq!(intake.shard.report().uncertain_guilds, 0);
        let payload = Payload::read(&json!({"op": 0, "t": name, "s": null, "d": d}).to_string()).unwrap();
        intake.not_taken(name, payload.guild());
        let cache = intake.shard.cache();
        assert_eq!(cache.doubt().is_some(), shard_in_doubt, "{what}: {:?}", cache.doubt());
        assert_eq!(intake.shard.report().uncertain_guilds > 0, guild_in_doubt || shard_in_doubt, "{what}");
    }
}

#[tokio::test]
async fn events_before_ready_are_taken_after_it() {
    let mut intake = intake(100).await;
    assert_eq!(intake.take(dispatch("GUILD_CREATE", 1, &created(OWN))), DispatchOutcome::Held);
    assert_eq!(
        intake.take(dispatch("READY", 2, &ready(&[OWN, OTHER_OWN]).to_string())),
        DispatchOutcome::Applied
    );
    assert_eq!(intake.take(dispatch("GUILD_CREATE", 3, &created(OTHER_OWN))), DispatchOutcome::Applied);
    assert_eq!((intake.shard.cache().pending_guilds(), intake.shard.cache().figures().0), (0, 2));
    assert_eq!(intake.event_queue.figures().len, 3, "bot code gets all of them");
    let progress = intake.shard.progress().unwrap();
    assert_eq!((progress.began_at, progress.read), (2, 3));

    // Only numbers that grow up to READY's are positions.
    intake.lost_session("a test");
    for sequence in [1, 1, 9, 3, 2, 4] {
        assert_eq!(intake.take(dispatch("TYPING_START", sequence, "{}")), DispatchOutcome::Held);
    }
    assert_eq!(intake.take(dispatch("READY", 4, &ready(&[OWN]).to_string())), DispatchOutcome::Applied);
    assert_eq!(intake.event_queue.figures().len, 3 + 1 + 2 + 1, "a gap, two events, and READY");

    // Events held for a lost connection belong to a session that never began.
    intake.lost_session("a test");
    assert_eq!(intake.take(dispatch("GUILD_CREATE", 1, &created(OWN))), DispatchOutcome::Held);
    intake.lost_connection();
    assert_eq!(intake.take(dispatch("READY", 1, &ready(&[OWN]).to_string())), DispatchOutcome::Applied);
    assert_eq!(intake.shard.cache().pending_guilds(), 1);
}

#[tokio::test]
async fn guilds_of_other_shards_are_ignored_and_counted() {
    let mut intake = intake(100).await;
    intake.take(dispatch("READY", 1, &ready(&[OWN, FOREIGN]).to_string()));
    assert_eq!(intake.shard.cache().pending_guilds(), 1, "READY");
    intake.take(dispatch("GUILD_CREATE", 2, &created(OWN)));
    let before = intake.shard.cache().figures();
    let id = FOREIGN.to_string();
    let user = json!({"id": "77", "username": "u", "discriminator": "0", "avatar": null});
    for (name, d) in [
        ("GUILD_CREATE", guild(FOREIGN)),
        ("GUILD_CREATE", json!({"id": id, "unavailable": true})),
        ("GUILD_CREATE", json!({"id": FOREIGN, "name": null})),
        ("GUILD_DELETE", json!({"id": id, "unavailable": true})),
        ("GUILD_DELETE", json!({"id": id})),
        (
            "GUILD_MEMBER_ADD",
            json!({"guild_id": id, "user": user, "roles": [], "deaf": false, "mute": false, "flags": 0}),
        ),
        ("CHANNEL_CREATE", json!({"guild_id": id, "id": "9", "type": 0})),
        ("VOICE_STATE_UPDATE", json!({"guild_id": id, "user_id": "77", "channel_id": "9"})),
    ] {
        let sequence = intake.shard.progress().unwrap().read + 1;
        assert_eq!(intake.take(dispatch(name, sequence, &d.to_string())), DispatchOutcome::Applied, "{name}");
        let cache = intake.shard.cache();
        assert_eq!(cache.figures(), before, "{name}");
        assert_eq!((cache.guild(FOREIGN), cache.username(77)), (None, None), "{name}");
        assert_eq!((cache.doubt(), cache.report().uncertain), (None, 0), "{name}");
    }
    assert_eq!(intake.event_queue.figures().len, 10, "bot code gets all of them");
    assert_eq!(intake.metrics.foreign_guild_events(), 9);
}

#[tokio::test]
async fn missing_events_leave_the_cache_in_doubt_until_the_next_session() {
    let mut intake = intake(100).await;
    intake.take(dispatch("READY", 1, &ready(&[OWN]).to_string()));
    intake.take(dispatch("GUILD_CREATE", 2, &created(OWN)));
    assert_eq!(intake.shard.report().uncertain_guilds, 0);
    intake.take(dispatch("TYPING_START", 9, "{}"));
    assert!(intake.shard.report().uncertain_guilds > 0 && intake.shard.cache().doubt().is_some());
    // A repeated guild is known again; the bot may have joined others meanwhile.
    intake.take(dispatch("GUILD_CREATE", 10, &created(OWN)));
    assert!(intake.shard.report().uncertain_guilds > 0 && intake.shard.cache().doubt().is_some());
    intake.take(dispatch("READY", 1, &ready(&[OWN]).to_string()));
    intake.take(dispatch("GUILD_CREATE", 2, &created(OWN)));
    assert_eq!((intake.shard.report().uncertain_guilds, intake.shard.cache().doubt()), (0, None));
}

/// Records all log output.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<String>>);

impl Visit for Log {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.0.lock().unwrap().extend([field.name(), "=", &format!("{value:?} ")]);
    }
}

impl Subscriber for Log {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn new_span(&self, attributes: &span::Attributes<'_>) -> span::Id {
        attributes.record(&mut self.clone());
        span::Id::from_u64(1)
    }

    fn record(&self, _: &span::Id, values: &span::Record<'_>) {
        values.record(&mut self.clone());
    }

    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}

    fn event(&self, event: &Logged<'_>) {
        event.record(&mut self.clone());
    }

    fn enter(&self, _: &span::Id) {}

    fn exit(&self, _: &span::Id) {}
}

#[tokio::test]
async fn no_payload_is_logged_at_any_level_and_bot_code_still_gets_it() {
    let log = Log::default();
    let _guard = tracing::subscriber::set_default(log.clone());
    let own = OWN.to_string();
    let mut intake = intake(100).await;
    let mut odd_ready = ready(&[OWN]);
    odd_ready["user"] = json!("MARKER");
    intake.take(dispatch("READY", 1, &odd_ready.to_string()));
    let mut odd_guild = guild(OWN);
    odd_guild["icon"] = json!("MARKER");
    odd_guild["emojis"] = json!([{"id": "1", "name": ["MARKER"]}, "MARKER"]);
    odd_guild["channels"][0]["id"] = json!("MARKER");
    odd_guild["member_count"] = json!("MARKER");
    let mut sequence = 1;
    for (name, d) in [
        ("GUILD_CREATE", odd_guild.to_string()),
        ("GUILD_CREATE", r#"{"id":"MARKER","name":"MARKER"}"#.to_owned()),
        ("GUILD_CREATE", r#"{"id":"MARKER","#.to_owned()),
        ("GUILD_UPDATE", json!({"id": own, "name": {"MARKER": 1}}).to_string()),
        ("MESSAGE_CREATE", json!({"guild_id": own, "content": {"MARKER": "MARKER"}}).to_string()),
        ("CHANNEL_CREATE", json!({"guild_id": own, "id": "MARKER"}).to_string()),
        ("GUILD_MEMBER_ADD", json!({"guild_id": "MARKER", "user": "MARKER"}).to_string()),
        ("PRESENCE_UPDATE", r#"{"guild_id":"MARKER\ud83d"}"#.to_owned()),
        ("USER_UPDATE", r#"{"id":"MARKER"}"#.to_owned()),
        ("VOICE_STATE_UPDATE", "\"MARKER\"".to_owned()),
    ] {
        sequence += 1;
        assert_eq!(intake.take(dispatch(name, sequence, &d)), DispatchOutcome::Applied, "{name}");
    }
    let refused = intake.take(dispatch("READY", 1, r#"{"session_id":["MARKER"]}"#));
    assert!(matches!(refused, DispatchOutcome::Unusable(_)), "{refused:?}");
    assert_eq!(intake.event_queue.figures().len, 11, "all but the malformed READY");
    let log = log.0.lock().unwrap().clone();
    assert!(log.contains("part=\"channel\"") && log.contains("part=\"event\""), "{log}");
    assert!(!log.contains("MARKER"), "{log}");
}

#[test]
fn ordinary_ready_has_no_odd_part() {
    let user = json!({
        "id": "1", "username": "bot", "global_name": null, "avatar": null, "discriminator": "0", "public_flags": 0,
        "bot": true, "verified": true, "mfa_enabled": true, "email": null, "flags": 0
    });
    let ready = json!({
        "t": "READY", "s": 1, "op": 0,
        "d": {
            "v": 10, "user": user, "session_id": "s", "resume_gateway_url": "wss://gateway.discord.gg", "guilds": [],
            "application": {"id": "1", "flags": 0}, "shard": [0, 1], "_trace": ["t"]
        }
    });
    let start = crate::reading::session_start(&ready["d"].to_string()).unwrap();
    assert!(start.guilds.own_user.is_some());
    assert_eq!(start.unreadable().count(), 0);
}
