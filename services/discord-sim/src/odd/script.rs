//! Scripted actions on gateway connections.

use crate::{fault_error::FaultError, shard::Shard, switches::may_be_sent};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The longest wait: a day.
const LONGEST_WAIT_MS: u64 = 24 * 60 * 60 * 1_000;
/// The most bytes that one action writes: 8 GiB.
const MOST_BYTES: u64 = 8 << 30;
/// The most bytes in memory for one action.
const LARGEST_PIECE: u64 = 64 << 20;

/// When a script runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Moment {
    /// A client requests the WebSocket; no answer has been sent.
    Connect,
    /// The WebSocket is open.
    BeforeHello,
    /// HELLO has been sent.
    AfterHello,
    /// An IDENTIFY was accepted; READY not sent yet.
    Identify,
    /// A RESUME arrived; it has no effect yet.
    Resume,
    /// READY has been sent.
    Ready,
    /// RESUMED has been sent.
    Resumed,
    /// At once, on open connections; the script does not stay active.
    Now,
}

impl Moment {
    /// Whether the connection's shard is known at this moment.
    const fn knows_shard(self) -> bool {
        matches!(self, Self::Identify | Self::Resume | Self::Ready | Self::Resumed | Self::Now)
    }
}

/// The URL of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Address {
    /// The URL of `/gateway/bot`.
    Gateway,
    /// `resume_gateway_url`.
    Resume,
}

/// One action on a connection. In JSON an object whose `do` is the variant's name in `snake_case`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "snake_case", deny_unknown_fields)]
pub enum Action {
    /// Delays the remaining actions. The connection continues meanwhile, but HELLO waits.
    Wait {
        /// Milliseconds.
        ms: u64,
    },
    /// Sends a close frame; the session stays resumable.
    Close {
        /// The code; without one the frame is empty.
        code: Option<u16>,
        /// The reason.
        #[serde(default)]
        reason: String,
    },
    /// Resets the TCP connection.
    Reset,
    /// Ends the TCP connection without a close frame.
    End,
    /// Stops sending, including ACKs.
    Silence,
    /// Holds back events but not ACKs.
    Withhold {
        /// Milliseconds; 0 is for as long as the connection is open.
        ms: u64,
    },
    /// Sends op 7.
    Reconnect,
    /// Sends op 9; ends the session unless `resumable`.
    InvalidSession {
        /// The value of `d`.
        resumable: bool,
    },
    /// Sends an unchecked text as a payload, through the connection's compression.
    Text {
        /// The text.
        text: String,
        /// How many times.
        #[serde(default = "once")]
        times: u64,
    },
    /// Writes raw bytes to the TCP connection, outside the WebSocket.
    Bytes {
        /// The bytes in hexadecimal; spaces are ignored.
        hex: String,
        /// Number of bytes `a` to append.
        #[serde(default)]
        fill: u64,
        /// How many times to send all of it.
        #[serde(default = "once")]
        times: u64,
    },
    /// Sends a payload with a string of this many bytes `a`, small when compressed; without compression at most 40 MiB.
    Inflate {
        /// Number of bytes.
        bytes: u64,
    },
    /// Answers the WebSocket request with plain HTTP; only at `connect`.
    Refuse {
        /// The status.
        status: u16,
        /// Headers.
        #[serde(default)]
        headers: BTreeMap<String, String>,
        /// The body.
        #[serde(default)]
        body: String,
    },
}

const fn once() -> u64 {
    1
}

/// Runs actions on connections at a given moment.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Script {
    /// Name for `clear_oddities`.
    #[serde(default)]
    pub name: Option<String>,
    /// The moment.
    pub at: Moment,
    /// Only connections to this URL.
    #[serde(default)]
    pub address: Option<Address>,
    /// Only connections of these shards; from IDENTIFY on.
    #[serde(default)]
    pub shards: Option<Vec<u32>>,
    /// Number of connections; by default all.
    #[serde(default)]
    pub times: Option<u32>,
    /// At `before_hello`: does not send HELLO.
    #[serde(default)]
    pub instead: bool,
    /// The actions, in order.
    pub actions: Vec<Action>,
}

impl Script {
    /// A script for all connections, without a limit.
    pub(crate) fn new(at: Moment, actions: Vec<Action>) -> Self {
        Self { name: None, at, address: None, shards: None, times: None, instead: false, actions }
    }

    pub(super) fn is_for(&self, at: Moment, address: Address, shard: Option<Shard>) -> bool {
        self.at == at
            && self.address.is_none_or(|own| own == address)
            && self.shards.as_ref().is_none_or(|own| shard.is_some_and(|shard| own.contains(&shard.number)))
    }

    /// Checks what the types do not.
    pub(crate) fn validate(&self) -> Result<(), FaultError> {
        let bad = |why| Err(FaultError::BadOddity(why));
        if self.shards.is_some() && !self.at.knows_shard() {
            return bad("shards are known only from IDENTIFY on");
        }
        if self.instead && self.at != Moment::BeforeHello {
            return bad("instead is valid only at before_hello");
        }
        for action in &self.actions {
            let early = matches!(action, Action::Refuse { .. });
            let anywhere = matches!(action, Action::Wait { .. } | Action::Reset | Action::Silence);
            if !anywhere && early != (self.at == Moment::Connect) {
                return bad(
                    "at connect only refuse, wait, reset and silence are valid; elsewhere refuse is not",
                );
            }
            action.validate()?;
        }
        Ok(())
    }
}

impl Action {
    fn validate(&self) -> Result<(), FaultError> {
        let bad = |why| Err(FaultError::BadOddity(why));
        match self {
            Self::Wait { ms } | Self::Withhold { ms } if *ms > LONGEST_WAIT_MS => {
                bad("ms must be at most a day")
            }
            Self::Close { code: Some(code), .. } if !may_be_sent(*code) => Err(FaultError::BadCode),
            Self::Close { reason, .. } if reason.len() > 123 => Err(FaultError::BadReason),
            Self::Bytes { hex, .. } if from_hex(hex).is_none() => {
                bad("hex must be pairs of hexadecimal digits")
            }
            Self::Bytes { hex, fill, times } => {
                let piece = (hex.len() as u64).saturating_add(*fill);
                if piece > LARGEST_PIECE || piece.saturating_mul(*times) > MOST_BYTES {
                    return bad("at most 64 MiB at once and 8 GiB in all can be written");
                }
                Ok(())
            }
            Self::Text { text, times } if (text.len() as u64).saturating_mul(*times) > MOST_BYTES => {
                bad("at most 8 GiB can be written")
            }
            Self::Inflate { bytes } if *bytes > MOST_BYTES => bad("at most 8 GiB can be written"),
            Self::Refuse { status, .. } if !(200..=599).contains(status) => {
                bad("status must be from 200 to 599")
            }
            _ => Ok(()),
        }
    }
}

/// Decodes pairs of hexadecimal digits.
pub(crate) fn from_hex(text: &str) -> Option<Vec<u8>> {
    let digits: Option<Vec<u8>> = text
        .chars()
        .filter(|digit| !digit.is_whitespace())
        .map(|digit| digit.to_digit(16).map(|digit| digit as u8))
        .collect();
    let digits = digits?;
    digits.len().is_multiple_of(2).then(|| digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect())
}
