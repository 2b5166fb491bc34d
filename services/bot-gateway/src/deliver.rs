//! Which packets a client gets for an entry of the relay. Pure.

use std::{
    borrow::Cow,
    collections::{HashMap, HashSet},
};

use fleet_model::Position;
use guild_cache::{ClientView, guild_create_for, read_elements, read_fields, read_string};

use crate::{
    commands::Requests,
    intents::{Intents, View, blank_content, is_about, view},
    live::LiveEvent,
    payload,
    session::ClientSession,
};

/// Events of the fleet's own sessions, which no client gets.
const NEVER: [&str; 4] = ["RESUMED", "RATE_LIMITED", relay::GAP, relay::UNKNOWN];

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
    /// The client must identify again: its guilds are not known here.
    Invalid,
}

/// The events that change what a GUILD_CREATE shows. All others reach clients even if the guild already includes them.
fn changes_guild(name: &str) -> bool {
    [
        "GUILD_", "CHANNEL_", "THREAD_", "STAGE_INSTANCE_", "VOICE_STATE_", "VOICE_CHANNEL_STATUS_",
        "VOICE_CHANNEL_START_TIME_", "PRESENCE_",
    ]
    .iter()
    .any(|prefix| name.starts_with(prefix))
        && !matches!(name, "GUILD_AUDIT_LOG_ENTRY_CREATE" | "GUILD_BAN_ADD" | "GUILD_BAN_REMOVE" | "GUILD_INTEGRATIONS_UPDATE")
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
        changes_guild(&event.name) && event.position.session == stamp.session && event.position <= stamp
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
    requests: Requests,
}

impl Client {
    /// A client that has identified.
    pub(crate) fn identified(
        session: ClientSession,
        own_user: u64,
        guilds: HashSet<u64>,
        requests: Requests,
    ) -> Self {
        let stamps = HashMap::new();
        Self { session, own_user, guilds: Some(guilds), stamps, cut_end: None, has: session.first, requests }
    }

    /// A client that has resumed behind the entry with this number.
    pub(crate) fn resumed(session: ClientSession, number: u64, own_user: u64, requests: Requests) -> Self {
        let stamps = HashMap::new();
        Self { session, own_user, guilds: None, stamps, cut_end: Some(0), has: number, requests }
    }

    /// Notes up to where events are in a guild.
    pub(crate) fn note_stamp(&mut self, guild: u64, stamp: GuildStamp) {
        self.stamps.insert(guild, stamp);
    }

    /// No guild includes an entry behind this one.
    pub(crate) fn end_cut(&mut self, number: u64) {
        self.cut_end = Some(number);
    }

    /// The client's view of guilds.
    pub(crate) fn view(&self) -> ClientView {
        let ClientSession { intents, large_threshold, .. } = self.session;
        ClientView { intents, large_threshold, own_user: self.own_user }
    }

    /// What the client gets for an entry. `shard_total`: of the fleet.
    pub(crate) fn deliver<'a>(&mut self, event: &'a LiveEvent, shard_total: u32) -> Delivery<'a> {
        let number = event.id.number;
        if number <= self.has {
            return Delivery::Packets(Vec::new());
        }
        let is_behind_cut = self.cut_end.is_some_and(|end| number > end);
        if is_behind_cut && !self.stamps.is_empty() {
            self.stamps = HashMap::new();
        }
        // A client that resumes from inside the cut must identify again.
        let sequence =
            if is_behind_cut { self.session.sequence_of(number) } else { self.session.guilds_end() };
        let name = &*event.name;
        if NEVER.contains(&name) {
            return Delivery::Packets(Vec::new());
        }
        if name == "READY" {
            return self.session_began(event, shard_total, sequence);
        }
        if !self.is_for_client(event) {
            return Delivery::Packets(Vec::new());
        }
        let guild = event.guild.unwrap_or_default();
        if self.stamps.get(&guild).is_some_and(|stamp| stamp.includes(event)) {
            return Delivery::Packets(Vec::new());
        }
        let Some(data) = event.data() else { return Delivery::Packets(Vec::new()) };
        let packet = |name: &'a str, data: Cow<'a, str>| Packet { name, sequence, data };
        Delivery::Packets(match name {
            "GUILD_CREATE" => self.guild_came(guild, data, &packet),
            "GUILD_DELETE" => self.guild_gone(guild, data, &packet),
            // It answers one client, or bot code.
            "GUILD_MEMBERS_CHUNK" => {
                let chunk = event.value().and_then(|chunk| self.requests.answer(chunk));
                chunk.map(|chunk| packet(name, chunk.to_string().into())).into_iter().collect()
            }
            _ => match self.seen(event, data) {
                Some(data) => vec![packet(name, data)],
                None => Vec::new(),
            },
        })
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
            View::OwnMember => {
                is_about(&own_user(), name, event.value()?).then_some(Cow::Borrowed(data))
            }
            View::Blanked => {
                let mut value = event.value()?.clone();
                blank_content(name, &mut value, &own_user());
                Some(Cow::Owned(value.to_string()))
            }
        }
    }

    fn guild_came<'a>(
        &mut self,
        guild: u64,
        data: &'a str,
        packet: &impl Fn(&'a str, Cow<'a, str>) -> Packet<'a>,
    ) -> Vec<Packet<'a>> {
        if self.session.intents & 1 == 0 {
            return Vec::new();
        }
        let [unavailable] = read_fields(data, ["unavailable"]);
        if let Some(guilds) = &mut self.guilds {
            guilds.insert(guild);
        }
        match unavailable {
            Some("true") => vec![packet("GUILD_DELETE", payload::outage(guild).into())],
            // The bot has joined it.
            None => vec![packet("GUILD_CREATE", guild_create_for(data, &self.view(), false).into())],
            // It comes again, in a new session of the fleet or after an outage. discord.js takes the new state of a guild only if it
            // was unavailable.
            Some(_) => vec![
                packet("GUILD_DELETE", payload::outage(guild).into()),
                packet("GUILD_CREATE", guild_create_for(data, &self.view(), true).into()),
            ],
        }
    }

    fn guild_gone<'a>(
        &mut self,
        guild: u64,
        data: &'a str,
        packet: &impl Fn(&'a str, Cow<'a, str>) -> Packet<'a>,
    ) -> Vec<Packet<'a>> {
        let [unavailable] = read_fields(data, ["unavailable"]);
        let is_known = match &mut self.guilds {
            Some(guilds) if unavailable == Some("true") => guilds.contains(&guild),
            Some(guilds) => guilds.remove(&guild),
            None => true,
        };
        let is_seen = is_known && self.session.intents & 1 != 0;
        is_seen.then(|| packet("GUILD_DELETE", Cow::Borrowed(data))).into_iter().collect()
    }

    /// One of the fleet's shards has a new session. Its guilds come again; the client leaves those that do not.
    fn session_began<'a>(
        &mut self,
        event: &'a LiveEvent,
        shard_total: u32,
        sequence: u64,
    ) -> Delivery<'a> {
        let total = shard_total.max(1);
        let client = self.session.shard;
        if !client.overlaps(event.shard.0, total) {
            return Delivery::Packets(Vec::new());
        }
        let (Some(guilds), Some(named)) = (&mut self.guilds, event.data().and_then(guilds_of_ready)) else {
            return Delivery::Invalid;
        };
        let is_of_shard = |guild: &u64| (guild >> 22) % u64::from(total) == u64::from(event.shard.0);
        let mut gone: Vec<u64> =
            guilds.iter().copied().filter(|guild| is_of_shard(guild) && !named.contains(guild)).collect();
        gone.sort_unstable();
        for guild in &gone {
            guilds.remove(guild);
        }
        let left = |guild: u64| Packet { name: "GUILD_DELETE", sequence, data: payload::left(guild).into() };
        Delivery::Packets(gone.into_iter().map(left).collect())
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
