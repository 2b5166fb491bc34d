//! The questions on a terminal.

use std::{
    fs::{self, File},
    io::{Read as _, Write as _},
    process::Child,
    sync::mpsc,
    time::Instant,
};

use fleet_fixture::{PATIENCE, command};
use rustix::{
    pty::{OpenptFlags, grantpt, ioctl_tiocgptpeer, openpt, unlockpt},
    termios::{LocalModes, tcgetattr},
};

use super::{TOKEN, check_up};

/// A terminal with the program on it.
struct OnTerminal {
    terminal: File,
    shown: String,
    output: mpsc::Receiver<Vec<u8>>,
    child: Child,
}

impl OnTerminal {
    fn start(words: &[&str]) -> Self {
        let terminal = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        grantpt(&terminal).unwrap();
        unlockpt(&terminal).unwrap();
        let end = File::from(ioctl_tiocgptpeer(&terminal, OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap());
        let mut program = command("altergolden");
        program.args(words).env("TERM", "xterm").env("NO_COLOR", "1");
        program.stdin(end.try_clone().unwrap()).stdout(end.try_clone().unwrap()).stderr(end);
        let child = program.spawn().unwrap();
        // The command holds the other end open.
        drop(program);
        let terminal = File::from(terminal);
        let mut reader = terminal.try_clone().unwrap();
        let (sender, output) = mpsc::channel();
        std::thread::spawn(move || {
            let mut buffer = [0; 1024];
            // An error: the program has ended.
            while let Ok(length @ 1..) = reader.read(&mut buffer) {
                if sender.send(buffer[..length].to_vec()).is_err() {
                    return;
                }
            }
        });
        Self { terminal, shown: String::new(), output, child }
    }

    /// Waits until the program asks and reads keys, and types the answer.
    fn answer(&mut self, question: &str, answer: &str) {
        let deadline = Instant::now() + PATIENCE;
        while !self.shown.contains(question) {
            let left = deadline.saturating_duration_since(Instant::now());
            let bytes = self.output.recv_timeout(left);
            let bytes = bytes.unwrap_or_else(|_| panic!("no {question:?} in {}", self.shown));
            self.shown.push_str(&String::from_utf8_lossy(&bytes));
        }
        // Until then the terminal would show what is typed. It sends no event for it.
        while tcgetattr(&self.terminal).unwrap().local_modes.contains(LocalModes::ECHO) {
            assert!(Instant::now() < deadline, "the program reads no keys: {}", self.shown);
            std::thread::yield_now();
        }
        self.terminal.write_all(answer.as_bytes()).unwrap();
        self.terminal.write_all(b"\r").unwrap();
    }

    fn finish(mut self) -> (i32, String) {
        let code = self.child.wait().unwrap().code().unwrap();
        while let Ok(bytes) = self.output.recv_timeout(PATIENCE) {
            self.shown.push_str(&String::from_utf8_lossy(&bytes));
        }
        (code, self.shown)
    }
}

#[test]
fn questions_are_answered_on_a_terminal() {
    let folder = tempfile::tempdir().unwrap();
    let mut terminal = OnTerminal::start(&["init", "--dir", folder.path().to_str().unwrap()]);
    terminal.answer("What will run the fleet?", "");
    terminal.answer("Token of the bot", TOKEN);
    terminal.answer("Number of shards", "6");
    terminal.answer("Number of workers", "2");
    terminal.answer("Intents", "");
    terminal.answer("URL of Redis", "redis://127.0.0.1:6379");
    terminal.answer("Credentials for the fleet?", "");
    let (code, shown) = terminal.finish();
    assert_eq!(code, 0, "{shown}");
    assert!(shown.contains("altergolden up") && !shown.contains(TOKEN), "{shown}");
    let written = fs::read_to_string(folder.path().join(".env")).unwrap();
    for line in ["SHARD_COUNT=6\n", "CLUSTER_COUNT=2\n", "REDIS_URL=redis://127.0.0.1:6379\n"] {
        assert!(written.contains(line), "{written}");
    }
    assert!(written.contains(TOKEN));
    assert!(check_up(folder.path()).status.success());
}
