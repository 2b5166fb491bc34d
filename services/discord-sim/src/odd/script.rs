//! What is done to a gateway connection, and when.

use crate::{faults::FaultError, shard::Shard, switches::may_be_sent};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// No wait is longer: a day.
const LONGEST_WAIT_MS: u64 = 24 * 60 * 60 * 1_000;
/// What one action writes at most: 8 GiB.
const MOST_BYTES: u64 = 8 << 30;
/// What is kept for one action at most.
const LARGEST_PIECE: u64 = 64 << 20;

/// A moment of a connection's life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Moment {
    /// A client asks for the WebSocket; nothing is answered yet.
    Connect,
    /// The WebSocket is open.
    BeforeHello,
    /// HELLO has been sent.
    AfterHello,
    /// An IDENTIFY was accepted; READY has not been sent.
    Identify,
    /// A RESUME has come, and has had no effect yet.
    Resume,
    /// READY has been sent.
    Ready,
    /// RESUMED has been sent.
    Resumed,
    /// At once, on connections that are open; it does not stand.
    Now,
}

impl Moment {
    /// Whether the connection's shard is known by then.
    const fn knows_shard(self) -> bool {
        matches!(self, Self::Identify | Self::Resume | Self::Ready | Self::Resumed | Self::Now)
    }
}

/// Which URL a connection came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Address {
    /// The one of `/gateway/bot`.
    Gateway,
    /// `resume_gateway_url`.
    Resume,
}

/// One thing that is done to a connection. In JSON an object whose `do` is the variant's name in `snake_case`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "snake_case", deny_unknown_fields)]
pub enum Action {
    /// Does the rest later; the connection goes on meanwhile, but for HELLO, which waits.
    Wait {
        /// Milliseconds.
        ms: u64,
    },
    /// Sends a close frame; the session can be resumed.
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
    /// Sends nothing any more, ACKs included.
    Silence,
    /// Holds events back while ACKs go on.
    Withhold {
        /// Milliseconds; 0 is as long as the connection is open.
        ms: u64,
    },
    /// Sends op 7.
    Reconnect,
    /// Sends op 9; when it is not resumable the session ends.
    InvalidSession {
        /// The value of `d`.
        resumable: bool,
    },
    /// Sends a text as a payload, through the connection's compression. Nothing checks it.
    Text {
        /// The text.
        text: String,
        /// How many times.
        #[serde(default = "once")]
        times: u64,
    },
    /// Writes bytes on the TCP connection, around the WebSocket.
    Bytes {
        /// The bytes in hexadecimal; spaces are ignored.
        hex: String,
        /// So many bytes `a` follow them.
        #[serde(default)]
        fill: u64,
        /// How many times all of that.
        #[serde(default = "once")]
        times: u64,
    },
    /// Sends a payload with a string of so many bytes `a`. Compressed it is small; without compression it has at most 40 MiB.
    Inflate {
        /// How many.
        bytes: u64,
    },
    /// Answers the request for a WebSocket with an HTTP answer instead; only at `connect`.
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

/// Acts on connections at a moment of their lives.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Script {
    /// What it is cleared by.
    #[serde(default)]
    pub name: Option<String>,
    /// When.
    pub at: Moment,
    /// Only connections to this URL.
    #[serde(default)]
    pub address: Option<Address>,
    /// Only connections of these shards, which are known from IDENTIFY on.
    #[serde(default)]
    pub shards: Option<Vec<u32>>,
    /// For how many connections; left out, for all.
    #[serde(default)]
    pub times: Option<u32>,
    /// At `before_hello`: HELLO is not sent.
    #[serde(default)]
    pub instead: bool,
    /// What is done, in order.
    pub actions: Vec<Action>,
}

impl Script {
    /// A script for every connection, without end.
    pub(crate) fn new(at: Moment, actions: Vec<Action>) -> Self {
        Self { name: None, at, address: None, shards: None, times: None, instead: false, actions }
    }

    pub(super) fn is_for(&self, at: Moment, address: Address, shard: Option<Shard>) -> bool {
        self.at == at
            && self.address.is_none_or(|own| own == address)
            && self.shards.as_ref().is_none_or(|own| shard.is_some_and(|shard| own.contains(&shard.number)))
    }

    /// Checks what types can't say.
    pub(crate) fn validate(&self) -> Result<(), FaultError> {
        let bad = |why| Err(FaultError::BadOddity(why));
        if self.shards.is_some() && !self.at.knows_shard() {
            return bad("shards are known only from IDENTIFY on");
        }
        if self.instead && self.at != Moment::BeforeHello {
            return bad("instead is for before_hello alone");
        }
        for action in &self.actions {
            let early = matches!(action, Action::Refuse { .. });
            let anywhere = matches!(action, Action::Wait { .. } | Action::Reset | Action::Silence);
            if !anywhere && early != (self.at == Moment::Connect) {
                return bad(
                    "at connect there is refuse, wait, reset and silence; elsewhere there is no refuse",
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
                    return bad("at most 64 MiB at a time and 8 GiB in all can be written");
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

/// The bytes that pairs of hexadecimal digits stand for.
pub(crate) fn from_hex(text: &str) -> Option<Vec<u8>> {
    let digits: Option<Vec<u8>> = text
        .chars()
        .filter(|digit| !digit.is_whitespace())
        .map(|digit| digit.to_digit(16).map(|digit| digit as u8))
        .collect();
    let digits = digits?;
    digits.len().is_multiple_of(2).then(|| digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect())
}
