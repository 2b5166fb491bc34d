//! Switches for behaviour that Discord does not document. A bot must work with every position of each.

use serde::{Deserialize, Serialize};
use std::time::Duration;

/// The answer to a RESUME whose session still has an open connection, which Discord does not document.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "snake_case")]
pub enum ResumeWhileOpen {
    /// The RESUME succeeds and the old connection is closed.
    Takeover,
    /// Op 9 `false`; the old connection continues.
    Refuse,
    /// Op 9 `true`: the client may retry later. The old connection continues.
    RefuseForNow,
    /// Both connections get every event from now on.
    Both,
}

/// The switches. In JSON, times are in milliseconds and their names end with `_ms`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Switches {
    /// The answer to a RESUME whose session still has an open connection.
    pub resume_while_open: ResumeWhileOpen,
    /// Whether a heartbeat drops events up to its sequence from the replay buffer.
    pub heartbeat_trims: bool,
    /// Whether the simulator sends a close frame when it ends a connection without a broken rule. A broken rule always gets its close
    /// code.
    pub close_frames: bool,
    /// Delay of HELLO.
    #[serde(rename = "hello_delay_ms", with = "millis")]
    pub hello_delay: Duration,
    /// Delay of READY after IDENTIFY.
    #[serde(rename = "ready_delay_ms", with = "millis")]
    pub ready_delay: Duration,
    /// Time after op 7 until an open connection is closed.
    #[serde(rename = "reconnect_grace_ms", with = "millis")]
    pub reconnect_grace: Duration,
    /// Events kept per session for RESUME, which Discord does not document.
    pub replay_buffer: usize,
    /// Time that a session without a connection can be resumed; Discord documents "a few minutes".
    #[serde(rename = "session_life_ms", with = "millis")]
    pub session_life: Duration,
    /// Whether connections to READY's `resume_gateway_url` are reset before the WebSocket handshake.
    pub resume_url_dead: bool,
    /// Close code for a client that was silent for twice the heartbeat interval.
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
    /// Validates the switches.
    ///
    /// # Errors
    ///
    /// The first invalid switch and its valid values.
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

/// Returns whether a close frame may carry this code; some codes only mean that no code was sent.
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
    fn json_has_milliseconds_and_rejects_unknown_names() {
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
