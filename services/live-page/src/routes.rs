//! The HTTP routes of the page: `/` for browsers, and `/page/...` for its files and data.

use std::{
    net::SocketAddr,
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use axum::{
    Json, Router,
    body::Body,
    extract::{Query, Request, State},
    http::{HeaderMap, HeaderValue, StatusCode, header},
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::get,
};
use process::{credentials::Credentials, telemetry::health::for_readers};
use serde::Deserialize;
use tokio::{
    sync::{Mutex, Semaphore},
    time::Instant,
};
use tokio_util::sync::CancellationToken;

use crate::{
    HistoryData, MOST_PAGES, PageSource,
    assets::{ASSETS, PAGE},
    feed::Feed,
    guard,
};

/// What a browser may do with the page: run and show its own files, ask this server, and nothing else.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
                      base-uri 'none'; form-action 'none'; frame-ancestors 'none'; \
                      require-trusted-types-for 'script'; trusted-types 'none'";

/// How far back the timeline goes.
const TIMELINE_MS: u64 = 24 * 3600 * 1000;

/// How long one reading of the history serves all pages.
const HISTORY_LASTS: Duration = Duration::from_secs(3);

/// Questions about guilds that are answered at once.
const QUESTIONS: usize = 8;

type HistoryReading = (Instant, Arc<HistoryData>);

/// The page on one server.
#[derive(Clone)]
pub struct LivePage {
    source: Arc<dyn PageSource>,
    feed: Feed,
    on_loopback: bool,
    credentials: Credentials,
    /// The last reading of the history, and when it was made.
    history: Arc<Mutex<Option<HistoryReading>>>,
    questions: Arc<Semaphore>,
}

impl LivePage {
    /// A page on the server at `address`, until `stop`.
    pub fn new(
        source: Arc<dyn PageSource>,
        address: SocketAddr,
        credentials: Credentials,
        stop: CancellationToken,
    ) -> Self {
        Self {
            feed: Feed::new(source.clone(), stop),
            source,
            on_loopback: address.ip().is_loopback(),
            credentials,
            history: Arc::default(),
            questions: Arc::new(Semaphore::new(QUESTIONS)),
        }
    }

    /// Makes the data of open pages until the page is stopped. Must run for pages to get data.
    pub async fn run(self) {
        self.feed.run().await;
    }

    /// Returns its routes.
    pub fn routes(&self) -> Router {
        let data = Router::new()
            .route("/page/stream", get(stream))
            .route("/page/shard", get(shard))
            .route("/page/history", get(history))
            .route("/page/why", get(why));
        let mut router = for_readers(data, self.credentials.clone()).route("/", get(page));
        for asset in ASSETS {
            let answer = move || async move { text(asset.kind, asset.text) };
            router = router.route(asset.path, get(answer));
        }
        router.with_state(self.clone()).layer(middleware::from_fn_with_state(self.clone(), guarded))
    }
}

/// Refuses requests that the page's server must not answer, and adds the headers that every answer has.
async fn guarded(State(page): State<LivePage>, request: Request, next: Next) -> Response {
    let (head, body) = request.into_parts();
    let mut answer = match guard::refusal(&head, page.on_loopback) {
        Some(why) => (StatusCode::FORBIDDEN, why).into_response(),
        None => next.run(Request::from_parts(head, body)).await,
    };
    for (name, value) in [
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::X_FRAME_OPTIONS, "DENY"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::CACHE_CONTROL, "no-store"),
        (header::HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
        (header::HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    ] {
        answer.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    answer
}

fn text(kind: &'static str, text: &'static str) -> Response {
    ([(header::CONTENT_TYPE, kind)], text).into_response()
}

/// The page for browsers. Other clients find nothing at `/`, as before there was a page.
async fn page(headers: HeaderMap) -> Response {
    let mut answer = if wants_html(&headers) {
        text("text/html; charset=utf-8", PAGE)
    } else {
        StatusCode::NOT_FOUND.into_response()
    };
    answer.headers_mut().insert(header::VARY, HeaderValue::from_static("accept"));
    answer
}

/// Whether `Accept` names HTML, as browsers do when they open an address.
fn wants_html(headers: &HeaderMap) -> bool {
    headers.get_all(header::ACCEPT).iter().filter_map(|accept| accept.to_str().ok()).any(|accept| {
        accept.split(',').any(|range| {
            let mut parts = range.split(';').map(str::trim);
            let is_html = parts.next().is_some_and(|kind| kind.eq_ignore_ascii_case("text/html"));
            let refused = |part: &str| part.replace(' ', "").trim_end_matches(['0', '.']) == "q=";
            is_html && !parts.any(refused)
        })
    })
}

async fn stream(State(page): State<LivePage>) -> Response {
    let Some(events) = page.feed.open() else {
        let full = format!("{MOST_PAGES} pages are open, the maximum; close one\n");
        return (StatusCode::SERVICE_UNAVAILABLE, [(header::RETRY_AFTER, "10")], full).into_response();
    };
    ([(header::CONTENT_TYPE, "text/event-stream")], Body::from_stream(events)).into_response()
}

#[derive(Deserialize)]
struct ShardQuestion {
    shard: u32,
}

async fn shard(State(page): State<LivePage>, Query(question): Query<ShardQuestion>) -> Response {
    match page.source.shard(question.shard) {
        Some(mut shard) => {
            for text in [&mut shard.detail, &mut shard.gap] {
                *text = outside_text::without_secrets(text).into_owned();
            }
            Json(shard).into_response()
        }
        None => (StatusCode::NOT_FOUND, "the fleet has no such shard\n").into_response(),
    }
}

async fn history(State(page): State<LivePage>) -> Response {
    // Held while the store is read: other pages wait for the same reading, which ends by its deadline.
    let mut known = page.history.lock().await;
    let fresh = known.as_ref().filter(|(at, _)| at.elapsed() < HISTORY_LASTS).map(|(_, read)| read.clone());
    let read = if let Some(read) = fresh {
        read
    } else {
        let read = Arc::new(page.source.history(unix_ms().saturating_sub(TIMELINE_MS)).await);
        *known = Some((Instant::now(), read.clone()));
        read
    };
    drop(known);
    json(read.as_ref())
}

#[derive(Deserialize)]
struct GuildQuestion {
    guild: u64,
}

async fn why(State(page): State<LivePage>, Query(question): Query<GuildQuestion>) -> Response {
    let Ok(_place) = page.questions.try_acquire() else {
        let busy = "too many questions at once: ask again in a moment\n";
        return (StatusCode::SERVICE_UNAVAILABLE, busy).into_response();
    };
    json(&page.source.why(question.guild).await)
}

/// An answer without our secrets: it repeats what others sent.
fn json(value: &impl serde::Serialize) -> Response {
    match serde_json::to_string(value) {
        Ok(text) => {
            let text = outside_text::without_secrets(&text).into_owned();
            ([(header::CONTENT_TYPE, "application/json")], text).into_response()
        }
        Err(error) => {
            tracing::error!(%error, "cannot encode live page answer");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}

fn unix_ms() -> u64 {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since_epoch.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_clients_that_name_html_get_the_page() {
        let wants = |accept: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::ACCEPT, accept.parse().unwrap());
            wants_html(&headers)
        };
        assert!(wants("text/html"));
        assert!(wants("application/xhtml+xml, Text/HTML;q=0.9, */*;q=0.8"));
        for other in
            ["*/*", "application/json", "text/*", "text/html;q=0", "text/html; q=0.0", "text/htmlx", ""]
        {
            assert!(!wants(other), "{other}");
        }
        assert!(!wants_html(&HeaderMap::new()));
    }
}
