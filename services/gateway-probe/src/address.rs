//! Which addresses the probe sends the token to: the gateway that the caller names, and resume URLs of the same server, or below
//! `discord.gg` when the gateway is Discord's.

use url::Url;

/// A checked address of a gateway.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProbeAddress(Url);

impl ProbeAddress {
    /// Checks the URL of `GET /gateway/bot` or of a setting.
    ///
    /// # Errors
    /// It is not a `ws://` or `wss://` URL with a host alone.
    pub fn new(text: &str) -> Result<Self, String> {
        let shown = outside_text::printable(text);
        let url = Url::parse(text).map_err(|error| format!("gateway URL {shown}: {error}"))?;
        let is_plain = url.username().is_empty() && url.password().is_none() && url.query().is_none();
        if !matches!(url.scheme(), "ws" | "wss") || url.host_str().is_none_or(str::is_empty) || !is_plain {
            return Err(format!("gateway URL {shown}: expected wss:// and a host"));
        }
        Ok(Self(url))
    }

    /// Checks a `resume_gateway_url`.
    ///
    /// # Errors
    /// It leads to another server than this gateway.
    pub(crate) fn resume(&self, text: &str) -> Result<Self, String> {
        let other = Self::new(text)?;
        let server = |url: &Url| {
            (url.scheme().to_owned(), url.host_str().map(str::to_owned), url.port_or_known_default())
        };
        if server(&self.0) == server(&other.0) || (self.is_discord() && other.is_discord()) {
            return Ok(other);
        }
        Err(format!(
            "resume URL {} leads to another server: the token is not sent there",
            outside_text::printable(text)
        ))
    }

    /// Whether it is a gateway of Discord's own.
    pub fn is_discord(&self) -> bool {
        let host = self.0.host_str().unwrap_or_default();
        self.0.scheme() == "wss"
            && self.0.port_or_known_default() == Some(443)
            && host.ends_with(".discord.gg")
    }

    /// Host, port, and whether TLS is used.
    pub(crate) fn server(&self) -> (&str, u16, bool) {
        let host = self.0.host_str().unwrap_or_default().trim_start_matches('[').trim_end_matches(']');
        (host, self.0.port_or_known_default().unwrap_or_default(), self.0.scheme() == "wss")
    }

    /// The URL of a connection without compression, so that every byte is seen as Discord wrote it.
    pub(crate) fn connection_url(&self) -> String {
        let mut url = self.0.clone();
        url.set_path(&format!("{}/", url.path().trim_end_matches('/').to_owned()));
        url.set_query(Some("v=10&encoding=json"));
        url.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn token_goes_to_one_server_or_to_discords() {
        let discord = ProbeAddress::new("wss://gateway.discord.gg").unwrap();
        assert!(discord.is_discord());
        assert!(discord.resume("wss://gateway-us-east1-b.discord.gg").is_ok());
        for other in [
            "wss://discord.gg.evil.example",
            "ws://gateway.discord.gg",
            "wss://gateway.discord.gg:444",
            "https://x",
        ] {
            assert!(discord.resume(other).is_err(), "{other}");
        }
        let stand_in = ProbeAddress::new("ws://127.0.0.1:3900").unwrap();
        assert!(stand_in.resume("ws://127.0.0.1:3900/resume").is_ok());
        assert!(
            stand_in.resume("ws://127.0.0.1:3901").is_err() && stand_in.resume("wss://x.discord.gg").is_err()
        );
        assert_eq!(stand_in.connection_url(), "ws://127.0.0.1:3900/?v=10&encoding=json");
        assert!(ProbeAddress::new("ws://user@host").is_err());
    }
}
