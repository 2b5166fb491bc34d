use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use fleet_model::{Mark, ShardSlot};
use proptest::prelude::*;
use relay::{Entry, EntryId, NewEntry};
use serde_json::{Value, json};
use shard_bridge::{GuildSnapshot, SnapshotPart, SnapshotQuery};

use super::*;
use crate::{
    boot::{NextGuild, ShardGuilds},
    session::ClientShard,
    testing::Scripted,
};

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
fn session_that_the_guilds_are_of_deletes_none_of_them() {
    let (named, joined) = (GUILD, GUILD + (4 << 22));
    let ready = event(101, 1, "READY", json!({"guilds": [{"id": named.to_string(), "unavailable": true}]}));
    let mut known = client(ALL);
    known.guilds = Some(HashSet::from([named, joined]));
    // The bot joined one of the guilds after READY, and both came with the guilds of the owner's cache.
    known.note_included(ShardSlot(1), Position::new(5, 2));
    assert_eq!(names(&mut known, &ready), [""; 0]);
    assert_eq!(known.guilds, Some(HashSet::from([named, joined])));
}

#[test]
fn client_that_resumes_while_the_relay_loses_entries_identifies_again() {
    for generation in [1, 2] {
        let session = client(ALL).session;
        // Behind everything that it has yet to get.
        let reached = Reached::from([(ShardSlot(1), Position::new(5, 50))]);
        let mut resumed = Client::resumed(session, 100, 100, 7, reached, Requests::default());
        assert_eq!(resumed.replay(&message(105, 5), 4).unwrap().len(), 1);
        // Other entries have the numbers now. They are repeats only of what this client does not have.
        let mut again = message(if generation == 1 { 104 } else { 106 }, 6);
        again.generation = generation;
        resumed.replay(&again, 4).unwrap_err();
    }
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

/// Makes events that Discord could send, in order.
struct World {
    codec: Arc<guild_cache::Codec>,
    whole: Library,
    events: Vec<(String, Value)>,
}

impl World {
    fn new() -> Self {
        let mut world = Self {
            codec: Arc::new(guild_cache::Codec::new()),
            whole: Library::default(),
            events: Vec::new(),
        };
        for guild in 1..=3 {
            world.push(
                "GUILD_CREATE",
                json!({"id": (guild << 22).to_string(), "name": "g", "unavailable": false, "member_count": 9,
                "roles": [{"id": "1"}], "members": [], "channels": []}),
            );
        }
        world
    }

    /// The cache of an owner that has read this number of events.
    fn cache_after(&self, events: usize) -> guild_cache::ShardCache {
        let mut cache = guild_cache::ShardCache::new(guild_cache::Rules::default(), self.codec.clone());
        let start = guild_cache::SessionGuilds {
            guilds: (1..=3).map(|guild| guild << 22).collect(),
            ..Default::default()
        };
        cache.begin_session(5, &start);
        for (place, (name, data)) in self.events[..events].iter().enumerate() {
            cache.apply(name, &data.to_string(), place as u64 + 2);
        }
        cache
    }

    fn sequence(&self) -> u64 {
        self.events.len() as u64 + 1
    }

    fn push(&mut self, name: &str, data: Value) {
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
                let user = json!({"id": (1_000 + self.sequence()).to_string()});
                self.push("GUILD_MEMBER_ADD", json!({"guild_id": of, "user": user, "roles": []}));
            }
            (Change::MemberRemove, Some(known)) if known.members > 1 => {
                // A second GUILD_MEMBER_REMOVE of the same user changes no count in the cache.
                let user = json!({"id": (1_000_000 + self.sequence()).to_string()});
                self.push("GUILD_MEMBER_REMOVE", json!({"guild_id": of, "user": user}));
            }
            (Change::RoleCreate, Some(known)) if !known.roles.contains(&role) => {
                self.push("GUILD_ROLE_CREATE", json!({"guild_id": of, "role": {"id": role}}));
            }
            (Change::RoleDelete, Some(known)) if known.roles.contains(&role) => {
                self.push("GUILD_ROLE_DELETE", json!({"guild_id": of, "role_id": role}));
            }
            (Change::Message, Some(_)) => {
                let id = format!("{guild}-{}", self.sequence());
                self.push("MESSAGE_CREATE", json!({"id": id, "guild_id": of, "author": {"id": "1"}}));
            }
            _ => {}
        }
    }
}

/// The position of the world's shard after this number of events.
fn after(events: usize) -> Position {
    Position::new(5, events as u64 + 1)
}

/// What an owner answers. The numbers are the events that it has read when it is asked, and then when it reads each guild.
fn owner_parts(
    world: &World,
    (asked, reads): (usize, &[usize; 3]),
    only: Option<&[u64]>,
    view: &ClientView,
) -> Vec<SnapshotPart> {
    let mut present = world.cache_after(asked).guild_ids();
    present.retain(|guild| only.is_none_or(|only| only.contains(guild)));
    present.sort_unstable();
    let mut parts =
        vec![SnapshotPart::Head { read: after(asked), present: present.clone(), absent: Vec::new() }];
    for (place, id) in present.into_iter().enumerate() {
        let cache = world.cache_after(reads[place.min(2)]);
        let position = |sequence| Position::new(cache.session(), sequence);
        parts.push(SnapshotPart::Guild(GuildSnapshot {
            id,
            stamp: position(cache.stamp(id)),
            members_stamp: position(cache.members_stamp(id)),
            data: cache.guild_create(id).map(|data| guild_create_for(&data, view, true)),
        }));
    }
    parts.push(SnapshotPart::End { read: after(reads[2]) });
    parts
}

/// What goes wrong.
#[derive(Clone, Copy, Debug)]
struct Faults {
    /// After how many guilds another owner goes on, and how many events it is behind.
    other_owner: Option<(usize, usize)>,
    /// After how many entries the relay loses some, and how many; the owner writes them again.
    loss: Option<(usize, usize)>,
}

/// Identifies after `moments[0]` events, is sent guilds that were asked for and read at the later moments, and takes all entries.
fn connected_at(world: &Arc<World>, moments: [usize; 5], faults: Faults) -> Library {
    let [first, asked, reads @ ..] = moments;
    let view = client(ALL).view();
    let script = world.clone();
    let worker = Scripted::new(move |query, number| {
        let only = query.only.as_deref();
        match faults.other_owner {
            Some((guilds, _)) if number == 0 => {
                let mut parts = owner_parts(&script, (asked, &reads), only, &view);
                // It ends without an end.
                parts.truncate(1 + guilds.min(parts.len() - 2));
                parts
            }
            Some((_, behind)) => {
                let back = |events: usize| events.saturating_sub(behind).max(first);
                owner_parts(&script, (back(reads[0]), &reads.map(back)), only, &view)
            }
            None => owner_parts(&script, (asked, &reads), only, &view),
        }
    });
    let bridge = crate::testing::bridge(1, &worker);
    let query = SnapshotQuery {
        shard: ShardSlot(0),
        client_shard: (0, 1),
        intents: ALL,
        large_threshold: 50,
        own_user: 7,
        only: None,
    };
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    let (mut client, mut library, cut) = runtime.block_on(async {
        let until = tokio::time::Instant::now() + std::time::Duration::from_secs(10);
        let mut shard = ShardGuilds::ask(&bridge, query, Some(after(first)), until).await.unwrap();
        let present: HashSet<u64> = shard.present.iter().copied().collect();
        let session =
            ClientSession { first: first as u64, guild_packets: present.len() as u32, ..client(ALL).session };
        let mut library = Library::default();
        library.guilds.extend(present.iter().map(|guild| (*guild, Known::default())));
        let reached = Reached::from([(ShardSlot(1), after(first))]);
        let mut client = Client::identified(session, 7, present, reached, Requests::default());
        loop {
            match shard.next(&bridge).await.unwrap() {
                NextGuild::End { included, cut } => {
                    client.note_included(ShardSlot(1), included);
                    return (client, library, cut);
                }
                NextGuild::Guild(guild) => match &guild.data {
                    Some(data) => {
                        library.take("GUILD_CREATE", &serde_json::from_str(data).unwrap());
                        let stamp = GuildStamp { guild: guild.stamp, members: guild.members_stamp };
                        client.note_stamp(guild.id, stamp);
                    }
                    None => library
                        .take("GUILD_DELETE", &json!({"id": guild.id.to_string(), "unavailable": true})),
                },
            }
        }
    });
    // As early as the relay can have come so far.
    client.end_cut((cut.sequence - 1).max(first as u64));
    let all = world.events.len();
    let mut entries: Vec<(usize, u64)> = (first..all).map(|place| (place, 1)).collect();
    if let Some((entries_before, lost)) = faults.loss {
        entries.truncate(entries_before);
        let end = first + entries.len();
        entries.extend((end.saturating_sub(lost)..all).map(|place| (place, 2)));
    }
    for (place, generation) in entries {
        let (name, data) = &world.events[place];
        let mut event = event(place as u64 + 1, place as u64 + 2, name, data.clone());
        event.generation = generation;
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
    library
}

proptest! {
    /// A client that identifies at any moment ends with the state of one that was connected all along, and gets every message behind E0
    /// once: also when another owner goes on with its guilds, and when the relay loses entries.
    #[test]
    fn cut_is_consistent(
        changes in prop::collection::vec(
            (1..4_u64, prop::sample::select(vec![
                Change::MemberAdd, Change::MemberRemove, Change::RoleCreate, Change::RoleDelete, Change::Message, Change::LeaveOrJoin,
            ]), 1..4_u64),
            1..60,
        ),
        moments in prop::array::uniform5(0..60_usize),
        other_owner in prop::option::of((0..4_usize, 0..30_usize)),
        loss in prop::option::of((0..60_usize, 0..30_usize)),
    ) {
        let mut world = World::new();
        let begun = world.events.len();
        for (guild, change, id) in &changes {
            world.change(*guild, *change, *id);
        }
        // E0, the question, and the moments at which the guilds are read.
        let mut moments = moments.map(|moment| begun + moment % (world.events.len() - begun + 1));
        moments.sort_unstable();
        let world = Arc::new(world);
        let library = connected_at(&world, moments, Faults { other_owner, loss });
        prop_assert_eq!(&library.guilds, &world.whole.guilds);
        let behind = world.events[moments[0]..].iter().filter(|(name, _)| name == "MESSAGE_CREATE");
        let wanted: Vec<String> = behind.map(|(_, data)| data["id"].as_str().unwrap().to_owned()).collect();
        prop_assert_eq!(library.messages, wanted);
    }
}
