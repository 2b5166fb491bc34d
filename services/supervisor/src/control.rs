//! The supervisor's control socket: how `altergolden up --replace` reaches a running supervisor.
//!
//! One request on each connection, `replace PROGRAM`. Each line of the answer is progress for people, except the last one: `done CODE TEXT`.

use std::{
    fs, io,
    os::unix::ffi::OsStrExt as _,
    path::{Path, PathBuf},
    time::Duration,
};

use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader},
    net::{UnixListener, UnixStream},
    sync::mpsc,
    time::timeout,
};

/// By when a client must have sent its request.
const REQUEST_WITHIN: Duration = Duration::from_secs(5);

/// How long a client waits for the next line. A worker may take that long to start, and another to hand its shards off.
const LINE_WITHIN: Duration = Duration::from_mins(15);

/// The longest request and the longest line of an answer.
const LONGEST: u64 = 8 * 1024;

fn socket_path(folder: &Path) -> PathBuf {
    folder.join("control.sock")
}

/// A client wants the supervisor replaced.
#[derive(Debug)]
pub(crate) struct ReplaceRequest {
    /// The program to run from now on.
    pub(crate) program: PathBuf,
    /// Where progress goes.
    pub(crate) client: Client,
}

/// The connection of a client that waits for the end of a replacement. Nothing waits for the client.
#[derive(Debug)]
pub(crate) struct Client(UnixStream);

impl Client {
    /// Takes over the connection from the image before.
    pub(crate) fn inherit(descriptor: std::os::fd::OwnedFd) -> io::Result<Self> {
        let socket = std::os::unix::net::UnixStream::from(descriptor);
        socket.set_nonblocking(true)?;
        Ok(Self(UnixStream::from_std(socket)?))
    }

    /// The connection, for the next image.
    pub(crate) fn descriptor(&self) -> std::os::fd::BorrowedFd<'_> {
        std::os::fd::AsFd::as_fd(&self.0)
    }

    /// Sends a line. A client that has gone or does not read misses it.
    pub(crate) fn say(&self, line: &str) {
        let _ = self.0.try_write(format!("{line}\n").as_bytes());
    }

    /// Sends the last line.
    pub(crate) fn done(self, code: u8, text: &str) {
        self.say(&format!("done {code} {text}"));
    }
}

/// Listens in the folder. It is locked, so an older socket there is of a supervisor that has ended.
pub(crate) fn listen(folder: &Path, requests: mpsc::Sender<ReplaceRequest>) -> io::Result<()> {
    let path = socket_path(folder);
    match fs::remove_file(&path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let listener = UnixListener::bind(&path)?;
    tokio::spawn(async move {
        loop {
            tokio::select! {
                () = requests.closed() => return,
                accepted = listener.accept() => match accepted {
                    Ok((socket, _)) => serve(socket, &requests).await,
                    Err(error) => {
                        tracing::warn!(%error, "cannot accept a control connection");
                        tokio::time::sleep(Duration::from_secs(1)).await;
                    }
                },
            }
        }
    });
    Ok(())
}

async fn serve(mut socket: UnixStream, requests: &mpsc::Sender<ReplaceRequest>) {
    let mut line = Vec::new();
    let read = async { BufReader::new((&mut socket).take(LONGEST)).read_until(b'\n', &mut line).await };
    if !matches!(timeout(REQUEST_WITHIN, read).await, Ok(Ok(_))) {
        return;
    }
    let client = Client(socket);
    match line.strip_suffix(b"\n").and_then(|line| line.strip_prefix(b"replace ")) {
        Some(program) => {
            let program = PathBuf::from(std::ffi::OsStr::from_bytes(program));
            // Full or closed: a replacement is under way, or the supervisor stops.
            if let Err(refused) = requests.try_send(ReplaceRequest { program, client }) {
                refused
                    .into_inner()
                    .client
                    .done(1, "another replacement is under way, or the supervisor is stopping");
            }
        }
        None => client.done(2, "unknown request: the running supervisor is of another version"),
    }
}

/// How a replacement that was asked for went.
#[derive(Debug)]
pub enum ReplaceOutcome {
    /// It ended with this exit code, and a line for people.
    Done(u8, String),
    /// No supervisor runs on the folder.
    NotRunning(io::Error),
    /// The supervisor does not answer any more.
    Lost(String),
}

/// Asks the supervisor on `folder` to replace itself and its fleet by `program`. `progress` gets each line for people.
pub async fn request_replace(
    folder: &Path,
    program: &Path,
    mut progress: impl FnMut(&str),
) -> ReplaceOutcome {
    let mut socket = match UnixStream::connect(socket_path(folder)).await {
        Ok(socket) => socket,
        Err(error) => return ReplaceOutcome::NotRunning(error),
    };
    let request = [b"replace ", program.as_os_str().as_bytes(), b"\n"].concat();
    if let Err(error) = socket.write_all(&request).await {
        return ReplaceOutcome::Lost(error.to_string());
    }
    let mut lines = BufReader::new(socket);
    loop {
        let mut line = String::new();
        let read =
            timeout(LINE_WITHIN, async { (&mut lines).take(LONGEST).read_line(&mut line).await }).await;
        match read {
            Err(_) => return ReplaceOutcome::Lost("no progress within 15 minutes".to_owned()),
            Ok(Err(error)) => return ReplaceOutcome::Lost(error.to_string()),
            Ok(Ok(0)) => return ReplaceOutcome::Lost("the supervisor ended".to_owned()),
            Ok(Ok(_)) => {}
        }
        let line = line.trim_end();
        let done = line.strip_prefix("done ").and_then(|rest| rest.split_once(' '));
        match done.and_then(|(code, text)| Some((code.parse().ok()?, text))) {
            Some((code, text)) => return ReplaceOutcome::Done(code, text.to_owned()),
            None => progress(line),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn client_sees_progress_and_the_outcome() {
        let folder = tempfile::tempdir().unwrap();
        assert!(matches!(
            request_replace(folder.path(), Path::new("/x"), |_| {}).await,
            ReplaceOutcome::NotRunning(_)
        ));
        let (sender, mut requests) = mpsc::channel(1);
        listen(folder.path(), sender).unwrap();
        let answering = tokio::spawn(async move {
            let ReplaceRequest { program, client } = requests.recv().await.unwrap();
            client.say(&format!("to {}", program.display()));
            client.done(0, "all replaced");
        });
        let mut seen = Vec::new();
        let outcome =
            request_replace(folder.path(), Path::new("/new/program"), |line| seen.push(line.to_owned()))
                .await;
        assert!(matches!(outcome, ReplaceOutcome::Done(0, text) if text == "all replaced"));
        assert_eq!(seen, ["to /new/program"]);
        answering.await.unwrap();
    }
}
