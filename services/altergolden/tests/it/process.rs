//! Our binaries as real processes: started, listened to, ended by pid.

use std::{
    io::{BufRead as _, BufReader},
    path::PathBuf,
    process::{Child, Command, ExitStatus, Stdio},
    sync::{Arc, Mutex},
};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::until;

/// A process of ours. Killed on drop.
pub(crate) struct Process {
    name: String,
    child: Child,
    lines: Arc<Mutex<Vec<String>>>,
}

/// Where cargo has put a binary of the workspace.
pub(crate) fn binary(name: &str) -> PathBuf {
    let path = PathBuf::from(env!("CARGO_BIN_EXE_altergolden")).with_file_name(name);
    assert!(
        path.exists(),
        "needs {}: run `cargo test --workspace`, which builds every binary",
        path.display()
    );
    path
}

/// A command without the settings of whoever runs the tests.
pub(crate) fn command(name: &str) -> Command {
    let mut command = Command::new(binary(name));
    for (key, _) in std::env::vars() {
        let ours = [
            "DISCORD",
            "BOT_TOKEN",
            "REDIS",
            "COORDINATOR",
            "WORKER",
            "HEALTH",
            "MANAGER",
            "SHARD",
            "SIM_",
            "OTEL",
        ];
        if ours.iter().any(|prefix| key.starts_with(prefix)) {
            command.env_remove(key);
        }
    }
    command.env("RUST_LOG", "info,gateway_worker=debug,coordinator=debug,h2=warn,hyper=warn,tower=warn");
    command
}

impl Process {
    /// Starts a command whose standard output and error are listened to.
    pub(crate) fn start(name: &str, command: &mut Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let lines = Arc::new(Mutex::new(Vec::new()));
        let outputs: [Box<dyn std::io::Read + Send>; 2] =
            [Box::new(child.stdout.take().unwrap()), Box::new(child.stderr.take().unwrap())];
        for output in outputs {
            let lines = lines.clone();
            std::thread::spawn(move || {
                for line in BufReader::new(output).lines().map_while(Result::ok) {
                    lines.lock().unwrap().push(line);
                }
            });
        }
        Self { name: name.to_owned(), child, lines }
    }

    /// Everything that it has said.
    pub(crate) fn output(&self) -> String {
        self.lines.lock().unwrap().join("\n")
    }

    /// The first line that satisfies, once it is there.
    pub(crate) async fn line<T>(&mut self, what: &str, matches: impl Fn(&str) -> Option<T>) -> T {
        until(&format!("{} to say: {what}", self.name), async || {
            let found = self.lines.lock().unwrap().iter().find_map(|line| matches(line));
            if found.is_none()
                && let Some(status) = self.child.try_wait().unwrap()
            {
                panic!("{} ended with {status}:\n{}", self.name, self.output());
            }
            found
        })
        .await
    }

    /// The value of a field in the log line with this message.
    pub(crate) async fn logged(&mut self, message: &str, field: &str) -> String {
        self.line(message, |line| {
            let line: Value = serde_json::from_str(line).ok()?;
            (line["message"] == message).then(|| line[field].as_str().unwrap_or_default().to_owned())
        })
        .await
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// Waits for its end.
    pub(crate) async fn ended(&mut self) -> ExitStatus {
        until(&format!("{} to end", self.name), async || self.child.try_wait().unwrap()).await
    }

    /// SIGKILL, and gone.
    pub(crate) async fn kill(&mut self) {
        self.child.kill().unwrap();
        self.ended().await;
    }

    /// SIGTERM, and its exit code.
    pub(crate) async fn stop(&mut self) -> i32 {
        self.signal(Signal::TERM);
        self.ended().await.code().unwrap_or(-1)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("── {} said:\n{}\n", self.name, self.output());
        }
    }
}
