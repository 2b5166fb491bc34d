//! The peers: a Node.js process that runs one of the managers in `services/chaos/peers` and answers calls by lines of JSON.

use std::{
    collections::HashMap,
    fs::{self, File},
    io::{BufRead as _, BufReader, Write as _},
    path::{Path, PathBuf},
    process::{Child, ChildStdin, Command, Stdio},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use discord_sim::Sim;
use fleet_fixture::{Signal, signal};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::oneshot;

use crate::{
    stage::LOOK,
    system::{Asked, Asker, PATIENCE, Part, Setup, System, TOKEN},
    verdict::{Known, Question, Said},
};

/// What the manager answered.
#[derive(Debug, Deserialize)]
struct Reply {
    id: u64,
    ms: f64,
    #[serde(default)]
    value: Value,
    error: Option<String>,
}

/// The connection to a manager's process.
struct Calls {
    input: Mutex<ChildStdin>,
    waiting: Arc<Mutex<HashMap<u64, oneshot::Sender<Reply>>>>,
    next: AtomicU64,
}

impl Calls {
    async fn call(&self, call: &str, mut parameters: Value) -> Result<Reply, String> {
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        parameters["id"] = json!(id);
        parameters["call"] = json!(call);
        let (sender, receiver) = oneshot::channel();
        lock(&self.waiting).insert(id, sender);
        let line = format!("{parameters}\n");
        lock(&self.input)
            .write_all(line.as_bytes())
            .map_err(|error| format!("the manager has ended: {error}"))?;
        receiver.await.map_err(|_| "the manager has ended".to_owned())
    }

    /// A call whose error is the caller's.
    async fn value(&self, call: &str) -> Result<Value, String> {
        let reply = self.call(call, json!({})).await?;
        reply.error.map_or(Ok(reply.value), |error| Err(format!("{call}: {error}")))
    }

    async fn ask(&self, question: Question) -> Asked {
        let reply = match question {
            Question::Total => self.call("total", json!({})).await,
            Question::Guild(guild) => self.call("guild", json!({"guild": guild.to_string()})).await,
        };
        let Ok(Reply { ms, value, error: None, .. }) = reply else {
            return Asked { said: Said::Nothing, took: reply.map_or(PATIENCE, |reply| millis(reply.ms)) };
        };
        let said = match question {
            Question::Total => value.as_u64().map(|guilds| Said::Total { guilds, is_complete: true }),
            Question::Guild(_) => {
                let found = value.is_object().then(|| Known {
                    name: value["name"].as_str().unwrap_or_default().to_owned(),
                    members: value["members"].as_u64().unwrap_or_default(),
                });
                Some(Said::Guild { found, is_complete: true })
            }
        };
        Asked { said: said.unwrap_or(Said::Nothing), took: millis(ms) }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn millis(ms: f64) -> Duration {
    Duration::from_secs_f64(ms.max(0.0) / 1e3)
}

/// A manager and the processes that it has started.
pub(crate) struct Manager {
    child: Child,
    calls: Arc<Calls>,
    /// The simulated Discord of this system alone.
    _sim: Sim,
}

impl Manager {
    /// Starts a manager, without shards.
    pub(crate) fn prepare(script: &str, sim: Sim, setup: &Setup) -> Result<Self, String> {
        let path = folder().join(script);
        let log = setup.folder.join(script).with_extension("log");
        let log = File::create(&log).map_err(|error| format!("cannot write {}: {error}", log.display()))?;
        let mut child = Command::new("node")
            .arg(&path)
            .env("DISCORD_TOKEN", TOKEN)
            .env("PEER_API", sim.http_origin())
            .env("PEER_SEEN", &setup.folder)
            .env("PEER_SHARDS", setup.shards.to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .map_err(|error| format!("cannot start node {}: {error}", path.display()))?;
        let (input, output) =
            child.stdin.take().zip(child.stdout.take()).ok_or("the manager has no pipes")?;
        let waiting = Arc::<Mutex<HashMap<u64, oneshot::Sender<Reply>>>>::default();
        let calls = Calls { input: Mutex::new(input), waiting: waiting.clone(), next: AtomicU64::new(0) };
        std::thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                if let Ok(reply) = serde_json::from_str::<Reply>(&line)
                    && let Some(sender) = lock(&waiting).remove(&reply.id)
                {
                    let _ = sender.send(reply);
                }
            }
            // Callers learn that the manager has ended.
            lock(&waiting).clear();
        });
        Ok(Self { child, calls: Arc::new(calls), _sim: sim })
    }

    /// The children of the manager that run.
    fn children(&self) -> Vec<u32> {
        let pid = self.child.id();
        let list = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
        list.split_whitespace().filter_map(|child| child.parse().ok()).collect()
    }
}

impl Drop for Manager {
    /// A stopped manager starts no child while its children are ended.
    fn drop(&mut self) {
        signal(self.child.id(), Signal::STOP);
        for child in self.children() {
            signal(child, Signal::KILL);
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Where the managers and their packages are.
pub(crate) fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("peers")
}

impl System for Manager {
    async fn start(&mut self) -> Result<(), String> {
        self.calls.value("spawn").await.map(drop)
    }

    async fn until_ready(&mut self) {
        while !self.calls.value("ready").await.is_ok_and(|ready| ready == true) {
            tokio::time::sleep(LOOK).await;
        }
    }

    fn others(&self) -> Vec<u32> {
        vec![self.child.id()]
    }

    async fn parts(&mut self) -> Result<Vec<Part>, String> {
        let value = self.calls.value("processes").await?;
        let parts = value.as_array().into_iter().flatten().filter_map(|process| {
            let shards = process["shards"].as_array()?.iter().filter_map(Value::as_u64);
            let shards = shards.map(|shard| shard as u32).collect();
            Some(Part { pid: u32::try_from(process["pid"].as_u64()?).ok()?, shards })
        });
        Ok(parts.collect())
    }

    fn asker(&self) -> Asker {
        let calls = self.calls.clone();
        Arc::new(move |question| {
            let calls = calls.clone();
            Box::pin(async move { calls.ask(question).await })
        })
    }

    /// The manager starts the process again.
    async fn kill(&mut self, part: &Part) -> Result<(), String> {
        signal(part.pid, Signal::KILL);
        Ok(())
    }

    async fn deploy(&mut self) -> Result<(), String> {
        self.calls.value("deploy").await.map(drop)
    }
}
