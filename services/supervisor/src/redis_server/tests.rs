//! With real servers.

use std::{
    fs,
    os::unix::{fs::PermissionsExt as _, process::ExitStatusExt as _},
    path::PathBuf,
    process::Command as BlockingCommand,
};

use redis_link::{LinkOptions, RedisLink};
use rustix::process::{Pid, getpgid, getsid, kill_process};
use tempfile::TempDir;
use tokio::sync::{Mutex, MutexGuard};

use super::*;

const PATIENCE: Duration = Duration::from_mins(1);

/// One test at a time: while a killed server has given up its port, another test's new server would take it.
static TURN: Mutex<()> = Mutex::const_new(());

/// A state folder. What runs in it is killed at the end of the test.
struct State(
    TempDir,
    #[expect(dead_code, reason = "it is held until the test ends")] Option<MutexGuard<'static, ()>>,
);

impl State {
    async fn new() -> Self {
        Self(tempfile::tempdir().unwrap(), Some(TURN.lock().await))
    }

    /// Another folder of the same test.
    fn beside(_: &Self) -> Self {
        Self(tempfile::tempdir().unwrap(), None)
    }

    fn folder(&self) -> Folder {
        Folder::open(&self.0.path().join(FOLDER)).unwrap()
    }

    async fn start(&self) -> Result<RedisServer, RedisServerError> {
        timeout(PATIENCE, RedisServer::start_or_adopt(self.0.path())).await.expect("a start ends")
    }

    async fn start_with(&self, path: impl Into<OsString>) -> Result<RedisServer, RedisServerError> {
        self.start_within(path, Limits::USUAL).await
    }

    async fn start_within(
        &self,
        path: impl Into<OsString>,
        limits: Limits,
    ) -> Result<RedisServer, RedisServerError> {
        let folder = self.0.path().join(FOLDER);
        timeout(PATIENCE, RedisServer::start_in(&folder, path.into(), limits)).await.expect("a start ends")
    }
}

impl Drop for State {
    fn drop(&mut self) {
        let folder = self.folder();
        if let Some(pid) = folder.read_pid().filter(|pid| may_be_server_of(*pid, &folder)) {
            signal(pid, Signal::KILL);
        }
    }
}

fn path() -> OsString {
    std::env::var_os("PATH").unwrap()
}

/// A folder for `PATH` with one program in it.
fn only(name: &str, script: &str) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let program = folder.path().join(name);
    fs::write(&program, format!("#!/bin/sh\n{script}\n")).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    folder
}

fn signal(pid: i32, signal: Signal) {
    let _ = kill_process(Pid::from_raw(pid).unwrap(), signal);
}

async fn command<T: redis::FromRedisValue>(server: &RedisServer, words: &[&str]) -> T {
    let options = LinkOptions { deadline: PATIENCE, connect_timeout: PATIENCE };
    let link = RedisLink::new(server.url().expose().parse().unwrap(), options);
    let mut cmd = redis::cmd(words[0]);
    cmd.arg(&words[1..]);
    link.command(&cmd).await.unwrap()
}

async fn ended(server: &mut RedisServer) -> RedisExit {
    timeout(PATIENCE, server.wait_exit()).await.expect("the server ends")
}

#[tokio::test]
async fn server_is_adopted_and_keeps_port_and_data() {
    let state = State::new().await;
    let mut first = state.start().await.unwrap();
    let () = command(&first, &["SET", "a", "1"]).await;
    let mut second = state.start().await.unwrap();
    assert_eq!(
        (second.pid(), second.port(), second.url().expose()),
        (first.pid(), first.port(), first.url().expose())
    );
    second.stop().await.unwrap();
    ended(&mut first).await;
    let third = state.start().await.unwrap();
    assert_ne!(third.pid(), first.pid());
    assert_eq!(third.url().expose(), first.url().expose());
    assert_eq!(command::<String>(&third, &["GET", "a"]).await, "1");
    let policy: Vec<String> = command(&third, &["CONFIG", "GET", "maxmemory-policy"]).await;
    assert_eq!(policy[1], "noeviction");
}

#[tokio::test]
async fn server_has_a_session_of_its_own_and_no_secret_in_sight() {
    let state = State::new().await;
    let server = state.start().await.unwrap();
    let pid = Pid::from_raw(server.pid()).unwrap();
    assert_eq!((getsid(Some(pid)).unwrap(), getpgid(Some(pid)).unwrap()), (pid, pid));
    let url = server.url().expose();
    let password = url.strip_prefix("redis://:").unwrap().split('@').next().unwrap();
    assert_eq!(password.len(), 32);
    for file in ["cmdline", "environ"] {
        let text = fs::read(format!("/proc/{}/{file}", server.pid())).unwrap();
        assert!(!String::from_utf8_lossy(&text).contains(password), "{file} has the password");
    }
    assert!(!format!("{server:?}").contains(password));
    assert!(!outside_text::printable(url).to_string().contains(password));
}

#[tokio::test]
async fn killed_server_starts_again_with_its_data() {
    let state = State::new().await;
    let mut server = state.start().await.unwrap();
    let () = command(&server, &["SET", "a", "1"]).await;
    signal(server.pid(), Signal::KILL);
    assert_eq!(ended(&mut server).await.status.unwrap().signal(), Some(9));
    let port = server.port();
    server.restart().await.unwrap();
    assert_eq!(server.port(), port);
    assert_eq!(command::<String>(&server, &["GET", "a"]).await, "1");
    // An adopted one is watched too.
    let mut adopted = state.start().await.unwrap();
    signal(adopted.pid(), Signal::KILL);
    assert!(ended(&mut adopted).await.to_string().starts_with("ended"));
    ended(&mut server).await;
    adopted.restart().await.unwrap();
    assert_eq!(command::<String>(&adopted, &["GET", "a"]).await, "1");
}

/// Run by the test below in a process of its own, which is killed.
#[tokio::test]
async fn supervisor_that_is_killed() {
    let Some(state) = std::env::var_os("ALTERGOLDEN_TEST_STATE") else { return };
    let state = PathBuf::from(state);
    let _server = RedisServer::start_or_adopt(&state).await.unwrap();
    fs::write(state.join("started"), "").unwrap();
    std::future::pending::<()>().await;
}

#[tokio::test]
async fn server_survives_a_kill_of_its_supervisor() {
    let state = State::new().await;
    let mut supervisor = BlockingCommand::new(std::env::current_exe().unwrap())
        .args(["--exact", "redis_server::tests::supervisor_that_is_killed"])
        .env("ALTERGOLDEN_TEST_STATE", state.0.path())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let started = state.0.path().join("started");
    timeout(PATIENCE, async {
        while !started.exists() {
            sleep(POLL).await;
        }
    })
    .await
    .expect("the supervisor starts it");
    let pid = state.folder().read_pid().unwrap();
    supervisor.kill().unwrap();
    supervisor.wait().unwrap();
    assert_eq!(state.start().await.unwrap().pid(), pid);
}

#[tokio::test]
async fn taken_port_is_left_to_its_owner() {
    let state = State::new().await;
    let mut server = state.start().await.unwrap();
    let (url, port) = (server.url().expose().to_owned(), server.port());
    server.stop().await.unwrap();
    let other = TcpListener::bind(("127.0.0.1", port)).unwrap();
    // The programs of a running fleet know this port.
    assert!(
        matches!(server.restart().await, Err(RedisServerError::PortTaken { port: taken }) if taken == port)
    );
    let next = state.start().await.unwrap();
    assert_ne!(next.port(), port);
    let password = |url: &str| url.split('@').next().unwrap().to_owned();
    // The program that has the port now may know the old password.
    assert_ne!(password(next.url().expose()), password(&url));
    drop(other);
}

#[tokio::test]
async fn server_of_a_copied_folder_is_not_adopted() {
    let original = State::new().await;
    let copy = State::beside(&original);
    let first = original.start().await.unwrap();
    let copied = copy.folder();
    for file in ["url", "redis.conf", "redis.pid"] {
        fs::copy(original.folder().path().join(file), copied.path().join(file)).unwrap();
    }
    let second = copy.start().await.unwrap();
    assert_ne!((second.pid(), second.port()), (first.pid(), first.port()));
}

/// Listens at the port of this folder's server, which has ended, and answers as that server would.
#[tokio::test]
async fn stranger_at_the_port_is_neither_asked_nor_adopted() {
    let state = State::new().await;
    let mut server = state.start().await.unwrap();
    let port = server.port();
    server.stop().await.unwrap();
    let stranger = TcpListener::bind(("127.0.0.1", port)).unwrap();
    stranger.set_nonblocking(true).unwrap();
    let next = state.start().await.unwrap();
    assert_ne!(next.port(), port);
    assert_eq!(stranger.accept().unwrap_err().kind(), io::ErrorKind::WouldBlock, "it was asked");
}

#[tokio::test]
async fn answer_that_names_a_process_elsewhere_is_not_adopted() {
    let state = State::new().await;
    let folder = state.folder();
    // A server with the right settings file and password that runs in another folder.
    let address = Address::random(free_port(false).unwrap());
    folder.write(&address).unwrap();
    let elsewhere = tempfile::tempdir().unwrap();
    let settings = fs::read_to_string(folder.settings_file()).unwrap();
    let moved: String = settings
        .lines()
        .filter(|line| !line.starts_with("dir "))
        .fold(String::new(), |all, line| all + line + "\n");
    fs::write(folder.settings_file(), moved).unwrap();
    let mut stranger = BlockingCommand::new(program::find_in(&path(), "redis-server").unwrap())
        .arg(folder.settings_file())
        .current_dir(elsewhere.path())
        .spawn()
        .unwrap();
    let site = Site::new(folder.path(), path(), Limits::USUAL).unwrap();
    let answered = async {
        while Probe::new(&address).ask().await.is_err() {
            sleep(POLL).await;
        }
    };
    timeout(PATIENCE, answered).await.expect("the other server answers");
    let adopted = until_adoptable(&site, &address, std::process::id().cast_signed()).await;
    assert!(adopted.unwrap().is_none());
    stranger.kill().unwrap();
    stranger.wait().unwrap();
}

#[tokio::test]
async fn server_without_a_pid_file_is_not_doubled() {
    let state = State::new().await;
    let server = state.start().await.unwrap();
    fs::remove_file(state.folder().pid_file()).unwrap();
    assert_eq!(state.start().await.unwrap().pid(), server.pid());
    signal(server.pid(), Signal::KILL);
}

#[tokio::test]
async fn known_server_keeps_its_port() {
    let state = State::new().await;
    assert!(KnownServer::find(state.0.path()).unwrap().is_none());
    let mut server = state.start().await.unwrap();
    let known = KnownServer::find(state.0.path()).unwrap().unwrap();
    assert_eq!((known.port(), known.url().expose()), (server.port(), server.url().expose()));
    assert_eq!(known.adopt_or_start().await.unwrap().pid(), server.pid());
    server.stop().await.unwrap();
    assert!(known.adopt().await.unwrap().is_none());
    let other = TcpListener::bind(("127.0.0.1", known.port())).unwrap();
    assert!(matches!(known.adopt_or_start().await, Err(RedisServerError::PortTaken { .. })));
    drop(other);
    let again = known.adopt_or_start().await.unwrap();
    assert_eq!(again.url().expose(), server.url().expose());
}

#[tokio::test]
async fn hung_server_is_neither_doubled_nor_killed() {
    let state = State::new().await;
    let mut server = state.start().await.unwrap();
    server.site.limits.stopping = Duration::from_millis(200);
    let pid = server.pid();
    signal(pid, Signal::STOP);
    let impatient = Limits { silence: Duration::from_millis(200), ..Limits::USUAL };
    let error = state.start_within(path(), impatient).await.unwrap_err();
    assert!(matches!(error, RedisServerError::StillRuns { pid: found, .. } if found == pid), "{error}");
    let error = server.stop().await.unwrap_err();
    assert!(matches!(error, RedisServerError::DoesNotStop { .. }), "{error}");
    signal(pid, Signal::CONT);
    ended(&mut server).await;
}

#[tokio::test]
async fn damaged_data_is_reported_and_kept() {
    let state = State::new().await;
    let mut server = state.start().await.unwrap();
    let () = command(&server, &["SET", "a", "1"]).await;
    server.stop().await.unwrap();
    let folder = state.folder().path().join("appendonlydir");
    let is_log = |file: &Path| file.to_string_lossy().ends_with(".incr.aof");
    let log =
        fs::read_dir(folder).unwrap().map(|file| file.unwrap().path()).find(|file| is_log(file)).unwrap();
    let damaged = [b"not a command\r\n".to_vec(), fs::read(&log).unwrap()].concat();
    fs::write(&log, &damaged).unwrap();
    let error = state.start().await.unwrap_err();
    assert!(matches!(error, RedisServerError::Unreadable { .. }), "{error}");
    assert!(error.to_string().contains("redis-check-aof --fix"), "{error}");
    assert_eq!(fs::read(&log).unwrap(), damaged);
}

#[tokio::test]
async fn folder_that_cannot_be_written_is_named() {
    let state = State::new().await;
    fs::write(state.0.path().join("file"), "").unwrap();
    let inside = state.0.path().join("file");
    let error = RedisServer::start_or_adopt(&inside).await.unwrap_err();
    assert!(error.to_string().contains(&*inside.to_string_lossy()), "{error}");
}

#[tokio::test]
async fn missing_old_or_failing_program_is_named() {
    let state = State::new().await;
    let nothing = tempfile::tempdir().unwrap();
    let error = state.start_with(nothing.path()).await.unwrap_err();
    assert!(matches!(error, RedisServerError::NotInstalled), "{error}");
    assert!(error.to_string().contains("REDIS_URL"), "{error}");
    let old = only("redis-server", "echo 'Redis server v=6.0.16 sha=0'");
    let error = state.start_with(old.path()).await.unwrap_err();
    assert!(error.to_string().contains("is version 6.0: install 6.2 or newer"), "{error}");
    let failing = only(
        "valkey-server",
        "[ \"$1\" = --version ] && { echo 'Valkey server v=8.0.0'; exit; }; echo 'no memory' >&2; exit 3",
    );
    let error = state.start_with(failing.path()).await.unwrap_err();
    assert!(error.to_string().contains("exit status: 3: no memory"), "{error}");
    assert!(error.to_string().contains("redis.log"), "{error}");
}

#[tokio::test]
async fn without_setsid_the_server_has_a_process_group_of_its_own() {
    let state = State::new().await;
    let real = program::find_in(&path(), "redis-server").unwrap();
    let folder = tempfile::tempdir().unwrap();
    std::os::unix::fs::symlink(real, folder.path().join("redis-server")).unwrap();
    let server = state.start_with(folder.path()).await.unwrap();
    let pid = Pid::from_raw(server.pid()).unwrap();
    assert_eq!(getpgid(Some(pid)).unwrap(), pid);
}
