//! The rules as Lua scripts. Each touches one key, so a cluster can run it.
//!
//! `memory/records.rs` says the same in Rust; the contract suite holds the two together.

use std::sync::LazyLock;

use redis_link::Script;

macro_rules! script {
    ($(#[$doc:meta])* $name:ident, $file:literal) => {
        $(#[$doc])*
        pub(super) static $name: LazyLock<Script> = LazyLock::new(|| {
            Script::over_record(&[include_str!("scripts/fence.lua"), include_str!(concat!("scripts/", $file))], None)
        });
    };
}

script!(FIELDS, "fields.lua");
script!(CLAIM_TERM, "claim_term.lua");
script!(RENEW_TERM, "renew_term.lua");
script!(RELEASE_TERM, "release_term.lua");
script!(WITHDRAW_STANDBY, "withdraw_standby.lua");
script!(WRITE_FLEET, "write_fleet.lua");
script!(READ_WORKER, "read_worker.lua");
script!(GRANT_LEASE, "grant_lease.lua");
script!(RENEW_LEASE, "renew_lease.lua");
script!(REVOKE_LEASE, "revoke_lease.lua");
script!(FORGET_WORKER, "forget_worker.lua");
script!(FENCE_SHARD, "fence_shard.lua");
script!(ASSIGN, "assign.lua");
script!(APPEND_HISTORY, "append_history.lua");
script!(READ_HISTORY, "read_history.lua");
