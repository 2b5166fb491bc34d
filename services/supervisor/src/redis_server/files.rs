//! The files of the server's folder that the supervisor writes: its settings, and the URL under which it answers.
//!
//! Both hold the password, so both have mode 0600 in a folder of mode 0700. The password is in no command line and no environment but
//! the `REDIS_URL` of the fleet's programs. A file whose text would not change is not written, so that a server can be started
//! again on a full disk.

use std::{
    fmt::Write as _,
    fs::{self, DirBuilder, OpenOptions, Permissions},
    io::{self, ErrorKind, Write as _},
    os::unix::{
        ffi::OsStrExt as _,
        fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _},
    },
    path::{Path, PathBuf},
};

use outside_text::hide_secret;
use process::settings::Secret;

use super::RedisServerError;

/// A log above this size is moved to `redis.log.1` before the next start.
const LONGEST_LOG: u64 = 1024 * 1024;

/// How much of the log's end is read for the reason of an exit.
const LOG_TAIL: usize = 8 * 1024;

/// The folder of one server.
#[derive(Clone, Debug)]
pub(super) struct Folder {
    path: PathBuf,
}

/// Where the server of a folder answers, and its password.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Address {
    pub(super) port: u16,
    password: Secret,
}

impl Folder {
    /// Makes the folder if it is missing, and takes everybody else's rights to it away.
    pub(super) fn open(path: &Path) -> Result<Self, RedisServerError> {
        let failed = |problem: io::Error| RedisServerError::Folder { folder: path.to_owned(), problem };
        DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(failed)?;
        let path = fs::canonicalize(path).map_err(failed)?;
        let metadata = fs::metadata(&path).map_err(failed)?;
        if metadata.permissions().mode() & 0o077 != 0 {
            fs::set_permissions(&path, Permissions::from_mode(0o700)).map_err(failed)?;
        }
        Ok(Self { path })
    }

    /// The folder, if it is there. Changes nothing.
    pub(super) fn existing(path: &Path) -> Option<Self> {
        fs::canonicalize(path).ok().map(|path| Self { path })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn settings_file(&self) -> PathBuf {
        self.path.join("redis.conf")
    }

    pub(super) fn log_file(&self) -> PathBuf {
        self.path.join("redis.log")
    }

    fn url_file(&self) -> PathBuf {
        self.path.join("url")
    }

    pub(super) fn pid_file(&self) -> PathBuf {
        self.path.join("redis.pid")
    }

    /// The address of the last start; nothing in a new folder, or when the file can't be understood.
    pub(super) fn read_address(&self) -> Option<Address> {
        let text = fs::read_to_string(self.url_file()).ok()?;
        let (password, port) = text.trim().strip_prefix("redis://:")?.split_once("@127.0.0.1:")?;
        let port = port.parse().ok().filter(|port| *port != 0)?;
        let is_ours = !password.is_empty() && password.bytes().all(|byte| byte.is_ascii_hexdigit());
        is_ours.then(|| Address::new(port, password))
    }

    /// The process id that the last server left.
    pub(super) fn read_pid(&self) -> Option<i32> {
        fs::read_to_string(self.pid_file()).ok()?.trim().parse().ok().filter(|pid| *pid > 0)
    }

    /// Writes settings and URL, and moves a long log out of the way.
    pub(super) fn write(&self, address: &Address) -> Result<(), RedisServerError> {
        let failed = |problem: io::Error| RedisServerError::Folder { folder: self.path.clone(), problem };
        replace(&self.url_file(), format!("{}\n", address.url().expose()).as_bytes()).map_err(failed)?;
        replace(&self.settings_file(), &self.settings(address)).map_err(failed)?;
        let log = self.log_file();
        if fs::metadata(&log).is_ok_and(|metadata| metadata.len() > LONGEST_LOG) {
            // The server can also append to the long one.
            let _ = fs::rename(&log, log.with_extension("log.1"));
        }
        Ok(())
    }

    /// The text of `redis.conf`.
    fn settings(&self, address: &Address) -> Vec<u8> {
        let path = |file: &Path| quoted(file.as_os_str().as_bytes());
        format!(
            "# Written by `altergolden up` at each start: changes are lost.\n\
             bind 127.0.0.1\n\
             protected-mode yes\n\
             port {port}\n\
             requirepass {password}\n\
             daemonize no\n\
             dir {dir}\n\
             pidfile {pid}\n\
             logfile {log}\n\
             # Each change goes to the append-only file at once, and from there to the disk within a second.\n\
             appendonly yes\n\
             appendfsync everysec\n\
             save \"\"\n\
             # Leases and sessions must never be thrown away.\n\
             maxmemory-policy noeviction\n",
            port = address.port,
            password = address.password.expose(),
            dir = path(&self.path),
            pid = path(&self.pid_file()),
            log = path(&self.log_file()),
        )
        .into_bytes()
    }

    /// The end of the server's log.
    pub(super) fn log_tail(&self) -> String {
        let bytes = fs::read(self.log_file()).unwrap_or_default();
        let tail = &bytes[bytes.len().saturating_sub(LOG_TAIL)..];
        String::from_utf8_lossy(tail).into_owned()
    }
}

impl Address {
    fn new(port: u16, password: &str) -> Self {
        hide_secret(password);
        Self { port, password: Secret::new(password) }
    }

    /// An address with a new password: 128 random bits.
    pub(super) fn random(port: u16) -> Self {
        Self::new(port, &format!("{:032x}", rand::random::<u128>()))
    }

    /// The `REDIS_URL`.
    pub(super) fn url(&self) -> Secret {
        Secret::new(format!("redis://:{}@127.0.0.1:{}", self.password.expose(), self.port))
    }
}

/// A value as `redis.conf` quotes it: any byte that is not plain text as `\xHH`.
fn quoted(value: &[u8]) -> String {
    let mut text = String::from("\"");
    for &byte in value {
        match byte {
            b'"' | b'\\' => text.extend(['\\', char::from(byte)]),
            b' '..=b'~' => text.push(char::from(byte)),
            _ => write!(text, "\\x{byte:02x}").expect("a String takes all text"),
        }
    }
    text.push('"');
    text
}

/// Replaces the file in one step, readable by its owner alone, unless it has this content already.
fn replace(file: &Path, content: &[u8]) -> io::Result<()> {
    if fs::read(file).is_ok_and(|found| found == content) {
        return Ok(());
    }
    let next = file.with_extension("new");
    match fs::remove_file(&next) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut written = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&next)?;
    written.write_all(content)?;
    written.sync_all()?;
    fs::rename(&next, file)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn address_survives_its_file() {
        let folder = tempfile::tempdir().unwrap();
        let folder = Folder::open(&folder.path().join("redis")).unwrap();
        assert_eq!(folder.read_address(), None);
        let address = Address::random(6380);
        folder.write(&address).unwrap();
        assert_eq!(folder.read_address(), Some(address.clone()));
        let mode = |file: &Path| fs::metadata(file).unwrap().permissions().mode() & 0o777;
        assert_eq!(
            [mode(folder.path()), mode(&folder.url_file()), mode(&folder.settings_file())],
            [0o700, 0o600, 0o600]
        );
        for wrong in ["", "redis://127.0.0.1:6380", "redis://:xyz@127.0.0.1:1", "redis://:ab@127.0.0.1:0"] {
            fs::write(folder.url_file(), wrong).unwrap();
            assert_eq!(folder.read_address(), None, "{wrong:?} passed");
        }
    }

    #[test]
    fn folder_is_closed_to_other_users() {
        let folder = tempfile::tempdir().unwrap();
        fs::set_permissions(folder.path(), Permissions::from_mode(0o755)).unwrap();
        Folder::open(folder.path()).unwrap();
        assert_eq!(fs::metadata(folder.path()).unwrap().permissions().mode() & 0o777, 0o700);
    }

    #[test]
    fn unchanged_file_is_not_written() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("x");
        replace(&file, b"one").unwrap();
        // A write would need to make `x.new`.
        fs::set_permissions(folder.path(), Permissions::from_mode(0o500)).unwrap();
        let unchanged = replace(&file, b"one");
        fs::set_permissions(folder.path(), Permissions::from_mode(0o700)).unwrap();
        unchanged.unwrap();
    }

    #[test]
    fn odd_paths_are_quoted() {
        assert_eq!(quoted(b"/a b/\"c\"\\\n\xff"), r#""/a b/\"c\"\\\x0a\xff""#);
    }

    #[test]
    fn debug_output_hides_the_password() {
        let address = Address::random(1);
        assert!(!format!("{address:?}").contains(address.password.expose()));
    }
}
