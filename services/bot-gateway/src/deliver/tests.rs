use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use fleet_model::{Mark, ShardSlot};
use proptest::prelude::*;
use relay::{Entry, EntryId, NewEntry};
use serde_json::{Value, json};

use super::*;
use crate::session::ClientShard;

const GUILD: u64 = 1 << 22;
const ALL: u32 = Intents::ALL.0;

fn event(number: u64, sequence: u64, name: &str, data: Value) -> LiveEvent {
    let guild = data["guild_id"].as_str().or(data["id"].as_str().filter(|_| name.starts_with("GUILD_")));
    let guild = guild.and_then(|id| id.parse().ok());
    let data = json!({"shardId": 0, "payload": {"t": name, "s": sequence, "op": 0, "d": data}});
    let entry = Entry {
        id: EntryId { ms: number, number },
        shard: ShardSlot(1),
        content: NewEntry {
            position: Position::new(5, sequence),
            name: name.into(),
            guild,
            received_at_unix_ms: 0,
            mark: Mark::Fresh,
            traceparent: None,
            data: rmp_serde::to_vec_named(&data).unwrap().into(),
        },
    };
    LiveEvent::new(entry, 1)
}

fn client(intents: u32) -> Client {
    let session = ClientSession {
        shard: ClientShard::new(0, 1).unwrap(),
        intents,
        large_threshold: 50,
        first: 100,
        guild_packets: 3,
        generation: 1,
        nonce: 0,
    };
    let mut client =
        Client::identified(session, 7, HashSet::from([GUILD]), Reached::new(), Requests::default());
    client.end_cut(100);
    client
}

/// Names and sequences of the packets, and their data.
fn packets(client: &mut Client, event: &LiveEvent) -> Vec<(String, u64, Value)> {
    match client.deliver(event, 4) {
        Delivery::Packets(packets) => packets
            .into_iter()
            .map(|packet| {
                (packet.name.to_owned(), packet.sequence, serde_json::from_str(&packet.data).unwrap())
            })
            .collect(),
        other => panic!("{other:?}"),
    }
}

fn names(client: &mut Client, event: &LiveEvent) -> Vec<String> {
    packets(client, event).into_iter().map(|(name, ..)| name).collect()
}

fn message(number: u64, sequence: u64) -> LiveEvent {
    let guild = GUILD.to_string();
    event(
        number,
        sequence,
        "MESSAGE_CREATE",
        json!({"id": "9", "guild_id": guild, "content": "x", "author": {"id": "1"}}),
    )
}

#[test]
fn events_have_the_sequence_of_their_number() {
    let mut client = client(ALL);
    let sent = packets(&mut client, &message(107, 3));
    assert_eq!(
        (sent.len(), &*sent[0].0, sent[0].1, &sent[0].2["content"]),
        (1, "MESSAGE_CREATE", 12, &json!("x"))
    );
    assert_eq!(packets(&mut self::client(1 << 9), &message(107, 3))[0].2["content"], "");
    assert_eq!(names(&mut self::client(1), &message(107, 3)), [""; 0]);
    assert_eq!(names(&mut client, &event(108, 4, "RESUMED", json!({}))), [""; 0]);
    assert_eq!(names(&mut client, &event(108, 4, relay::GAP, json!({}))), [""; 0]);
}

#[test]
fn events_that_a_guild_includes_are_dropped_until_the_cut_ends() {
    let guild = GUILD.to_string();
    let session = client(ALL).session;
    let mut client =
        Client::identified(session, 7, HashSet::from([GUILD]), Reached::new(), Requests::default());
    client.note_stamp(GUILD, GuildStamp { guild: Position::new(5, 20), members: Position::new(5, 22) });
    let role = |number, sequence| {
        event(number, sequence, "GUILD_ROLE_DELETE", json!({"guild_id": guild, "role_id": "1"}))
    };
    let joined = |number, sequence| {
        event(number, sequence, "GUILD_MEMBER_ADD", json!({"guild_id": guild, "user": {"id": "1"}}))
    };
    assert_eq!(names(&mut client, &role(101, 20)), [""; 0]);
    assert_eq!(names(&mut client, &joined(102, 22)), [""; 0]);
    // What is not in a guild is delivered, whenever it was.
    let sent = packets(&mut client, &message(103, 21));
    assert_eq!((&*sent[0].0, sent[0].1), ("MESSAGE_CREATE", 4), "a RESUME from here identifies again");
    assert_eq!(names(&mut client, &role(104, 23)), ["GUILD_ROLE_DELETE"]);
    client.end_cut(104);
    let sent = packets(&mut client, &joined(105, 24));
    assert_eq!((&*sent[0].0, sent[0].1), ("GUILD_MEMBER_ADD", 10));
}

#[test]
fn guild_that_comes_again_goes_first() {
    let mut client = client(ALL);
    let guild = |more: Value| {
        let mut guild = json!({"id": GUILD.to_string(), "member_count": 2, "members": []});
        guild.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        guild
    };
    let again = packets(&mut client, &event(101, 1, "GUILD_CREATE", guild(json!({"unavailable": false}))));
    let names_of: Vec<&str> = again.iter().map(|(name, ..)| &**name).collect();
    assert_eq!(names_of, ["GUILD_DELETE", "GUILD_CREATE"]);
    assert_eq!((&again[0].2["unavailable"], &again[1].2["unavailable"]), (&json!(true), &json!(false)));
    assert_eq!(again[1].2["voice_states"], json!([]));
    let joined = packets(&mut client, &event(102, 2, "GUILD_CREATE", guild(json!({}))));
    assert_eq!((joined.len(), joined[0].2.get("unavailable")), (1, None));
    let outage = packets(&mut client, &event(103, 3, "GUILD_CREATE", guild(json!({"unavailable": true}))));
    assert_eq!((&*outage[0].0, &outage[0].2["unavailable"]), ("GUILD_DELETE", &json!(true)));
}

#[test]
fn guilds_that_a_new_session_lacks_are_left_once() {
    let (here, elsewhere) = (GUILD, 2 << 22);
    let mut known = client(ALL);
    known.guilds = Some(HashSet::from([here, here + (4 << 22), elsewhere]));
    let ready = event(101, 1, "READY", json!({"guilds": [{"id": here.to_string(), "unavailable": true}]}));
    let left = packets(&mut known, &ready);
    assert_eq!(left.len(), 1, "{left:?}");
    assert_eq!((&*left[0].0, &left[0].2), ("GUILD_DELETE", &json!({"id": (here + (4 << 22)).to_string()})));
    assert_eq!(names(&mut known, &ready), [""; 0]);
    let gone = event(102, 2, "GUILD_DELETE", json!({"id": (here + (4 << 22)).to_string()}));
    assert_eq!(names(&mut known, &gone), [""; 0], "it was left already");

    let mut resumed = Client::resumed(known.session, 100, 100, 7, Reached::new(), Requests::default());
    assert_eq!(resumed.deliver(&ready, 4), Delivery::Invalid);
    resumed.session.shard = ClientShard::new(0, 4).unwrap();
    assert_eq!(resumed.deliver(&ready, 4), Delivery::Packets(Vec::new()), "it has no guild of shard 1");
}

#[test]
fn packets_of_one_entry_come_again_together() {
    let mut client = client(ALL);
    assert_eq!(packets(&mut client, &message(101, 1))[0].1, 6);
    let guild = json!({"id": GUILD.to_string(), "member_count": 2, "members": [], "unavailable": false});
    let again = packets(&mut client, &event(103, 2, "GUILD_CREATE", guild));
    assert_eq!(
        again.iter().map(|packet| packet.1).collect::<Vec<_>>(),
        [6, 8],
        "a RESUME after the first gets both"
    );
}

#[test]
fn entries_that_come_again_after_lost_writes_are_not_repeated() {
    let mut client = client(ALL);
    for number in 101..=110 {
        assert_eq!(names(&mut client, &message(number, number - 100)).len(), 1);
    }
    // The numbers from 106 on were lost. What the owner sends again has the same positions.
    for number in 106..=110 {
        assert_eq!(names(&mut client, &message(number, number - 100)), [""; 0], "{number}");
    }
    let new = packets(&mut client, &message(111, 11));
    assert_eq!(new[0].1, 16, "s grows on");
    // Another generation: another Redis.
    let mut other = message(1, 11);
    other.generation = 2;
    assert_eq!(names(&mut client, &other), [""; 0]);
    let mut other = message(2, 12);
    other.generation = 2;
    assert_eq!(packets(&mut client, &other)[0].1, 17);
    // The session's READY comes again too; a new session has later positions.
    let mut ready = event(1, 1, "READY", json!({"guilds": []}));
    ready.generation = 3;
    assert_eq!(names(&mut client, &ready), [""; 0]);
    let mut first = message(2, 0);
    (first.generation, first.position) = (3, Position::new(6, 2));
    assert_eq!(names(&mut client, &first), ["MESSAGE_CREATE"]);
}

#[test]
fn client_without_events_can_resume_once_its_guilds_are_settled() {
    let session = client(ALL).session;
    let mut client =
        Client::identified(session, 7, HashSet::from([GUILD]), Reached::new(), Requests::default());
    assert_eq!(client.settle(100), None);
    client.end_cut(103);
    assert_eq!(client.settle(102), None, "events up to 103 may be in a guild");
    assert_eq!(client.settle(103), Some(8));
    assert_eq!(session.resumed(8, 103), crate::session::Resumed::After(103));
    assert_eq!(client.settle(104), None, "once");
    assert_eq!(packets(&mut client, &message(104, 1))[0].1, 9);
}

#[test]
fn gap_gives_the_guilds_of_its_shard_again() {
    let gap = |sequence| event(101, sequence, relay::GAP, json!({}));
    assert_eq!(client(ALL).deliver(&gap(9), 4), Delivery::Gap(ShardSlot(1)));
    assert_eq!(client(ALL).deliver(&gap(0), 4), Delivery::NOTHING, "READY follows");
    assert_eq!(client(ALL & !1).deliver(&gap(9), 4), Delivery::NOTHING, "it has no guilds");
    let mut included = client(ALL);
    included.note_included(ShardSlot(1), Position::new(5, 9));
    assert_eq!(included.deliver(&gap(9), 4), Delivery::NOTHING, "its guilds are from later");
    let mut elsewhere = client(ALL);
    elsewhere.session.shard = ClientShard::new(0, 4).unwrap();
    assert_eq!(elsewhere.deliver(&gap(9), 4), Delivery::NOTHING);
    let session = client(ALL).session;
    let mut resumed = Client::resumed(session, 100, 100, 7, Reached::new(), Requests::default());
    assert_eq!(resumed.deliver(&gap(9), 4), Delivery::Invalid);

    let mut known = client(ALL);
    known.guilds = Some(HashSet::from([GUILD, 5 << 22, 2 << 22]));
    assert_eq!(known.replace_guilds(ShardSlot(1), 4, &HashSet::from([GUILD, 9 << 22])), [5 << 22]);
    assert_eq!(known.guilds, Some(HashSet::from([GUILD, 9 << 22, 2 << 22])));
}

#[test]
fn foreign_entries_are_passed_over() {
    let mut foreign = message(101, 1);
    foreign = LiveEvent::new(
        Entry {
            id: foreign.id,
            shard: foreign.shard,
            content: NewEntry {
                position: foreign.position,
                name: Arc::from("MESSAGE_CREATE"),
                guild: Some(GUILD),
                received_at_unix_ms: 0,
                mark: Mark::Fresh,
                traceparent: None,
                data: b"not MessagePack"[..].into(),
            },
        },
        1,
    );
    assert_eq!(names(&mut client(ALL), &foreign), [""; 0]);
}

/// What a library would keep of a guild.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Known {
    members: u64,
    roles: BTreeSet<String>,
    is_available: bool,
}

/// What a library would keep, and how many messages of each guild came.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Library {
    guilds: BTreeMap<u64, Known>,
    messages: Vec<String>,
}

impl Library {
    fn take(&mut self, name: &str, data: &Value) {
        let text = |field: &str| data[field].as_str().unwrap().to_owned();
        let id = |field: &str| data[field].as_str().unwrap().parse::<u64>().unwrap();
        if name == "MESSAGE_CREATE" {
            self.messages.push(text("id"));
            return;
        }
        match name {
            "GUILD_CREATE" => {
                let roles = data["roles"].as_array().unwrap();
                let known = Known {
                    members: data["member_count"].as_u64().unwrap(),
                    roles: roles.iter().map(|role| role["id"].as_str().unwrap().to_owned()).collect(),
                    is_available: true,
                };
                let before = self.guilds.insert(id("id"), known);
                assert!(
                    before.is_none_or(|before| !before.is_available),
                    "a GUILD_CREATE of an available guild"
                );
            }
            "GUILD_DELETE" if data["unavailable"] == true => {
                self.guilds.entry(id("id")).or_default().is_available = false;
            }
            "GUILD_DELETE" => drop(self.guilds.remove(&id("id"))),
            _ => {
                // Libraries pass over events of guilds that they do not know.
                let Some(guild) = self.guilds.get_mut(&id("guild_id")).filter(|guild| guild.is_available)
                else {
                    return;
                };
                match name {
                    "GUILD_MEMBER_ADD" => guild.members += 1,
                    "GUILD_MEMBER_REMOVE" => guild.members -= 1,
                    "GUILD_ROLE_CREATE" => {
                        guild.roles.insert(data["role"]["id"].as_str().unwrap().to_owned());
                    }
                    "GUILD_ROLE_DELETE" => {
                        guild.roles.remove(&text("role_id"));
                    }
                    other => panic!("{other}"),
                }
            }
        }
    }
}

#[derive(Clone, Copy, Debug)]
enum Change {
    MemberAdd,
    MemberRemove,
    RoleCreate,
    RoleDelete,
    Message,
    LeaveOrJoin,
}

/// Makes events that Discord could send, in order, and applies them to the owner's cache.
struct World {
    cache: guild_cache::ShardCache,
    whole: Library,
    sequence: u64,
    events: Vec<(String, Value)>,
}

impl World {
    fn new() -> Self {
        let codec = Arc::new(guild_cache::Codec::new());
        let mut cache = guild_cache::ShardCache::new(guild_cache::Rules::default(), codec);
        let start = guild_cache::SessionGuilds {
            guilds: (1..=3).map(|guild| guild << 22).collect(),
            ..Default::default()
        };
        cache.begin_session(5, &start);
        let mut world = Self { cache, whole: Library::default(), sequence: 1, events: Vec::new() };
        for guild in 1..=3 {
            world.push(
                "GUILD_CREATE",
                json!({"id": (guild << 22).to_string(), "name": "g", "unavailable": false, "member_count": 9,
                "roles": [{"id": "1"}], "members": [], "channels": []}),
            );
        }
        world
    }

    fn push(&mut self, name: &str, data: Value) {
        self.sequence += 1;
        self.cache.apply(name, &data.to_string(), self.sequence);
        self.whole.take(name, &data);
        self.events.push((name.to_owned(), data));
    }

    fn change(&mut self, guild: u64, change: Change, id: u64) {
        let guild = guild << 22;
        let here = self.whole.guilds.get(&guild).cloned();
        let (of, role) = (guild.to_string(), id.to_string());
        match (change, here) {
            (Change::LeaveOrJoin, Some(_)) => self.push("GUILD_DELETE", json!({"id": of})),
            (Change::LeaveOrJoin, None) => self.push(
                "GUILD_CREATE",
                json!({"id": of, "name": "again", "member_count": 4, "roles": [], "members": [], "channels": []}),
            ),
            (Change::MemberAdd, Some(_)) => {
                let user = json!({"id": (1_000 + self.sequence).to_string()});
                self.push("GUILD_MEMBER_ADD", json!({"guild_id": of, "user": user, "roles": []}));
            }
            (Change::MemberRemove, Some(known)) if known.members > 1 => {
                // A second GUILD_MEMBER_REMOVE of the same user changes no count in the cache.
                let user = json!({"id": (1_000_000 + self.sequence).to_string()});
                self.push("GUILD_MEMBER_REMOVE", json!({"guild_id": of, "user": user}));
            }
            (Change::RoleCreate, Some(known)) if !known.roles.contains(&role) => {
                self.push("GUILD_ROLE_CREATE", json!({"guild_id": of, "role": {"id": role}}));
            }
            (Change::RoleDelete, Some(known)) if known.roles.contains(&role) => {
                self.push("GUILD_ROLE_DELETE", json!({"guild_id": of, "role_id": role}));
            }
            (Change::Message, Some(_)) => {
                let id = format!("{guild}-{}", self.sequence);
                self.push("MESSAGE_CREATE", json!({"id": id, "guild_id": of, "author": {"id": "1"}}));
            }
            _ => {}
        }
    }
}

proptest! {
    /// A client that identifies at any moment ends with the state of one that was connected all along, and gets every message behind E0.
    #[test]
    fn cut_is_consistent(
        changes in prop::collection::vec(
            (1..4_u64, prop::sample::select(vec![
                Change::MemberAdd, Change::MemberRemove, Change::RoleCreate, Change::RoleDelete, Change::Message, Change::LeaveOrJoin,
            ]), 1..4_u64),
            1..60,
        ),
        moments in prop::collection::vec(0..60_usize, 5),
    ) {
        let mut world = World::new();
        // E0, the head, and the moments at which the guilds are read.
        let mut moments: Vec<usize> = moments.iter().map(|moment| moment % (changes.len() + 1)).collect();
        moments.sort_unstable();
        let (mut first, mut client, mut asked) = (0, None::<(Client, Library)>, Vec::new());
        for step in 0..=changes.len() {
            for (which, _) in moments.iter().enumerate().filter(|(_, moment)| **moment == step) {
                match which {
                    0 => first = world.events.len() as u64,
                    1 => {
                        asked = world.cache.guild_ids();
                        asked.sort_unstable();
                        let session = ClientSession { first, guild_packets: asked.len() as u32, ..client_session() };
                        let guilds = asked.iter().copied().collect();
                        let mut library = Library::default();
                        library.guilds.extend(asked.iter().map(|guild| (*guild, Known::default())));
                        client = Some((Client::identified(session, 7, guilds, Reached::new(), Requests::default()), library));
                    }
                    _ => {
                        let (client, library) = client.as_mut().unwrap();
                        // The last moment reads all that are left.
                        let count = if which + 1 == moments.len() { asked.len() } else { 1.min(asked.len()) };
                        for guild in asked.drain(..count) {
                            let position = |sequence| Position::new(world.cache.session(), sequence);
                            match world.cache.guild_create(guild) {
                                Some(data) => {
                                    let data = guild_create_for(&data, &client.view(), true);
                                    library.take("GUILD_CREATE", &serde_json::from_str(&data).unwrap());
                                    client.note_stamp(guild, GuildStamp {
                                        guild: position(world.cache.stamp(guild)),
                                        members: position(world.cache.members_stamp(guild)),
                                    });
                                }
                                None => library.take("GUILD_DELETE", &json!({"id": guild.to_string(), "unavailable": true})),
                            }
                        }
                    }
                }
            }
            if let Some((guild, change, id)) = changes.get(step) {
                world.change(*guild, *change, *id);
            }
        }
        let (mut client, mut library) = client.unwrap();
        let cut_end = world.events.len() as u64;
        for (place, (name, data)) in world.events.iter().enumerate().skip(first as usize) {
            let number = place as u64 + 1;
            if number == cut_end {
                client.end_cut(cut_end);
            }
            let event = event(number, place as u64 + 2, name, data.clone());
            match client.deliver(&event, 4) {
                Delivery::Packets(packets) => {
                    for packet in packets {
                        library.take(packet.name, &serde_json::from_str(&packet.data).unwrap());
                    }
                }
                other => panic!("no new session began: {other:?}"),
            }
        }
        library.guilds.retain(|_, guild| guild.is_available);
        prop_assert_eq!(&library.guilds, &world.whole.guilds);
        let behind = world.events[first as usize..].iter().filter(|(name, _)| name == "MESSAGE_CREATE");
        let wanted: Vec<String> = behind.map(|(_, data)| data["id"].as_str().unwrap().to_owned()).collect();
        prop_assert_eq!(library.messages, wanted);
    }
}

fn client_session() -> ClientSession {
    client(ALL).session
}
