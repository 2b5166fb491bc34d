//! The scripts' figures, taken from the pure rules, so that each stands in one place.

use std::fmt::Write as _;

use redis_link::Script;

use crate::limits::{self, bucket, global, invalid, token};

/// A script behind what all of them begin with, and the constants.
pub(super) fn with_constants(script: &str) -> Script {
    let figures = [
        ("LEARN_MS", limits::LEARN_MS),
        ("POLL_MS", limits::POLL_MS),
        ("MOST_ROUTES", limits::MOST_ROUTES as u64),
        ("LONGEST_BAN_MS", limits::LONGEST_BAN_MS),
        ("WINDOW_MS", global::WINDOW_MS),
        ("FLIGHT_MS", bucket::FLIGHT_MS),
        ("PRESUMED_MS", bucket::PRESUMED_MS),
        ("SAME_MS", bucket::SAME_MS),
        ("REFUSED_MS", token::REFUSED_MS),
        ("GOOD_MS", token::GOOD_MS),
        ("IN_A_ROW", token::IN_A_ROW.into()),
        ("INVALID_MS", invalid::WINDOW_MS),
        ("SLOT_MS", invalid::SLOT_MS),
    ];
    let mut constants = String::new();
    for (name, value) in figures {
        // Writing to a String can't fail.
        let _ = writeln!(constants, "local {name} = {value}");
    }
    Script::new(&(constants + include_str!("scripts/common.lua") + script))
}
