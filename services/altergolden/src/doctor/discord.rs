//! The doctor's requests to Discord: each is sent once, within a deadline, and its answer kept as it came. Decides nothing.

use std::time::{Duration, SystemTime};

use coordinator::discord::{Discord, DiscordError, GatewayInfo};
use http::{HeaderValue, Request, header};
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::body::Bytes;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use outside_text::printable;
use process::settings::{DiscordArgs, Secret};
use rustls::crypto::ring::default_provider;
use serde_json::Value;
use tokio::time::timeout;

/// Time limit of one request, including its body.
const TIMEOUT: Duration = Duration::from_secs(5);
/// Longest body that is read. An application is about 2 kB.
const MOST_BYTES: usize = 256 * 1024;
/// The form that Discord requires. [Source](https://docs.discord.com/developers/reference#user-agent).
const USER_AGENT: &str = concat!(
    "DiscordBot (https://discord.com/developers/applications, ",
    env!("CARGO_PKG_VERSION"),
    ") altergolden"
);

/// An answer of Discord's REST API.
#[derive(Clone, Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    /// The header `Date`, which counts whole seconds.
    pub(super) date: Option<SystemTime>,
    /// This machine's clock when the request was sent.
    pub(super) sent: SystemTime,
    /// Time until the head of the answer.
    pub(super) took: Duration,
    /// The body, if it is JSON.
    pub(super) body: Option<Value>,
}

/// Everything that Discord was asked. An error is the reason, in words.
#[derive(Debug)]
pub(super) struct DiscordFacts {
    pub(super) user: Result<Answer, String>,
    /// `None` when the token was refused, so that no more refusals count towards a ban of this address.
    pub(super) application: Option<Result<Answer, String>>,
    pub(super) gateway: Option<Result<GatewayInfo, DiscordError>>,
}

/// Asks for the bot's user; then, unless the token was refused, for its application and for the gateway.
pub(super) async fn ask(token: &Secret, args: &DiscordArgs) -> DiscordFacts {
    let api = match Api::new(token, args) {
        Ok(api) => api,
        Err(why) => return DiscordFacts { user: Err(why), application: None, gateway: None },
    };
    let user = api.get("/users/@me").await;
    if !user.as_ref().is_ok_and(|answer| answer.status == 200) {
        return DiscordFacts { user, application: None, gateway: None };
    }
    let (application, gateway) =
        tokio::join!(api.get("/applications/@me"), gateway_info(token, args, TIMEOUT));
    DiscordFacts { user, application: Some(application), gateway: Some(gateway) }
}

/// Asks `GET /gateway/bot` once.
///
/// # Errors
/// There is no usable answer within `limit`.
pub(super) async fn gateway_info(
    token: &Secret,
    args: &DiscordArgs,
    limit: Duration,
) -> Result<GatewayInfo, DiscordError> {
    let discord = Discord::new(token, args.discord_api_url.as_ref(), args.discord_gateway_url.as_ref())?;
    timeout(limit, discord.gateway_info())
        .await
        .unwrap_or_else(|_| Err(DiscordError::Failed(format!("no answer within {limit:?}"))))
}

/// Discord's REST API, or a stand-in.
struct Api {
    client: Client<HttpsConnector<HttpConnector>, Empty<Bytes>>,
    origin: String,
    authorization: HeaderValue,
}

impl Api {
    fn new(token: &Secret, args: &DiscordArgs) -> Result<Self, String> {
        let token = token.expose();
        let prefix = if token.starts_with("Bot ") || token.starts_with("Bearer ") { "" } else { "Bot " };
        let mut authorization = HeaderValue::try_from(format!("{prefix}{token}"))
            .map_err(|_| "the token has characters that no token has".to_owned())?;
        authorization.set_sensitive(true);
        let origin = args.discord_api_url.as_ref().map_or_else(
            || "https://discord.com".to_owned(),
            |api| format!("{}://{}", if api.is_plain_http() { "http" } else { "https" }, api.authority()),
        );
        let mut tcp = HttpConnector::new();
        tcp.enforce_http(false);
        tcp.set_connect_timeout(Some(TIMEOUT));
        let connector = HttpsConnectorBuilder::new()
            .with_provider_and_webpki_roots(default_provider())
            .map_err(|error| format!("cannot set up TLS: {error}"))?
            .https_or_http()
            .enable_http1()
            .wrap_connector(tcp);
        let client = Client::builder(TokioExecutor::new()).build(connector);
        Ok(Self { client, origin, authorization })
    }

    async fn get(&self, path: &str) -> Result<Answer, String> {
        timeout(TIMEOUT, self.fetch(path))
            .await
            .unwrap_or_else(|_| Err(format!("GET {path}: no answer within {} s", TIMEOUT.as_secs())))
    }

    async fn fetch(&self, path: &str) -> Result<Answer, String> {
        let fail = |error: &dyn std::error::Error| format!("GET {path}: {}", innermost(error));
        let request = Request::get(format!("{}/api/v10{path}", self.origin))
            .header(header::AUTHORIZATION, self.authorization.clone())
            .header(header::USER_AGENT, USER_AGENT)
            .header(header::ACCEPT, "application/json")
            .body(Empty::new())
            .map_err(|error| fail(&error))?;
        let (sent, began) = (SystemTime::now(), tokio::time::Instant::now());
        let (head, body) = self.client.request(request).await.map_err(|error| fail(&error))?.into_parts();
        let took = began.elapsed();
        let date = head.headers.get(header::DATE).and_then(|date| date.to_str().ok());
        let date = date.and_then(|date| httpdate::parse_http_date(date).ok());
        let body = Limited::new(body, MOST_BYTES).collect().await.ok();
        let body = body.and_then(|body| serde_json::from_slice(&body.to_bytes()).ok());
        Ok(Answer { status: head.status.as_u16(), date, sent, took, body })
    }
}

/// The last cause: what happened, without the words around it.
fn innermost(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(deeper) = cause.source() {
        cause = deeper;
    }
    printable(&cause.to_string()).to_string()
}
