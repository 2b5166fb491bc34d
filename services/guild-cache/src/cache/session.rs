//! The beginning of a session.

use super::{Arc, Guild, Resources, Scan, ShardCache, ShardDoubt, object};

/// The guilds and the bot's user in READY.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SessionGuilds {
    /// The guilds that will come.
    pub guilds: Vec<u64>,
    /// READY named guilds that could not be read, or no list of guilds.
    pub names_more: bool,
    /// The text of the bot's own user.
    pub own_user: Option<String>,
}

impl SessionGuilds {
    /// Reads READY's data. Leaves out parts that cannot be read.
    pub fn read(data: &str) -> Self {
        let [guilds, user] = object::fields(data, ["guilds", "user"]);
        let named = guilds.and_then(object::elements);
        let ids: Vec<Option<u64>> =
            named.iter().flatten().map(|guild| object::field(guild, "id").and_then(object::id)).collect();
        Self {
            names_more: named.is_none() || ids.contains(&None),
            guilds: ids.into_iter().flatten().collect(),
            own_user: user
                .filter(|user| object::field(user, "id").and_then(object::id).is_some())
                .map(str::to_owned),
        }
    }
}

impl ShardCache {
    /// Forgets everything and waits for the guilds of a new session. `session`: its ordinal.
    pub fn begin_session(&mut self, session: u64, start: &SessionGuilds) {
        *self = Self::new(self.rules.clone(), Arc::clone(&self.codec));
        self.session = session;
        self.expect_guilds(&start.guilds);
        if start.names_more || start.guilds.len() > super::MOST_PENDING {
            self.doubt = Some(ShardDoubt::Guilds);
        }
        if let Some(user) = &start.own_user
            && self.rules.resources.has(Resources::OWN_USER)
            && Scan::new(user).value().is_ok_and(|value| !value.is_deep)
        {
            self.set_own_user(user);
        }
    }

    /// Adds the guilds that are not known yet as pending.
    pub(super) fn expect_guilds(&mut self, guilds: &[u64]) {
        for guild in guilds.iter().take(super::MOST_PENDING) {
            if !self.guilds.contains_key(guild) {
                self.insert(Guild::unavailable(*guild, true));
            }
        }
    }

    /// The session's ordinal.
    pub fn session(&self) -> u64 {
        self.session
    }
}
