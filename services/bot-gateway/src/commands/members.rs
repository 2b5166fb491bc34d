//! Requests for members: answered out of the cache, or once at Discord for all clients of this worker.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use futures_util::{StreamExt as _, stream::FuturesUnordered};
use guild_cache::read_fields;
use serde_json::{Value, json};
use shard_bridge::{GatewayCommand, MembersQuery};
use tokio::{
    sync::{Semaphore, mpsc, watch},
    time::{Instant, sleep, timeout, timeout_at},
};

use super::WITHIN;
use crate::Shared;

/// Answers out of the cache for one client at once: each holds members until the client reads them.
const ANSWERS_AT_ONCE: usize = 4;
/// How long the cache of a guild's owner may take for each chunk of members.
const CACHE_WITHIN: Duration = Duration::from_secs(5);
/// Requests for members of one client whose answers are still expected.
const REQUESTS: usize = 1_024;
/// The longest wait before a request that Discord has put off is sent again. Discord asks for at most 30 s.
const LONGEST_WAIT: Duration = Duration::from_mins(2);

/// Requests members for a client. Equal requests that wait for their answer at this worker are one at Discord.
pub(super) async fn request_members(
    shared: Arc<Shared>,
    requests: Requests,
    members: CachedAnswers,
    command: GatewayCommand,
    asked: Option<String>,
) {
    let Some(query) = command.members() else { return };
    let until = Instant::now() + WITHIN;
    let nonce = loop {
        if answer_from_cache(&shared, &members, &query, asked.as_deref()).await {
            return;
        }
        let mut changes = shared.waiting.changes.subscribe();
        match shared.waiting.join(command.text(), |nonce| requests.expect(nonce, asked.clone())) {
            Joined::New(nonce) => break nonce,
            Joined::Waiting => return,
            Joined::Late => {
                // When that answer has ended, the cache has the members.
                if timeout_at(until, changes.changed()).await.is_err() {
                    return;
                }
            }
        }
    };
    let sent = match with_nonce(&command, &nonce) {
        Some(named) => {
            let sent = shared.bridge.send_to_guild(&named, Instant::now() + WITHIN).await;
            sent.map(drop).map_err(|error| error.to_string())
        }
        None => Err("it is too long with a nonce".to_owned()),
    };
    if let Err(error) = sent {
        shared.waiting.answered(&nonce, true);
        tracing::info!(op = 8, error, "command of a client of the gateway was not sent");
    }
}

/// Where answers out of the cache go.
#[derive(Clone)]
pub(super) struct CachedAnswers {
    chunks: mpsc::Sender<String>,
    places: Arc<Semaphore>,
}

impl CachedAnswers {
    pub(super) fn new(chunks: mpsc::Sender<String>) -> Self {
        Self { chunks, places: Arc::new(Semaphore::new(ANSWERS_AT_ONCE)) }
    }
}

/// Answers out of the cache of the guild's owner, if that has all members. Returns whether it did.
async fn answer_from_cache(
    shared: &Shared,
    members: &CachedAnswers,
    query: &MembersQuery,
    asked: Option<&str>,
) -> bool {
    // It is never closed.
    let _place = members.places.acquire().await;
    let until = Instant::now() + CACHE_WITHIN;
    let Ok(mut chunks) = shared.bridge.cached_members(query, until).await else { return false };
    let mut sent = false;
    while let Ok(Some(Ok(chunk))) = timeout(CACHE_WITHIN, chunks.next()).await {
        let chunk = match (asked, chunk.strip_suffix('}')) {
            (Some(nonce), Some(fields)) => format!("{fields},\"nonce\":{}}}", json!(nonce)),
            _ => chunk,
        };
        let is_last = is_last_chunk(&chunk);
        // The client is gone.
        if members.chunks.send(chunk).await.is_err() {
            return true;
        }
        sent |= is_last;
    }
    if sent {
        shared.metrics.answered_members();
    }
    sent
}

fn is_last_chunk(chunk: &str) -> bool {
    let [index, count] = read_fields(chunk, ["chunk_index", "chunk_count"]);
    let number = |text: Option<&str>| text.and_then(|text| text.parse::<u64>().ok());
    number(index).map(|index| index + 1) >= number(count)
}

fn with_nonce(command: &GatewayCommand, nonce: &str) -> Option<GatewayCommand> {
    let mut payload: Value = serde_json::from_str(command.text()).ok()?;
    payload["d"]["nonce"] = nonce.into();
    GatewayCommand::parse(payload).ok()
}

/// Resends requests for members that Discord answered with RATE_LIMITED, until `limited` is closed and nothing waits.
pub(crate) async fn send_again(shared: Arc<Shared>, mut limited: mpsc::Receiver<Limited>) {
    let mut waiting = FuturesUnordered::new();
    loop {
        let limited = tokio::select! {
            Some(limited) = limited.recv() => limited,
            Some(()) = waiting.next() => continue,
            else => return,
        };
        let shared = shared.clone();
        waiting.push(async move {
            sleep(limited.retry_after).await;
            let command =
                serde_json::from_str(&limited.text).ok().and_then(|text| GatewayCommand::parse(text).ok());
            let Some(named) = command.and_then(|command| with_nonce(&command, &limited.nonce)) else {
                return;
            };
            if let Err(error) = shared.bridge.send_to_guild(&named, Instant::now() + WITHIN).await {
                shared.waiting.answered(&limited.nonce, true);
                tracing::info!(op = 8, %error, "command of a client of the gateway was not sent");
            }
        });
    }
}

/// A request for members that Discord has put off.
#[derive(Debug)]
pub(crate) struct Limited {
    text: String,
    nonce: String,
    retry_after: Duration,
}

/// Requests for members that Discord has not answered to the end, of all clients of this worker: their texts, and our nonces.
#[derive(Debug)]
pub(crate) struct WaitingRequests {
    by_text: Mutex<HashMap<String, Waiting>>,
    /// Sends when an answer has ended.
    changes: watch::Sender<()>,
    limited: mpsc::Sender<Limited>,
}

#[derive(Debug)]
struct Waiting {
    nonce: String,
    until: Instant,
    /// When it is sent again, because Discord rate limited it.
    again_at: Option<Instant>,
    /// The first chunk has come.
    is_begun: bool,
}

/// What becomes of a request.
#[derive(Debug, PartialEq, Eq)]
enum Joined {
    /// It is new, with this nonce, and must be sent.
    New(String),
    /// It waits for the answer to an equal one.
    Waiting,
    /// The answer to an equal one has begun: the request would miss the beginning.
    Late,
}

impl WaitingRequests {
    /// Returns an empty set of requests, and the receiver of the rate limited ones.
    pub(crate) fn new() -> (Self, mpsc::Receiver<Limited>) {
        let (limited, receiver) = mpsc::channel(REQUESTS);
        (Self { by_text: Mutex::default(), changes: watch::Sender::default(), limited }, receiver)
    }

    /// Discord has answered RATE_LIMITED
    /// ([Rate Limited](https://docs.discord.com/developers/events/gateway-events#rate-limited)).
    pub(crate) fn note_limited(&self, answer: &Value) {
        let nonce = answer.pointer("/meta/nonce").and_then(Value::as_str);
        let retry_after = answer.get("retry_after").and_then(Value::as_f64).unwrap_or_default();
        let retry_after = Duration::try_from_secs_f64(retry_after).unwrap_or(LONGEST_WAIT).min(LONGEST_WAIT);
        let Some(nonce) = nonce else { return };
        let mut waiting = self.by_text.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        let is_ours =
            |known: &Waiting| known.nonce == nonce && known.again_at.is_none_or(|again| again <= now);
        // A repeated answer adds no second retry.
        let Some((text, known)) = waiting.iter_mut().find(|(_, known)| is_ours(known)) else { return };
        known.again_at = Some(now + retry_after);
        known.until = now + retry_after + WITHIN;
        let limited = Limited { text: text.clone(), nonce: nonce.to_owned(), retry_after };
        // There are no more places than requests.
        let _ = self.limited.try_send(limited);
    }

    /// Joins an equal request, or begins one. `expect` notes the nonce for the client before an answer can come.
    fn join(&self, text: &str, expect: impl FnOnce(&str)) -> Joined {
        let now = Instant::now();
        let mut waiting = self.by_text.lock().unwrap_or_else(PoisonError::into_inner);
        match waiting.get(text).filter(|known| known.until > now) {
            Some(known) if known.is_begun => return Joined::Late,
            Some(known) => {
                expect(&known.nonce);
                return Joined::Waiting;
            }
            None => {}
        }
        if waiting.len() >= REQUESTS {
            waiting.retain(|_, known| known.until > now);
        }
        // Discord takes 32 bytes.
        let nonce = format!("ag{:016x}", rand::random::<u64>());
        expect(&nonce);
        // Beyond the bound equal requests are not recognized.
        if waiting.len() < REQUESTS {
            let known =
                Waiting { nonce: nonce.clone(), until: now + WITHIN, again_at: None, is_begun: false };
            waiting.insert(text.to_owned(), known);
        }
        Joined::New(nonce)
    }

    /// A chunk has come.
    pub(crate) fn note_chunk(&self, chunk: &Value) {
        if let Some(nonce) = chunk.get("nonce").and_then(Value::as_str) {
            self.answered(nonce, is_last(chunk));
        }
    }

    /// The answer with this nonce has begun, or ended.
    fn answered(&self, nonce: &str, has_ended: bool) {
        let mut waiting = self.by_text.lock().unwrap_or_else(PoisonError::into_inner);
        if has_ended {
            waiting.retain(|_, known| known.nonce != nonce);
            self.changes.send_replace(());
        } else if let Some(known) = waiting.values_mut().find(|known| known.nonce == nonce) {
            known.is_begun = true;
        }
    }
}

fn is_last(chunk: &Value) -> bool {
    let number = |field| chunk.get(field).and_then(Value::as_u64);
    number("chunk_index").map(|index| index + 1) >= number("chunk_count")
}

/// The requests for members of one client: our nonces, and the client's own.
#[derive(Clone, Debug, Default)]
pub(crate) struct Requests(Arc<Mutex<Expected>>);

#[derive(Debug, Default)]
struct Expected {
    /// Our nonces, oldest first, each with the client's own.
    nonces: VecDeque<(String, Option<String>)>,
}

impl Requests {
    /// An answer under our nonce is to come under the client's own, if it gave one.
    fn expect(&self, nonce: &str, asked: Option<String>) {
        let mut expected = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if expected.nonces.len() >= REQUESTS {
            expected.nonces.pop_front();
        }
        expected.nonces.push_back((nonce.to_owned(), asked));
    }

    /// The chunk as the client is to get it, once for each of its requests; none if it answers somebody else.
    pub(crate) fn answer(&self, chunk: &Value) -> Vec<Value> {
        let Some(nonce) = chunk.get("nonce").and_then(Value::as_str) else { return Vec::new() };
        let mut expected = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mine = expected.nonces.iter().filter(|(ours, _)| ours == nonce);
        let asked: Vec<Option<String>> = mine.map(|(_, asked)| asked.clone()).collect();
        if is_last(chunk) {
            expected.nonces.retain(|(ours, _)| ours != nonce);
        }
        drop(expected);
        let answers = asked.into_iter().filter_map(|asked| {
            let mut chunk = chunk.clone();
            let fields = chunk.as_object_mut()?;
            fields.remove("nonce");
            fields.extend(asked.map(|asked| ("nonce".to_owned(), asked.into())));
            Some(chunk)
        });
        answers.collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        commands::Commands,
        testing::{Scripted, shared},
    };

    #[tokio::test(start_paused = true)]
    async fn client_that_does_not_read_has_few_answers_out_of_the_cache_under_way() {
        let worker = Scripted::new(|_, _| Vec::new());
        let shared = Arc::new(shared(1, &worker));
        let (members, mut chunks) = mpsc::channel(2);
        let mut commands = Commands::new(shared, Requests::default(), members);
        for guild in 1..=20_u64 {
            commands.take(8, json!({"guild_id": guild.to_string(), "query": "", "limit": 0}));
        }
        // The first two answers are in the channel, and so no longer under way.
        assert!(
            timeout(Duration::from_secs(1), async {
                loop {
                    commands.work().await;
                }
            })
            .await
            .is_err()
        );
        assert_eq!(*worker.members_asked.lock().unwrap(), 2 + ANSWERS_AT_ONCE);
        let reading = async {
            for _ in 0..20 {
                chunks.recv().await.unwrap();
            }
        };
        tokio::select! {
            () = reading => {}
            () = async { loop { commands.work().await } } => {}
        }
        assert_eq!(*worker.members_asked.lock().unwrap(), 20);
    }

    #[test]
    fn chunks_come_back_under_the_clients_nonce() {
        let requests = Requests::default();
        let chunk = |nonce: &str, index: u32| json!({"guild_id": "1", "nonce": nonce, "chunk_index": index, "chunk_count": 2});
        requests.expect("named", Some("mine".to_owned()));
        requests.expect("unnamed", None);
        assert_eq!(requests.answer(&chunk("other", 0)), [] as [Value; 0]);
        for index in [0, 1] {
            assert_eq!(requests.answer(&chunk("named", index))[0]["nonce"], "mine");
        }
        assert_eq!(requests.answer(&chunk("named", 0)).len(), 0, "the last chunk came");
        assert!(requests.answer(&chunk("unnamed", 0))[0].get("nonce").is_none());
        for _ in 0..REQUESTS {
            requests.expect("more", None);
        }
        assert_eq!(requests.answer(&chunk("unnamed", 1)).len(), 0, "bounded");
    }

    #[test]
    fn equal_requests_are_one_until_the_answer_begins() {
        let (waiting, mut limited) = WaitingRequests::new();
        let (first, second) = (Requests::default(), Requests::default());
        let join = |requests: &Requests, asked: &str| {
            waiting.join("all members", |nonce| requests.expect(nonce, Some(asked.to_owned())))
        };
        let Joined::New(nonce) = join(&first, "a") else { panic!("it is the first") };
        assert!(nonce.len() <= 32);
        assert_eq!((join(&second, "b"), join(&second, "c")), (Joined::Waiting, Joined::Waiting));
        assert!(matches!(waiting.join("other members", |_| ()), Joined::New(_)));
        waiting.note_limited(
            &json!({"opcode": 8, "retry_after": 1.5, "meta": {"guild_id": "1", "nonce": "other"}}),
        );
        waiting.note_limited(
            &json!({"opcode": 8, "retry_after": 1.5, "meta": {"guild_id": "1", "nonce": nonce}}),
        );
        let again = limited.try_recv().unwrap();
        assert_eq!(
            (again.text.as_str(), &again.nonce, again.retry_after),
            ("all members", &nonce, Duration::from_millis(1_500))
        );
        // The same answer once more.
        waiting.note_limited(
            &json!({"opcode": 8, "retry_after": 1.5, "meta": {"guild_id": "1", "nonce": nonce}}),
        );
        assert!(limited.try_recv().is_err(), "the other one is not ours, and each is sent again once");
        let ended = waiting.changes.subscribe();
        waiting.note_chunk(&json!({"nonce": nonce, "chunk_index": 0, "chunk_count": 2}));
        assert_eq!(join(&first, "late"), Joined::Late, "it would miss the first chunk");
        assert!(!ended.has_changed().unwrap());
        waiting.note_chunk(&json!({"nonce": nonce, "chunk_index": 1, "chunk_count": 2}));
        assert!(ended.has_changed().unwrap());
        assert!(matches!(join(&first, "later"), Joined::New(_)));
        let chunk = json!({"nonce": nonce, "chunk_index": 0, "chunk_count": 1});
        let nonces = |requests: &Requests| {
            requests
                .answer(&chunk)
                .iter()
                .map(|chunk| chunk["nonce"].as_str().unwrap().to_owned())
                .collect::<Vec<_>>()
        };
        assert_eq!(
            (nonces(&first), nonces(&second)),
            (vec!["a".to_owned()], vec!["b".to_owned(), "c".to_owned()])
        );
    }
}
