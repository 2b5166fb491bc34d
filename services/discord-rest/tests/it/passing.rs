//! What the proxy passes on, and what it does not.

use std::{
    io::{self, Write},
    sync::{Arc, Mutex},
    time::Duration,
};

use bytes::Bytes;
use discord_rest::MemoryBudget;
use futures_util::{StreamExt as _, stream};
use http::{Method, Request};
use http_body::Frame;
use http_body_util::StreamBody;
use hyper_util::{client::legacy::Client, rt::TokioExecutor};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    sync::mpsc,
};
use tracing_subscriber::fmt::MakeWriter;

use crate::{
    bench::{Bench, Setting},
    discord::{Discord, answer, at_once},
    until,
};

#[tokio::test]
async fn a_request_and_its_answer_pass_as_they_are() {
    let discord = Discord::start(at_once(|_, _| {
        let headers = [
            ("x-ratelimit-bucket", "b"),
            ("x-mine", "2"),
            ("location", "/elsewhere"),
            ("connection", "x-hop"),
            ("x-hop", "1"),
        ];
        answer(302, &headers, "moved")
    }))
    .await;
    let bench = Bench::to(discord.address).await;
    let mut request = bench.request(&Method::PATCH, "/channels/7?a=b%20c", r#"{"name":"x"}"#);
    for (name, value) in [
        ("x-audit-log-reason", "why"),
        ("x-forwarded-for", "1.2.3.4"),
        ("traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"),
        ("tracestate", "a=b"),
        ("accept-encoding", "br"),
    ] {
        request.headers_mut().insert(name, value.parse().unwrap());
    }
    let got = bench.send(request).await;
    let came = &discord.came()[0];
    assert_eq!((came.path.as_str(), came.method.as_str()), ("/api/v10/channels/7?a=b%20c", "PATCH"));
    assert_eq!(came.body, r#"{"name":"x"}"#);
    for (name, value) in [
        ("authorization", "Bot judge"),
        ("user-agent", "DiscordBot (test, 1)"),
        ("x-audit-log-reason", "why"),
        ("accept-encoding", "br"),
        ("content-length", "12"),
    ] {
        assert_eq!(came.headers[name], value);
    }
    assert_eq!(came.headers["host"], discord.address.to_string());
    for not_for_discord in ["x-forwarded-for", "traceparent", "tracestate"] {
        assert!(!came.headers.contains_key(not_for_discord), "{not_for_discord}");
    }
    assert_eq!((got.status.as_u16(), got.body.as_str()), (302, "moved"), "redirects are the caller's");
    assert_eq!((got.header("x-mine"), got.header("location"), got.header("x-hop")), ("2", "/elsewhere", ""));
    bench.finish().await;
}

#[tokio::test]
async fn no_token_is_added_and_other_paths_are_not_passed() {
    let discord = Discord::start(at_once(|_, _| answer(200, &[], "{}"))).await;
    let bench = Bench::to(discord.address).await;
    let mut request = bench.request(&Method::GET, "/webhooks/1/token", "");
    request.headers_mut().remove("authorization");
    assert_eq!(bench.send(request).await.status, 200);
    assert!(!discord.came()[0].headers.contains_key("authorization"));
    let mut request = bench.request(&Method::GET, "", "");
    *request.uri_mut() = format!("http://{}/metrics", bench.address).parse().unwrap();
    let got = bench.send(request).await;
    assert_eq!((got.status.as_u16(), got.body.as_str()), (404, r#"{"code":0,"message":"404: Not Found"}"#));
    let mut request = bench.request(&Method::GET, "/users/@me", "");
    *request.method_mut() = Method::TRACE;
    assert_eq!(bench.send(request).await.status, 405);
    assert_eq!(discord.came().len(), 1);
    bench.finish().await;
}

#[tokio::test]
async fn a_multipart_upload_streams_through() {
    const PART: usize = 512 * 1024;
    let discord = Discord::start(at_once(|_, _| answer(200, &[], "{}"))).await;
    let bench = Bench::to(discord.address).await;
    let (parts, to_send) = mpsc::channel::<Bytes>(1);
    let body = stream::unfold(to_send, |mut parts| async move { Some((parts.recv().await?, parts)) });
    let body = StreamBody::new(body.map(|part| Ok::<_, io::Error>(Frame::data(part))));
    let request = Request::post(format!("http://{}/api/v10/channels/7/messages", bench.address))
        .header("authorization", "Bot judge")
        .header("user-agent", "DiscordBot (test, 1)")
        .header("content-type", "multipart/form-data; boundary=b")
        .body(Box::pin(body))
        .unwrap();
    let client = Client::builder(TokioExecutor::new()).build_http();
    let answered = tokio::spawn(client.request(request));
    for number in 0..8_u8 {
        parts.send(vec![number; PART].into()).await.unwrap();
        // The next part is sent only when this one has come through.
        until("the part to come through", || discord.bytes() == (usize::from(number) + 1) * PART).await;
    }
    drop(parts);
    assert_eq!(answered.await.unwrap().unwrap().status(), 200);
    let came = &discord.came()[0];
    assert_eq!(came.headers["content-type"], "multipart/form-data; boundary=b");
    assert!(
        came.body
            .chunks(PART)
            .enumerate()
            .all(|(number, part)| part.iter().all(|byte| usize::from(*byte) == number))
    );
    bench.finish().await;
}

#[tokio::test]
async fn an_answer_counts_though_the_caller_has_left() {
    let (go_on, wait) = mpsc::channel::<()>(1);
    let wait = Arc::new(tokio::sync::Mutex::new(wait));
    let discord = Discord::start(Arc::new(move |number, _| {
        let wait = wait.clone();
        Box::pin(async move {
            if number == 0 {
                wait.lock().await.recv().await;
            }
            let headers = [
                ("x-ratelimit-bucket", "b"),
                ("x-ratelimit-limit", "1"),
                ("x-ratelimit-remaining", "0"),
                ("x-ratelimit-reset-after", "60"),
            ];
            answer(200, &headers, "{}")
        })
    }))
    .await;
    let setting = Setting { longest_wait: Duration::from_secs(5), ..Setting::default() };
    let bench = Bench::start(discord.address, setting).await;
    let mut caller = TcpStream::connect(bench.address).await.unwrap();
    let text = "GET /api/v10/channels/7 HTTP/1.1\r\nhost: 127.0.0.1\r\nauthorization: Bot judge\r\n\r\n";
    caller.write_all(text.as_bytes()).await.unwrap();
    until("the request", || discord.came().len() == 1).await;
    drop(caller);
    go_on.send(()).await.unwrap();
    until("its answer", || bench.metric("rest_requests_total{route=\"channels\",status=\"200\"}") == 1).await;
    let late = bench.get("/channels/7").await;
    assert_eq!(
        (late.status.as_u16(), late.header("x-answered-by")),
        (429, "altergolden"),
        "its bucket is known to be empty"
    );
    bench.finish().await;
}

#[tokio::test]
async fn unreachable_server_is_a_502() {
    let unused = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let bench = Bench::to(unused).await;
    let got = bench.get("/users/@me").await;
    assert_eq!((got.status.as_u16(), got.header("x-answered-by")), (502, "altergolden"));
    assert_eq!(bench.metric("rest_requests_total{route=\"users\",status=\"0\"}"), 1);
    bench.finish().await;
}

#[tokio::test]
async fn a_body_that_is_too_large_is_refused_before_it_is_read() {
    let discord = Discord::start(at_once(|_, _| answer(200, &[], "{}"))).await;
    let bench = Bench::to(discord.address).await;
    let mut caller = TcpStream::connect(bench.address).await.unwrap();
    let head = "POST /api/v10/channels/7/messages HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-length: 999999999999\r\n\r\n";
    caller.write_all(head.as_bytes()).await.unwrap();
    let mut start = [0; 12];
    caller.read_exact(&mut start).await.unwrap();
    assert_eq!(&start, b"HTTP/1.1 413");
    assert!(discord.came().is_empty());
    bench.finish().await;
}

/// Where log lines go in a test.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Lines {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

/// On one thread, so that the test's log has the lines of every task.
#[tokio::test(flavor = "current_thread")]
async fn no_token_is_ever_logged_or_counted() {
    let lines = Lines::default();
    let subscriber =
        tracing_subscriber::fmt().with_max_level(tracing::Level::TRACE).with_writer(lines.clone()).finish();
    let _logging = tracing::subscriber::set_default(subscriber);
    let discord = Discord::start(at_once(|_, came| match came.path.as_str() {
        "/api/v10/users/@me" => answer(401, &[], "{}"),
        _ => answer(403, &[], "{}"),
    }))
    .await;
    let budget = Arc::new(MemoryBudget::new(discord_rest::LimitRules { invalid_limit: 4 }));
    let bench = Bench::start(discord.address, Setting::over(budget)).await;
    let send = async |method: Method, path: &str| {
        let mut request = bench.request(&method, path, "{}");
        request.headers_mut().insert("authorization", "Bot s3cret-token".parse().unwrap());
        bench.send(request).await
    };
    for _ in 0..2 {
        send(Method::GET, "/users/@me").await;
    }
    for _ in 0..4 {
        send(Method::POST, "/webhooks/1/s3cret-webhook").await;
        send(Method::POST, "/interactions/1/s3cret-interaction/callback").await;
    }
    until("the breaker", || bench.metric("rest_breaker_opened_total") == 1).await;
    let problems = format!("{:?}", bench.status.problems());
    bench.finish().await;
    let log = String::from_utf8(lines.0.lock().unwrap().clone()).unwrap();
    assert!(log.contains("nothing is sent to Discord") && log.contains("Discord refuses a token"), "{log}");
    assert!(!log.contains("s3cret") && !problems.contains("s3cret"), "{log}\n{problems}");
}
