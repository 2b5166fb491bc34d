//! What gateway sessions are opened with.

use std::collections::BTreeSet;

/// What a worker opens its gateway sessions with, and so what a session must have been opened with for it to resume it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct SessionNeeds {
    /// Discord's intents, as bits
    /// ([Gateway Intents](https://discord.com/developers/docs/events/gateway#gateway-intents)).
    pub intents: u64,
    /// Encoding and compression, such as `json+zstd-stream`.
    pub transport: String,
    /// Names of the cache resources that a checkpoint must hold.
    pub resources: BTreeSet<String>,
}

impl SessionNeeds {
    /// Why a worker with these needs can't resume a session that was opened with others; `None` when it can.
    pub fn unmet_by(&self, opened: &Self) -> Option<String> {
        if self.intents != opened.intents {
            return Some(format!(
                "its session has intents {}, not {} (INTENTS)",
                opened.intents, self.intents
            ));
        }
        if self.transport != opened.transport {
            return Some(format!("its session speaks {}, not {}", opened.transport, self.transport));
        }
        let missing: Vec<&str> = self.resources.difference(&opened.resources).map(String::as_str).collect();
        (!missing.is_empty()).then(|| format!("it holds no {} (CACHE, CHECKPOINT)", missing.join(", ")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_with_more_in_its_cache_will_do_and_one_with_other_intents_will_not() {
        let needs = |intents, resources: &[&str]| SessionNeeds {
            intents,
            transport: "json".to_owned(),
            resources: resources.iter().map(|name| (*name).to_owned()).collect(),
        };
        assert_eq!(needs(1, &["guilds"]).unmet_by(&needs(1, &["guilds", "roles"])), None);
        assert!(needs(1, &["guilds", "roles"]).unmet_by(&needs(1, &["guilds"])).unwrap().contains("roles"));
        assert!(needs(3, &[]).unmet_by(&needs(1, &[])).unwrap().contains("INTENTS"));
    }
}
