//! Settings and assembly of the gateway for the bot's own programs, which the crate `bot-gateway` implements.

use std::{net::SocketAddr, sync::Arc};

use ::bot_gateway::{AskIdentity, BotIdentity};
use fleet_model::{Problem, ProblemCode};
use futures_util::FutureExt as _;
use process::settings::{Secret, SettingsError};
use serde_json::Value;
use url::Url;

use crate::discord;

/// Flags of the gateway for bots.
#[derive(Clone, Debug, clap::Args)]
#[command(next_help_heading = "Discord's gateway, for unmodified Discord libraries")]
#[allow(clippy::struct_field_names, reason = "the flags' names")]
pub struct BotGatewayArgs {
    /// Address of this worker's gateway for unmodified Discord libraries; needs RELAY with all events, and makes the cache also keep what
    /// GUILD_CREATE contains. Off by default
    #[arg(long, env = "GATEWAY_LISTEN", value_name = "HOST:PORT")]
    pub gateway_listen: Option<SocketAddr>,

    /// URL at which bots connect and resume, ws:// or wss://. The URL must keep working after this worker stops, so name a service or a
    /// load balancer. By default the address in GATEWAY_LISTEN
    #[arg(long, env = "GATEWAY_ADVERTISE", value_name = "URL", requires = "gateway_listen")]
    pub gateway_advertise: Option<String>,

    /// Maximum number of connected clients; each shard of a bot is one client
    #[arg(long, env = "GATEWAY_CLIENTS", hide_short_help = true, value_name = "NUMBER", default_value_t = 1024, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub gateway_clients: u32,
}

/// Checked settings.
#[derive(Clone, Debug)]
pub struct BotGatewayConfig {
    /// Where it listens.
    pub listen: SocketAddr,
    /// The URL that programs use; `None`: the address itself.
    pub url: Option<String>,
    /// The most connected programs.
    pub clients: usize,
    /// Takes programs with any token, as the simulated Discord does.
    pub allows_any_token: bool,
    /// What the cache keeps beside CACHE.
    pub cache_added: Vec<&'static str>,
}

impl BotGatewayArgs {
    /// Checks the flags; `None` when the gateway is off.
    ///
    /// # Errors
    /// The URL is not one of a WebSocket.
    pub fn into_config(self) -> Result<Option<BotGatewayConfig>, SettingsError> {
        let Some(listen) = self.gateway_listen else { return Ok(None) };
        if let Some(url) = &self.gateway_advertise {
            let is_websocket = Url::parse(url).is_ok_and(|url| {
                matches!(url.scheme(), "ws" | "wss") && url.has_host() && url.query().is_none()
            });
            if !is_websocket {
                return Err(SettingsError::new(
                    "--gateway-advertise (GATEWAY_ADVERTISE)",
                    "it takes a URL like ws://gateway.example:3081",
                ));
            }
        }
        Ok(Some(BotGatewayConfig {
            listen,
            url: self.gateway_advertise,
            clients: self.gateway_clients as usize,
            allows_any_token: false,
            cache_added: Vec::new(),
        }))
    }
}

impl BotGatewayConfig {
    /// Whether programs lose their address with this worker: discord.js drops its session if it cannot connect to the address again.
    /// On the loopback, the workers of one host share a port that is set.
    pub(crate) fn problem(&self) -> Option<Problem> {
        let is_shared = self.listen.ip().is_loopback() && self.listen.port() != 0;
        (self.url.is_none() && !is_shared).then(|| {
            let why = "the gateway for bots advertises this worker's own address, so bots cannot resume after this worker stops: set GATEWAY_ADVERTISE to an address that all workers serve";
            Problem::new(ProblemCode::GatewayAddress, why)
        })
    }

    /// The URL that programs use; `address`: where it listens.
    pub(crate) fn url(&self, address: SocketAddr, is_tls: bool) -> String {
        let scheme = if is_tls { "wss" } else { "ws" };
        let default = || format!("{scheme}://{}", crate::rest::towards(address));
        self.url.as_ref().map_or_else(default, |url| url.trim_end_matches('/').to_owned())
    }
}

/// Asks Discord who the bot is, through this worker's REST proxy.
pub(crate) fn identity(token: &Secret, proxy: &str) -> AskIdentity {
    let client = Arc::new(discord::callbacks(token, proxy));
    Arc::new(move || {
        let client = client.clone();
        async move {
            let user = client.current_user().await.map_err(|error| format!("GET /users/@me: {error}"))?;
            let user = user.text().await.map_err(|error| format!("GET /users/@me: {error}"))?;
            let application = client
                .current_user_application()
                .await
                .map_err(|error| format!("GET /applications/@me: {error}"))?;
            let application =
                application.text().await.map_err(|error| format!("GET /applications/@me: {error}"))?;
            of_answers(user, &application).ok_or_else(|| "Discord's answer has no id".to_owned())
        }
        .boxed()
    })
}

/// What READY says of the bot, out of Discord's answers.
fn of_answers(user: String, application: &str) -> Option<BotIdentity> {
    let id = |object: &Value| object.get("id")?.as_str()?.parse::<u64>().ok();
    let user_id = id(&serde_json::from_str(&user).ok()?)?;
    let application: Value = serde_json::from_str(application).ok()?;
    id(&application)?;
    let flags = application.get("flags").cloned().unwrap_or_else(|| 0.into());
    let application = serde_json::json!({ "id": application["id"], "flags": flags }).to_string();
    Some(BotIdentity { user_id, user, application })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ready_says_what_discord_answers() {
        let identity =
            of_answers(r#"{"id":"7","username":"b"}"#.to_owned(), r#"{"id":"8","flags":3,"name":"x"}"#);
        let identity = identity.unwrap();
        assert_eq!(identity.user_id, 7);
        let application: Value = serde_json::from_str(&identity.application).unwrap();
        assert_eq!(application, serde_json::json!({"id": "8", "flags": 3}));
        assert_eq!(of_answers("{}".to_owned(), r#"{"id":"8"}"#), None);
    }

    #[test]
    fn url_is_one_of_a_websocket() {
        let args = |url: &str| BotGatewayArgs {
            gateway_listen: Some("127.0.0.1:3081".parse().unwrap()),
            gateway_advertise: Some(url.to_owned()),
            gateway_clients: 1,
        };
        for wrong in ["gateway:3081", "http://gateway:3081", "ws://", "ws://gateway/?v=10"] {
            args(wrong).into_config().unwrap_err();
        }
        let config = args("wss://gateway.example/").into_config().unwrap().unwrap();
        assert_eq!(config.url("0.0.0.0:1".parse().unwrap(), false), "wss://gateway.example");
        assert_eq!(config.problem(), None);
        let config = BotGatewayConfig { url: None, ..config };
        assert_eq!(config.url("0.0.0.0:1".parse().unwrap(), false), "ws://127.0.0.1:1");
        assert_eq!(config.problem(), None, "the workers of this host share it");
        for own in ["127.0.0.1:0", "0.0.0.0:3081", "10.0.0.7:3081"] {
            let config = BotGatewayConfig { listen: own.parse().unwrap(), ..config.clone() };
            assert_eq!(config.problem().unwrap().code, ProblemCode::GatewayAddress, "{own}");
        }
    }
}
