//! Which server answers at a port.

use std::time::Duration;

use redis_link::{LinkError, LinkOptions, RedisLink};

use super::files::{Address, Folder};

/// For one question. A server that loads its data answers in between; a busy machine takes a while.
const DEADLINE: Duration = Duration::from_secs(5);

/// What a server tells about itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Told {
    pub(super) pid: i32,
    pub(super) version: String,
    pub(super) is_loading: bool,
    settings_file: String,
}

impl Told {
    /// It was started with the settings of this folder. Together with the password, which it accepted, that makes it ours: a copy of the
    /// folder has the password too.
    pub(super) fn is_of(&self, folder: &Folder) -> bool {
        self.settings_file == folder.settings_file().to_string_lossy()
    }
}

/// A connection to the server at an address.
#[derive(Debug)]
pub(super) struct Probe {
    link: RedisLink,
}

impl Probe {
    pub(super) fn new(address: &Address) -> Self {
        let url = address.url().expose().parse().expect("hex digits and a port are a URL");
        Self { link: RedisLink::new(url, LinkOptions { deadline: DEADLINE, connect_timeout: DEADLINE }) }
    }

    /// Asks the server about itself.
    pub(super) async fn ask(&self) -> Result<Told, LinkError> {
        // Without a section: 6.2 answers one section or all. As bytes: a path need not be UTF-8.
        let text: Vec<u8> = self.link.command(&redis::cmd("INFO")).await?;
        parse(&String::from_utf8_lossy(&text))
            .ok_or_else(|| LinkError::Unexpected("INFO without process_id and config_file".to_owned()))
    }
}

fn parse(text: &str) -> Option<Told> {
    let field = |name: &str| {
        let mut values = text.lines().filter_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        values.next().map(|value| value.trim().to_owned())
    };
    Some(Told {
        pid: field("process_id")?.parse().ok().filter(|pid| *pid > 0)?,
        version: field("valkey_version").or_else(|| field("redis_version"))?,
        is_loading: field("loading")? != "0",
        settings_file: field("config_file")?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn info_is_read() {
        let text = "# Server\r\nredis_version:7.0.15\r\nprocess_id:19403\r\nconfig_file:/s/redis/redis.conf\r\n\r\n\
                    # Persistence\r\nloading:1\r\n";
        let told = parse(text).unwrap();
        assert_eq!((told.pid, told.version.as_str(), told.is_loading), (19403, "7.0.15", true));
        assert_eq!(told.settings_file, "/s/redis/redis.conf");
        assert_eq!(parse(&text.replace("19403", "0")), None);
        assert_eq!(parse("hello"), None);
    }
}
