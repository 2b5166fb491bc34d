//! Which packets a client gets for an entry of the relay. Pure.

use std::{
    borrow::Cow,
    collections::{HashMap, HashSet},
};

use fleet_model::{Position, ShardSlot};
use guild_cache::{ClientView, guild_create_for, read_elements, read_fields, read_string};

use crate::{
    commands::Requests,
    intents::{Intents, View, blank_content, is_about, view},
    live::LiveEvent,
    payload,
    session::ClientSession,
};

/// Events of the fleet's own sessions, which no client gets.
const NEVER: [&str; 3] = ["RESUMED", "RATE_LIMITED", relay::UNKNOWN];

/// A dispatch for the client.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Packet<'a> {
    pub(crate) name: &'a str,
    pub(crate) sequence: u64,
    pub(crate) data: Cow<'a, str>,
}

/// What becomes of an entry.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Delivery<'a> {
    /// The client gets these.
    Packets(Vec<Packet<'a>>),
    /// Events of this shard of the fleet are missing: the client gets its guilds again.
    Gap(ShardSlot),
    /// The client must identify again: its guilds are not known here.
    Invalid,
}

impl Delivery<'_> {
    const NOTHING: Self = Self::Packets(Vec::new());
}

/// Names and data of packets.
type Named<'a> = Vec<(&'a str, Cow<'a, str>)>;

/// The events that change what a GUILD_CREATE shows. All others reach clients even if the guild already includes them.
fn changes_guild(name: &str) -> bool {
    [
        "GUILD_",
        "CHANNEL_",
        "THREAD_",
        "STAGE_INSTANCE_",
        "VOICE_STATE_",
        "VOICE_CHANNEL_STATUS_",
        "VOICE_CHANNEL_START_TIME_",
        "PRESENCE_",
    ]
    .iter()
    .any(|prefix| name.starts_with(prefix))
        && !matches!(
            name,
            "CHANNEL_INFO"
                | "GUILD_AUDIT_LOG_ENTRY_CREATE"
                | "GUILD_BAN_ADD"
                | "GUILD_BAN_REMOVE"
                | "GUILD_INTEGRATIONS_UPDATE"
                | "GUILD_MEMBERS_CHUNK"
        )
}

/// Up to where events are in a guild that the client got.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct GuildStamp {
    pub(crate) guild: Position,
    pub(crate) members: Position,
}

impl GuildStamp {
    fn includes(&self, event: &LiveEvent) -> bool {
        let stamp = if event.name.starts_with("GUILD_MEMBER_") { self.members } else { self.guild };
        changes_guild(&event.name) && event.position <= stamp
    }
}

/// What is known of one client.
#[derive(Debug)]
pub(crate) struct Client {
    pub(crate) session: ClientSession,
    pub(crate) own_user: u64,
    /// Its guilds; `None` after a RESUME, because another worker may have sent them.
    guilds: Option<HashSet<u64>>,
    /// While its guilds were read, events came that some of the guilds include.
    stamps: HashMap<u64, GuildStamp>,
    /// Number of the last entry that a guild may include; `None` while guilds are read.
    cut_end: Option<u64>,
    /// The client has every entry up to this one.
    has: u64,
    /// `s` of the last packet.
    last: u64,
    /// Number of the last entry that came here, and its generation.
    newest: u64,
    generation: u64,
    /// The relay has lost writes: the numbers of entries no longer say which ones the client has.
    is_detached: bool,
    /// How far the client has come with each of the fleet's shards.
    reached: HashMap<ShardSlot, Position>,
    /// Events up to these positions may come again, because the relay has lost writes.
    repeats: HashMap<ShardSlot, Position>,
    /// The guilds include what is before these positions, gaps too.
    included: HashMap<ShardSlot, Position>,
    requests: Requests,
}

/// How far the fleet's shards had come when a client began or resumed.
pub(crate) type Reached = HashMap<ShardSlot, Position>;

impl Client {
    /// A client that has identified.
    pub(crate) fn identified(
        session: ClientSession,
        own_user: u64,
        guilds: HashSet<u64>,
        reached: Reached,
        requests: Requests,
    ) -> Self {
        Self {
            session,
            own_user,
            guilds: Some(guilds),
            stamps: HashMap::new(),
            cut_end: None,
            has: session.first,
            last: session.guilds_end(),
            newest: session.first,
            generation: session.generation,
            is_detached: false,
            reached,
            repeats: HashMap::new(),
            included: HashMap::new(),
            requests,
        }
    }

    /// A client that has resumed behind the entry with this number. `from`: number of the entry behind which the relay is read.
    pub(crate) fn resumed(
        session: ClientSession,
        number: u64,
        from: u64,
        own_user: u64,
        reached: Reached,
        requests: Requests,
    ) -> Self {
        Self {
            guilds: None,
            cut_end: Some(0),
            has: number,
            last: session.sequence_of(number),
            newest: from,
            ..Self::identified(session, own_user, HashSet::new(), reached, requests)
        }
    }

    /// Notes up to where events are in a guild.
    pub(crate) fn note_stamp(&mut self, guild: u64, stamp: GuildStamp) {
        self.stamps.insert(guild, stamp);
    }

    /// The guilds of one of the fleet's shards include all before this position.
    pub(crate) fn note_included(&mut self, shard: ShardSlot, read: Position) {
        self.included.insert(shard, read);
    }

    /// Guilds are read again.
    pub(crate) fn begin_cut(&mut self) {
        self.cut_end = None;
    }

    /// No guild includes an entry behind this one.
    pub(crate) fn end_cut(&mut self, number: u64) {
        self.cut_end = Some(number);
    }

    /// The client has come to this entry. Returns `s` of the packet that ends the guilds, if no other packet has ended them.
    pub(crate) fn settle(&mut self, number: u64) -> Option<u64> {
        let is_settled = self.cut_end.is_some_and(|end| number >= end);
        if !is_settled || self.is_detached || self.last != self.session.guilds_end() {
            return None;
        }
        self.last = self.session.sequence_of(number);
        Some(self.last)
    }

    /// The client's view of guilds.
    pub(crate) fn view(&self) -> ClientView {
        let ClientSession { intents, large_threshold, .. } = self.session;
        ClientView { intents, large_threshold, own_user: self.own_user }
    }

    /// `s` of the last packet: packets between two entries have it too.
    pub(crate) fn last_sequence(&self) -> u64 {
        self.last
    }

    /// The client gets guilds.
    pub(crate) fn has_guilds(&self) -> bool {
        self.session.intents & 1 != 0
    }

    /// Whether the client's guilds are known here.
    pub(crate) fn knows_guilds(&self) -> bool {
        self.guilds.is_some()
    }

    /// The guilds of one of the fleet's shards are these. Returns those that the client knew and that are not among them.
    pub(crate) fn replace_guilds(
        &mut self,
        shard: ShardSlot,
        shard_total: u32,
        now: &HashSet<u64>,
    ) -> Vec<u64> {
        let Some(guilds) = &mut self.guilds else { return Vec::new() };
        let is_of_shard = |guild: &u64| (guild >> 22) % u64::from(shard_total.max(1)) == u64::from(shard.0);
        let mut gone: Vec<u64> =
            guilds.iter().copied().filter(|guild| is_of_shard(guild) && !now.contains(guild)).collect();
        gone.sort_unstable();
        for guild in &gone {
            guilds.remove(guild);
        }
        guilds.extend(now);
        gone
    }

    /// What the client gets for an entry. `shard_total`: of the fleet.
    pub(crate) fn deliver<'a>(&mut self, event: &'a LiveEvent, shard_total: u32) -> Delivery<'a> {
        let number = event.id.number;
        if event.generation != self.generation || number <= self.newest {
            self.detach(event.generation);
        }
        self.newest = number;
        if !self.is_detached && number <= self.has || self.is_repeat(event) {
            return Delivery::NOTHING;
        }
        self.reached.insert(event.shard, event.position);
        let is_behind_cut = self.cut_end.is_some_and(|end| number > end);
        if is_behind_cut && !self.stamps.is_empty() {
            self.stamps = HashMap::new();
        }
        let packets = match &*event.name {
            relay::GAP => return self.gap(event, shard_total),
            name if NEVER.contains(&name) => return Delivery::NOTHING,
            "READY" => match self.session_began(event, shard_total) {
                Some(packets) => packets,
                None => return Delivery::Invalid,
            },
            name => self.dispatched(name, event),
        };
        let Some(before_last) = packets.len().checked_sub(1) else { return Delivery::NOTHING };
        // A client that resumes from inside the cut must identify again.
        let before = self.last;
        self.last = if self.is_detached {
            before + 1
        } else if is_behind_cut {
            self.session.sequence_of(number)
        } else {
            before
        };
        let sequence = self.last;
        // A client that resumes between the packets of one entry gets all of them again.
        let packets = (0..).zip(packets).map(|(place, (name, data))| Packet {
            name,
            sequence: if place == before_last { sequence } else { before },
            data,
        });
        Delivery::Packets(packets.collect())
    }

    /// What a client that resumes gets for an entry, before RESUMED. The error says why it must identify again.
    pub(crate) fn replay<'a>(
        &mut self,
        event: &'a LiveEvent,
        shard_total: u32,
    ) -> Result<Vec<Packet<'a>>, &'static str> {
        match self.deliver(event, shard_total) {
            Delivery::Invalid | Delivery::Gap(_) => Err("its guilds changed"),
            // It would compare with the positions of now, which are behind what it has yet to get.
            _ if self.is_detached => Err("the relay lost entries meanwhile"),
            Delivery::Packets(packets) => Ok(packets),
        }
    }

    /// The relay has lost writes. What it lost may come again under other numbers.
    fn detach(&mut self, generation: u64) {
        self.is_detached = true;
        self.generation = generation;
        self.repeats.clone_from(&self.reached);
    }

    fn is_repeat(&mut self, event: &LiveEvent) -> bool {
        let Some(reached) = self.repeats.get(&event.shard) else { return false };
        if event.position <= *reached {
            return true;
        }
        self.repeats.remove(&event.shard);
        false
    }

    /// Events of one of the fleet's shards are missing.
    fn gap<'a>(&self, event: &LiveEvent, shard_total: u32) -> Delivery<'a> {
        // A gap at 0 is in front of a new session, whose guilds come again by themselves.
        let is_included = self.included.get(&event.shard).is_some_and(|read| event.position <= *read);
        let concerns = self.has_guilds() && self.session.shard.overlaps(event.shard.0, shard_total.max(1));
        if event.position.sequence == 0 || is_included || !concerns {
            return Delivery::NOTHING;
        }
        if self.knows_guilds() { Delivery::Gap(event.shard) } else { Delivery::Invalid }
    }

    fn dispatched<'a>(&mut self, name: &'a str, event: &'a LiveEvent) -> Named<'a> {
        let guild = event.guild.unwrap_or_default();
        let is_included = self.stamps.get(&guild).is_some_and(|stamp| stamp.includes(event));
        if is_included || !self.is_for_client(event) {
            return Vec::new();
        }
        let Some(data) = event.data() else { return Vec::new() };
        match name {
            "GUILD_CREATE" => self.guild_came(guild, data),
            "GUILD_DELETE" => self.guild_gone(guild, data),
            // It answers one client, or bot code.
            "GUILD_MEMBERS_CHUNK" => {
                let chunks = event.value().map_or_else(Vec::new, |chunk| self.requests.answer(chunk));
                chunks.into_iter().map(|chunk| (name, chunk.to_string().into())).collect()
            }
            _ => self.seen(event, data).map(|data| (name, data)).into_iter().collect(),
        }
    }

    /// Whether the event concerns the client's shard at all.
    fn is_for_client(&self, event: &LiveEvent) -> bool {
        match &*event.name {
            // Each of the fleet's shards gets one.
            "USER_UPDATE" => event.shard.0 == 0,
            _ => self.session.shard.has_guild(event.guild.unwrap_or_default()),
        }
    }

    /// The event's data as the client's intents show it; `None` when they exclude it.
    fn seen<'a>(&self, event: &'a LiveEvent, data: &'a str) -> Option<Cow<'a, str>> {
        let name = &*event.name;
        let own_user = || self.own_user.to_string();
        match view(Intents(self.session.intents), name, event.guild.is_some()) {
            View::Nothing => None,
            View::Whole => Some(Cow::Borrowed(data)),
            View::OwnMember => is_about(&own_user(), name, event.value()?).then_some(Cow::Borrowed(data)),
            View::Blanked => {
                let mut value = event.value()?.clone();
                blank_content(name, &mut value, &own_user());
                Some(Cow::Owned(value.to_string()))
            }
        }
    }

    fn guild_came<'a>(&mut self, guild: u64, data: &'a str) -> Named<'a> {
        if !self.has_guilds() {
            return Vec::new();
        }
        let [unavailable] = read_fields(data, ["unavailable"]);
        if let Some(guilds) = &mut self.guilds {
            guilds.insert(guild);
        }
        match unavailable {
            Some("true") => vec![("GUILD_DELETE", payload::outage(guild).into())],
            // The bot has joined it.
            None => vec![("GUILD_CREATE", guild_create_for(data, &self.view(), false).into())],
            // It comes again, in a new session of the fleet or after an outage. discord.js takes the new state of a guild only if it
            // was unavailable.
            Some(_) => vec![
                ("GUILD_DELETE", payload::outage(guild).into()),
                ("GUILD_CREATE", guild_create_for(data, &self.view(), true).into()),
            ],
        }
    }

    fn guild_gone<'a>(&mut self, guild: u64, data: &'a str) -> Named<'a> {
        let [unavailable] = read_fields(data, ["unavailable"]);
        let is_known = match &mut self.guilds {
            Some(guilds) if unavailable == Some("true") => guilds.contains(&guild),
            Some(guilds) => guilds.remove(&guild),
            None => true,
        };
        let is_seen = is_known && self.has_guilds();
        is_seen.then_some(("GUILD_DELETE", Cow::Borrowed(data))).into_iter().collect()
    }

    /// One of the fleet's shards has a new session. Its guilds come again; the client leaves those that do not. `None`: the client's
    /// guilds are not known.
    fn session_began<'a>(&mut self, event: &LiveEvent, shard_total: u32) -> Option<Named<'a>> {
        let total = shard_total.max(1);
        if self.included.get(&event.shard).is_some_and(|read| event.position <= *read) {
            return Some(Vec::new());
        }
        if !self.has_guilds() || !self.session.shard.overlaps(event.shard.0, total) {
            return Some(Vec::new());
        }
        let client = self.session.shard;
        let mut named = event.data().and_then(guilds_of_ready)?;
        named.retain(|guild| client.has_guild(*guild));
        self.guilds.as_ref()?;
        let gone = self.replace_guilds(event.shard, total, &named);
        Some(gone.into_iter().map(|guild| ("GUILD_DELETE", payload::left(guild).into())).collect())
    }
}

/// The guilds that READY names; `None` if they cannot be read.
fn guilds_of_ready(data: &str) -> Option<HashSet<u64>> {
    let [guilds] = read_fields(data, ["guilds"]);
    let id = |guild: &str| read_string(read_fields(guild, ["id"])[0]?)?.parse().ok();
    read_elements(guilds?)?.into_iter().map(id).collect()
}

#[cfg(test)]
mod tests;
