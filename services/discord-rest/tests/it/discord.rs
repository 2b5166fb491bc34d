//! A server in Discord's place that does as a test says, and notes what comes.

use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Instant,
};

use axum::{
    Router,
    body::{Body, BodyDataStream},
    extract::{Request, State},
    response::Response,
};
use bytes::Bytes;
use futures_util::{StreamExt as _, future::BoxFuture};
use http::{HeaderMap, Method};
use tokio::{net::TcpListener, task::JoinHandle};

/// A request as it came.
#[derive(Clone, Debug)]
pub(crate) struct Came {
    pub(crate) at: Instant,
    pub(crate) method: Method,
    pub(crate) path: String,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

/// What a test says: from the number of the request and what came, the answer.
pub(crate) type Says = Arc<dyn Fn(usize, Came) -> BoxFuture<'static, Response> + Send + Sync>;

/// The server.
pub(crate) struct Discord {
    pub(crate) address: SocketAddr,
    noted: Arc<Noted>,
    task: JoinHandle<()>,
}

struct Noted {
    came: Mutex<Vec<Came>>,
    number: AtomicUsize,
    /// Bytes of bodies that have come so far.
    bytes: AtomicUsize,
    says: Says,
}

impl Drop for Discord {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// An answer with these headers.
pub(crate) fn answer(status: u16, headers: &[(&str, &str)], body: &str) -> Response {
    let mut response = Response::builder().status(status);
    for (name, value) in headers {
        response = response.header(*name, *value);
    }
    response.body(Body::from(body.to_owned())).unwrap()
}

/// Says the same at once to every request.
pub(crate) fn at_once(says: impl Fn(usize, &Came) -> Response + Send + Sync + 'static) -> Says {
    Arc::new(move |number, came| {
        let response = says(number, &came);
        Box::pin(async move { response })
    })
}

impl Discord {
    pub(crate) async fn start(says: Says) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let noted = Arc::new(Noted {
            came: Mutex::default(),
            number: AtomicUsize::new(0),
            bytes: AtomicUsize::new(0),
            says,
        });
        let router = Router::new().fallback(take).with_state(noted.clone());
        let task = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { address, noted, task }
    }

    /// What came so far, whole.
    pub(crate) fn came(&self) -> Vec<Came> {
        self.noted.came.lock().unwrap().clone()
    }

    /// How many bytes of bodies have come so far.
    pub(crate) fn bytes(&self) -> usize {
        self.noted.bytes.load(Ordering::Acquire)
    }
}

async fn take(State(noted): State<Arc<Noted>>, request: Request) -> Response {
    let at = Instant::now();
    let (head, body) = request.into_parts();
    let mut stream: BodyDataStream = body.into_data_stream();
    let mut whole = Vec::new();
    while let Some(part) = stream.next().await {
        let Ok(part) = part else { return answer(400, &[], "broken off") };
        noted.bytes.fetch_add(part.len(), Ordering::AcqRel);
        whole.extend_from_slice(&part);
    }
    let came = Came {
        at,
        method: head.method,
        path: head.uri.to_string(),
        headers: head.headers,
        body: whole.into(),
    };
    noted.came.lock().unwrap().push(came.clone());
    (noted.says)(noted.number.fetch_add(1, Ordering::AcqRel), came).await
}
