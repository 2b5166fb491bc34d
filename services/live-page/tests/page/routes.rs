//! The routes: who gets the page, what every answer carries, and what happens when too many pages are open.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use axum::{
    Router,
    body::Body,
    http::{HeaderMap, Request, StatusCode},
};
use fleet_model::ShardStatus;
use futures_util::future::BoxFuture;
use http_body_util::BodyExt as _;
use live_page::{FleetData, HistoryData, LivePage, MOST_PAGES, PageSource, ShardData, ShardDetail, WhyData};
use process::credentials::Credentials;
use serde_json::Value;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt as _;

/// A fleet of ready shards.
struct Still {
    shards: u32,
    histories: AtomicU32,
}

impl PageSource for Still {
    fn fleet(&self) -> FleetData {
        let shards = (0..self.shards).map(|number| ShardData {
            number,
            worker: None,
            status: ShardStatus::Ready,
            guilds: 2_000,
            latency_ms: Some(40.0),
            sequence: 1,
            reported_at: None,
            since_unix_ms: None,
            detail: String::new(),
        });
        FleetData { acting: true, shard_total: self.shards, shards: shards.collect(), ..FleetData::default() }
    }

    fn shard(&self, number: u32) -> Option<ShardDetail> {
        (number < self.shards).then(|| ShardDetail { number, ..ShardDetail::default() })
    }

    fn history(&self, _: u64) -> BoxFuture<'_, HistoryData> {
        self.histories.fetch_add(1, Ordering::Relaxed);
        Box::pin(async { HistoryData::default() })
    }

    fn why(&self, guild_id: u64) -> BoxFuture<'_, WhyData> {
        Box::pin(async move { WhyData { sentence: format!("guild {guild_id}"), ..WhyData::default() } })
    }
}

struct Served {
    source: Arc<Still>,
    page: LivePage,
    routes: Router,
    stop: CancellationToken,
}

fn serve(shards: u32) -> Served {
    let source = Arc::new(Still { shards, histories: AtomicU32::new(0) });
    let stop = CancellationToken::new();
    let page = LivePage::new(
        source.clone(),
        SocketAddr::from(([127, 0, 0, 1], 3001)),
        Credentials::none(),
        stop.clone(),
    );
    tokio::spawn(page.clone().run());
    Served { source, routes: page.routes(), page, stop }
}

impl Served {
    async fn ask(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
    ) -> (StatusCode, HeaderMap, String) {
        let mut request = Request::builder().method(method).uri(path);
        if !headers.iter().any(|(name, _)| *name == "host") {
            request = request.header("host", "127.0.0.1:3001");
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let answer = self.routes.clone().oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
        let (head, body) = answer.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        (head.status, head.headers, String::from_utf8(body.to_vec()).unwrap())
    }

    async fn open(&self) -> (StatusCode, Body) {
        let request = Request::builder().uri("/page/stream").header("host", "localhost");
        let answer = self.routes.clone().oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
        (answer.status(), answer.into_body())
    }
}

const HTML: (&str, &str) = ("accept", "text/html,application/xhtml+xml,*/*;q=0.8");

#[tokio::test]
async fn browsers_get_the_page_and_others_what_they_got_before() {
    let served = serve(0);
    let (status, headers, page) = served.ask("GET", "/", &[HTML]).await;
    assert_eq!(
        (status, &headers["content-type"]),
        (StatusCode::OK, &"text/html; charset=utf-8".parse().unwrap())
    );
    assert!(page.starts_with("<!doctype html>"), "{page}");
    assert_eq!(headers["vary"], "accept");
    let (status, headers, body) = served.ask("HEAD", "/", &[HTML]).await;
    assert_eq!((status, body.as_str()), (StatusCode::OK, ""));
    assert_eq!(headers["content-length"], page.len().to_string().as_str());
    for other in [vec![], vec![("accept", "*/*")], vec![("accept", "application/json")]] {
        let (status, headers, body) = served.ask("GET", "/", &other).await;
        assert_eq!((status, body.as_str()), (StatusCode::NOT_FOUND, ""), "{other:?}");
        assert_eq!(headers["vary"], "accept");
    }
    assert_eq!(served.ask("POST", "/", &[HTML]).await.0, StatusCode::METHOD_NOT_ALLOWED);
    assert_eq!(served.ask("GET", "/page/none.js", &[HTML]).await.0, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn page_loads_only_its_own_files_and_each_is_served() {
    let served = serve(0);
    let (_, headers, page) = served.ask("GET", "/", &[HTML]).await;
    let policy = headers["content-security-policy"].to_str().unwrap();
    for rule in ["default-src 'none'", "script-src 'self'", "style-src 'self'", "frame-ancestors 'none'"] {
        assert!(policy.contains(rule), "{policy}");
    }
    assert!(!policy.contains("unsafe") && !policy.contains("http"), "{policy}");
    assert!(!page.contains("style=") && !page.contains("onclick") && !page.contains("://"), "{page}");
    let mut files: Vec<String> = Vec::new();
    let quoted =
        |text: &str| -> Vec<String> { text.split('"').skip(1).step_by(2).map(str::to_owned).collect() };
    files.extend(quoted(&page).into_iter().filter(|path| path.starts_with("/page/")));
    let mut seen = 0;
    while seen < files.len() {
        let path = files[seen].clone();
        seen += 1;
        let (status, headers, text) = served.ask("GET", &path, &[]).await;
        assert_eq!(status, StatusCode::OK, "{path}");
        assert_eq!(
            (&headers["x-content-type-options"], &headers["referrer-policy"]),
            (&"nosniff".parse().unwrap(), &"no-referrer".parse().unwrap(),)
        );
        let imports = text.lines().filter(|line| line.starts_with("import "));
        for name in imports.filter_map(|line| line.split('"').nth(1)?.strip_prefix("./")) {
            let path = format!("/page/{name}");
            if !files.contains(&path) {
                files.push(path);
            }
        }
        let insecure =
            ["innerHTML", "insertAdjacentHTML", "document.write", "eval(", "://", "setAttribute(\"style\""];
        let outside: Vec<_> = insecure.iter().filter(|word| text.contains(**word)).collect();
        assert!(outside.is_empty() || path.contains("icon"), "{path}: {outside:?}");
    }
    assert!(files.len() >= 15, "{files:?}");
}

#[tokio::test]
async fn other_sites_and_other_names_get_nothing() {
    let served = serve(1);
    for path in
        ["/", "/page/main.js", "/page/stream", "/page/shard?shard=0", "/page/history", "/page/why?guild=1"]
    {
        let (status, headers, text) = served.ask("GET", path, &[HTML, ("host", "evil.example")]).await;
        assert_eq!(status, StatusCode::FORBIDDEN, "{path}");
        assert!(text.contains("HEALTH_LISTEN_HOST"), "{text}");
        assert!(headers.contains_key("content-security-policy"));
        let cross = [("sec-fetch-site", "cross-site"), ("sec-fetch-mode", "no-cors")];
        assert_eq!(served.ask("GET", path, &cross).await.0, StatusCode::FORBIDDEN, "{path}");
    }
}

#[tokio::test]
async fn questions_are_answered_as_json() {
    let served = serve(3);
    let (status, headers, text) = served.ask("GET", "/page/shard?shard=2", &[]).await;
    assert_eq!((status, &headers["content-type"]), (StatusCode::OK, &"application/json".parse().unwrap()));
    assert_eq!(serde_json::from_str::<Value>(&text).unwrap()["number"], 2);
    assert_eq!(served.ask("GET", "/page/shard?shard=3", &[]).await.0, StatusCode::NOT_FOUND);
    let (_, _, text) = served.ask("GET", "/page/why?guild=123456789012345678", &[]).await;
    assert_eq!(serde_json::from_str::<Value>(&text).unwrap()["sentence"], "guild 123456789012345678");
    for bad in [
        "/page/shard",
        "/page/shard?shard=-1",
        "/page/why?guild=x",
        "/page/why?guild=99999999999999999999999",
    ] {
        assert_eq!(served.ask("GET", bad, &[]).await.0, StatusCode::BAD_REQUEST, "{bad}");
    }
    for _ in 0..5 {
        assert_eq!(served.ask("GET", "/page/history", &[]).await.0, StatusCode::OK);
    }
    assert_eq!(served.source.histories.load(Ordering::Relaxed), 1, "one reading serves all pages");
}

#[tokio::test]
async fn more_pages_than_the_cap_are_told_so() {
    let served = serve(1);
    let mut open = Vec::new();
    for _ in 0..MOST_PAGES {
        let (status, body) = served.open().await;
        assert_eq!(status, StatusCode::OK);
        open.push(body);
    }
    let (status, body) = served.open().await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
    let text = String::from_utf8(body.collect().await.unwrap().to_bytes().to_vec()).unwrap();
    assert!(text.contains("64 pages are open, the maximum"), "{text}");
    open.pop();
    let (status, mut body) = served.open().await;
    assert_eq!(status, StatusCode::OK, "a closed page leaves its place");
    let frame = body.frame().await.unwrap().unwrap().into_data().unwrap();
    assert!(frame.starts_with(b"event: full\ndata: {"), "{frame:?}");
}

/// A client that reads nothing costs one frame, and ends with the server.
#[tokio::test]
async fn client_that_does_not_read_holds_up_no_one() {
    use process::telemetry::health::{HealthServer, HealthSource, Verdict};
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    struct Fine;
    impl HealthSource for Fine {
        fn health(&self) -> (Verdict, Value) {
            (Verdict::Healthy, Value::Null)
        }
        fn ready(&self) -> (bool, Value) {
            (true, Value::Null)
        }
    }

    let served = serve(25_000);
    let health =
        HealthServer::bind(SocketAddr::from(([127, 0, 0, 1], 0)), "--health-port", Credentials::none())
            .await
            .unwrap();
    let address = health.address();
    let metrics = process::telemetry::metrics::Metrics::new("", |_| {});
    let server = health.with_routes(served.page.routes()).serve(Arc::new(Fine), metrics, served.stop.clone());
    let server = tokio::spawn(server);
    let ask = |path: &str| format!("GET {path} HTTP/1.1\r\nhost: {address}\r\n\r\n");
    let mut stuck = tokio::net::TcpStream::connect(address).await.unwrap();
    stuck.write_all(ask("/page/stream").as_bytes()).await.unwrap();
    let mut quick = tokio::net::TcpStream::connect(address).await.unwrap();
    quick.write_all(ask("/page/stream").as_bytes()).await.unwrap();
    let mut text = Vec::new();
    let mut buffer = vec![0; 1 << 16];
    let reading = async {
        // Three frames come while the other client reads nothing.
        while String::from_utf8_lossy(&text).matches("event: changes").count() < 2 {
            let length = quick.read(&mut buffer).await.unwrap();
            assert!(length > 0, "the stream ended");
            text.extend_from_slice(&buffer[..length]);
        }
    };
    tokio::time::timeout(Duration::from_secs(30), reading).await.unwrap();
    let mut probe = tokio::net::TcpStream::connect(address).await.unwrap();
    probe.write_all(ask("/live").as_bytes()).await.unwrap();
    let length = probe.read(&mut buffer).await.unwrap();
    assert!(String::from_utf8_lossy(&buffer[..length]).starts_with("HTTP/1.1 200"), "probes are answered");
    served.stop.cancel();
    tokio::time::timeout(Duration::from_secs(10), server).await.unwrap().unwrap();
}
