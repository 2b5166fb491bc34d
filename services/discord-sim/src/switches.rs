//! Switches for what Discord leaves open. A bot must live with either position of each.

use serde::{Deserialize, Serialize};
use std::time::Duration;

/// What a RESUME meets when a connection of its session is still open. Discord does not say.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "snake_case")]
pub enum ResumeWhileOpen {
    /// It takes over: the old connection is closed.
    Takeover,
    /// It is refused for good with op 9 `false`; the old connection goes on.
    Refuse,
    /// It is refused with op 9 `true`: it may work later. The old connection goes on.
    RefuseForNow,
    /// Both get every event from here on.
    Both,
}

/// The switches. In JSON times are milliseconds, with `_ms` at the end of their names.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Switches {
    /// What a RESUME meets when a connection of its session is still open.
    pub resume_while_open: ResumeWhileOpen,
    /// A heartbeat's `d` drops events up to it from the replay buffer.
    pub heartbeat_trims: bool,
    /// The simulator says why when it closes a connection by itself; without it the TCP connection just ends. A broken rule
    /// is always answered with its code.
    pub close_frames: bool,
    /// How long HELLO takes.
    #[serde(rename = "hello_delay_ms", with = "millis")]
    pub hello_delay: Duration,
    /// How long READY takes after an IDENTIFY.
    #[serde(rename = "ready_delay_ms", with = "millis")]
    pub ready_delay: Duration,
    /// How long after op 7 a connection that is still open is closed.
    #[serde(rename = "reconnect_grace_ms", with = "millis")]
    pub reconnect_grace: Duration,
    /// How many events a session keeps for RESUME. Discord does not say.
    pub replay_buffer: usize,
    /// How long a session without a connection can be resumed. "A few minutes", says Discord.
    #[serde(rename = "session_life_ms", with = "millis")]
    pub session_life: Duration,
    /// Connections to READY's `resume_gateway_url` are reset before the WebSocket handshake.
    pub resume_url_dead: bool,
    /// The close code for a client that was silent for twice the heartbeat interval.
    pub zombie_close_code: u16,
}

impl Default for Switches {
    fn default() -> Self {
        Self {
            resume_while_open: ResumeWhileOpen::Takeover,
            heartbeat_trims: false,
            close_frames: true,
            hello_delay: Duration::ZERO,
            ready_delay: Duration::ZERO,
            reconnect_grace: Duration::from_secs(5),
            replay_buffer: 4_096,
            session_life: Duration::from_mins(3),
            resume_url_dead: false,
            zombie_close_code: 4009,
        }
    }
}

impl Switches {
    /// Checks what types can't say.
    ///
    /// # Errors
    ///
    /// The first switch that can't work, and what it takes.
    pub(crate) fn validate(&self) -> Result<(), (&'static str, &'static str)> {
        if self.replay_buffer == 0 || self.replay_buffer > 1_000_000 {
            return Err(("replay_buffer", "from 1 to 1000000 events"));
        }
        if !may_be_sent(self.zombie_close_code) {
            return Err(("zombie_close_code", "a close code from 1000 to 4999 that may be sent"));
        }
        Ok(())
    }
}

/// Whether a close frame may carry this code: some only stand for what was not sent.
/// [Source](https://www.rfc-editor.org/rfc/rfc6455#section-7.4.1).
pub(crate) const fn may_be_sent(code: u16) -> bool {
    matches!(code, 1000..5000) && !matches!(code, 1004..=1006 | 1015)
}

mod millis {
    use serde::{Deserialize, Deserializer, Serializer};
    use std::time::Duration;

    pub(super) fn serialize<S: Serializer>(time: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u64(time.as_millis() as u64)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
        u64::deserialize(deserializer).map(Duration::from_millis)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_has_milliseconds_and_no_unknown_names() {
        let json = serde_json::to_value(Switches::default()).unwrap();
        assert_eq!(
            (&json["session_life_ms"], &json["resume_while_open"]),
            (&180_000.into(), &"takeover".into())
        );
        assert_eq!(serde_json::from_value::<Switches>(json.clone()).unwrap(), Switches::default());
        let mut typo = json;
        typo["sesion_life"] = 1.into();
        assert!(serde_json::from_value::<Switches>(typo).is_err());
    }
}
