//! Probes of health ports, so that slim images need no curl.

use std::{str::FromStr, time::Duration};

use http_body_util::{BodyExt as _, Empty, Limited};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use crate::exit::{CommandOutcome, print_line};

/// The longest time of a probe.
const PROBE_TIMEOUT: Duration = Duration::from_secs(5);
/// The longest body that is read, in bytes. Another server than ours may answer.
const LONGEST_BODY: usize = 1024 * 1024;

/// An `http://` URL. `/health` is the path by default.
#[derive(Clone, Debug)]
pub(crate) struct ProbeUrl(http::Uri);

impl FromStr for ProbeUrl {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let uri: http::Uri =
            text.parse().map_err(|_| "expected a URL such as http://127.0.0.1:3001/live".to_owned())?;
        if uri.scheme_str() != Some("http") || uri.host().is_none_or(str::is_empty) {
            return Err("expected a URL such as http://127.0.0.1:3001/live".to_owned());
        }
        if uri.path() == "/" && uri.query().is_none() {
            let health = format!("{}/health", text.trim_end_matches('/'));
            return health.parse().map(Self).map_err(|error| format!("{error}"));
        }
        Ok(Self(uri))
    }
}

/// Asks once and prints the answer.
pub(crate) async fn probe(url: &ProbeUrl) -> CommandOutcome {
    let uri = &url.0;
    match tokio::time::timeout(PROBE_TIMEOUT, get(uri)).await {
        Err(_) => CommandOutcome::unreachable(format!("{uri} does not answer")),
        Ok(Err(why)) => CommandOutcome::unreachable(format!("{uri}: {why}")),
        Ok(Ok(answer)) => {
            let (status, body) = (answer.status(), answer.body());
            if !body.trim_end().is_empty() {
                print_line(body.trim_end());
            }
            if status.is_success() {
                CommandOutcome::success()
            } else {
                CommandOutcome::failed(format!("{uri} answers {status}"))
            }
        }
    }
}

/// Whether `/live` at this address answers as our health ports do.
pub(crate) async fn is_health_port(url: &str) -> bool {
    let Ok(uri) = format!("{}/live", url.trim_end_matches('/')).parse() else { return false };
    let answer = tokio::time::timeout(PROBE_TIMEOUT, get(&uri)).await;
    matches!(answer, Ok(Ok(answer)) if answer.body().contains("\"status\":\"alive\""))
}

/// Whether our REST proxy answers at this address. It refuses the request, as it has no token.
pub(crate) async fn is_rest_proxy(url: &str) -> bool {
    let Ok(uri) = format!("{}/api/v10/users/@me", url.trim_end_matches('/')).parse() else { return false };
    let answer = tokio::time::timeout(PROBE_TIMEOUT, get(&uri)).await;
    let name = |value: &http::HeaderValue| value == "altergolden";
    matches!(answer, Ok(Ok(answer)) if answer.headers().get("x-answered-by").is_some_and(name))
}

async fn get(uri: &http::Uri) -> Result<http::Response<String>, String> {
    let authority = uri.authority().ok_or("no host")?;
    let (host, port) = (authority.host(), authority.port_u16().unwrap_or(80));
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let socket = TcpStream::connect((host, port)).await.map_err(|error| error.to_string())?;
    let (mut requests, connection) = hyper::client::conn::http1::handshake(TokioIo::new(socket))
        .await
        .map_err(|error| error.to_string())?;
    let path = uri.path_and_query().map_or("/", http::uri::PathAndQuery::as_str);
    let request = http::Request::get(path)
        .header(http::header::HOST, authority.as_str())
        .body(Empty::<hyper::body::Bytes>::new())
        .map_err(|error| error.to_string())?;
    let asking = async {
        let answer = requests.send_request(request).await.map_err(|error| error.to_string())?;
        let (head, body) = answer.into_parts();
        let body =
            Limited::new(body, LONGEST_BODY).collect().await.map_err(|error| error.to_string())?.to_bytes();
        Ok(http::Response::from_parts(head, String::from_utf8_lossy(&body).into_owned()))
    };
    tokio::select! {
        answer = asking => answer,
        // The connection ends before the answer only when it breaks.
        ended = connection => Err(ended.err().map_or("the connection closed".to_owned(), |error| error.to_string())),
    }
}
