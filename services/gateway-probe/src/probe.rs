//! The steps of a run, in an order that spends few IDENTIFYs: one session, a second one of the same shard, a broken connection, a
//! RESUME beside an open socket, a long wait if asked for, and last the IDENTIFYs that are too early on purpose.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use process::settings::Secret;
use tokio::time::{Instant, sleep, sleep_until};

use crate::{
    address::ProbeAddress,
    budget::{IdentifyCount, MOST_IDENTIFIES},
    connection::Connection,
    judge::{self, Dispatch, Reply, ResumeTry, Spaced, WhileOpen, compare},
    report::{Check, Identifies, ProbeReport},
};

mod session;

use session::{Listening, Session};

/// The close code that keeps a session, and the one that ends it.
const KEEP: u16 = 4_000;
const END: u16 = 1_000;
/// Early IDENTIFYs: at these parts of the interval after one that was accepted.
const EARLY: [f64; 2] = [0.2, 0.8];
/// How long a connection stays broken.
const BROKEN_FOR: Duration = Duration::from_secs(3);

/// Settings of a run.
#[derive(Clone, Debug)]
pub struct ProbeSettings {
    /// The token of a test bot.
    pub token: Secret,
    /// The gateway.
    pub gateway: ProbeAddress,
    /// Number and total of the shard.
    pub shard: (u32, u32),
    /// Intents, as bits.
    pub intents: u64,
    /// Discord's `max_concurrency`, for the report.
    pub max_concurrency: u32,
    /// Discord's interval between two IDENTIFYs of a bucket: 5 s.
    pub interval: Duration,
    /// How long each step listens for events.
    pub listen: Duration,
    /// How long an answer may take before it counts as missing.
    pub patience: Duration,
    /// How long to wait before a last RESUME.
    pub wait: Option<Duration>,
    /// Whether the report names guilds.
    pub with_ids: bool,
}

/// Why a run ended before its end.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProbeError {
    /// No connection to the gateway, or it broke.
    #[error("{0}")]
    Connection(String),
    /// The first IDENTIFY was not accepted.
    #[error("Discord did not accept the IDENTIFY: {0}")]
    NotAccepted(String),
    /// The limit of the run is reached.
    #[error("the limit of {MOST_IDENTIFIES} IDENTIFYs is reached")]
    CountExhausted,
}

/// How many IDENTIFYs a run sends when nothing goes wrong: for a session, a second one of its shard, and each early one with the
/// first that is accepted.
pub const PLANNED_IDENTIFIES: u32 = 2 + 2 * EARLY.len() as u32;

/// Returns about how long a run takes.
pub fn planned_time(settings: &ProbeSettings) -> Duration {
    settings.interval * 6 + settings.listen * 3 + BROKEN_FOR + settings.wait.unwrap_or_default()
}

/// Runs all steps. `tell` gets a line for people before each.
///
/// The report is complete, or says why the run ended early. Every connection is closed when this returns; when it is dropped, too.
pub async fn run(settings: ProbeSettings, tell: impl Fn(&str)) -> ProbeReport {
    let began = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let mut probe = Probe {
        count: IdentifyCount::new(MOST_IDENTIFIES, settings.interval),
        checks: Vec::new(),
        dispatches: Vec::new(),
        settings,
    };
    // Another run may have identified just now.
    probe.count.sent(Instant::now());
    let ended = probe.steps(&tell).await;
    let settings = &probe.settings;
    let mut checks =
        vec![judge::key_order(&probe.dispatches), judge::guild_last(&probe.dispatches, settings.with_ids)];
    checks.append(&mut probe.checks);
    ProbeReport {
        version: env!("CARGO_PKG_VERSION"),
        began_unix_s: began.as_secs(),
        real_discord: settings.gateway.is_discord(),
        shard: settings.shard,
        intents: settings.intents,
        max_concurrency: settings.max_concurrency,
        identifies: Identifies { spent: probe.count.spent(), ..Identifies::default() },
        checks,
        ended_early: ended.err().map(|error| error.to_string()),
    }
}

/// A run.
struct Probe {
    settings: ProbeSettings,
    count: IdentifyCount,
    checks: Vec<Check>,
    /// All dispatches of all connections.
    dispatches: Vec<Dispatch>,
}

impl Probe {
    async fn steps(&mut self, tell: &impl Fn(&str)) -> Result<(), ProbeError> {
        let listen = self.settings.listen;
        tell(
            "IDENTIFY: a first session; then listening. Write messages where the bot can see them, so that there is something to compare",
        );
        let mut first = self.identify().await?;
        first.listen(Instant::now() + listen).await?;

        tell("IDENTIFY: a second session of the same shard; then listening to both");
        let mut second = self.identify().await?;
        self.listen_to_both(&mut first, &mut second).await?;
        let comparison = compare(first.dispatches(), second.dispatches());
        self.checks.push(judge::same_order(&comparison));
        self.checks.push(judge::same_bytes(&comparison));

        tell("breaking the first connection, and RESUME over another one");
        let first = self.resume_after_break(first, &mut second).await?;
        self.keep(second.close(END).await);

        let Some(first) = first else {
            self.checks.push(judge::not_run("resume_while_open", "no session is left"));
            return self.spacing(tell).await;
        };
        tell("RESUME while the session's socket is open");
        let first = self.resume_while_open(first).await?;
        if let Some(wait) = self.settings.wait {
            let session = match first {
                Some(session) => session,
                None => self.identify().await?,
            };
            tell(&format!("closing, waiting {} s, then RESUME", wait.as_secs()));
            self.resume_after_wait(session, wait).await?;
        } else if let Some(session) = first {
            self.keep(session.close(END).await);
        }
        self.spacing(tell).await
    }

    /// Keeps the dispatches of a connection that has ended, for the checks over all of them.
    fn keep(&mut self, dispatches: Vec<Dispatch>) {
        self.dispatches.extend(dispatches);
    }

    /// Opens a session, at Discord's pace.
    async fn identify(&mut self) -> Result<Session, ProbeError> {
        if let Some(at) = self.count.next_at() {
            sleep_until(at).await;
        }
        let connection = self.connect().await?;
        let sent = self.send_identify(&connection).await?;
        let (session, reply, _) = Session::begin(connection, &self.settings, sent).await;
        session.ok_or_else(|| ProbeError::NotAccepted(reply.text("READY")))
    }

    async fn connect(&self) -> Result<Connection, ProbeError> {
        session::open(&self.settings.gateway, self.settings.patience).await.map_err(ProbeError::Connection)
    }

    /// Counts an IDENTIFY and sends it. Returns when.
    async fn send_identify(&mut self, connection: &Connection) -> Result<Instant, ProbeError> {
        self.count.take().map_err(|_| ProbeError::CountExhausted)?;
        let sent = Instant::now();
        self.count.sent(sent);
        connection.send(session::identify(&self.settings)).await;
        Ok(sent)
    }

    async fn listen_to_both(&self, first: &mut Session, second: &mut Session) -> Result<(), ProbeError> {
        let until = Instant::now() + self.settings.listen;
        let (one, other) = tokio::join!(first.listen(until), second.listen(until));
        one.and(other)
    }

    /// Breaks the first connection, resumes its session over another one, and compares with the second session.
    async fn resume_after_break(
        &mut self,
        first: Session,
        second: &mut Session,
    ) -> Result<Option<Session>, ProbeError> {
        let key = first.key();
        let before = first.abort().await;
        // The comparison begins after the events that both have got already.
        let seen = second.dispatches().len();
        self.keep(before);
        second.listen(Instant::now() + BROKEN_FOR.min(self.settings.listen)).await?;
        let (resume, session) = self.resume(&key).await?;
        let Some(mut session) = session else {
            self.checks.push(judge::after_break(&resume, &judge::Comparison::default()));
            return Ok(None);
        };
        let mut replayed = resume.replayed.clone();
        self.listen_to_both(&mut session, second).await?;
        replayed.extend_from_slice(session.dispatches());
        let comparison = compare(&replayed, &second.dispatches()[seen..]);
        self.checks.push(judge::after_break(&resume, &comparison));
        self.keep(resume.replayed);
        Ok(Some(session))
    }

    async fn resume(&self, key: &session::Key) -> Result<(ResumeTry, Option<Session>), ProbeError> {
        let connection =
            session::open(key.address(), self.settings.patience).await.map_err(ProbeError::Connection)?;
        Ok(Session::resume(connection, &self.settings, key).await)
    }

    /// Resumes the session over another connection while its own is open. Returns the session as it is afterwards, if it is left.
    async fn resume_while_open(&mut self, mut old: Session) -> Result<Option<Session>, ProbeError> {
        let key = old.key();
        let connection =
            session::open(key.address(), self.settings.patience).await.map_err(ProbeError::Connection)?;
        // The old connection sends its heartbeats by itself; what it gets meanwhile waits.
        let (resume, mut new) = Session::resume(connection, &self.settings, &key).await;
        let answered = Instant::now();
        // Both sockets ask for an event, so that there is something to receive.
        old.ask_for_event(&self.settings).await;
        if let Some(new) = &new {
            new.ask_for_event(&self.settings).await;
        }
        let until = Instant::now() + self.settings.listen;
        let (old_state, new_state) = tokio::join!(old.watch(until), async {
            match &mut new {
                Some(new) => Some(new.watch(until).await),
                None => None,
            }
        });
        let after = |dispatches: &[Dispatch]| dispatches.iter().filter(|one| one.at > answered).count();
        let old_end = match old_state {
            Listening::Open => None,
            Listening::Ended(reply) => Some(reply),
        };
        let observed = WhileOpen {
            old_events: after(old.dispatches()),
            new_events: new.as_ref().map_or(0, |new| after(new.dispatches())),
            old_end: old_end.clone(),
            new: resume,
        };
        self.checks.push(judge::while_open(&observed));
        let is_new_open = matches!(new_state, Some(Listening::Open));
        Ok(match (new, old_end) {
            (Some(new), _) if is_new_open => {
                // Not with 1000, which would end the session.
                self.keep(old.close(KEEP).await);
                Some(new)
            }
            (None, None) if observed.new.reply != Reply::InvalidSession(false) || observed.old_events > 0 => {
                Some(old)
            }
            (new, _) => {
                self.keep(old.close(END).await);
                if let Some(new) = new {
                    self.keep(new.close(END).await);
                }
                None
            }
        })
    }

    async fn resume_after_wait(&mut self, session: Session, wait: Duration) -> Result<(), ProbeError> {
        let key = session.key();
        self.keep(session.close(KEEP).await);
        sleep(wait).await;
        let (resume, session) = self.resume(&key).await?;
        self.checks.push(judge::after_wait(wait, &resume));
        if let Some(session) = session {
            self.keep(session.close(END).await);
        }
        Ok(())
    }

    /// Sends IDENTIFYs in pairs: one that keeps to the interval and one that does not. Allowed by Discord's limits: the answer is op 9.
    async fn spacing(&mut self, tell: &impl Fn(&str)) -> Result<(), ProbeError> {
        let mut tries = Vec::new();
        let interval = self.count.interval();
        for part in EARLY {
            if self.count.left() < 2 {
                break;
            }
            let gap = interval.mul_f64(part);
            tell(&format!("IDENTIFY, and another one {} ms later, too early on purpose", gap.as_millis()));
            if let Some(at) = self.count.next_at() {
                sleep_until(at).await;
            }
            // Both are connected before, so that only the sending is timed.
            let (first, second) = (self.connect().await?, self.connect().await?);
            let sent = self.send_identify(&first).await?;
            sleep_until(sent + gap).await;
            let sent_second = self.send_identify(&second).await?;
            let (first, second) = tokio::join!(
                Session::begin(first, &self.settings, sent),
                Session::begin(second, &self.settings, sent_second)
            );
            let is_first_accepted = first.1 == Reply::Accepted;
            for session in [first.0, second.0].into_iter().flatten() {
                self.keep(session.close(END).await);
            }
            if is_first_accepted {
                tries.push(Spaced { gap: sent_second - sent, reply: second.1, after: second.2 });
            }
        }
        self.checks.push(judge::spacing(&tries, interval));
        Ok(())
    }
}
