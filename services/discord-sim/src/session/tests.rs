use super::*;
use crate::{Shard, intents::Intents, world::Message};
use ResumeWhileOpen::{Both, Refuse, RefuseForNow, Takeover};
use std::sync::Arc;

const NOW: Duration = Duration::from_secs(1);

fn session(capacity: usize, promised: &[GuildIndex]) -> Session {
    let params = SessionParams {
        session_id: "s".into(),
        shard: Shard { number: 0, total: 1 },
        intents: Intents::ALL,
        large_threshold: 50,
        names_shard: true,
    };
    let promised = promised.iter().map(|guild| (*guild, false)).collect();
    Session::open(params, BotToken("t".into()), capacity, Event::Ready(Arc::from([])), promised, 1, NOW)
}

fn message(guild: GuildIndex) -> Event {
    Event::Message(Message { guild, serial: 1, at_ms: 0, content: None })
}

fn taken(session: &mut Session, connection: ConnectionId) -> Vec<(u64, &'static str)> {
    match session.next_events(connection, 100) {
        NextEvents::Events { events, .. } => {
            events.iter().map(|(sequence, event)| (*sequence, &*event.name().to_owned().leak())).collect()
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn ready_is_sequence_1_and_guilds_follow() {
    let mut session = session(100, &[4, 5]);
    assert_eq!(session.dispatch(message(5)), None, "not before its GUILD_CREATE");
    assert_eq!(taken(&mut session, 1), [(1, "READY")]);
    assert_eq!(taken(&mut session, 1), [(2, "GUILD_CREATE"), (3, "GUILD_CREATE")]);
    assert_eq!(session.dispatch(message(5)), Some(4));
    assert_eq!(taken(&mut session, 1), [(4, "MESSAGE_CREATE")]);
}

#[test]
fn promised_guilds_may_have_an_outage_or_be_left() {
    let mut session = session(100, &[1, 2, 3]);
    assert_eq!(session.dispatch(Event::GuildDelete { guild: 1, outage: true }), None);
    assert_eq!(session.dispatch(Event::GuildDelete { guild: 2, outage: false }), Some(2));
    assert_eq!(taken(&mut session, 1), [(1, "READY"), (2, "GUILD_DELETE")]);
    assert_eq!(taken(&mut session, 1), [(3, "GUILD_DELETE"), (4, "GUILD_CREATE")]);
}

#[test]
fn resume_replays_missed_events_then_resumed() {
    let mut session = session(100, &[]);
    taken(&mut session, 1);
    session.record_sent(1, 1, 1, 0);
    assert!(session.detach(1, NOW));
    for _ in 0..3 {
        session.dispatch(message(0));
    }
    assert_eq!(session.resume(2, 2, Takeover), Ok(vec![]));
    let expected = [(3, "MESSAGE_CREATE"), (4, "MESSAGE_CREATE"), (5, "RESUMED")];
    assert_eq!(taken(&mut session, 2), expected);
    session.record_sent(2, 3, 5, 4);
    let report = session.report();
    let delivery = |connection, from, to, replayed| Delivery { connection, from, to, replayed };
    assert_eq!(
        report.deliveries,
        [delivery(1, 1, 1, false), delivery(2, 3, 4, true), delivery(2, 5, 5, false)]
    );
    assert!(matches!(session.next_events(1, 1), NextEvents::Detached));
    assert_eq!(session.report().resumed_at, [5], "1 was READY, 2 to 4 messages");
}

#[test]
fn resume_outside_the_buffer_is_rejected() {
    let mut session = session(3, &[]);
    for sequence in 2..=6 {
        assert_eq!(session.dispatch(message(0)), Some(sequence));
    }
    assert_eq!(taken(&mut session, 1).len(), 6, "kept for the open connection, which is behind");
    assert_eq!(session.resume(2, 2, Takeover), Err(ResumeError::TooOld));
    assert_eq!(session.resume(2, 7, Takeover), Err(ResumeError::BeyondSequence));
    assert_eq!(session.resume(2, 3, Takeover), Ok(vec![1]), "takes over from the open connection");
    assert_eq!(taken(&mut session, 2).last(), Some(&(7, "RESUMED")));
    assert_eq!(session.report().deliveries.len(), 0);
}

#[test]
fn connection_too_far_behind_is_overrun() {
    let mut session = session(3, &[]);
    for _ in 0..BEHIND_MOST {
        session.dispatch(message(0));
    }
    assert!(matches!(session.next_events(1, 1), NextEvents::Overrun), "READY is forgotten");
}

#[test]
fn takeover_detaches_all_sharing_connections() {
    let mut session = session(100, &[]);
    taken(&mut session, 1);
    for connection in 2..=8 {
        assert_eq!(session.resume(connection, 1, Both), Ok(vec![]));
    }
    assert_eq!(session.resume(9, 1, Both), Ok(vec![1]), "no more than eight share");
    assert_eq!(session.resume(10, 1, Takeover), Ok((2..=9).collect()));
}

#[test]
fn detached_session_expires_after_its_life() {
    let mut session = session(10, &[]);
    let life = Duration::from_mins(3);
    assert!(!session.expired(NOW + life * 2, life), "connected");
    assert!(!session.detach(9, NOW), "not attached");
    assert!(session.detach(1, NOW));
    assert!(!session.expired(life, life));
    assert!(session.expired(NOW + life, life));
    session.end(NOW + life, "expired");
    assert_eq!(session.dispatch(message(0)), None);
    assert_eq!(session.report().ended_why.as_deref(), Some("expired"));
}

#[test]
fn open_session_rejects_or_shares_by_switch() {
    let mut session = session(100, &[]);
    taken(&mut session, 1);
    assert_eq!(session.resume(2, 1, Refuse), Err(ResumeError::StillOpen { resumable: false }));
    assert_eq!(session.resume(2, 1, RefuseForNow), Err(ResumeError::StillOpen { resumable: true }));
    assert_eq!(session.resume(2, 1, Both), Ok(vec![]));
    session.dispatch(message(0));
    let both = [(2, "RESUMED"), (3, "MESSAGE_CREATE")];
    assert_eq!(taken(&mut session, 1), both);
    assert_eq!(taken(&mut session, 2), both);
    assert!(session.detach(2, NOW));
    assert!(!session.expired(NOW * 9, NOW), "the other connection is still attached");
}

#[test]
fn heartbeat_trims_the_buffer_only_with_trim() {
    let mut session = session(100, &[]);
    for _ in 0..3 {
        session.dispatch(message(0));
    }
    taken(&mut session, 1);
    session.acknowledge(2, false);
    assert_eq!(session.report().kept_from, 1);
    session.acknowledge(3, true);
    assert_eq!(session.report().kept_from, 4);
    session.acknowledge(9, true);
    assert_eq!((session.report().kept_from, session.report().acknowledged), (5, 4), "not beyond the session");
    session.detach(1, NOW);
    assert_eq!(session.resume(2, 3, Takeover), Err(ResumeError::TooOld));
    assert_eq!(session.resume(2, 4, Takeover), Ok(vec![]));
}

#[test]
fn contiguous_deliveries_are_one_range() {
    let mut session = session(10, &[]);
    session.record_sent(1, 1, 4, 0);
    session.record_sent(1, 5, 9, 0);
    assert_eq!(session.report().deliveries, [Delivery { connection: 1, from: 1, to: 9, replayed: false }]);
}

#[test]
fn intents_gate_events() {
    let mut session = session(10, &[]);
    session.params.intents = Intents::GUILDS;
    assert_eq!(session.dispatch(message(0)), None);
    assert_eq!(session.dispatch(Event::GuildCreate { guild: 0, just_joined: true }), Some(2));
}
