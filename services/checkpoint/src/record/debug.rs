//! What records show of themselves in logs and panics: sizes instead of content, and never a whole session id.

use std::fmt::{Debug, Formatter, Result};

use super::{Extras, GuildCore, Head, Members, PendingEvent, Record, Session};

/// Characters of a session id that are shown, to tell one from another.
const SHOWN: usize = 4;

/// Stands for content: only how much it is.
struct Size(usize);

impl Debug for Size {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        write!(f, "{} bytes", self.0)
    }
}

/// The beginning of an id; nothing of one that is hardly longer.
fn shortened(id: &str) -> String {
    let shown = if id.chars().count() >= 2 * SHOWN { SHOWN } else { 0 };
    id.chars().take(shown).chain(['…']).collect()
}

impl Debug for Session {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        f.debug_struct("Session")
            .field("id", &shortened(&self.id))
            .field("resume_url", &self.resume_url)
            .field("ordinal", &self.ordinal)
            .field("shard", &self.shard)
            .field("total", &self.total)
            .field("intents", &self.intents)
            .field("transport", &self.transport)
            .field("resources", &self.resources)
            .field("opened_at_unix_ms", &self.opened_at_unix_ms)
            .finish()
    }
}

impl Debug for Head {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        f.debug_struct("Head")
            .field("session", &self.session)
            .field("read", &self.read)
            .field("read_at_unix_ms", &self.read_at_unix_ms)
            .field("expecting", &self.expecting)
            .field("doubt", &self.doubt)
            .field("own_user", &self.own_user.as_ref().map(|user| Size(user.len())))
            .field("presence", &self.presence.as_ref().map(|presence| Size(presence.len())))
            .field("epoch", &self.epoch)
            .field("exact", &self.exact)
            .finish()
    }
}

impl Debug for PendingEvent {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        f.debug_struct("PendingEvent")
            .field("position", &self.position)
            .field("started", &self.started)
            .field("handled", &self.handled)
            .field("received_at_unix_ms", &self.received_at_unix_ms)
            .field("text", &Size(self.text.len()))
            .finish()
    }
}

impl Debug for GuildCore {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        f.debug_struct("GuildCore")
            .field("stamp", &self.stamp)
            .field("members", &self.members)
            .field("channels", &self.channels)
            .field("in_voice", &self.in_voice)
            .field("unavailable", &self.unavailable)
            .field("object", &self.object.as_ref().map(|object| Size(object.len())))
            .field("voice_states", &Size(self.voice_states.len()))
            .field("member_blocks", &self.member_blocks)
            .field("doubt", &self.doubt)
            .finish()
    }
}

impl Debug for Extras {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        f.debug_struct("Extras")
            .field("emojis", &Size(self.emojis.len()))
            .field("stickers", &Size(self.stickers.len()))
            .field("stage_instances", &Size(self.stage_instances.len()))
            .field("scheduled_events", &Size(self.scheduled_events.len()))
            .finish()
    }
}

impl Debug for Members {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        f.debug_struct("Members").field("stamp", &self.stamp).field("list", &Size(self.list.len())).finish()
    }
}

impl Debug for Record {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        match self {
            Self::Core(core) => core.fmt(f),
            Self::Channels(list) => f.debug_tuple("Channels").field(&Size(list.len())).finish(),
            Self::Roles(list) => f.debug_tuple("Roles").field(&Size(list.len())).finish(),
            Self::Extras(extras) => extras.fmt(f),
            Self::Members(members) => members.fmt(f),
            Self::Pending(event) => event.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn session(id: &str) -> Session {
        Session {
            id: id.to_owned(),
            resume_url: "wss://resume".to_owned(),
            ordinal: 1,
            shard: None,
            total: 2,
            intents: 3,
            transport: "json".to_owned(),
            resources: vec!["guilds".to_owned()],
            opened_at_unix_ms: 4,
        }
    }

    #[test]
    fn a_session_id_is_never_shown_in_full() {
        let shown = format!("{:?}", session("0123456789abcdef"));
        assert!(shown.contains("\"0123…\"") && !shown.contains("4567"), "{shown}");
        for short in ["", "abc", "abcdefg"] {
            let shown = format!("{:?}", session(short));
            assert!(shown.contains("id: \"…\""), "{shown}");
        }
    }

    #[test]
    fn no_content_is_shown() {
        let secret = "what somebody wrote";
        let pending = PendingEvent {
            position: fleet_model::Position::new(1, 7),
            started: true,
            handled: false,
            received_at_unix_ms: 8,
            text: secret.into(),
        };
        let head = Head {
            session: session("0123456789abcdef"),
            read: 7,
            read_at_unix_ms: 8,
            expecting: vec![1],
            doubt: 0,
            own_user: Some(secret.into()),
            presence: Some(secret.to_owned()),
            epoch: fleet_model::Epoch(1),
            exact: false,
        };
        let core = GuildCore {
            stamp: 1,
            members: None,
            channels: 0,
            in_voice: Vec::new(),
            member_blocks: 1,
            doubt: 0,
            unavailable: false,
            object: Some(secret.into()),
            voice_states: secret.into(),
        };
        let extras = Extras { emojis: secret.into(), ..Extras::default() };
        let members = Members { stamp: 1, list: secret.into() };
        let records = [
            Record::Pending(pending),
            Record::Core(core),
            Record::Channels(secret.into()),
            Record::Roles(secret.into()),
            Record::Extras(extras),
            Record::Members(members),
        ];
        let shown = format!("{head:?} {records:?}");
        assert!(!shown.contains("somebody") && shown.contains("sequence: 7"), "{shown}");
        assert_eq!(shown.matches("19 bytes").count(), 9, "{shown}");
    }
}
