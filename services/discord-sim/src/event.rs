//! Dispatch events. A session's replay buffer holds them in a compact form; bodies are written when they are sent.

mod members;
mod prebuilt;

pub(crate) use members::MembersAnswer;
pub(crate) use prebuilt::PrebuiltEvent;

use crate::{
    intents::{Gate, Intents},
    world::{GuildIndex, Message, Snowflake, Visibility, VoiceChanges, World},
};
use serde::Serialize;
use std::sync::Arc;

/// An event of a session.
#[derive(Clone, Debug)]
pub(crate) enum Event {
    /// READY, with the shard's guilds.
    Ready(Arc<[Snowflake]>),
    /// RESUMED, which ends a replay.
    Resumed,
    /// A guild became available, or the bot joined it.
    GuildCreate { guild: GuildIndex, just_joined: bool },
    /// A guild has an outage, or the bot left it.
    GuildDelete { guild: GuildIndex, outage: bool },
    /// A person wrote a message.
    Message(Message),
    /// A chunk of requested members.
    MembersChunk { answer: Arc<MembersAnswer>, index: u64 },
    /// Any other event; its body was written when it occurred.
    Prebuilt(Arc<PrebuiltEvent>),
}

/// Parameters of a session, from its IDENTIFY.
#[derive(Clone, Debug)]
pub(crate) struct SessionParams {
    pub(crate) session_id: String,
    pub(crate) shard: crate::Shard,
    pub(crate) intents: Intents,
    pub(crate) large_threshold: u64,
    /// IDENTIFY had a shard, so READY has one too.
    pub(crate) names_shard: bool,
}

/// The simulator's URLs and application flags, for READY and REST.
#[derive(Clone, Debug)]
pub(crate) struct ServerInfo {
    pub(crate) gateway_url: String,
    pub(crate) resume_url: String,
    pub(crate) application_flags: u64,
}

#[derive(Serialize)]
struct Ready<'a> {
    v: u8,
    user_settings: EmptyObject,
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
struct EmptyObject {}

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
struct GuildDeleteBody {
    id: Snowflake,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    unavailable: bool,
}

impl Event {
    /// Returns the name in `t`.
    pub(crate) fn name(&self) -> &str {
        match self {
            Self::Ready(_) => "READY",
            Self::Resumed => "RESUMED",
            Self::GuildCreate { .. } => "GUILD_CREATE",
            Self::GuildDelete { .. } => "GUILD_DELETE",
            Self::Message(_) => "MESSAGE_CREATE",
            Self::MembersChunk { .. } => "GUILD_MEMBERS_CHUNK",
            Self::Prebuilt(made) => &made.name,
        }
    }

    /// Returns the event's guild.
    pub(crate) fn guild(&self) -> Option<GuildIndex> {
        match self {
            Self::Ready(_) | Self::Resumed => None,
            Self::GuildCreate { guild, .. } | Self::GuildDelete { guild, .. } => Some(*guild),
            Self::Message(message) => Some(message.guild),
            Self::MembersChunk { answer, .. } => Some(answer.guild),
            Self::Prebuilt(made) => made.guild,
        }
    }

    /// Returns the intents that a session needs to get it.
    pub(crate) fn gate(&self) -> Gate {
        match self {
            Self::Ready(_) | Self::Resumed | Self::MembersChunk { .. } => Gate::Open,
            Self::GuildCreate { .. } | Self::GuildDelete { .. } => Gate::AnyOf(Intents::GUILDS),
            Self::Message(_) => Gate::AnyOf(Intents::GUILD_MESSAGES),
            Self::Prebuilt(made) => made.gate,
        }
    }

    /// Writes the value of `d`. `voice` has the voice moves in a GUILD_CREATE's guild.
    pub(crate) fn write_body(
        &self,
        world: &World,
        server: &ServerInfo,
        voice: &VoiceChanges,
        params: &SessionParams,
        out: &mut Vec<u8>,
    ) {
        let written = match self {
            Self::Ready(guilds) => serde_json::to_writer(out, &ready(guilds, world, server, params)),
            Self::Resumed => {
                out.extend_from_slice(br#"{"_trace":["discord-sim"]}"#);
                Ok(())
            }
            Self::GuildCreate { guild, just_joined } => {
                let visibility = Visibility {
                    presences: params.intents.contains(Intents::GUILD_PRESENCES),
                    voice_states: params.intents.contains(Intents::GUILD_VOICE_STATES),
                    large_threshold: params.large_threshold,
                };
                serde_json::to_writer(out, &world.guild(*guild, visibility, *just_joined, voice))
            }
            Self::GuildDelete { guild, outage } => serde_json::to_writer(
                out,
                &GuildDeleteBody { id: world.head(*guild).id, unavailable: *outage },
            ),
            Self::Message(message) => {
                let with_content = params.intents.contains(Intents::MESSAGE_CONTENT);
                serde_json::to_writer(out, &world.message(message, with_content))
            }
            Self::MembersChunk { answer, index } => serde_json::to_writer(out, &answer.body(world, *index)),
            Self::Prebuilt(made) => {
                out.extend_from_slice(made.body(params.intents));
                Ok(())
            }
        };
        written.expect("structs with string keys always serialise into memory");
    }
}

fn ready<'a>(
    guilds: &[Snowflake],
    world: &World,
    server: &'a ServerInfo,
    params: &'a SessionParams,
) -> Ready<'a> {
    Ready {
        v: 10,
        user_settings: EmptyObject {},
        user: CurrentUser { user: world.bot(), verified: true, mfa_enabled: true, email: None, flags: 0 },
        session_type: "normal",
        session_id: &params.session_id,
        resume_gateway_url: &server.resume_url,
        relationships: [],
        private_channels: [],
        presences: [],
        guilds: guilds.iter().map(|id| Unavailable { id: *id, unavailable: true }).collect(),
        shard: params.names_shard.then_some(params.shard),
        application: Application { id: world.bot_id(), flags: server.application_flags },
        _trace: ["discord-sim"],
    }
}
