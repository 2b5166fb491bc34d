//! The answer to a member request, in chunks.

use crate::world::{GuildIndex, World};
use serde_json::{Value, json};

/// Members per chunk.
/// [Source](https://docs.discord.com/developers/events/gateway-events#guild-members-chunk).
const CHUNK: u64 = 1_000;

/// The members found for a request. Bodies are written when they are sent, so a large guild's members take no memory.
#[derive(Debug)]
pub(crate) struct MembersAnswer {
    pub(crate) guild: GuildIndex,
    /// Positions of the found members, unless all were requested.
    pub(crate) found: Vec<u64>,
    /// The guild's member count if all were requested.
    pub(crate) all: Option<u64>,
    /// User ids not found, as the client sent them, including invalid ids.
    pub(crate) not_found: Vec<Value>,
    pub(crate) presences: bool,
    pub(crate) nonce: Option<String>,
}

impl MembersAnswer {
    /// Returns the number of chunks; an empty answer takes one.
    pub(crate) fn chunks(&self) -> u64 {
        self.all.unwrap_or(self.found.len() as u64).div_ceil(CHUNK).max(1)
    }

    /// Returns the body of chunk `index`.
    pub(super) fn body(&self, world: &World, index: u64) -> Value {
        let (from, to) = (index * CHUNK, (index + 1) * CHUNK);
        let positions: Vec<u64> = match self.all {
            Some(all) => (from..to.min(all)).collect(),
            None => self.found.iter().skip(from as usize).take(CHUNK as usize).copied().collect(),
        };
        let members: Vec<_> =
            positions.iter().map(|position| world.member(self.guild, *position, true)).collect();
        let mut body = json!({
            "guild_id": world.head(self.guild).id,
            "members": members,
            "chunk_index": index,
            "chunk_count": self.chunks(),
        });
        if !self.not_found.is_empty() {
            body["not_found"] = json!(self.not_found);
        }
        if self.presences {
            let presences = positions.iter().filter_map(|position| world.presence(self.guild, *position));
            body["presences"] = presences.map(|presence| json!(presence)).collect();
        }
        if let Some(nonce) = &self.nonce {
            body["nonce"] = json!(nonce);
        }
        body
    }
}
