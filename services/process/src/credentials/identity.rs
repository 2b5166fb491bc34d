//! Names in certificates: fleet, role and name of a process. Pure.

use std::{fmt, str::FromStr};

/// The name of a worker's certificate that is for every worker.
pub const ANY_NAME: &str = "any";

/// Longest name in a certificate, in bytes.
const LONGEST_NAME: usize = 128;

/// What a caller may do. Each call lists the roles that may make it ([`super::calls`]).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// Hands out shards.
    Coordinator,
    /// Runs shards.
    Worker,
    /// A bot outside of the workers: asks, and gets events.
    Bot,
    /// A person or tool that operates the fleet.
    Operator,
    /// Reports the exits of the programs that it has started.
    Supervisor,
    /// Reads health, metrics and the live page.
    Monitor,
}

impl Role {
    /// Every role.
    pub const ALL: [Self; 6] =
        [Self::Coordinator, Self::Worker, Self::Bot, Self::Operator, Self::Supervisor, Self::Monitor];

    /// Its name in certificates, in the access list and on the command line.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Coordinator => "coordinator",
            Self::Worker => "worker",
            Self::Bot => "bot",
            Self::Operator => "operator",
            Self::Supervisor => "supervisor",
            Self::Monitor => "monitor",
        }
    }
}

impl Role {
    /// Whether a bearer token may stand for it. Members of the fleet prove themselves by certificates.
    pub const fn may_have_token(self) -> bool {
        matches!(self, Self::Bot | Self::Operator | Self::Monitor)
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Role {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL.into_iter().find(|role| role.as_str() == text).ok_or_else(|| {
            let names: Vec<&str> = Self::ALL.iter().map(|role| role.as_str()).collect();
            format!("it takes one of {}", names.join(", "))
        })
    }
}

/// The name of a fleet: a DNS label ([RFC 1035, 2.3.1](https://www.rfc-editor.org/rfc/rfc1035#section-2.3.1)), as it is part of the names
/// that TLS checks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FleetName(String);

impl FleetName {
    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for FleetName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for FleetName {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let is_inner = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        let is_label = (1..=63).contains(&text.len())
            && text.chars().all(is_inner)
            && !text.starts_with('-')
            && !text.ends_with('-');
        is_label
            .then(|| Self(text.to_owned()))
            .ok_or("a fleet name has 1 to 63 characters of a-z 0-9 and -, and neither starts nor ends with -")
    }
}

/// Role and name of a caller.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// What it may do.
    pub role: Role,
    /// Its name in logs and the history. [`ANY_NAME`] stands for any worker.
    pub name: String,
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.role, self.name)
    }
}

impl Identity {
    /// Checks the name of a caller.
    ///
    /// # Errors
    /// What a name may have.
    pub fn new(role: Role, name: &str) -> Result<Self, &'static str> {
        let is_valid = (1..=LONGEST_NAME).contains(&name.len())
            && name.chars().all(|c| c.is_ascii_alphanumeric() || "._-".contains(c));
        is_valid
            .then(|| Self { role, name: name.to_owned() })
            .ok_or("a name has 1 to 128 of a-z A-Z 0-9 . _ and -")
    }

    /// Returns the identity in a certificate's URI if it is of this fleet.
    pub(super) fn from_uri(uri: &str, fleet: &FleetName) -> Option<Self> {
        let (of_fleet, rest) = uri.strip_prefix("altergolden://")?.split_once('/')?;
        let (role, name) = rest.split_once('/')?;
        (of_fleet == fleet.as_str()).then_some(())?;
        Self::new(role.parse().ok()?, name).ok()
    }
}

/// The URI of a certificate (subject alternative name).
pub fn uri(fleet: &FleetName, identity: &Identity) -> String {
    format!("altergolden://{fleet}/{}/{}", identity.role, identity.name)
}

/// The DNS name that clients expect of every server with this role. Workers have changing addresses, so addresses are not checked.
pub fn dns_name(fleet: &FleetName, role: Role) -> String {
    format!("{role}.{fleet}.altergolden")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uri_round_trips_and_other_fleets_are_refused() {
        let fleet: FleetName = "altergolden".parse().unwrap();
        for role in Role::ALL {
            let identity = Identity::new(role, "worker-1.a_B").unwrap();
            assert_eq!(Identity::from_uri(&uri(&fleet, &identity), &fleet), Some(identity));
        }
        for wrong in [
            "altergolden://other/worker/a",
            "altergolden://altergolden/worker",
            "altergolden://altergolden/worker/",
            "altergolden://altergolden/worker/a/b",
            "altergolden://altergolden/admin/a",
            "spiffe://altergolden/worker/a",
            "altergolden://altergolden/worker/a%20b",
        ] {
            assert_eq!(Identity::from_uri(wrong, &fleet), None, "{wrong}");
        }
        for wrong in ["", "Bot", "a:b", "-a", "a-", "a.b", &"a".repeat(64)] {
            assert!(wrong.parse::<FleetName>().is_err(), "{wrong}");
        }
    }
}
