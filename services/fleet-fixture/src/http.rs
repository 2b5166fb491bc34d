//! The few HTTP requests that tests make.

use ::http::{Request, Uri};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Bytes;
use hyper_util::rt::TokioIo;
use serde::de::DeserializeOwned;
use tokio::net::TcpStream;

/// `GET`, or `POST` with a body: the status and the text.
///
/// # Errors
/// No answer within 10 s, in words.
pub async fn request(url: &str, body: Option<String>) -> Result<(u16, String), String> {
    send(url, body, None).await
}

/// `GET` as a bot sends it to Discord's REST API, with an `Authorization` header: the status and the text.
///
/// # Errors
/// No answer within 10 s, in words.
pub async fn get_as(url: &str, authorization: &str) -> Result<(u16, String), String> {
    send(url, None, Some(authorization)).await
}

async fn send(url: &str, body: Option<String>, authorization: Option<&str>) -> Result<(u16, String), String> {
    let uri: Uri = url.parse().unwrap();
    let authority = uri.authority().unwrap().clone();
    let asking = async {
        let socket = TcpStream::connect(authority.as_str()).await.map_err(|error| error.to_string())?;
        let (mut requests, connection) = hyper::client::conn::http1::handshake(TokioIo::new(socket))
            .await
            .map_err(|error| error.to_string())?;
        let connection = tokio::spawn(connection);
        let mut request = Request::builder();
        if let Some(authorization) = authorization {
            let agent = concat!("DiscordBot (https://127.0.0.1, ", env!("CARGO_PKG_VERSION"), ")");
            request = request.header("authorization", authorization).header("user-agent", agent);
        }
        let request = request
            .method(if body.is_some() { "POST" } else { "GET" })
            .uri(uri.path_and_query().unwrap().as_str())
            .header("host", authority.as_str())
            .header("content-type", "application/json")
            .body(Full::new(Bytes::from(body.unwrap_or_default())))
            .unwrap();
        let answer = requests.send_request(request).await.map_err(|error| error.to_string())?;
        let status = answer.status().as_u16();
        let text = answer.into_body().collect().await.map_err(|error| error.to_string())?.to_bytes();
        connection.abort();
        Ok((status, String::from_utf8_lossy(&text).into_owned()))
    };
    tokio::time::timeout(std::time::Duration::from_secs(10), asking)
        .await
        .unwrap_or_else(|_| Err(format!("{url} does not answer")))
}

/// `GET` that must answer JSON.
///
/// # Panics
/// When it answers something else, or not at all.
pub async fn json<T: DeserializeOwned>(url: &str) -> T {
    let (_, text) = request(url, None).await.unwrap();
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{url} answers {text}: {error}"))
}
