//! Address of Discord: the real one, or a stand-in.

use std::str::FromStr;

use url::{Host, Url};

/// Address of Discord.
#[derive(Clone, Debug, clap::Args)]
#[command(next_help_heading = "Discord (the token comes from DISCORD_TOKEN or DISCORD_TOKEN_FILE)")]
pub struct DiscordArgs {
    /// Origin of the REST API, when it is not Discord's own: `http://127.0.0.1:3900` for discord-sim
    #[arg(long, env = "DISCORD_API_URL", value_name = "URL")]
    pub discord_api_url: Option<ApiOrigin>,

    /// URL of the gateway; by default what `/gateway/bot` answers
    #[arg(long, env = "DISCORD_GATEWAY_URL", value_name = "URL")]
    pub discord_gateway_url: Option<GatewayUrl>,
}

/// An origin that serves Discord's REST API under `/api/v10`. A trailing `/api` or `/api/vN` in the setting is dropped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApiOrigin {
    url: Url,
}

/// The gateway's URL, `ws` or `wss`, without a trailing slash.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GatewayUrl(String);

impl ApiOrigin {
    /// Host and port, as `host:port`.
    pub fn authority(&self) -> String {
        let host = self.url.host_str().unwrap_or_default();
        match self.url.port() {
            Some(port) => format!("{host}:{port}"),
            None => host.to_owned(),
        }
    }

    /// Host and port; by default the scheme's port.
    pub fn server(&self) -> (&str, u16) {
        let port = self.url.port_or_known_default().unwrap_or_default();
        (self.url.host_str().unwrap_or_default(), port)
    }

    /// Whether it is without TLS.
    pub fn is_plain_http(&self) -> bool {
        self.url.scheme() == "http"
    }

    /// Whether it is on this machine, so not Discord.
    pub fn is_loopback(&self) -> bool {
        match self.url.host() {
            Some(Host::Domain(name)) => name == "localhost",
            Some(Host::Ipv4(ip)) => ip.is_loopback(),
            Some(Host::Ipv6(ip)) => ip.is_loopback(),
            None => false,
        }
    }
}

impl FromStr for ApiOrigin {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let url = Url::parse(text)
            .map_err(|error| format!("{error}; it takes a URL like http://127.0.0.1:3900"))?;
        if !matches!(url.scheme(), "http" | "https") || url.host().is_none() {
            return Err("it takes an http:// or https:// URL".to_owned());
        }
        if !url.username().is_empty() || url.password().is_some() || url.query().is_some() {
            return Err("it takes an origin: no user, no query".to_owned());
        }
        let path: Vec<&str> = url.path().split('/').filter(|part| !part.is_empty()).collect();
        let version = |part: &str| part.strip_prefix('v').is_some_and(|n| n.parse::<u8>().is_ok());
        match path.as_slice() {
            [] | ["api"] => {}
            ["api", last] if version(last) => {}
            _ => {
                return Err(
                    "it takes an origin; a path other than /api or /api/v10 cannot be used".to_owned()
                );
            }
        }
        let mut origin = url;
        origin.set_path("");
        Ok(Self { url: origin })
    }
}

impl GatewayUrl {
    /// The URL as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for GatewayUrl {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let url =
            Url::parse(text).map_err(|error| format!("{error}; it takes a URL like ws://127.0.0.1:3900"))?;
        if !matches!(url.scheme(), "ws" | "wss") || url.host().is_none() {
            return Err("it takes a ws:// or wss:// URL".to_owned());
        }
        if url.query().is_some() || url.fragment().is_some() {
            return Err("it takes no query: version, encoding and compression are added".to_owned());
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err("it must not contain a user".to_owned());
        }
        Ok(Self(url.as_str().trim_end_matches('/').to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn origins_drop_the_api_path() {
        for text in ["http://127.0.0.1:3900", "http://127.0.0.1:3900/", "http://127.0.0.1:3900/api/v10"] {
            let origin: ApiOrigin = text.parse().unwrap();
            assert_eq!(origin.authority(), "127.0.0.1:3900");
            assert!(origin.is_plain_http() && origin.is_loopback());
        }
        assert!(!"https://discord.com/api".parse::<ApiOrigin>().unwrap().is_loopback());
    }

    #[test]
    fn invalid_origins_are_refused() {
        for text in ["127.0.0.1:3900", "ftp://x", "http://x/bots", "http://u:p@x", "http://x?y=1"] {
            assert!(text.parse::<ApiOrigin>().is_err(), "{text} passed");
        }
    }

    #[test]
    fn gateway_urls_are_websocket_urls() {
        assert_eq!("ws://127.0.0.1:1/".parse::<GatewayUrl>().unwrap().as_str(), "ws://127.0.0.1:1");
        for text in
            ["http://127.0.0.1:1", "ws://u@127.0.0.1:1", "ws://127.0.0.1:1/?v=10", "ws://127.0.0.1:1/#x"]
        {
            assert!(text.parse::<GatewayUrl>().is_err(), "{text} passed");
        }
    }
}
