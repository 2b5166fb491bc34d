//! The connection of a program to the supervisor that started it (`altergolden up`).
//!
//! A supervised program finds a socket on its standard input. The supervisor writes nothing to it. The end of the stream means that
//! the supervisor is gone, even by SIGKILL: the program then stops as on SIGTERM. The program writes one line to it when it serves.
//!
//! Supervised programs bind their ports with `SO_REUSEPORT`, so that a replacement can listen before the program that it replaces stops.

use std::{
    io::{self, Read as _, Write as _},
    net::SocketAddr,
};

/// Set to `1` in the environment of a supervised program.
pub const SUPERVISED: &str = "ALTERGOLDEN_SUPERVISED";

/// Set to `people` in the environment of a supervised program whose output the supervisor shows on a terminal.
pub const LOG_FOR: &str = "ALTERGOLDEN_LOG_FOR";

/// Set to `1` in the environment of a supervised program that is to replace a run of the same program.
pub const REPLACES: &str = "ALTERGOLDEN_REPLACES";

/// The first word of the line that a program writes when it serves. The address of its health endpoints follows.
pub const SERVING: &str = "serving";

/// Whether a supervisor has started this program.
pub fn is_supervised() -> bool {
    cfg!(unix) && std::env::var_os(SUPERVISED).is_some_and(|value| value == "1")
}

/// Whether this program is to replace a run of the same program, which the supervisor stops once this one serves.
pub fn is_replacement() -> bool {
    is_supervised() && std::env::var_os(REPLACES).is_some_and(|value| value == "1")
}

/// Whether to format log lines for a terminal that the supervisor writes to.
pub(crate) fn logs_for_people() -> bool {
    is_supervised() && std::env::var_os(LOG_FOR).is_some_and(|value| value == "people")
}

/// Tells the supervisor, if there is one, that this program serves. `health`: the address of its health endpoints, if it has any.
pub fn report_serving(health: Option<SocketAddr>) {
    let Some(mut socket) = socket() else { return };
    let health = health.map(|address| address.to_string()).unwrap_or_default();
    // A supervisor that is gone needs no report.
    if let Err(error) = writeln!(socket, "{SERVING} {health}") {
        tracing::debug!(%error, "supervisor not told that the program serves");
    }
}

/// Calls `then` on a thread of its own once the supervisor is gone. Does nothing in a program without a supervisor.
///
/// # Errors
/// The system has no more threads.
pub(crate) fn when_supervisor_is_gone(then: impl FnOnce() + Send + 'static) -> io::Result<()> {
    let Some(mut socket) = socket() else { return Ok(()) };
    std::thread::Builder::new().name("supervisor".to_owned()).spawn(move || {
        let mut ignored = [0; 64];
        loop {
            match socket.read(&mut ignored) {
                Ok(0) => break,
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => break,
            }
        }
        then();
    })?;
    Ok(())
}

/// Returns the connection. `None` without a supervisor, or when a wrapper has replaced the standard input.
#[cfg(unix)]
fn socket() -> Option<std::os::unix::net::UnixStream> {
    use std::os::fd::AsFd as _;
    if !is_supervised() {
        return None;
    }
    let descriptor = io::stdin().as_fd().try_clone_to_owned().ok()?;
    let socket = std::os::unix::net::UnixStream::from(descriptor);
    socket.local_addr().is_ok().then_some(socket)
}

#[cfg(not(unix))]
fn socket() -> Option<std::net::TcpStream> {
    None
}

#[cfg(all(test, unix))]
mod tests {
    use std::{
        io::{BufRead as _, BufReader},
        os::{fd::OwnedFd, unix::net::UnixStream},
        process::{Command, Stdio},
    };

    use super::*;

    #[tokio::test(flavor = "multi_thread")]
    async fn supervised_program_stops_when_its_supervisor_is_gone() {
        if is_supervised() {
            let stop = crate::stop_on_signal();
            report_serving("127.0.0.1:3000".parse().ok());
            return stop.cancelled().await;
        }
        let (ours, theirs) = UnixStream::pair().unwrap();
        let name = "supervised::tests::supervised_program_stops_when_its_supervisor_is_gone";
        let mut program = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", name])
            .env(SUPERVISED, "1")
            .stdin(Stdio::from(OwnedFd::from(theirs)))
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let mut ours = BufReader::new(ours);
        let mut line = String::new();
        ours.read_line(&mut line).unwrap();
        assert_eq!(line, "serving 127.0.0.1:3000\n");
        assert!(program.try_wait().unwrap().is_none(), "it runs while the supervisor does");
        drop(ours);
        assert!(program.wait().unwrap().success());
    }
}
