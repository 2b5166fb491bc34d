//! Lua scripts, sent by their hash.

use redis::{Arg, Cmd, ToRedisArgs};

/// The error of a script whose answer is too large.
pub(crate) const TOO_LARGE: &str = "TOOLARGE";

/// Bytes of strings in an answer, unless the script says otherwise.
const LARGEST_ANSWER: usize = 16 * 1024 * 1024;

/// A Lua script. Sent by its hash; by its text when the server does not know it (any more).
///
/// Its answer is measured before it leaves Redis: any program may have written a value of any size there.
#[derive(Clone, Debug)]
pub struct Script {
    code: String,
    hash: String,
}

impl Script {
    /// Takes the script's text; its answer may have 16 MiB.
    pub fn new(code: &str) -> Self {
        Self::with_largest_answer(code, LARGEST_ANSWER)
    }

    /// Creates a script from `record.lua` and `parts`. `largest_answer`: the most bytes that the strings of its answer may have; `None` means
    /// 16 MiB.
    pub fn over_record(parts: &[&str], largest_answer: Option<usize>) -> Self {
        let code = [&[include_str!("script/record.lua")], parts].concat().join("\n");
        Self::with_largest_answer(&code, largest_answer.unwrap_or(LARGEST_ANSWER))
    }

    /// Takes the script's text, and how many bytes the strings of its answer may have.
    pub fn with_largest_answer(code: &str, bytes: usize) -> Self {
        let code =
            include_str!("script/bounded.lua").replace("MOST", &bytes.to_string()).replace("CODE", code);
        let hash = redis::Script::new(&code).get_hash().to_owned();
        Self { code, hash }
    }

    pub(crate) fn by_hash<A: ToRedisArgs>(&self, keys: &[&str], args: &[A]) -> Cmd {
        let mut cmd = redis::cmd("EVALSHA");
        cmd.arg(&self.hash).arg(keys.len()).arg(keys).arg(args);
        cmd
    }

    /// The same call with the script's text in place of its hash.
    pub(crate) fn by_text(&self, by_hash: &Cmd) -> Cmd {
        let mut cmd = redis::cmd("EVAL");
        cmd.arg(&self.code);
        for arg in by_hash.args_iter().skip(2) {
            if let Arg::Simple(bytes) = arg {
                cmd.arg(bytes);
            }
        }
        cmd
    }
}
