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
    ($name:ident, $largest:ident, $($file:literal),+) => {
        pub(super) static $name: LazyLock<Script> = LazyLock::new(|| {
            let parts = [include_str!("scripts/stored.lua"), $(include_str!(concat!("scripts/", $file))),+];
            Script::over_record(&parts, Some($largest))
        });
    };
}

script!(CLAIM, CHECKPOINT, "claim.lua");
script!(WRITE, CHECKPOINT, "write.lua");
script!(READ, PAGE, "read.lua");
script!(FRESHNESS, CHECKPOINT, "freshness.lua");

script!(NOTE, ASIDE, "aside.lua", "note.lua");
script!(VOID_NOTES, ASIDE, "aside.lua", "void_notes.lua");
script!(TAKE_BACK, ASIDE, "aside.lua", "take_back.lua");
script!(SET_ASIDE, ASIDE, "aside.lua", "set_aside.lua");
script!(LIST_ASIDE, ASIDE, "aside.lua", "list_aside.lua");
script!(GET_ASIDE, ASIDE, "aside.lua", "get_aside.lua");
script!(DROP_ASIDE, ASIDE, "aside.lua", "drop_aside.lua");
