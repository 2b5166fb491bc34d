//! The rules as Lua scripts, each over one shard's two keys, so a cluster can run it.
//!
//! `memory/records.rs` says the same in Rust; the contract suite holds the two together.

use std::sync::LazyLock;

use redis_link::Script;

macro_rules! script {
    ($name:ident, $file:literal) => {
        pub(super) static $name: LazyLock<Script> = LazyLock::new(|| {
            Script::new(concat!(
                include_str!("scripts/stored.lua"),
                "\n",
                include_str!(concat!("scripts/", $file))
            ))
        });
    };
}

script!(CLAIM, "claim.lua");
script!(WRITE, "write.lua");
script!(READ, "read.lua");
script!(FRESHNESS, "freshness.lua");
