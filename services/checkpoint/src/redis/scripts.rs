//! The rules as Lua scripts, each over one shard's keys, so a cluster can run it.
//!
//! `memory/records.rs` and `memory/asides.rs` say the same in Rust; the contract suite holds the two together.

use std::sync::LazyLock;

use redis_link::Script;

use crate::format::LARGEST;

const MIB: usize = 1024 * 1024;

/// Bytes of the largest answer about a checkpoint without its records: its head is most of it.
const CHECKPOINT: usize = MIB;
/// Of the largest page: the fewest records that a page asks for.
const PAGE: usize = 4 * LARGEST + MIB;
/// About events that are set aside: one payload.
const ASIDE: usize = LARGEST + MIB;

macro_rules! script {
    ($name:ident, $file:literal, $largest:ident) => {
        pub(super) static $name: LazyLock<Script> = LazyLock::new(|| {
            let code =
                concat!(include_str!("scripts/stored.lua"), "\n", include_str!(concat!("scripts/", $file)));
            Script::with_largest_answer(code, $largest)
        });
    };
}

macro_rules! aside_script {
    ($name:ident, $file:literal) => {
        pub(super) static $name: LazyLock<Script> = LazyLock::new(|| {
            let code = concat!(
                include_str!("scripts/stored.lua"),
                "\n",
                include_str!("scripts/aside.lua"),
                "\n",
                include_str!(concat!("scripts/", $file))
            );
            Script::with_largest_answer(code, ASIDE)
        });
    };
}

script!(CLAIM, "claim.lua", CHECKPOINT);
script!(WRITE, "write.lua", CHECKPOINT);
script!(READ, "read.lua", PAGE);
script!(FRESHNESS, "freshness.lua", CHECKPOINT);

aside_script!(NOTE, "note.lua");
aside_script!(VOID_NOTES, "void_notes.lua");
aside_script!(TAKE_BACK, "take_back.lua");
aside_script!(SET_ASIDE, "set_aside.lua");
aside_script!(LIST_ASIDE, "list_aside.lua");
aside_script!(GET_ASIDE, "get_aside.lua");
aside_script!(DROP_ASIDE, "drop_aside.lua");
