//! Whose limits a request counts for.

use std::{fmt, sync::Arc};

use http::HeaderValue;
use ring::digest::{SHA256, digest};

/// Who calls, as a hash of the `Authorization` header: enough to tell two bots apart, and nothing that could be used or turned
/// back. Requests without one, and those whose path holds a token of its own, are [`Caller::open`].
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Caller(Arc<str>);

impl Caller {
    /// Whoever sent this header.
    pub fn of(authorization: Option<&HeaderValue>) -> Self {
        authorization.map_or_else(Self::open, |value| Self(hashed(value.as_bytes()).into()))
    }

    /// Nobody in particular.
    pub fn open() -> Self {
        Self("open".into())
    }

    /// A token was sent, so a 401 is about that token.
    pub fn has_token(&self) -> bool {
        &*self.0 != "open"
    }

    /// 32 hex digits, or `open`.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Caller {
    /// The first digits only: for people, who compare.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.get(..8).unwrap_or(&self.0))
    }
}

/// The first half of the SHA-256, as hex.
pub(crate) fn hashed(secret: &[u8]) -> String {
    use fmt::Write as _;
    digest(&SHA256, secret).as_ref().iter().take(16).fold(String::with_capacity(32), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_told_apart_and_not_told() {
        let of = |text: &'static str| Caller::of(Some(&HeaderValue::from_static(text)));
        let (one, two) = (of("Bot one"), of("Bot two"));
        assert!(one == of("Bot one") && one != two && one != Caller::open());
        assert!(one.as_str().len() == 32 && !one.as_str().contains("one"));
        assert!(one.has_token() && !Caller::of(None).has_token());
    }
}
