//! The `redis-server` of a fleet on one host.
//!
//! Owns one server in one folder: its settings, its port, its password, its process. The server has a session and a process group of its
//! own, so Ctrl-C and a kill of the supervisor don't end it; the next supervisor on the folder adopts it. It writes an append-only
//! file, so a kill of the server itself loses nothing, and a power failure at most the last second.
//!
//! The server has a password although it listens on the loopback only: any user of the host could otherwise read the fleet's sessions
//! there, and use `CONFIG SET dir` to write files as this user. Settings and password are in files of mode 0600, never in arguments.
//!
//! Restarts at the pace of the caller, who knows the budget; never deletes data; never signals a process that has not proved to be
//! the server of this folder.

mod error;
mod files;
mod known;
mod owner;
mod probe;
mod program;
mod reasons;
mod watched;

#[cfg(test)]
mod tests;

use std::{
    ffi::OsString,
    fmt, io,
    net::TcpListener,
    path::Path,
    process::{ExitStatus, Stdio},
    time::Duration,
};

use process::settings::Secret;
use rustix::process::Signal;
use tokio::{
    io::AsyncReadExt as _,
    process::{Child, Command},
    time::{Instant, sleep, timeout},
};

pub use error::RedisServerError;
use files::{Address, Folder};
pub use known::KnownServer;
use owner::{may_be_server_of, server_of};
use probe::{Probe, Told};
use reasons::Reason;
use watched::Watched;

/// The server's folder in the supervisor's state folder.
const FOLDER: &str = "redis";

/// Ports tried first. 6379 is left to a Redis that the host has already.
const FIRST_PORTS: std::ops::Range<u16> = 6380..6400;

/// Ports tried before giving up: each time, another process was faster.
const TRIES: usize = 20;

/// Between two questions to a server that starts.
const POLL: Duration = Duration::from_millis(50);

/// How long is waited for a server.
#[derive(Clone, Copy, Debug)]
struct Limits {
    /// While it runs and leaves questions unanswered.
    silence: Duration,
    /// While it loads its data. A gigabyte takes about ten seconds.
    loading: Duration,
    /// Until it has written its last changes and ended.
    stopping: Duration,
}

impl Limits {
    const USUAL: Self = Self {
        silence: Duration::from_mins(1),
        loading: Duration::from_mins(10),
        stopping: Duration::from_secs(10),
    };
}

/// What a server is started with.
#[derive(Clone, Debug)]
struct Site {
    folder: Folder,
    /// Where programs are looked for.
    path: OsString,
    limits: Limits,
}

/// A running `redis-server`. Dropping it leaves the server running.
#[derive(Debug)]
pub struct RedisServer {
    site: Site,
    address: Address,
    url: Secret,
    pid: i32,
    process: Watched,
    /// Set if this process started it. Reaps it and knows its exit code.
    child: Option<Child>,
}

impl Site {
    fn new(folder: &Path, path: OsString, limits: Limits) -> Result<Self, RedisServerError> {
        Ok(Self { folder: Folder::open(folder)?, path, limits })
    }
}

/// Returns the `REDIS_URL` of the server that runs in `state`, if one does. It reads files and asks nothing.
pub fn running_url(state: &Path) -> Option<Secret> {
    let folder = Folder::existing(&state.join(FOLDER))?;
    // Without a process in the folder, another program may have the port.
    server_of(&folder)?;
    folder.read_address().map(|address| address.url())
}

/// Whether a program that can serve the fleet is in `PATH`. Its version is not checked.
pub fn is_installed() -> bool {
    program::is_in(&std::env::var_os("PATH").unwrap_or_default())
}

/// How a server ended.
#[derive(Debug)]
pub struct RedisExit {
    status: Option<ExitStatus>,
    reason: String,
}

impl fmt::Display for RedisExit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.status {
            Some(status) => write!(f, "{status}")?,
            // Another process was its parent.
            None => f.write_str("ended")?,
        }
        if self.reason.is_empty() { Ok(()) } else { write!(f, ": {}", self.reason) }
    }
}

impl RedisServer {
    /// Adopts the server that an earlier supervisor left running in `state`/redis, or starts one there. Returns when it answers and has
    /// loaded its data.
    ///
    /// Of several callers on one folder only one may run at a time: the supervisor's lock on its state folder sees to that.
    ///
    /// # Errors
    /// No program, an old one, a folder that can't be written, data that can't be read, a server that ends or hangs.
    pub async fn start_or_adopt(state: &Path) -> Result<Self, RedisServerError> {
        let path = std::env::var_os("PATH").unwrap_or_default();
        Self::start_in(&state.join(FOLDER), path, Limits::USUAL).await
    }

    async fn start_in(folder: &Path, path: OsString, limits: Limits) -> Result<Self, RedisServerError> {
        let site = Site::new(folder, path, limits)?;
        let kept = site.folder.read_address();
        if let Some(server) = Self::adopt(&site, kept.as_ref()).await? {
            return Ok(server);
        }
        let program = program::find_program(&site.path).await?;
        let mut address = match &kept {
            Some(address) if is_free(address.port) => address.clone(),
            Some(address) => {
                // The program that has the port now may have been sent the old password.
                let next = Address::random(free_port(true)?);
                tracing::warn!(
                    redis.port = address.port,
                    redis.next_port = next.port,
                    "port of redis-server taken"
                );
                next
            }
            None => Address::random(free_port(true)?),
        };
        for _ in 0..TRIES {
            match Self::start(&site, &program, &address).await {
                // Another process was faster; perhaps a server of this folder that an earlier supervisor was just starting.
                Err(RedisServerError::PortTaken { .. }) => {
                    if let Some(server) = Self::adopt(&site, Some(&address)).await? {
                        return Ok(server);
                    }
                    address = Address::random(free_port(false)?);
                }
                started => return started,
            }
        }
        Err(RedisServerError::PortTaken { port: address.port })
    }

    /// The server that answers at the kept address, if it is the one of this folder. The address is not asked, and so learns no password,
    /// unless a process of this folder lives.
    async fn adopt(site: &Site, kept: Option<&Address>) -> Result<Option<Self>, RedisServerError> {
        let left = server_of(&site.folder);
        if let (Some(address), Some(left)) = (kept, left)
            && let Some((told, process)) = until_adoptable(site, address, left).await?
        {
            tracing::info!(
                redis.port = address.port,
                redis.version = told.version,
                process.pid = told.pid,
                "redis-server adopted"
            );
            return Ok(Some(Self::running(site, address, told.pid, process, None)));
        }
        // Two servers on the same append-only file would destroy it.
        match left.filter(|pid| may_be_server_of(*pid, &site.folder)) {
            Some(pid) => Err(RedisServerError::StillRuns { pid, folder: site.folder.path().to_owned() }),
            None => Ok(None),
        }
    }

    async fn start(site: &Site, program: &Path, address: &Address) -> Result<Self, RedisServerError> {
        site.folder.write(address)?;
        let started = Instant::now();
        let mut child = spawn(site, program)?;
        let pid = child.id().and_then(|pid| i32::try_from(pid).ok()).unwrap_or_default();
        // Before the first wait for the child: until then, even an ended child keeps its id.
        let process = Watched::open(pid);
        let told = until_ready(site, address, &mut child).await?;
        // It writes to its log from now on. Nothing may ever wait for room in this pipe.
        drop(child.stderr.take());
        let process = process.ok_or_else(|| RedisServerError::Ended {
            exit: "ended".to_owned(),
            log: site.folder.log_file(),
        })?;
        tracing::info!(
            redis.port = address.port,
            redis.version = told.version,
            process.pid = pid,
            took_ms = started.elapsed().as_millis() as u64,
            "redis-server started"
        );
        Ok(Self::running(site, address, pid, process, Some(child)))
    }

    fn running(site: &Site, address: &Address, pid: i32, process: Watched, child: Option<Child>) -> Self {
        Self { site: site.clone(), url: address.url(), address: address.clone(), pid, process, child }
    }

    /// The `REDIS_URL`, with the password.
    pub fn url(&self) -> &Secret {
        &self.url
    }

    /// The port on the loopback.
    pub fn port(&self) -> u16 {
        self.address.port
    }

    /// The process id.
    pub fn pid(&self) -> i32 {
        self.pid
    }

    /// Waits for the end of the server. Can be cancelled and called again.
    pub async fn wait_exit(&mut self) -> RedisExit {
        let status = if let Some(child) = &mut self.child {
            child.wait().await.ok()
        } else {
            self.process.ended().await;
            None
        };
        let log = self.site.folder.log_tail();
        let reason = match reasons::reason(self.pid.unsigned_abs(), &log, "") {
            Reason::PortTaken => String::new(),
            Reason::Unreadable(line) | Reason::Other(line) => line,
        };
        RedisExit { status, reason }
    }

    /// Starts the server again at the same port, which the programs of the fleet know; stops it first if it still runs. Waits until it has
    /// loaded its data. The caller waits longer after each failure.
    ///
    /// # Errors
    /// As for [`start_or_adopt`](Self::start_or_adopt); also when another process has the port now.
    pub async fn restart(&mut self) -> Result<(), RedisServerError> {
        self.stop().await?;
        let program = program::find_program(&self.site.path).await?;
        *self = Self::start(&self.site, &program, &self.address).await?;
        Ok(())
    }

    /// Stops the server: SIGTERM, at which it writes its last changes. Its data stays.
    ///
    /// # Errors
    /// It still runs after 10 s. It is left alone, as a kill could cost its last changes.
    pub async fn stop(&mut self) -> Result<(), RedisServerError> {
        // An error means that it has ended already.
        let _ = self.process.signal(Signal::TERM);
        let pid = self.pid;
        let waited = self.site.limits.stopping;
        let exit = timeout(waited, self.wait_exit()).await;
        exit.map(drop).map_err(|_| RedisServerError::DoesNotStop { pid, waited })
    }
}

/// Waits until the server at `address` can be adopted. Nothing if no server of this folder answers there.
///
/// `left` is a process that may be the server of this folder: while it lives, an address without an answer is asked again. The process
/// that the answer names must be one too: another user's server could name any.
async fn until_adoptable(
    site: &Site,
    address: &Address,
    left: i32,
) -> Result<Option<(Told, Watched)>, RedisServerError> {
    let Limits { silence, loading, .. } = site.limits;
    let probe = Probe::new(address);
    let start = Instant::now();
    loop {
        match probe.ask().await {
            Ok(told) if told.is_of(&site.folder) && may_be_server_of(told.pid, &site.folder) => {
                // Asked again, so that the descriptor is known to be the server's.
                match (Watched::open(told.pid), probe.ask().await) {
                    (Some(process), Ok(again))
                        if again.pid == told.pid
                            && !again.is_loading
                            && may_be_server_of(told.pid, &site.folder) =>
                    {
                        return Ok(Some((again, process)));
                    }
                    _ if start.elapsed() > loading => {
                        return Err(RedisServerError::silent(told.pid, loading));
                    }
                    _ => {}
                }
            }
            // A copy of the folder has the same password.
            Ok(_) => return Ok(None),
            Err(_) if start.elapsed() > silence => return Ok(None),
            Err(_) => {}
        }
        // A loading server sends no event.
        sleep(POLL).await;
        if !may_be_server_of(left, &site.folder) {
            return Ok(None);
        }
    }
}

/// Waits until the started server answers and has loaded its data.
async fn until_ready(site: &Site, address: &Address, child: &mut Child) -> Result<Told, RedisServerError> {
    let pid = child.id().unwrap_or_default();
    let probe = Probe::new(address);
    let start = Instant::now();
    let mut answered = false;
    loop {
        let told = tokio::select! {
            biased;
            status = child.wait() => return Err(ended(&site.folder, address, child, pid, status).await),
            told = probe.ask() => told.ok().filter(|told| i64::from(told.pid) == i64::from(pid)),
        };
        match told {
            Some(told) if !told.is_loading => return Ok(told),
            Some(_) if !answered => {
                answered = true;
                tracing::info!(process.pid = pid, "redis-server loads its data");
            }
            _ => {}
        }
        let longest = if answered { site.limits.loading } else { site.limits.silence };
        if start.elapsed() > longest {
            // It is of no use, and the next try would find its port taken.
            let _ = child.start_kill();
            return Err(RedisServerError::silent(pid.cast_signed(), longest));
        }
        // A starting server sends no event.
        sleep(POLL).await;
    }
}

async fn ended(
    folder: &Folder,
    address: &Address,
    child: &mut Child,
    pid: u32,
    status: io::Result<ExitStatus>,
) -> RedisServerError {
    let mut text = Vec::new();
    if let Some(pipe) = child.stderr.take() {
        // The process has ended, so the pipe has an end; bounded all the same.
        let read = async { pipe.take(8 * 1024).read_to_end(&mut text).await };
        let _ = timeout(Duration::from_secs(1), read).await;
    }
    let exit = status.map_or_else(|error| error.to_string(), |status| status.to_string());
    match reasons::reason(pid, &folder.log_tail(), &String::from_utf8_lossy(&text)) {
        Reason::PortTaken => RedisServerError::PortTaken { port: address.port },
        Reason::Unreadable(line) => RedisServerError::Unreadable { folder: folder.path().to_owned(), line },
        Reason::Other(line) if line.is_empty() => RedisServerError::Ended { exit, log: folder.log_file() },
        Reason::Other(line) => {
            RedisServerError::Ended { exit: format!("{exit}: {line}"), log: folder.log_file() }
        }
    }
}

/// Spawns the server in a session of its own, or at least in a process group of its own where there is no `setsid`: a terminal's
/// signals go to the foreground group only, and Redis ignores SIGHUP.
fn spawn(site: &Site, program: &Path) -> Result<Child, RedisServerError> {
    let mut command = if let Some(setsid) = program::find_in(&site.path, "setsid") {
        let mut command = Command::new(setsid);
        command.arg(program);
        command
    } else {
        let mut command = Command::new(program);
        command.process_group(0);
        command
    };
    command
        .arg(site.folder.settings_file())
        .current_dir(site.folder.path())
        // The token of the bot is in ours.
        .env_clear()
        .env("PATH", &site.path)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        // Mistakes in the settings come before the log is open.
        .stderr(Stdio::piped());
    command.spawn().map_err(|error| RedisServerError::CannotRun {
        program: program.display().to_string(),
        problem: error.to_string(),
    })
}

fn is_free(port: u16) -> bool {
    TcpListener::bind(("127.0.0.1", port)).is_ok()
}

/// A port that is free right now: with `usual` one of the first ports, if any is.
fn free_port(usual: bool) -> Result<u16, RedisServerError> {
    if usual && let Some(port) = FIRST_PORTS.clone().find(|port| is_free(*port)) {
        return Ok(port);
    }
    let any = TcpListener::bind(("127.0.0.1", 0)).and_then(|listener| listener.local_addr());
    any.map(|address| address.port()).map_err(RedisServerError::NoPort)
}
