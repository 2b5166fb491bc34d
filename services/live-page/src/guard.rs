//! Decides from a request's head whether the page's routes answer it. Pure.
//!
//! A web page can reach a port on the loopback by a name that resolves to the loopback (DNS rebinding), and could then read the
//! fleet's data. On the loopback only this machine's own names are accepted; requests that another site's page makes are refused
//! everywhere.

use http::{HeaderName, request::Parts};
use process::server::is_for_localhost;

const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");
const SEC_FETCH_MODE: HeaderName = HeaderName::from_static("sec-fetch-mode");

/// Returns why the request is refused, if it is.
pub(crate) fn refusal(head: &Parts, on_loopback: bool) -> Option<&'static str> {
    if on_loopback && !is_for_localhost(head) {
        return Some(
            "this port listens on the loopback: open it as http://localhost:PORT, or set HEALTH_LISTEN_HOST to another \
             address\n",
        );
    }
    let value = |name| head.headers.get(name).map(http::HeaderValue::as_bytes);
    let is_own = matches!(value(SEC_FETCH_SITE), None | Some(b"same-origin" | b"none"));
    // A link on another site may open the page, which then asks for the data itself.
    let is_opened = value(SEC_FETCH_MODE) == Some(b"navigate") && head.uri.path() == "/";
    (!is_own && !is_opened).then_some("requests from pages of other sites are rejected\n")
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    fn is_refused(path: &str, headers: &[(&str, &str)], on_loopback: bool) -> bool {
        let mut request = Request::builder().uri(path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        refusal(&request.body(()).unwrap().into_parts().0, on_loopback).is_some()
    }

    #[test]
    fn loopback_accepts_only_local_hosts() {
        assert!(!is_refused("/", &[("host", "localhost:3001")], true));
        for hosts in
            [&[("host", "evil.example")][..], &[("host", "127.0.0.1"), ("host", "evil.example")], &[]]
        {
            assert!(is_refused("/", hosts, true), "{hosts:?}");
            assert!(!is_refused("/", hosts, false), "{hosts:?}");
        }
    }

    #[test]
    fn pages_of_other_sites_are_refused_and_links_are_not() {
        for (path, site, mode, refused) in [
            ("/page/stream", "cross-site", "cors", true),
            ("/page/stream", "same-site", "no-cors", true),
            ("/page/stream", "cross-site", "navigate", true),
            ("/page/stream", "same-origin", "cors", false),
            ("/", "cross-site", "navigate", false),
            ("/", "cross-site", "no-cors", true),
            ("/", "none", "navigate", false),
        ] {
            let headers = [("host", "localhost"), ("sec-fetch-site", site), ("sec-fetch-mode", mode)];
            for on_loopback in [true, false] {
                assert_eq!(is_refused(path, &headers, on_loopback), refused, "{path} {site} {mode}");
            }
        }
        assert!(!is_refused("/page/stream", &[("host", "localhost")], true), "curl");
    }
}
