//! The table of calls: which roles may make which. Pure.
//!
//! A call that is not in the table is for operators only. A test compares the table with the services of the contract.

use super::Role::{self, Bot, Coordinator, Monitor, Operator, Supervisor, Worker};

/// Who may make a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Allowed {
    /// Everybody, without credentials too.
    Everyone,
    /// Callers with one of these roles.
    Roles(&'static [Role]),
}

/// Roles that may call `ShardBridge`.
const ASKING: &[Role] = &[Bot, Operator];
/// Roles that may call a worker.
const MEMBERS: &[Role] = &[Coordinator, Worker];
const OPERATORS: &[Role] = &[Operator];
/// Roles that may read which worker runs which shard.
const READERS: &[Role] = &[Operator, Supervisor, Monitor];

/// Services and calls, by the start of the path. The first match counts.
const TABLE: &[(&str, Allowed)] = &[
    ("/altergolden.v1.Coordinator/Register", Allowed::Roles(&[Worker])),
    ("/altergolden.v1.Coordinator/Heartbeat", Allowed::Roles(&[Worker])),
    ("/altergolden.v1.Coordinator/AcquireIdentify", Allowed::Roles(&[Worker])),
    ("/altergolden.v1.Coordinator/ReportExit", Allowed::Roles(&[Supervisor])),
    ("/altergolden.v1.Fleet/ListShards", Allowed::Roles(READERS)),
    ("/altergolden.v1.Fleet/ListWorkers", Allowed::Roles(READERS)),
    ("/altergolden.v1.Fleet/Watch", Allowed::Roles(READERS)),
    ("/altergolden.v1.Fleet/ListHistory", Allowed::Roles(&[Operator, Monitor])),
    ("/altergolden.v1.Fleet/StartPlan", Allowed::Roles(OPERATORS)),
    ("/altergolden.v1.Fleet/AbortPlan", Allowed::Roles(OPERATORS)),
    ("/altergolden.v1.Fleet/ListSetAside", Allowed::Roles(OPERATORS)),
    ("/altergolden.v1.Fleet/GetSetAside", Allowed::Roles(OPERATORS)),
    ("/altergolden.v1.Fleet/DropSetAside", Allowed::Roles(OPERATORS)),
    ("/altergolden.v1.Fleet/ReplaySetAside", Allowed::Roles(OPERATORS)),
    ("/altergolden.v1.Fleet/Tap", Allowed::Roles(OPERATORS)),
    // An incarnation admits the calls of its worker: other workers do not learn it.
    ("/altergolden.v1.GatewayWorker/Identity", Allowed::Roles(&[Coordinator])),
    ("/altergolden.v1.GatewayWorker/GetShards", Allowed::Roles(MEMBERS)),
    ("/altergolden.v1.GatewayWorker/LookUpGuilds", Allowed::Roles(MEMBERS)),
    ("/altergolden.v1.GatewayWorker/LookUpUsers", Allowed::Roles(MEMBERS)),
    ("/altergolden.v1.GatewayWorker/SendCommand", Allowed::Roles(MEMBERS)),
    ("/altergolden.v1.GatewayWorker/GetObject", Allowed::Roles(MEMBERS)),
    ("/altergolden.v1.GatewayWorker/DeliverMessage", Allowed::Roles(MEMBERS)),
    ("/altergolden.v1.GatewayWorker/AskShards", Allowed::Roles(MEMBERS)),
    ("/altergolden.v1.GatewayWorker/CopyShard", Allowed::Roles(&[Worker])),
    ("/altergolden.v1.GatewayWorker/ReplaySetAside", Allowed::Roles(&[Coordinator])),
    ("/altergolden.v1.GatewayWorker/Tap", Allowed::Roles(&[Coordinator])),
    ("/altergolden.v1.GatewayWorker/SnapshotShard", Allowed::Roles(&[Worker])),
    ("/altergolden.v1.GatewayWorker/CachedMembers", Allowed::Roles(&[Worker])),
    ("/altergolden.v1.ShardBridge/", Allowed::Roles(ASKING)),
    ("/grpc.health.v1.Health/", Allowed::Everyone),
    ("/grpc.reflection.", Allowed::Roles(&[Bot, Operator])),
];

/// Returns who may make the call with this path.
pub fn allowed(path: &str) -> Allowed {
    entry(path).unwrap_or(Allowed::Roles(OPERATORS))
}

/// Whether the call has an entry, for the test of the contract.
pub fn is_listed(path: &str) -> bool {
    entry(path).is_some()
}

fn entry(path: &str) -> Option<Allowed> {
    let matches =
        |entry: &str| if entry.ends_with(['/', '.']) { path.starts_with(entry) } else { path == entry };
    TABLE.iter().find(|(entry, _)| matches(entry)).map(|(_, allowed)| *allowed)
}

impl Allowed {
    /// Whether a caller with this role may make the call.
    pub fn includes(self, role: Option<Role>) -> bool {
        match self {
            Self::Everyone => true,
            Self::Roles(roles) => role.is_some_and(|role| roles.contains(&role)),
        }
    }
}

/// Roles that may read `/health`, `/metrics` and the live page when their answers have names.
pub const HEALTH_READERS: Allowed = Allowed::Roles(&[Operator, Monitor]);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_outside_the_table_are_for_operators() {
        for path in ["/altergolden.v1.Coordinator/Registers", "/altergolden.v1.Fleet/Other", "/", "", "/x/y"]
        {
            assert!(!is_listed(path), "{path}");
            assert!(
                allowed(path).includes(Some(Operator)) && !allowed(path).includes(Some(Worker)),
                "{path}"
            );
            assert!(!allowed(path).includes(None), "{path}");
        }
        assert!(allowed("/grpc.health.v1.Health/Check").includes(None));
        assert!(allowed("/altergolden.v1.ShardBridge/FindGuild").includes(Some(Bot)));
        assert!(!allowed("/altergolden.v1.Coordinator/Register").includes(Some(Operator)));
    }
}
