//! The `redis-server` program of this host: where it is, and whether it is new enough.

use std::{
    ffi::OsStr,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use outside_text::printable;
use rustix::fs::{Access, access};
use tokio::{process::Command, time::timeout};

use super::RedisServerError;

/// The programs that serve the Redis protocol and read a `redis.conf`, the preferred one first.
const NAMES: [&str; 2] = ["redis-server", "valkey-server"];

/// The oldest version whose commands the fleet's scripts use.
const OLDEST: (u32, u32) = (6, 2);

/// How long `--version` may take. It reads nothing; a busy machine needs a moment to start it.
const VERSION_DEADLINE: Duration = Duration::from_secs(20);

/// Finds the first installed program in the folders of `path`, and checks its version.
pub(super) async fn find_program(path: &OsStr) -> Result<PathBuf, RedisServerError> {
    let found = find_any(path).ok_or(RedisServerError::NotInstalled)?;
    let cannot_run =
        |problem: String| RedisServerError::CannotRun { program: found.display().to_string(), problem };
    let mut command = Command::new(&found);
    command.arg("--version").stdin(Stdio::null()).kill_on_drop(true);
    let output = match timeout(VERSION_DEADLINE, command.output()).await {
        Ok(Ok(output)) => output,
        Ok(Err(error)) => return Err(cannot_run(error.to_string())),
        Err(_) => {
            let problem = format!("--version gave no answer within {} s", VERSION_DEADLINE.as_secs());
            return Err(cannot_run(problem));
        }
    };
    let text = String::from_utf8_lossy(&output.stdout);
    match parse_version(&text) {
        Some(version) if version >= OLDEST => Ok(found),
        Some((major, minor)) => Err(RedisServerError::TooOld {
            program: found.display().to_string(),
            version: format!("{major}.{minor}"),
        }),
        None => Err(cannot_run(format!("--version names no version: {}", printable(text.trim())))),
    }
}

/// Whether any of the programs is in the folders of `path`.
pub(super) fn is_in(path: &OsStr) -> bool {
    find_any(path).is_some()
}

fn find_any(path: &OsStr) -> Option<PathBuf> {
    NAMES.iter().find_map(|name| find_in(path, name))
}

/// Returns the executable file `name` in the folders of `path`.
pub(super) fn find_in(path: &OsStr, name: &str) -> Option<PathBuf> {
    let is_program = |file: &Path| file.is_file() && access(file, Access::EXEC_OK).is_ok();
    std::env::split_paths(path).map(|folder| folder.join(name)).find(|file| is_program(file))
}

/// Major and minor version in `Redis server v=7.0.15 sha=...` or `Valkey server v=8.1.1 sha=...`.
fn parse_version(text: &str) -> Option<(u32, u32)> {
    let version = text.split_whitespace().find_map(|word| word.strip_prefix("v="))?;
    let mut numbers = version.split('.').map(|number| number.parse().ok());
    Some((numbers.next()??, numbers.next()??))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_of_redis_and_valkey_are_read() {
        let redis =
            "Redis server v=7.0.15 sha=00000000:0 malloc=jemalloc-5.3.0 bits=64 build=ae4d7c971a948f0\n";
        assert_eq!(parse_version(redis), Some((7, 0)));
        assert_eq!(parse_version("Valkey server v=8.1.1 sha=00000000:0 malloc=libc bits=64\n"), Some((8, 1)));
        assert!(parse_version("Redis server v=6.0.16 sha=1\n").unwrap() < OLDEST);
        for wrong in ["", "redis-server: not found", "v=7", "v=x.y.z"] {
            assert_eq!(parse_version(wrong), None, "{wrong:?} passed");
        }
    }
}
