//! A server that answers with any bytes, in Discord's place.

use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
};

/// Sends each connection its next answer, the last one repeatedly, and closes it.
#[derive(Clone)]
pub(crate) struct OddDiscord {
    pub(crate) address: SocketAddr,
    answers: Arc<Mutex<Vec<Vec<u8>>>>,
    requests: Arc<AtomicUsize>,
}

impl OddDiscord {
    pub(crate) async fn start(answers: Vec<Vec<u8>>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let odd = Self { address, answers: Arc::new(Mutex::new(answers)), requests: Arc::default() };
        let serving = odd.clone();
        tokio::spawn(async move {
            while let Ok((mut socket, _)) = listener.accept().await {
                serving.requests.fetch_add(1, Ordering::Relaxed);
                let mut request = [0; 2048];
                let _ = socket.read(&mut request).await;
                let answer = serving.next();
                let _ = socket.write_all(&answer).await;
                let _ = socket.shutdown().await;
            }
        });
        odd
    }

    fn next(&self) -> Vec<u8> {
        let mut answers = self.answers.lock().unwrap();
        if answers.len() > 1 { answers.remove(0) } else { answers[0].clone() }
    }

    /// Sends this answer from now on.
    pub(crate) fn answer(&self, bytes: Vec<u8>) {
        *self.answers.lock().unwrap() = vec![bytes];
    }

    pub(crate) fn requests(&self) -> usize {
        self.requests.load(Ordering::Relaxed)
    }
}

/// A response with these headers and this body.
pub(crate) fn response(status: &str, headers: &str, body: &str) -> Vec<u8> {
    format!("HTTP/1.1 {status}\r\n{headers}content-length: {}\r\n\r\n{body}", body.len()).into_bytes()
}

/// A body of `/gateway/bot`: shards, then the limit's total, remaining, reset_after and max_concurrency.
pub(crate) fn answer(shards: &str, limit: [&str; 4]) -> String {
    let [total, remaining, reset_after, max_concurrency] = limit;
    format!(
        r#"{{"url":"wss://gateway.discord.gg","shards":{shards},"session_start_limit":{{"total":{total},
        "remaining":{remaining},"reset_after":{reset_after},"max_concurrency":{max_concurrency}}}}}"#
    )
}

pub(crate) fn json(body: &str) -> Vec<u8> {
    response("200 OK", "content-type: application/json\r\n", body)
}
