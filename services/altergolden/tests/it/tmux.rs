//! A real terminal for tests: a tmux server of the test's own, with one window that runs a shell.

use std::{
    path::{Path, PathBuf},
    process::{Command, Output},
    time::Duration,
};

use tokio::time::{Instant, sleep};

/// How long a screen may take on a busy machine.
const PATIENCE: Duration = Duration::from_mins(1);

/// A terminal. Dropping it ends what runs in it.
pub(crate) struct Tmux {
    /// Has the socket of the server.
    folder: tempfile::TempDir,
}

impl Tmux {
    /// Starts a shell in a terminal of this size.
    ///
    /// # Panics
    /// Without tmux, which `.ci/test` installs.
    pub(crate) async fn start(columns: u16, rows: u16) -> Self {
        let tmux = Self { folder: tempfile::tempdir().unwrap() };
        let (columns, rows) = (columns.to_string(), rows.to_string());
        let size = ["-x", columns.as_str(), "-y", rows.as_str()];
        tmux.tmux(&[&["new-session", "-d"][..], &size, &["env PS1='$ ' sh"]].concat());
        tmux.until("the shell", |screen| screen.starts_with('$')).await;
        tmux
    }

    fn output(&self, words: &[&str]) -> Output {
        let mut command = Command::new("tmux");
        command.arg("-u").arg("-S").arg(self.file("socket")).args(["-f", "/dev/null"]);
        // A tmux around the tests is another server.
        command.env_remove("TMUX").env_remove("NO_COLOR").env("LC_ALL", "C.UTF-8").args(words);
        // As `fleet_fixture::command` does.
        if let Some(folder) = std::env::var_os("TEST_CREDENTIALS") {
            command.env("CREDENTIALS", folder);
        }
        command.output().expect("needs tmux: run .ci/test once, which installs it, or install it by hand")
    }

    fn tmux(&self, words: &[&str]) -> String {
        let output = self.output(words);
        assert!(output.status.success(), "tmux {words:?}: {output:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// Types a command line into the shell.
    pub(crate) fn run(&self, line: &str) {
        self.tmux(&["send-keys", "-l", line]);
        self.keys(&["Enter"]);
    }

    /// Presses keys, by tmux's names.
    pub(crate) fn keys(&self, keys: &[&str]) {
        self.tmux(&[&["send-keys"], keys].concat());
    }

    /// Changes the size of the terminal.
    pub(crate) fn resize(&self, columns: u16, rows: u16) {
        self.tmux(&["resize-window", "-x", &columns.to_string(), "-y", &rows.to_string()]);
    }

    /// What the terminal shows.
    pub(crate) fn screen(&self) -> String {
        self.tmux(&["capture-pane", "-p"])
    }

    /// Waits until the terminal shows something, and returns the screen.
    pub(crate) async fn until(&self, what: &str, shows: impl Fn(&str) -> bool) -> String {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let screen = self.screen();
            if shows(&screen) {
                return screen;
            }
            assert!(Instant::now() < deadline, "gave up waiting for {what}:\n{screen}");
            sleep(Duration::from_millis(50)).await;
        }
    }

    /// Waits until the terminal shows all of these, and returns the screen. A screen is not drawn at once, so what is
    /// expected of one must be waited for as a whole.
    pub(crate) async fn until_all(&self, expected: &[&str]) -> String {
        let what = format!("all of {expected:?}");
        self.until(&what, |screen| expected.iter().all(|part| screen.contains(part))).await
    }

    /// Runs a command line on an empty screen, and waits for a line of its output.
    pub(crate) async fn says(&self, line: &str, expected: &str) {
        self.run(&format!("clear; {line}"));
        self.until(expected, |screen| screen.lines().any(|line| line.trim() == expected)).await;
    }

    /// Closes the terminal, as a broken ssh connection does.
    pub(crate) fn close(&self) {
        self.tmux(&["kill-server"]);
    }

    /// Appends every byte that is written to the terminal from now on to a file.
    pub(crate) fn record(&self, file: &Path) {
        self.tmux(&["pipe-pane", &format!("exec cat >> '{}'", file.display())]);
    }

    /// A file in a folder of this terminal's own.
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }
}

impl Drop for Tmux {
    fn drop(&mut self) {
        // Fails when the shell has ended, and the server with it.
        let _ = self.output(&["kill-server"]);
    }
}
