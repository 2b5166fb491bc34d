//! Connections of outgoing HTTP requests: over TLS with Mozilla's roots, or without TLS.

use std::time::Duration;

use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::connect::HttpConnector;
use rustls::crypto::ring::default_provider;

/// Returns a connector for HTTP/1.1. Connecting to one address takes at most `connect_within`.
///
/// # Errors
/// TLS cannot be set up.
pub(crate) fn connector(connect_within: Duration) -> Result<HttpsConnector<HttpConnector>, rustls::Error> {
    let mut tcp = HttpConnector::new();
    tcp.enforce_http(false);
    tcp.set_connect_timeout(Some(connect_within));
    let tls = HttpsConnectorBuilder::new().with_provider_and_webpki_roots(default_provider())?;
    Ok(tls.https_or_http().enable_http1().wrap_connector(tcp))
}

/// Returns the last cause of an error, without the words around it: safe to show.
pub(crate) fn innermost(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(deeper) = cause.source() {
        cause = deeper;
    }
    outside_text::printable(&cause.to_string()).to_string()
}
