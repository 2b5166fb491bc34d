//! Dispatch events, kept as recipes: a session's replay buffer holds these and bodies are written when they are sent.

mod made;
mod members;

pub(crate) use made::Made;
pub(crate) use members::MembersAnswer;

use crate::{
    intents::{Gate, Intents},
    world::{GuildIndex, Message, Snowflake, Visibility, VoiceChanges, World},
};
use serde::Serialize;
use std::sync::Arc;

/// One event of a session.
#[derive(Clone, Debug)]
pub(crate) enum Event {
    /// READY with the guilds of the shard.
    Ready(Arc<[Snowflake]>),
    /// The end of a replay.
    Resumed,
    /// A guild became available, or the bot joined it.
    GuildCreate { guild: GuildIndex, just_joined: bool },
    /// A guild has an outage, or the bot left it.
    GuildDelete { guild: GuildIndex, outage: bool },
    /// Somebody wrote something.
    Message(Message),
    /// Members that a client asked for.
    MembersChunk { answer: Arc<MembersAnswer>, index: u64 },
    /// Anything else: its body was written when it happened.
    Made(Arc<Made>),
}

/// What a session's IDENTIFY settled about the bodies it gets.
#[derive(Clone, Debug)]
pub(crate) struct Sight {
    pub(crate) session_id: String,
    pub(crate) shard: crate::Shard,
    pub(crate) intents: Intents,
    pub(crate) large_threshold: u64,
    /// IDENTIFY named a shard: READY says it again.
    pub(crate) names_shard: bool,
}

/// What READY tells about the simulator itself.
#[derive(Clone, Debug)]
pub(crate) struct Origin {
    pub(crate) gateway_url: String,
    pub(crate) resume_url: String,
    pub(crate) application_flags: u64,
}

#[derive(Serialize)]
struct Ready<'a> {
    v: u8,
    user_settings: Nothing,
    user: CurrentUser,
    session_type: &'static str,
    session_id: &'a str,
    resume_gateway_url: &'a str,
    relationships: [(); 0],
    private_channels: [(); 0],
    presences: [(); 0],
    guilds: Vec<Unavailable>,
    #[serde(skip_serializing_if = "Option::is_none")]
    shard: Option<crate::Shard>,
    application: Application,
    _trace: [&'static str; 1],
}

#[derive(Serialize)]
struct Nothing {}

#[derive(Serialize)]
struct CurrentUser {
    #[serde(flatten)]
    user: crate::world::User,
    verified: bool,
    mfa_enabled: bool,
    email: Option<String>,
    flags: u64,
}

#[derive(Serialize)]
struct Application {
    id: Snowflake,
    flags: u64,
}

#[derive(Serialize)]
struct Unavailable {
    id: Snowflake,
    unavailable: bool,
}

#[derive(Serialize)]
struct Gone {
    id: Snowflake,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    unavailable: bool,
}

impl Event {
    /// The name in `t`.
    pub(crate) fn name(&self) -> &str {
        match self {
            Self::Ready(_) => "READY",
            Self::Resumed => "RESUMED",
            Self::GuildCreate { .. } => "GUILD_CREATE",
            Self::GuildDelete { .. } => "GUILD_DELETE",
            Self::Message(_) => "MESSAGE_CREATE",
            Self::MembersChunk { .. } => "GUILD_MEMBERS_CHUNK",
            Self::Made(made) => &made.name,
        }
    }

    /// The guild it is about.
    pub(crate) fn guild(&self) -> Option<GuildIndex> {
        match self {
            Self::Ready(_) | Self::Resumed => None,
            Self::GuildCreate { guild, .. } | Self::GuildDelete { guild, .. } => Some(*guild),
            Self::Message(message) => Some(message.guild),
            Self::MembersChunk { answer, .. } => Some(answer.guild),
            Self::Made(made) => made.guild,
        }
    }

    /// What a session needs to get it.
    pub(crate) fn gate(&self) -> Gate {
        match self {
            Self::Ready(_) | Self::Resumed | Self::MembersChunk { .. } => Gate::Open,
            Self::GuildCreate { .. } | Self::GuildDelete { .. } => Gate::AnyOf(Intents::GUILDS),
            Self::Message(_) => Gate::AnyOf(Intents::GUILD_MESSAGES),
            Self::Made(made) => made.gate,
        }
    }

    /// Writes the value of `d`; `voice` has the moves in the guild of a GUILD_CREATE.
    pub(crate) fn write_body(
        &self,
        world: &World,
        origin: &Origin,
        voice: &VoiceChanges,
        sight: &Sight,
        out: &mut Vec<u8>,
    ) {
        let written = match self {
            Self::Ready(guilds) => serde_json::to_writer(out, &ready(guilds, world, origin, sight)),
            Self::Resumed => {
                out.extend_from_slice(br#"{"_trace":["discord-sim"]}"#);
                Ok(())
            }
            Self::GuildCreate { guild, just_joined } => {
                let visibility = Visibility {
                    presences: sight.intents.contains(Intents::GUILD_PRESENCES),
                    voice_states: sight.intents.contains(Intents::GUILD_VOICE_STATES),
                    large_threshold: sight.large_threshold,
                };
                serde_json::to_writer(out, &world.guild(*guild, visibility, *just_joined, voice))
            }
            Self::GuildDelete { guild, outage } => {
                serde_json::to_writer(out, &Gone { id: world.head(*guild).id, unavailable: *outage })
            }
            Self::Message(message) => {
                let with_content = sight.intents.contains(Intents::MESSAGE_CONTENT);
                serde_json::to_writer(out, &world.message(message, with_content))
            }
            Self::MembersChunk { answer, index } => serde_json::to_writer(out, &answer.body(world, *index)),
            Self::Made(made) => {
                out.extend_from_slice(made.body(sight.intents));
                Ok(())
            }
        };
        written.expect("plain records with string keys always serialise into memory");
    }
}

fn ready<'a>(guilds: &[Snowflake], world: &World, origin: &'a Origin, sight: &'a Sight) -> Ready<'a> {
    Ready {
        v: 10,
        user_settings: Nothing {},
        user: CurrentUser { user: world.bot(), verified: true, mfa_enabled: true, email: None, flags: 0 },
        session_type: "normal",
        session_id: &sight.session_id,
        resume_gateway_url: &origin.resume_url,
        relationships: [],
        private_channels: [],
        presences: [],
        guilds: guilds.iter().map(|id| Unavailable { id: *id, unavailable: true }).collect(),
        shard: sight.names_shard.then_some(sight.shard),
        application: Application { id: world.bot_id(), flags: origin.application_flags },
        _trace: ["discord-sim"],
    }
}
