//! The URL of the problems webhook, which is a secret.

use std::time::Duration;

use http::Uri;
use outside_text::hide_secret;
use process::settings::Secret;

/// The shortest part of a path or query that is hidden in all texts. A shorter one may be an ordinary word.
const SECRET_PART: usize = 16;

/// The shortest part that is hidden in the receiver's answers.
const SHORT_PART: usize = 4;

/// The settings of the webhook.
#[derive(Clone, Debug)]
pub struct WebhookConfig {
    /// Where it is.
    pub target: WebhookTarget,
    /// The shortest time from one request to the next, unless the first one failed.
    pub interval: Duration,
}

/// The URL of the webhook. It lets anyone post messages, so only its host is shown.
#[derive(Clone, PartialEq, Eq)]
pub struct WebhookTarget {
    uri: Uri,
}

impl std::fmt::Debug for WebhookTarget {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "WebhookTarget({})", self.host())
    }
}

impl WebhookTarget {
    /// Reads the URL; logs and errors hide its path and query from now on. An empty text counts as not set.
    ///
    /// # Errors
    /// It is no URL of a webhook, in words that do not repeat it.
    pub fn read(url: &Secret) -> Result<Option<Self>, &'static str> {
        let text = url.expose().trim();
        if text.is_empty() {
            return Ok(None);
        }
        let takes = "it takes a URL like https://example.org/hooks/SECRET";
        let uri: Uri = text.parse().map_err(|_| takes)?;
        if !matches!(uri.scheme_str(), Some("http" | "https")) {
            return Err("it takes an http:// or https:// URL");
        }
        let authority = uri.authority().ok_or(takes)?;
        if authority.as_str().contains('@') {
            return Err("it must not contain user:password@; put the secret into the path");
        }
        if authority.host().is_empty() || authority.port().is_some_and(|port| port.as_u16() == 0) {
            return Err(takes);
        }
        let target = Self { uri };
        for part in target.parts().filter(|part| part.len() >= SECRET_PART) {
            // Numbers are ids, and parts of them are found in other ids.
            if !part.bytes().all(|byte| byte.is_ascii_digit()) {
                hide_secret(part);
            }
        }
        Ok(Some(target))
    }

    /// The parts of its path and query.
    fn parts(&self) -> impl Iterator<Item = &str> {
        self.uri.path_and_query().map_or("", |path| path.as_str()).split(['/', '?', '&', '='])
    }

    /// Hides the URL's path and query in an answer, which may repeat them.
    pub(crate) fn hide_in(&self, answer: &str) -> String {
        if self.parts().any(|part| part.contains('%')) {
            // The answer may have the part in another encoding.
            return String::new();
        }
        let mut parts: Vec<&str> = self.parts().filter(|part| part.len() >= SHORT_PART).collect();
        // A part may be within another one.
        parts.sort_by_key(|part| std::cmp::Reverse(part.len()));
        parts.iter().fold(answer.to_owned(), |text, part| text.replace(part, "[secret]"))
    }

    /// The URL, for the one place that sends to it.
    pub(crate) fn uri(&self) -> &Uri {
        &self.uri
    }

    /// Its host, which is shown.
    pub fn host(&self) -> &str {
        self.uri.host().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(url: &str) -> Result<Option<WebhookTarget>, &'static str> {
        WebhookTarget::read(&Secret::new(url))
    }

    #[test]
    fn webhook_urls_are_http_without_a_user() {
        for valid in ["http://127.0.0.1:9/x", "https://example.org", " https://[::1]:80/a?b=c \n"] {
            assert!(read(valid).unwrap().is_some(), "{valid}");
        }
        assert_eq!(read(" "), Ok(None));
        for invalid in [
            "example.org",
            "/x",
            "ftp://x.org",
            "https://",
            "https://u:p@x.org",
            "http://a:0/",
            "https://\u{e9}",
        ] {
            assert!(read(invalid).unwrap_err().starts_with("it "), "{invalid}");
        }
    }

    #[test]
    fn answers_that_repeat_the_path_do_not_show_it() {
        let target = read("https://x.org/hooks/s3cr/s3cret/12345?key=s3cr3t").unwrap().unwrap();
        let hidden = target.hide_in("no route /hooks/s3cret, nor key s3cr3t of 12345");
        assert_eq!(hidden, "no route /[secret]/[secret], nor key [secret] of [secret]");
        let encoded = read("https://x.org/a%20secret").unwrap().unwrap();
        assert_eq!(encoded.hide_in("no route /a secret"), "");
        assert_eq!(read("https://x.org").unwrap().unwrap().hide_in("not found"), "not found");
    }

    #[test]
    fn only_the_host_is_ever_shown() {
        let secret = "hookS3cretMarker0123456789";
        let target =
            read(&format!("https://hooks.example.org/services/{secret}?key=other{secret}")).unwrap().unwrap();
        assert_eq!(format!("{target:?}"), "WebhookTarget(hooks.example.org)");
        let shown = outside_text::without_secrets(&format!("not found: /services/{secret}")).into_owned();
        assert_eq!(shown, "not found: /services/[secret]");
        let host = outside_text::without_secrets("connect to https://hooks.example.org/services failed")
            .into_owned();
        assert!(host.contains("https://hooks.example.org/services"), "{host}");
    }
}
