//! What systemd learns about the supervisor: ready, its status line, reloading, stopping, still alive
//! ([sd_notify(3)](https://www.freedesktop.org/software/systemd/man/sd_notify.html)).
//!
//! Without `NOTIFY_SOCKET`, as when a person runs the program, every call does nothing. No call waits: a service manager that does not read
//! loses messages, and is logged once.

use std::{
    ffi::OsString,
    io,
    os::unix::{ffi::OsStrExt as _, net::UnixDatagram},
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use outside_text::printable;
use sd_notify::NotifyState;

/// The variables of the protocol. The programs that the supervisor starts must not inherit them: they would speak in its name.
pub const VARIABLES: [&str; 3] = ["NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"];

/// The way to the service manager that started this process, if one did.
#[derive(Debug)]
pub struct Notifier {
    socket: Option<OsString>,
    watchdog: Option<Duration>,
    has_failed: AtomicBool,
}

impl Notifier {
    /// Reads the variables of the protocol. They stay in the environment, so that this process can execute a newer program in its place.
    pub fn from_env() -> Self {
        let socket = std::env::var_os("NOTIFY_SOCKET").filter(|socket| !socket.is_empty());
        Self::new(socket, sd_notify::watchdog_enabled())
    }

    fn new(socket: Option<OsString>, watchdog: Option<Duration>) -> Self {
        let watchdog = watchdog.filter(|limit| socket.is_some() && !limit.is_zero());
        Self { socket, watchdog, has_failed: AtomicBool::new(false) }
    }

    /// The work has started or, after [`reloading`](Self::reloading), has been reloaded.
    pub fn ready(&self, status: &str) {
        self.send(&[NotifyState::Ready, NotifyState::Status(&printable(status).to_string())]);
    }

    /// The line that `systemctl status` shows.
    pub fn status(&self, text: &str) {
        self.send(&[NotifyState::Status(&printable(text).to_string())]);
    }

    /// A reload has begun. [`ready`](Self::ready) must follow, also when the reload fails.
    pub fn reloading(&self) {
        match NotifyState::monotonic_usec_now() {
            // systemd 253 and newer need the time, to know that this answers the latest request.
            Ok(now) => self.send(&[NotifyState::Reloading, now]),
            Err(_) => self.send(&[NotifyState::Reloading]),
        }
    }

    /// An orderly stop has begun.
    pub fn stopping(&self) {
        self.send(&[NotifyState::Stopping]);
    }

    /// How often [`watchdog`](Self::watchdog) must be called: half of the unit's `WatchdogSec`. Nothing if there is no watchdog.
    pub fn watchdog_interval(&self) -> Option<Duration> {
        self.watchdog.map(|limit| limit / 2)
    }

    /// The supervisor is alive and does its work.
    pub fn watchdog(&self) {
        if self.watchdog.is_some() {
            self.send(&[NotifyState::Watchdog]);
        }
    }

    fn send(&self, states: &[NotifyState<'_>]) {
        let Some(socket) = &self.socket else { return };
        let lines: Vec<String> = states.iter().map(ToString::to_string).collect();
        match send_to(socket, (lines.join("\n") + "\n").as_bytes()) {
            Ok(()) => self.has_failed.store(false, Ordering::Relaxed),
            Err(error) if !self.has_failed.swap(true, Ordering::Relaxed) => {
                tracing::warn!(%error, "cannot notify the service manager");
            }
            Err(_) => {}
        }
    }
}

/// Sends one message over a socket of its own, so that a service manager that was started again is reached too.
fn send_to(name: &OsString, message: &[u8]) -> io::Result<()> {
    let socket = UnixDatagram::unbound()?;
    socket.set_nonblocking(true)?;
    match name.as_bytes().strip_prefix(b"@") {
        Some(name) => connect_abstract(&socket, name)?,
        None => socket.connect(name)?,
    }
    socket.send(message).map(drop)
}

#[cfg(target_os = "linux")]
fn connect_abstract(socket: &UnixDatagram, name: &[u8]) -> io::Result<()> {
    use std::os::{linux::net::SocketAddrExt as _, unix::net::SocketAddr};
    socket.connect_addr(&SocketAddr::from_abstract_name(name)?)
}

#[cfg(not(target_os = "linux"))]
fn connect_abstract(_: &UnixDatagram, _: &[u8]) -> io::Result<()> {
    Err(io::Error::new(io::ErrorKind::Unsupported, "abstract sockets are of Linux"))
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    fn receiver() -> (tempfile::TempDir, UnixDatagram, OsString) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notify");
        let socket = UnixDatagram::bind(&path).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        (folder, socket, path.into_os_string())
    }

    fn next(socket: &UnixDatagram) -> String {
        let mut buffer = [0; 4096];
        let length = socket.recv(&mut buffer).unwrap();
        String::from_utf8(buffer[..length].to_vec()).unwrap()
    }

    #[test]
    fn each_call_is_one_message() {
        let (_folder, socket, path) = receiver();
        let notifier = Notifier::new(Some(path), Some(Duration::from_secs(30)));
        notifier.ready("4 workers\nREADY=0");
        assert_eq!(next(&socket), "READY=1\nSTATUS=4 workers\\nREADY=0\n");
        notifier.status("draining");
        assert_eq!(next(&socket), "STATUS=draining\n");
        notifier.reloading();
        let text = next(&socket);
        let time = text.strip_prefix("RELOADING=1\nMONOTONIC_USEC=").unwrap();
        assert!(time.trim_end().parse::<u64>().unwrap() > 0, "{text}");
        notifier.watchdog();
        assert_eq!(next(&socket), "WATCHDOG=1\n");
        notifier.stopping();
        assert_eq!(next(&socket), "STOPPING=1\n");
        assert_eq!(notifier.watchdog_interval(), Some(Duration::from_secs(15)));
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn abstract_socket_is_reached() {
        use std::os::{linux::net::SocketAddrExt as _, unix::net::SocketAddr};
        let name = format!("altergolden-notify-{}", std::process::id());
        let socket = UnixDatagram::bind_addr(&SocketAddr::from_abstract_name(&name).unwrap()).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        Notifier::new(Some(format!("@{name}").into()), None).stopping();
        assert_eq!(next(&socket), "STOPPING=1\n");
    }

    #[test]
    fn without_a_socket_nothing_is_sent() {
        let notifier = Notifier::new(None, Some(Duration::from_secs(30)));
        notifier.ready("");
        notifier.watchdog();
        assert_eq!(notifier.watchdog_interval(), None);
    }

    #[test]
    fn full_or_missing_socket_delays_nothing() {
        let (_folder, _socket, path) = receiver();
        let notifier = Notifier::new(Some(path), None);
        // Unread, they soon fill its queue. A call that waited would end the test by its timeout.
        for _ in 0..10_000 {
            notifier.status("x");
        }
        assert!(notifier.has_failed.load(Ordering::Relaxed));
        Notifier::new(Some("/nonexistent/notify".into()), None).stopping();
    }

    /// Run by the test below, in a process whose environment systemd could have made.
    #[test]
    fn child_of_a_service_manager() {
        if std::env::var_os("ALTERGOLDEN_TEST_NOTIFY").is_none() {
            return;
        }
        let notifier = Notifier::from_env();
        notifier.ready("up");
        assert_eq!(notifier.watchdog_interval(), Some(Duration::from_secs(5)));
        notifier.watchdog();
    }

    #[test]
    fn environment_of_a_service_manager_is_read() {
        let (_folder, socket, path) = receiver();
        let status = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "notify::tests::child_of_a_service_manager"])
            .env("ALTERGOLDEN_TEST_NOTIFY", "1")
            .env("NOTIFY_SOCKET", path)
            .env("WATCHDOG_USEC", "10000000")
            .env_remove("WATCHDOG_PID")
            .status()
            .unwrap();
        assert!(status.success());
        assert_eq!(next(&socket), "READY=1\nSTATUS=up\n");
        assert_eq!(next(&socket), "WATCHDOG=1\n");
    }
}
