//! Lua scripts, sent by their hash.

use redis::{Cmd, ToRedisArgs};

/// A Lua script. Sent by its hash; by its text when the server does not know it (any more).
#[derive(Clone, Debug)]
pub struct Script {
    code: String,
    hash: String,
}

impl Script {
    /// Takes the script's text.
    pub fn new(code: impl Into<String>) -> Self {
        let code = code.into();
        let hash = redis::Script::new(&code).get_hash().to_owned();
        Self { code, hash }
    }

    pub(crate) fn by_hash<A: ToRedisArgs>(&self, keys: &[&str], args: &[A]) -> Cmd {
        call("EVALSHA", &self.hash, keys, args)
    }

    pub(crate) fn by_text<A: ToRedisArgs>(&self, keys: &[&str], args: &[A]) -> Cmd {
        call("EVAL", &self.code, keys, args)
    }
}

fn call<A: ToRedisArgs>(name: &str, script: &str, keys: &[&str], args: &[A]) -> Cmd {
    let mut cmd = redis::cmd(name);
    cmd.arg(script).arg(keys.len()).arg(keys).arg(args);
    cmd
}
