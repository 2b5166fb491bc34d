//! The users of `deploy/redis/users.acl`.

/// The file that operators load.
const FILE: &str = include_str!("../../../deploy/redis/users.acl");

/// A user of the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RedisUser {
    /// Coordinators and workers.
    Member,
    /// Bots that read the relay's streams.
    Bot,
}

impl RedisUser {
    /// Its name and its password in tests, as in a URL.
    pub(crate) fn login(self) -> &'static str {
        match self {
            Self::Member => "member:password-of-member",
            Self::Bot => "bot:password-of-bot",
        }
    }
}

/// The file with passwords. The user of the test itself may do everything.
pub(crate) fn file() -> String {
    let mut lines: Vec<String> = FILE.lines().map(str::to_owned).collect();
    let of_test = lines.iter_mut().find(|line| line.starts_with("user default off"));
    "user default on nopass ~* &* +@all".clone_into(of_test.expect("the file turns the default user off"));
    let text = lines.join("\n") + "\n";
    text.replace("CHANGE_ME_MEMBER", "password-of-member").replace("CHANGE_ME_BOT", "password-of-bot")
}
