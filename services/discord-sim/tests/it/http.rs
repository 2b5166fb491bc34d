//! HTTP calls with exactly the bytes that a test wants.

use discord_sim::Sim;
use serde_json::Value;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

/// The answer to a call.
#[derive(Debug)]
pub(crate) struct HttpResponse {
    pub(crate) status: u16,
    head: String,
    pub(crate) text: String,
}

impl HttpResponse {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| {
            let (key, value) = line.split_once(": ")?;
            key.eq_ignore_ascii_case(name).then_some(value)
        })
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|_| panic!("not JSON: {}", self.text))
    }

    pub(crate) fn code(&self) -> (u16, u64) {
        (self.status, self.json()["code"].as_u64().unwrap())
    }
}

/// A call with exactly these headers, over HTTP/1.0.
pub(crate) async fn raw(sim: &Sim, method: &str, path: &str, headers: &str, body: &[u8]) -> HttpResponse {
    let mut socket = TcpStream::connect(sim.addr()).await.unwrap();
    let head = format!("{method} {path} HTTP/1.0\r\nContent-Length: {}\r\n{headers}\r\n", body.len());
    socket.write_all(head.as_bytes()).await.unwrap();
    // The server may answer before all of a large body is written.
    let _ = socket.write_all(body).await;
    let mut answer = Vec::new();
    let _ = socket.read_to_end(&mut answer).await;
    let answer = String::from_utf8(answer).unwrap();
    let (head, text) = answer.split_once("\r\n\r\n").unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    HttpResponse { status, head: head.to_owned(), text: text.to_owned() }
}

/// A call with a User-Agent and these headers; returns the status and the JSON body.
pub(crate) async fn http(sim: &Sim, method: &str, path: &str, headers: &str, body: &str) -> (u16, Value) {
    let headers = format!("User-Agent: test\r\n{headers}");
    let answer = raw(sim, method, path, &headers, body.as_bytes()).await;
    (answer.status, serde_json::from_str(&answer.text).unwrap_or(Value::Null))
}
