//! The rules as Lua scripts. `memory.rs` says the same in Rust; the contract suite holds the two together.

use std::sync::LazyLock;

use redis_link::Script;

macro_rules! script {
    ($name:ident, $($file:literal),+) => {
        pub(crate) static $name: LazyLock<Script> =
            LazyLock::new(|| Script::new(concat!($(include_str!(concat!("scripts/", $file)), "\n"),+)));
    };
}

script!(APPEND, "fence.lua", "append.lua");
script!(CLAIM, "claim.lua");
script!(COMMANDS, "commands.lua");
script!(CUT, "cut.lua");
script!(EMPTY, "empty.lua");
script!(GROUPS, "groups.lua");
script!(REWIND, "fence.lua", "rewind.lua");
