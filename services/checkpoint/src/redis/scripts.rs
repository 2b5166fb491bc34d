//! The rules as Lua scripts, each over one shard's keys, so a cluster can run it.
//!
//! `memory/records.rs` and `memory/asides.rs` say the same in Rust; the contract suite holds the two together.

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

macro_rules! aside_script {
    ($name:ident, $file:literal) => {
        pub(super) static $name: LazyLock<Script> = LazyLock::new(|| {
            Script::new(concat!(
                include_str!("scripts/stored.lua"),
                "\n",
                include_str!("scripts/aside.lua"),
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

aside_script!(NOTE, "note.lua");
aside_script!(VOID_NOTES, "void_notes.lua");
aside_script!(TAKE_BACK, "take_back.lua");
aside_script!(SET_ASIDE, "set_aside.lua");
aside_script!(LIST_ASIDE, "list_aside.lua");
aside_script!(GET_ASIDE, "get_aside.lua");
aside_script!(DROP_ASIDE, "drop_aside.lua");
