//! Our programs as real processes: started, listened to, ended by pid.

use std::{
    fs::File,
    io::{BufRead as _, BufReader, Write as _},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::{Arc, Mutex},
    thread::JoinHandle,
};

use process::credentials::{Credentials, Role};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::{credentials::open_credentials, until};

mod usage;

pub use usage::{Memory, cpu_time_with_children};

/// Lines printed of a process whose whole output is in a file.
const LAST_WORDS: usize = 20;

/// A process of ours. Killed on drop; when that is because a test failed, what it said is printed.
pub struct Process {
    name: String,
    child: Child,
    lines: Arc<Mutex<Vec<String>>>,
    /// The threads that read its output. They end after it has.
    readers: Vec<JoinHandle<()>>,
    log: Option<PathBuf>,
    /// Where its credentials are, if it has some.
    credentials: Option<PathBuf>,
}

/// Where cargo has put a program of the workspace: beside the one that asks, which may be a test.
///
/// # Panics
/// When it is not there, with what builds it.
pub fn binary(name: &str) -> PathBuf {
    let own = std::env::current_exe().unwrap();
    let folder = own.parent().unwrap();
    // Tests and benchmarks are built into a folder of their own.
    let folder = if folder.ends_with("deps") { folder.parent().unwrap() } else { folder };
    let path = folder.join(name);
    let profile = if folder.ends_with("release") { " --release" } else { "" };
    assert!(
        path.exists(),
        "needs {}: run `cargo build --workspace{profile}`, or `cargo test --workspace`, which builds every program",
        path.display()
    );
    path
}

/// Names a folder of `altergolden credentials init`: every program and client of a test then has credentials. `.ci/night credentials` sets it.
const TEST_CREDENTIALS: &str = "TEST_CREDENTIALS";

/// The setting of our programs.
const CREDENTIALS: &str = "CREDENTIALS";

/// A command for a program of the workspace, without the settings in the environment of the test run, and with credentials if the
/// test run has them.
pub fn command(name: &str) -> Command {
    let mut command = Command::new(binary(name));
    for (key, _) in std::env::vars() {
        let ours = [
            "DISCORD",
            "BOT_TOKEN",
            "REDIS",
            "COORDINATOR",
            "CREDENTIALS",
            "INSECURE_",
            "WORKER",
            "HEALTH",
            "MANAGER",
            "SHARD",
            "SIM_",
            "OTEL",
            "CHECKPOINT",
            "LEDGER_",
            "FAILPOINTS",
            "PROBLEMS_",
            "TRACE_",
        ];
        if ours.iter().any(|prefix| key.starts_with(prefix)) {
            command.env_remove(key);
        }
    }
    if let Some(folder) = std::env::var_os(TEST_CREDENTIALS) {
        command.env(CREDENTIALS, folder);
    }
    command.env("RUST_LOG", "info,gateway_worker=debug,coordinator=debug,h2=warn,hyper=warn,tower=warn");
    command
}

/// Sends a signal to a process that another process of the test started; one that has ended is left alone.
pub fn signal(pid: u32, signal: Signal) {
    if let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) {
        let _ = kill_process(pid, signal);
    }
}

impl Process {
    /// Starts a command whose standard output and error are listened to.
    pub fn start(name: &str, command: &mut Command) -> Self {
        Self::spawn(name, command, None)
    }

    /// As [`start`](Self::start); what it says is appended to a file too.
    pub fn start_logged(name: &str, command: &mut Command, log: &Path) -> Self {
        Self::spawn(name, command, Some(log))
    }

    fn spawn(name: &str, command: &mut Command, log: Option<&Path>) -> Self {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let lines = Arc::new(Mutex::new(Vec::new()));
        let outputs: [Box<dyn std::io::Read + Send>; 2] =
            [Box::new(child.stdout.take().unwrap()), Box::new(child.stderr.take().unwrap())];
        let file = |path| File::options().create(true).append(true).open(path).unwrap();
        let readers = outputs.map(|output| {
            let lines = lines.clone();
            let mut file = log.map(file);
            std::thread::spawn(move || {
                for line in BufReader::new(output).lines().map_while(Result::ok) {
                    if let Some(file) = &mut file {
                        // The test that this belongs to may have removed the folder.
                        let _ = file.write_all(format!("{line}\n").as_bytes());
                    }
                    lines.lock().unwrap().push(line);
                }
            })
        });
        let setting = command.get_envs().find(|(name, _)| *name == CREDENTIALS);
        let credentials = setting.and_then(|(_, value)| value).map(PathBuf::from);
        Self {
            name: name.to_owned(),
            child,
            lines,
            readers: readers.into(),
            log: log.map(Path::to_owned),
            credentials,
        }
    }

    /// The credentials of a client with this role, if the process has credentials from a folder of `altergolden credentials init`.
    pub fn credentials(&self, role: Role) -> Credentials {
        self.credentials_file(role).as_deref().map_or_else(Credentials::none, open_credentials)
    }

    /// The file of these credentials.
    pub fn credentials_file(&self, role: Role) -> Option<PathBuf> {
        let file = self.credentials.as_ref()?.join(format!("{role}.pem"));
        file.is_file().then_some(file)
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Everything that it has said.
    pub fn output(&self) -> String {
        self.lines.lock().unwrap().join("\n")
    }

    /// The first line that satisfies, once it is there.
    ///
    /// # Panics
    /// When the process ends before.
    pub async fn line<T>(&mut self, what: &str, matches: impl Fn(&str) -> Option<T>) -> T {
        until(&format!("{} to say: {what}", self.name), async || {
            // Asked first: its last lines are read after its end can be seen.
            let status = self.end();
            let found = self.lines.lock().unwrap().iter().find_map(|line| matches(line));
            if found.is_none()
                && let Some(status) = status
            {
                panic!("{} ended with {status}:\n{}", self.name, self.output());
            }
            found
        })
        .await
    }

    /// The value of a field in the log line with this message, once it is there.
    pub async fn logged(&mut self, message: &str, field: &str) -> String {
        self.log_line(message).await[field].as_str().unwrap_or_default().to_owned()
    }

    /// The first log line with this message, once it is there.
    pub async fn log_line(&mut self, message: &str) -> Value {
        self.line(message, |line| {
            let line: Value = serde_json::from_str(line).ok()?;
            (line["message"] == message).then_some(line)
        })
        .await
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// How it ended, if it has.
    pub fn status(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().unwrap()
    }

    /// Waits until it has ended and all its output is read.
    pub async fn ended(&mut self) -> ExitStatus {
        until(&format!("{} to end", self.name), async || self.end()).await
    }

    /// How it ended, if it has and all its output is read.
    fn end(&mut self) -> Option<ExitStatus> {
        let status = self.child.try_wait().unwrap();
        status.filter(|_| self.readers.iter().all(JoinHandle::is_finished))
    }

    /// SIGKILL, and gone.
    pub async fn kill(&mut self) {
        self.child.kill().unwrap();
        self.ended().await;
    }

    /// SIGTERM, and its exit code; -1 when a signal ended it.
    pub async fn stop(&mut self) -> i32 {
        self.signal(Signal::TERM);
        self.ended().await.code().unwrap_or(-1)
    }

    fn last_words(&self) -> String {
        let lines = self.lines.lock().unwrap();
        match &self.log {
            Some(log) => {
                let last = lines.len().saturating_sub(LAST_WORDS);
                format!("(all of it is in {})\n{}", log.display(), lines[last..].join("\n"))
            }
            None => lines.join("\n"),
        }
    }
}

impl Drop for Process {
    #[allow(clippy::print_stderr, reason = "a failed test shows what its processes said")]
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("── {} said:\n{}\n", self.name, self.last_words());
        }
    }
}
