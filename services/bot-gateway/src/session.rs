//! The client's session: all that a RESUME needs is in its id and in the last sequence number, so any worker can take it. Pure.
//!
//! A session's sequence numbers (`s`):
//!
//! | `s` | what |
//! |---|---|
//! | 1 | READY |
//! | 2 to G + 1 | the G packets of the guilds: GUILD_CREATE, or GUILD_DELETE in an outage |
//! | G + 1 | events that came while the guilds were read |
//! | G + 2 + (number - E0) | the relay's entry with this number; E0 was the newest at IDENTIFY |
//!
//! Sequence numbers are not contiguous, because entries that are not for the client take a number too. A RESUME continues after a relay
//! entry, so a session with `s` up to G + 1 cannot be resumed: its client may lack guilds. To make a session without events resumable,
//! the gateway sends a packet that libraries ignore ([`SETTLED`]), once the client is past all entries that its guilds may include.

use std::fmt;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use fleet_model::ShardSlot;
use ring::hmac;

/// Name of the packet that ends the guilds.
pub const SETTLED: &str = "ALTERGOLDEN_GUILDS_SENT";

/// The version of the format. Ids of other versions are not known.
const VERSION: u8 = 1;
/// Length of the fields.
const FIELDS: usize = 1 + 4 + 4 + 4 + 1 + 8 + 4 + 8 + 8;
/// Length of the MAC, which is cut to half: it is checked online only.
const MAC: usize = 16;

/// The client's shard: `[number, total]` of its IDENTIFY. It has nothing to do with the fleet's shards.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClientShard {
    /// Number, less than the total.
    pub number: u32,
    /// Total.
    pub total: u32,
}

impl ClientShard {
    /// `None` if Discord would refuse it with 4010.
    pub fn new(number: u32, total: u32) -> Option<Self> {
        (number < total && total <= fleet_model::MAX_SHARDS).then_some(Self { number, total })
    }

    /// Whether a guild's events go to this client shard; events of no guild (0) go to number 0
    /// ([Sharding](https://docs.discord.com/developers/events/gateway#sharding)).
    pub fn has_guild(self, guild: u64) -> bool {
        (guild >> 22) % u64::from(self.total) == u64::from(self.number)
    }

    /// Whether guilds of one of the fleet's shards can be this client shard's.
    pub fn overlaps(self, shard: u32, shard_total: u32) -> bool {
        let common = gcd(self.total, shard_total.max(1));
        self.number % common == shard % common
    }

    /// The fleet's shards that can have guilds of this client shard's.
    pub fn shards_of(self, shard_total: u32) -> impl Iterator<Item = ShardSlot> {
        (0..shard_total).filter(move |shard| self.overlaps(*shard, shard_total)).map(ShardSlot)
    }
}

fn gcd(a: u32, b: u32) -> u32 {
    if b == 0 { a } else { gcd(b, a % b) }
}

/// A session of a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClientSession {
    /// The client's shard.
    pub shard: ClientShard,
    /// What it identified with.
    pub intents: u32,
    /// Guilds with more members are `large`: 50 to 250.
    pub large_threshold: u8,
    /// E0.
    pub first: u64,
    /// G.
    pub guild_packets: u32,
    /// The relay's generation: entries have other numbers in another one.
    pub generation: u64,
    /// Makes ids of equal sessions differ.
    pub nonce: u64,
}

/// Where a RESUME goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resumed {
    /// Behind the entry with this number.
    After(u64),
    /// The client did not have all guilds.
    InsideGuilds,
    /// This sequence number was never sent.
    NeverSent,
}

impl ClientSession {
    /// `s` of the last packet of a guild.
    pub fn guilds_end(&self) -> u64 {
        u64::from(self.guild_packets) + 1
    }

    /// `s` of an entry.
    pub fn sequence_of(&self, number: u64) -> u64 {
        self.guilds_end() + 1 + number.saturating_sub(self.first)
    }

    /// Where a RESUME with this `seq` goes on. `newest`: number of the relay's newest entry.
    pub fn resumed(&self, sequence: u64, newest: u64) -> Resumed {
        let Some(behind) = sequence.checked_sub(self.guilds_end() + 1) else { return Resumed::InsideGuilds };
        match self.first.checked_add(behind) {
            Some(number) if number <= newest => Resumed::After(number),
            _ => Resumed::NeverSent,
        }
    }
}

/// Seals and opens session ids. The key is of the fleet's name and the bot's token, so all workers have the same.
#[derive(Clone)]
pub struct SessionKey(hmac::Key);

impl SessionKey {
    /// The key of a fleet.
    pub fn new(fleet: &str, token: &str) -> Self {
        let token = hmac::Key::new(hmac::HMAC_SHA256, token.trim_start_matches("Bot ").as_bytes());
        let key = hmac::sign(&token, format!("sessions of clients of {fleet}").as_bytes());
        Self(hmac::Key::new(hmac::HMAC_SHA256, key.as_ref()))
    }

    /// The id of a session.
    pub fn seal(&self, session: &ClientSession) -> String {
        let mut bytes = Vec::with_capacity(FIELDS + MAC);
        bytes.push(VERSION);
        bytes.extend(session.shard.number.to_be_bytes());
        bytes.extend(session.shard.total.to_be_bytes());
        bytes.extend(session.intents.to_be_bytes());
        bytes.push(session.large_threshold);
        bytes.extend(session.first.to_be_bytes());
        bytes.extend(session.guild_packets.to_be_bytes());
        bytes.extend(session.generation.to_be_bytes());
        bytes.extend(session.nonce.to_be_bytes());
        let mac = hmac::sign(&self.0, &bytes);
        bytes.extend(&mac.as_ref()[..MAC]);
        URL_SAFE_NO_PAD.encode(bytes)
    }

    /// The session with this id; `None` if no worker of the fleet has sealed it.
    pub fn open(&self, id: &str) -> Option<ClientSession> {
        // The library reads no further than this.
        let bytes = URL_SAFE_NO_PAD.decode(id.get(..(FIELDS + MAC).div_ceil(3) * 4).unwrap_or(id)).ok()?;
        let (fields, mac) = bytes.split_at_checked(FIELDS)?;
        let own = hmac::sign(&self.0, fields);
        if !bool::from(subtle::ConstantTimeEq::ct_eq(&own.as_ref()[..MAC], mac)) {
            return None;
        }
        let mut rest = fields;
        let version: [u8; 1] = take(&mut rest)?;
        if version != [VERSION] {
            return None;
        }
        let (number, total) = (u32::from_be_bytes(take(&mut rest)?), u32::from_be_bytes(take(&mut rest)?));
        Some(ClientSession {
            shard: ClientShard::new(number, total)?,
            intents: u32::from_be_bytes(take(&mut rest)?),
            large_threshold: u8::from_be_bytes(take(&mut rest)?),
            first: u64::from_be_bytes(take(&mut rest)?),
            guild_packets: u32::from_be_bytes(take(&mut rest)?),
            generation: u64::from_be_bytes(take(&mut rest)?),
            nonce: u64::from_be_bytes(take(&mut rest)?),
        })
    }
}

fn take<const N: usize>(bytes: &mut &[u8]) -> Option<[u8; N]> {
    let (taken, rest) = bytes.split_first_chunk()?;
    *bytes = rest;
    Some(*taken)
}

/// Without the key.
impl fmt::Debug for SessionKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SessionKey")
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn session() -> impl Strategy<Value = ClientSession> {
        let shard = (1..=fleet_model::MAX_SHARDS).prop_flat_map(|total| (0..total, Just(total)));
        (shard, any::<u32>(), 50..=250_u8, 0..=u64::MAX / 2, any::<u32>(), any::<u64>(), any::<u64>())
            .prop_map(
                |((number, total), intents, large_threshold, first, guild_packets, generation, nonce)| {
                    ClientSession {
                        shard: ClientShard { number, total },
                        intents,
                        large_threshold,
                        first,
                        guild_packets,
                        generation,
                        nonce,
                    }
                },
            )
    }

    proptest! {
        #[test]
        fn sealed_sessions_open_with_the_same_key_only(session in session(), flip in 0..300_usize) {
            let key = SessionKey::new("altergolden", "token");
            let id = key.seal(&session);
            prop_assert_eq!(key.open(&id), Some(session));
            prop_assert_eq!(SessionKey::new("altergolden", "Bot token").open(&id), Some(session));
            for other in [SessionKey::new("other", "token"), SessionKey::new("altergolden", "other")] {
                prop_assert_eq!(other.open(&id), None);
            }
            let at = flip % id.len();
            let changed = if &id[at..=at] == "A" { "B" } else { "A" };
            prop_assert_eq!(key.open(&format!("{}{changed}{}", &id[..at], &id[at + 1..])), None);
            prop_assert_eq!(key.open(&id[..at]), None);
            prop_assert_eq!(key.open(&format!("{id}A")), None);
        }

        #[test]
        fn other_texts_are_no_sessions(text in ".{0,200}") {
            prop_assert_eq!(SessionKey::new("altergolden", "token").open(&text), None);
        }

        #[test]
        fn resume_goes_on_behind_the_entry_that_was_sent(session in session(), ahead in 0..1_000_000_u64) {
            let number = session.first + ahead;
            let sequence = session.sequence_of(number);
            prop_assert_eq!(session.resumed(sequence, number), Resumed::After(number));
            prop_assert_eq!(session.resumed(session.sequence_of(number + 1), number), Resumed::NeverSent);
            prop_assert!(session.sequence_of(number + 1) > sequence);
            for inside in [0, 1, session.guilds_end()] {
                prop_assert_eq!(session.resumed(inside, number), Resumed::InsideGuilds);
            }
            prop_assert_eq!(session.resumed(u64::MAX, number), Resumed::NeverSent);
        }

        #[test]
        fn guilds_of_a_client_shard_are_on_shards_that_overlap_it(
            guild in any::<u64>(), total in 1..200_u32, clients in 1..200_u32,
        ) {
            let client = ClientShard::new(((guild >> 22) % u64::from(clients)) as u32, clients).unwrap();
            prop_assert!(client.has_guild(guild));
            prop_assert!(client.overlaps(((guild >> 22) % u64::from(total)) as u32, total));
        }
    }

    #[test]
    fn equal_totals_overlap_one_to_one() {
        let client = ClientShard::new(5, 12).unwrap();
        let overlapping: Vec<u32> = (0..12).filter(|shard| client.overlaps(*shard, 12)).collect();
        assert_eq!(overlapping, [5]);
        assert!(client.overlaps(1, 16) && !client.overlaps(2, 16));
        assert_eq!((ClientShard::new(12, 12), ClientShard::new(0, 0)), (None, None));
        assert!(ClientShard::new(0, 3).unwrap().has_guild(0), "events of no guild");
    }
}
