//! The way to Discord: connections that are kept, TLS, and nothing of limits.

use std::{fmt, time::Duration};

use bytes::Bytes;
use http::{Request, Response, Uri, uri};
use http_body_util::combinators::UnsyncBoxBody;
use hyper::body::Incoming;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::{TokioExecutor, TokioTimer},
};
use rustls::crypto::ring::default_provider;
use settings::ApiOrigin;

/// Discord.
const HOST: &str = "discord.com";
/// For name, TCP and TLS.
const CONNECT_WITHIN: Duration = Duration::from_secs(5);
/// How long a connection is kept that nobody uses.
const IDLE_FOR: Duration = Duration::from_mins(1);
/// How many of them.
const MOST_IDLE: usize = 128;

/// Any body on its way through.
pub(crate) type Body = UnsyncBoxBody<Bytes, BodyError>;
/// Why it broke off.
pub(crate) type BodyError = Box<dyn std::error::Error + Send + Sync>;

/// Where requests go. Cheap to clone.
#[derive(Clone)]
pub struct Upstream {
    client: Client<HttpsConnector<HttpConnector>, Body>,
    scheme: uri::Scheme,
    authority: uri::Authority,
}

/// No way to Discord can be set up.
#[derive(Debug, thiserror::Error)]
#[error("no connections to Discord's REST API can be made: {0}")]
pub struct UpstreamError(String);

impl Upstream {
    /// To Discord, or to a stand-in.
    ///
    /// # Errors
    /// TLS can't be set up, or the origin is no host.
    pub fn new(api: Option<&ApiOrigin>) -> Result<Self, UpstreamError> {
        let fail = |error: &dyn fmt::Display| UpstreamError(error.to_string());
        let (authority, is_plain) =
            api.map_or_else(|| (HOST.to_owned(), false), |api| (api.authority(), api.is_plain_http()));
        let mut tcp = HttpConnector::new();
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        tcp.set_connect_timeout(Some(CONNECT_WITHIN));
        let connector = HttpsConnectorBuilder::new()
            .with_provider_and_webpki_roots(default_provider())
            .map_err(|error| fail(&error))?
            .https_or_http()
            .enable_http1()
            .wrap_connector(tcp);
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE_FOR)
            .pool_max_idle_per_host(MOST_IDLE)
            .build(connector);
        let scheme = if is_plain { uri::Scheme::HTTP } else { uri::Scheme::HTTPS };
        Ok(Self { client, scheme, authority: authority.parse().map_err(|error| fail(&error))? })
    }

    /// The URL of a path and query there.
    pub(crate) fn url(&self, path: uri::PathAndQuery) -> Result<Uri, http::Error> {
        Uri::builder()
            .scheme(self.scheme.clone())
            .authority(self.authority.clone())
            .path_and_query(path)
            .build()
    }

    /// Sends a request. The answer's body is still to come.
    pub(crate) async fn send(
        &self,
        request: Request<Body>,
    ) -> Result<Response<Incoming>, hyper_util::client::legacy::Error> {
        self.client.request(request).await
    }
}

impl fmt::Debug for Upstream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Upstream({}://{})", self.scheme, self.authority)
    }
}
