//! The output of all programs on its way to the supervisor's own.
//!
//! Each of standard output and standard error has a queue of bounded size and a thread that writes it. A line that finds the queue full, or
//! that can't be written (a full disk, a closed pipe), is dropped and counted. The readers of the programs' pipes never wait, so no program
//! is held up by a terminal that was stopped or a disk that is full.

use std::{
    collections::VecDeque,
    fs::File,
    io::{self, Write as _},
    os::fd::{AsFd, OwnedFd},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread::JoinHandle,
    time::{Duration, Instant},
};

use tokio::io::{AsyncRead, AsyncReadExt as _};

/// The most bytes that wait to be written.
const MOST_WAITING: usize = 4 * 1024 * 1024;

/// A longer line is cut into several.
const LONGEST_LINE: usize = 64 * 1024;

/// How long a descriptor that another program has set to not block is left alone.
const WRITE_AGAIN: Duration = Duration::from_millis(10);

/// How lines are shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lines {
    /// With the program's name before each, in colour or not.
    Prefixed {
        /// In colour.
        colour: bool,
    },
    /// As the programs wrote them.
    Unchanged,
}

/// One of the supervisor's outputs. Clones share it.
#[derive(Clone, Debug)]
pub(crate) struct Output {
    queue: Arc<Queue>,
    lines: Lines,
}

#[derive(Debug, Default)]
struct Queue {
    state: Mutex<QueueState>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct QueueState {
    waiting: VecDeque<Vec<u8>>,
    bytes: usize,
    dropped: u64,
    /// Why the last write failed.
    reason: Option<String>,
    writing: bool,
}

impl Queue {
    fn lock(&self) -> MutexGuard<'_, QueueState> {
        // No code panics while it holds the lock; and a line more or less would be no reason to stop.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Output {
    /// Starts the thread that writes to `file`.
    pub(crate) fn start(name: &str, file: OwnedFd, lines: Lines) -> io::Result<Self> {
        let queue = Arc::new(Queue::default());
        let written = queue.clone();
        std::thread::Builder::new()
            .name(name.to_owned())
            .spawn(move || write_lines(&written, file.into(), lines))?;
        Ok(Self { queue, lines })
    }

    /// Queues a line of a program, without its line break.
    pub(crate) fn line(&self, prefix: &Prefix, line: &[u8]) {
        let mut text = match self.lines {
            Lines::Prefixed { colour } => prefix.before(colour),
            Lines::Unchanged => Vec::new(),
        };
        text.extend_from_slice(line);
        text.push(b'\n');
        self.push(text);
    }

    /// Queues text as it is.
    pub(crate) fn text(&self, text: &str) {
        self.push(text.as_bytes().to_vec());
    }

    fn push(&self, text: Vec<u8>) {
        let mut state = self.queue.lock();
        if state.bytes + text.len() > MOST_WAITING {
            state.dropped += 1;
            state.reason.get_or_insert_with(|| "the output is not read".to_owned());
            return;
        }
        state.bytes += text.len();
        state.waiting.push_back(text);
        drop(state);
        self.queue.changed.notify_all();
    }

    /// Waits until everything is written, at most this long.
    pub(crate) fn flush(&self, within: Duration) {
        let deadline = Instant::now() + within;
        let mut state = self.queue.lock();
        while !state.waiting.is_empty() || state.writing {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            state = self.queue.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

fn write_lines(queue: &Queue, mut file: File, lines: Lines) {
    loop {
        let mut state = queue.lock();
        state.writing = false;
        queue.changed.notify_all();
        let text = loop {
            if let Some(text) = state.waiting.pop_front() {
                break text;
            }
            state = queue.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        };
        state.bytes -= text.len();
        state.writing = true;
        let (dropped, reason) = (state.dropped, state.reason.clone());
        drop(state);
        if dropped > 0
            && write_all(&mut file, dropped_line(dropped, reason.as_deref(), lines).as_bytes()).is_ok()
        {
            let mut state = queue.lock();
            state.dropped -= dropped;
            state.reason = None;
        }
        if let Err(error) = write_all(&mut file, &text) {
            let mut state = queue.lock();
            state.dropped += 1;
            state.reason = Some(error.to_string());
        }
    }
}

fn dropped_line(dropped: u64, reason: Option<&str>, lines: Lines) -> String {
    let reason = reason.unwrap_or("unknown");
    match lines {
        Lines::Prefixed { .. } => format!("{dropped} log lines were dropped: {reason}\n"),
        Lines::Unchanged => {
            let line = serde_json::json!({
                "level": "WARN", "target": "supervisor", "message": "log lines dropped", "lines": dropped, "reason": reason,
            });
            format!("{line}\n")
        }
    }
}

fn write_all(file: &mut File, mut text: &[u8]) -> io::Result<()> {
    while !text.is_empty() {
        match file.write(text) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(written) => text = &text[written..],
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => std::thread::sleep(WRITE_AGAIN),
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// What stands before the lines of one program.
#[derive(Clone, Debug)]
pub(crate) struct Prefix {
    name: String,
    colour: u8,
}

impl Prefix {
    /// The prefix of the program with this name. Programs with different numbers have different colours, as far as there are some.
    pub(crate) fn new(name: &str, number: usize) -> Self {
        const COLOURS: [u8; 6] = [36, 33, 32, 35, 34, 96];
        Self { name: name.to_owned(), colour: COLOURS[number % COLOURS.len()] }
    }

    fn before(&self, colour: bool) -> Vec<u8> {
        let Self { name, colour: number } = self;
        if colour { format!("\x1b[{number}m{name:<12}|\x1b[0m ") } else { format!("{name:<12}| ") }
            .into_bytes()
    }
}

/// Passes everything on that comes from `pipe`, line by line, until its end. Calls `seen` with each line.
pub(crate) async fn pass_on(
    mut pipe: impl AsyncRead + Unpin,
    output: Output,
    prefix: Prefix,
    mut seen: impl FnMut(&[u8]),
) {
    let mut lines = Splitter::default();
    let mut buffer = vec![0; 16 * 1024];
    loop {
        match pipe.read(&mut buffer).await {
            Ok(0) => break,
            Ok(read) => lines.take(&buffer[..read], |line| {
                seen(line);
                output.line(&prefix, line);
            }),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(_) => break,
        }
    }
    lines.end(|line| output.line(&prefix, line));
}

/// Cuts bytes into lines.
#[derive(Debug, Default)]
struct Splitter(Vec<u8>);

impl Splitter {
    fn take(&mut self, mut bytes: &[u8], mut line: impl FnMut(&[u8])) {
        while let Some(at) = bytes.iter().position(|byte| *byte == b'\n') {
            self.0.extend_from_slice(&bytes[..at]);
            line(&self.0);
            self.0.clear();
            bytes = &bytes[at + 1..];
        }
        for piece in bytes.chunks(LONGEST_LINE) {
            if self.0.len() + piece.len() > LONGEST_LINE {
                self.end(&mut line);
            }
            self.0.extend_from_slice(piece);
        }
    }

    fn end(&mut self, mut line: impl FnMut(&[u8])) {
        if !self.0.is_empty() {
            line(&self.0);
            self.0.clear();
        }
    }
}

/// The supervisor's own lines take the same way: its standard error becomes a pipe that a thread reads, so that a log line of the
/// supervisor never waits for a terminal or a disk.
#[derive(Debug)]
pub(crate) struct OwnLines {
    real: OwnedFd,
    output: Output,
    redirected: Option<(io::PipeWriter, JoinHandle<()>)>,
}

impl OwnLines {
    /// Redirects this process's standard error into `output`, which writes to what standard error was.
    pub(crate) fn redirect(lines: Lines) -> io::Result<(Self, Output)> {
        let real = io::stderr().as_fd().try_clone_to_owned()?;
        let output = Output::start("stderr", real.try_clone()?, lines)?;
        let mut own = Self { real, output: output.clone(), redirected: None };
        own.resume()?;
        Ok((own, output))
    }

    /// Redirects again after [`suspend`](Self::suspend).
    pub(crate) fn resume(&mut self) -> io::Result<()> {
        let (read, write) = io::pipe()?;
        let own = self.output.clone();
        let reader = std::thread::Builder::new().name("own-lines".to_owned()).spawn(move || {
            let prefix = Prefix::new("up", 5);
            let (mut read, mut lines, mut buffer) = (read, Splitter::default(), vec![0; 16 * 1024]);
            while let Ok(length) = io::Read::read(&mut read, &mut buffer) {
                if length == 0 {
                    break;
                }
                lines.take(&buffer[..length], |line| own.line(&prefix, line));
            }
            lines.end(|line| own.line(&prefix, line));
        })?;
        rustix::stdio::dup2_stderr(&write)?;
        self.redirected = Some((write, reader));
        Ok(())
    }

    /// Gives the process its standard error back, after all lines up to here are written or `within` has passed.
    pub(crate) fn suspend(&mut self, within: Duration) {
        // Nothing could be said about a failure, and the process ends.
        let restored = rustix::stdio::dup2_stderr(&self.real).is_ok();
        if let Some((pipe, reader)) = self.redirected.take() {
            drop(pipe);
            if restored {
                // The pipe has no writer any more. A reader that panicked has nothing to write.
                let _ = reader.join();
            }
        }
        self.output.flush(within);
    }
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead as _, BufReader, Read as _};

    use super::*;

    fn cut(pieces: &[&[u8]]) -> Vec<String> {
        let mut lines = Vec::new();
        let mut splitter = Splitter::default();
        let mut push = |line: &[u8]| lines.push(String::from_utf8_lossy(line).into_owned());
        for piece in pieces {
            splitter.take(piece, &mut push);
        }
        splitter.end(&mut push);
        lines
    }

    #[test]
    fn lines_survive_any_cut() {
        assert_eq!(cut(&[b"a\nb", b"c\n\nd"]), ["a", "bc", "", "d"]);
        let long = vec![b'x'; 3 * LONGEST_LINE + 1];
        assert!(cut(&[&long]).iter().all(|line| line.len() <= LONGEST_LINE));
        assert_eq!(cut(&[&long]).concat().len(), long.len());
    }

    #[test]
    fn stuck_output_drops_lines_and_says_so_later() {
        let (read, write) = io::pipe().unwrap();
        let output = Output::start("test", write.into(), Lines::Unchanged).unwrap();
        let prefix = Prefix::new("a", 0);
        let line = vec![b'x'; 1024];
        // No reader yet: 5 MiB do not fit.
        for _ in 0..5 * 1024 {
            output.line(&prefix, &line);
        }
        let mut reader = BufReader::new(read);
        let mut seen = 0;
        let mut text = String::new();
        while !text.contains("log lines dropped") {
            text.clear();
            reader.read_line(&mut text).unwrap();
            seen += 1;
            if seen == 100 {
                output.line(&prefix, b"later");
            }
        }
        assert!(seen < 5 * 1024);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn full_disk_drops_lines() {
        let full = File::options().write(true).open("/dev/full").unwrap();
        let output = Output::start("test", full.into(), Lines::Prefixed { colour: false }).unwrap();
        for _ in 0..100 {
            output.line(&Prefix::new("a", 0), b"line");
        }
        output.flush(Duration::from_secs(30));
        assert_eq!(output.queue.lock().dropped, 100);
    }

    #[test]
    fn prefixes_name_the_program() {
        let (mut read, write) = io::pipe().unwrap();
        let output = Output::start("test", write.into(), Lines::Prefixed { colour: false }).unwrap();
        output.line(&Prefix::new("worker-0", 0), b"shard ready");
        let mut text = [0; 26];
        read.read_exact(&mut text).unwrap();
        assert_eq!(&text, b"worker-0    | shard ready\n");
    }
}
