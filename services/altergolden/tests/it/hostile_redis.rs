//! Another program with write access to Redis attacks a fleet with credentials. It can stop changes, and cost IDENTIFYs. It gets no token,
//! no shard runs twice, no process ends or grows without bound, and after `altergolden repair` the fleet goes on.

use std::{fmt::Write as _, time::Duration};

use checkpoint::{FORMAT_MAX, decode_head, encode_head};
use fleet_fixture::{Coordinator, CredentialsFolder, Deployment, Worker, command, http, sim_config, until};
use tokio::{net::TcpListener, sync::mpsc, time::timeout};
use tokio_util::task::AbortOnDropHandle;

use crate::cli::said;

const SHARDS: u32 = 4;
/// Resident memory that no process may reach, in KiB.
const MOST_MEMORY: u64 = 300 << 10;

fn checkpoint_of(shard: u32) -> String {
    format!("{{altergolden:shard:{shard}}}:checkpoint")
}

/// A gateway that wants the token.
struct Trap {
    url: String,
    visits: mpsc::UnboundedReceiver<()>,
    _serving: AbortOnDropHandle<()>,
}

impl Trap {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("ws://{}", listener.local_addr().unwrap());
        let (sender, visits) = mpsc::unbounded_channel();
        let serving = AbortOnDropHandle::new(tokio::spawn(async move {
            while listener.accept().await.is_ok() {
                let _ = sender.send(());
            }
        }));
        Self { url, visits, _serving: serving }
    }
}

struct Scene {
    deployment: Deployment,
    folder: CredentialsFolder,
    coordinator: Coordinator,
    workers: Vec<Worker>,
    trap: Trap,
}

impl Scene {
    async fn start() -> Self {
        let (deployment, folder) = (Deployment::start(sim_config(40)).await, CredentialsFolder::new());
        let mut command = deployment.coordinator_command(SHARDS);
        let coordinator = Coordinator::start(command.env("CREDENTIALS", folder.path())).await;
        let mut scene =
            Self { deployment, folder, coordinator, workers: Vec::new(), trap: Trap::start().await };
        scene.start_worker("a").await;
        scene.start_worker("b").await;
        scene.until_balanced().await;
        // Unsigned heads are refused from now on, and every shard has a signed one.
        until("signatures to be required", async || {
            let required: Option<String> =
                scene.deployment.redis.command(&["HGET", "{altergolden}:fleet", "head_key_required"]).await;
            required.filter(|required| required == "1")
        })
        .await;
        scene
    }

    async fn start_worker(&mut self, name: &str) {
        let mut command = self.deployment.worker_command(name, &self.coordinator.socket().to_string());
        self.workers.push(Worker::start(name, command.env("CREDENTIALS", self.folder.path())).await);
    }

    async fn until_balanced(&self) {
        self.coordinator.until_balanced(&self.workers.iter().collect::<Vec<_>>()).await;
    }

    fn identifies(&self) -> usize {
        self.deployment.sim.control().identifies().items.len()
    }

    /// The fleet's keys.
    async fn keys(&self) -> Vec<String> {
        let keys: Vec<String> = self.deployment.redis.command(&["KEYS", "{altergolden*"]).await;
        assert!(keys.len() > 2 * SHARDS as usize, "{keys:?}");
        keys
    }

    /// Runs a script for a key, whose type is in ARGV[1].
    async fn attack(&self, key: &str, script: &str) {
        let kind: String = self.deployment.redis.command(&["TYPE", key]).await;
        self.deployment.redis.command::<()>(&["EVAL", script, "1", key, &kind]).await;
    }

    /// Writes the head of a shard's checkpoint.
    async fn put_head(&self, shard: u32, bytes: &[u8]) {
        let mut hex = String::new();
        for byte in bytes {
            write!(hex, "{byte:02x}").unwrap();
        }
        let script = "local bytes = string.gsub(ARGV[1], '..', function(pair) return string.char(tonumber(pair, 16)) end) \
            redis.call('HSET', KEYS[1], '.head', bytes)";
        self.deployment.redis.command::<()>(&["EVAL", script, "1", &checkpoint_of(shard), &hex]).await;
    }

    /// Repairs, as an operator does, and waits for the fleet.
    async fn recover(&mut self) {
        // Redis itself is busy with huge values for a while.
        until("the repair", async || {
            let mut repair = command("altergolden");
            repair.args(["repair", "--yes"]).env("REDIS_URL", self.deployment.redis.url());
            repair.env("XDG_STATE_HOME", "/nonexistent").env_remove("STATE_DIRECTORY");
            (said(&repair.output().unwrap()).code == 0).then_some(())
        })
        .await;
        self.until_balanced().await;
        let processes = self.workers.iter_mut().map(|worker| &mut worker.process);
        for process in processes.chain([&mut self.coordinator.process]) {
            assert!(process.status().is_none(), "a process ended: {}", process.output());
            let peak = process.peak_memory();
            assert!(peak < MOST_MEMORY, "{peak} KiB");
        }
        assert!(self.trap.visits.try_recv().is_err(), "the token went to another gateway");
        self.deployment.assert_lawful();
    }

    /// Waits until the fleet has had to do with what is in Redis: for longer than a lease. No event says so.
    async fn pass(&self) {
        tokio::time::sleep(2 * fleet_fixture::LEASE_TTL).await;
    }
}

/// `return` ends a script; values of other types than `hash` become garbage of their own type.
const WRONG_TYPE: &str = "redis.call('DEL', KEYS[1]) \
    if ARGV[1] == 'string' then redis.call('RPUSH', KEYS[1], 'x') else redis.call('SET', KEYS[1], 'x') end";
const HUGE: &str = "local huge = string.rep('9', 1024 * 1024) \
    if ARGV[1] == 'hash' then for _, field in ipairs(redis.call('HKEYS', KEYS[1])) do redis.call('HSET', KEYS[1], field, huge) end \
    elseif ARGV[1] == 'set' then redis.call('SADD', KEYS[1], huge) \
    elseif ARGV[1] == 'stream' then redis.call('XADD', KEYS[1], '*', 'entry', huge, 'bytes', huge, 'seq', huge) \
    else redis.call('SET', KEYS[1], huge) end";
const NUMBERS: &str = "if ARGV[1] ~= 'hash' then return end \
    for _, field in ipairs(redis.call('HKEYS', KEYS[1])) do redis.call('HSET', KEYS[1], field, '18446744073709551615') end";
const FUTURE: &str = "if ARGV[1] ~= 'hash' then return end \
    local time = redis.call('TIME') local far = string.format('%.0f', (tonumber(time[1]) + 172800) * 1000) \
    local all = redis.call('HGETALL', KEYS[1]) \
    for at = 1, #all, 2 do if tonumber(all[at + 1]) then redis.call('HSET', KEYS[1], all[at], far) end end";
const DELETED: &str = "redis.call('DEL', KEYS[1])";

#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes minutes: .ci/night credentials"]
async fn fleet_goes_on_after_every_record_was_overwritten() {
    let mut scene = Scene::start().await;
    for script in [WRONG_TYPE, HUGE, NUMBERS, FUTURE, DELETED] {
        for key in scene.keys().await {
            scene.attack(&key, script).await;
        }
        scene.pass().await;
        // A worker dies meanwhile: the fleet has to read what is there.
        let mut dead = scene.workers.remove(0);
        dead.process.kill().await;
        scene.start_worker(&dead.name).await;
        scene.pass().await;
        scene.recover().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_forged_head_is_resumed() {
    let mut scene = Scene::start().await;
    // The dying worker writes no head of its own over them.
    let mut dead = scene.workers.remove(0);
    let shards = scene.coordinator.client().await.shards("a").await.unwrap();
    let [one, other] = [0, 1].map(|at: usize| shards[at].shard_id);
    dead.process.signal(fleet_fixture::Signal::STOP);
    // It must not give the shards away before the heads are in place.
    scene.coordinator.process.signal(fleet_fixture::Signal::STOP);
    let identifies = scene.identifies();
    // One leads to the attacker's gateway and has no signature, the other is a signed head of another shard.
    let stolen: Vec<u8> = scene.deployment.redis.command(&["HGET", &checkpoint_of(one), ".head"]).await;
    let mut forged = decode_head(&stolen).unwrap();
    forged.session.resume_url.clone_from(&scene.trap.url);
    let forged = encode_head(&forged, FORMAT_MAX).unwrap();
    scene.put_head(other, &stolen).await;
    scene.put_head(one, &forged).await;
    dead.process.kill().await;
    scene.coordinator.process.signal(fleet_fixture::Signal::CONT);
    scene.until_balanced().await;
    let b = &mut scene.workers[0];
    assert_eq!(b.metric("altergolden_checkpoint_signatures_refused_total").await, 2);
    for why in ["it is not signed", "its signature is wrong"] {
        b.process
            .line(why, |line| (line.contains("checkpoint refused") && line.contains(why)).then_some(()))
            .await;
    }
    let (_, health) = http::request(&format!("{}/health", b.health), None).await.unwrap();
    assert!(health.contains("checkpoints_refused"), "{health}");
    assert_eq!(scene.identifies(), identifies + 2);
    assert!(timeout(Duration::from_secs(1), scene.trap.visits.recv()).await.is_err());

    // A head that is a bit off, and one that is no head. The next coordinator and worker still refuse them.
    scene.start_worker("a").await;
    scene.until_balanced().await;
    scene.coordinator.process.kill().await;
    let mut next = scene.deployment.coordinator_command(SHARDS);
    next.env("CREDENTIALS", scene.folder.path());
    next.env("COORDINATOR_LISTEN", scene.coordinator.socket().to_string());
    scene.coordinator = Coordinator::start(&mut next).await;
    scene.until_balanced().await;
    let mut dead = scene.workers.remove(0);
    let shards = scene.coordinator.client().await.shards("b").await.unwrap();
    dead.process.signal(fleet_fixture::Signal::STOP);
    scene.coordinator.process.signal(fleet_fixture::Signal::STOP);
    for (shard, bytes) in [(shards[0].shard_id, &forged[..]), (shards[1].shard_id, &b"x"[..])] {
        scene.put_head(shard, bytes).await;
    }
    dead.process.kill().await;
    scene.coordinator.process.signal(fleet_fixture::Signal::CONT);
    scene.until_balanced().await;
    assert_eq!(scene.workers[0].metric("altergolden_checkpoint_signatures_refused_total").await, 1);
    scene.recover().await;
}
