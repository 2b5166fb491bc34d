//! The answer to a request for members, chunk by chunk.

use crate::world::{GuildIndex, World};
use serde_json::{Value, json};

/// Members in one chunk at most.
/// [Source](https://docs.discord.com/developers/events/gateway-events#guild-members-chunk).
const CHUNK: u64 = 1_000;

/// Who was asked for and found; bodies are written when they are sent, so all members of a large guild take no memory.
#[derive(Debug)]
pub(crate) struct MembersAnswer {
    pub(crate) guild: GuildIndex,
    /// Positions of members, unless it is all of them.
    pub(crate) found: Vec<u64>,
    /// So many members are all of them.
    pub(crate) all: Option<u64>,
    /// As the client named them, also what is no id.
    pub(crate) not_found: Vec<Value>,
    pub(crate) presences: bool,
    pub(crate) nonce: Option<String>,
}

impl MembersAnswer {
    /// How many chunks it takes; nobody takes one too.
    pub(crate) fn chunks(&self) -> u64 {
        self.all.unwrap_or(self.found.len() as u64).div_ceil(CHUNK).max(1)
    }

    /// The body of chunk `index`.
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
