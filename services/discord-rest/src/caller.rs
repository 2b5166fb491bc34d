//! Whose limits a request counts for.

use std::{fmt, sync::Arc};

use http::HeaderValue;
use ring::digest::{SHA256, digest};
use subtle::ConstantTimeEq as _;

/// Who calls, as a hash of the `Authorization` header: enough to tell two bots apart, and nothing that could be used or turned
/// back. Requests without one, and those whose path holds a token of its own, are [`Caller::open`].
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Caller(Arc<str>);

impl Caller {
    /// Returns the caller with this header. `Bot` in any case and extra spaces make no difference.
    pub fn of(authorization: Option<&HeaderValue>) -> Self {
        authorization.map_or_else(Self::open, |value| Self::with(value.as_bytes()))
    }

    /// Returns the caller with this bot token, with or without `Bot`.
    pub fn bot(token: &str) -> Self {
        let token = without_scheme(token.as_bytes()).unwrap_or(token.as_bytes());
        Self::with(&[b"Bot ", token].concat())
    }

    fn with(authorization: &[u8]) -> Self {
        let hash = match without_scheme(authorization) {
            Some(token) => hashed(&[b"Bot ", token].concat()),
            None => hashed(authorization),
        };
        Self(hash.into())
    }

    /// Returns the caller without a token.
    pub fn open() -> Self {
        Self("open".into())
    }

    /// A token was sent, so a 401 is about that token.
    pub fn has_token(&self) -> bool {
        &*self.0 != "open"
    }

    /// Whether both have the same token. How long it takes says nothing about the hashes.
    pub(crate) fn has_same_token(&self, other: &Self) -> bool {
        self.0.as_bytes().ct_eq(other.0.as_bytes()).into()
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

/// The token after `Bot `.
fn without_scheme(authorization: &[u8]) -> Option<&[u8]> {
    let (scheme, token) = authorization.trim_ascii().split_at_checked(4)?;
    scheme.eq_ignore_ascii_case(b"Bot ").then(|| token.trim_ascii())
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
    fn tokens_are_distinguished_but_not_shown() {
        let of = |text: &'static str| Caller::of(Some(&HeaderValue::from_static(text)));
        let (one, two) = (of("Bot one"), of("Bot two"));
        assert!(one.has_same_token(&of("Bot one")) && !one.has_same_token(&two));
        assert!(one == of("Bot one") && one != two && one != Caller::open());
        assert!(one.as_str().len() == 32 && !one.as_str().contains("one"));
        for same in ["bot one", "  BOT   one "] {
            assert_eq!(of(same), one, "{same:?}");
        }
        assert_eq!((Caller::bot("one"), Caller::bot("Bot one")), (one.clone(), one.clone()));
        assert_ne!(of("one"), one);
        assert!(one.has_token() && !Caller::of(None).has_token());
    }
}
