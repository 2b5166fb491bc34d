//! Settings and assembly of the worker's REST proxy, which the crate `discord-rest` implements.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use clap::{ArgAction, builder::BoolishValueParser};
use discord_rest::{
    Budget, Caller, FleetShare, Gate, LimitRules, MemoryBudget, OwnGateway, RedisBudget, Rest, RestMetrics,
    RestOptions, RestStatus, SharedBudget, Upstream,
};
use fleet_model::{Routes, WorkerId};
use process::{
    credentials::ClientFacingCertificate,
    settings::{self, ApiOrigin, Secret, SettingsError},
};
use redis_link::{KeyPrefix, LinkOptions, RedisLink, RedisUrl};
use tokio::sync::watch;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// The longest that a request may wait for its turn.
const LONGEST_WAIT: Duration = Duration::from_mins(1);
/// How long a request waits for Redis before the worker goes on with its own share.
const REDIS_WITHIN: Duration = Duration::from_millis(500);
const CONNECT_WITHIN: Duration = Duration::from_millis(400);

/// Flags of the REST proxy.
#[derive(Clone, Debug, clap::Args)]
#[command(next_help_heading = "Discord's REST API, for bots in any language")]
pub struct RestArgs {
    /// Address of this worker's proxy of Discord's REST API (`/api/v10/...`); port 0 takes a free one and logs it
    #[arg(long, env = "REST_LISTEN", value_name = "HOST:PORT", default_value = "127.0.0.1:0")]
    pub rest_listen: SocketAddr,

    /// Requests per second of one token, over the whole fleet
    #[arg(long, env = "REST_GLOBAL_PER_SECOND", value_name = "NUMBER", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub rest_global_per_second: u32,

    /// How long a request waits for its turn before it is answered with 429; at most 1m
    #[arg(long, env = "REST_LONGEST_WAIT", value_name = "DURATION", default_value = "10s", value_parser = settings::duration)]
    pub rest_longest_wait: Duration,

    /// Number of answers 401, 403 and 429 in ten minutes at which the fleet stops sending; Discord bans an address at 10,000
    #[arg(long, env = "REST_INVALID_LIMIT", hide_short_help = true, value_name = "NUMBER", default_value_t = 9_500, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub rest_invalid_limit: u32,

    /// Lets requests with any token through, not only with the bot's own
    #[arg(long, env = "REST_ALLOW_ANY_TOKEN", value_name = "BOOL", default_value_t = false, action = ArgAction::Set, value_parser = BoolishValueParser::new(), hide_short_help = true)]
    pub rest_allow_any_token: bool,

    /// Lets `GET /gateway/bot` through, for a program that connects to the gateway beside the fleet
    #[arg(long, env = "REST_ALLOW_GATEWAY", value_name = "BOOL", default_value_t = false, action = ArgAction::Set, value_parser = BoolishValueParser::new(), hide_short_help = true)]
    pub rest_allow_gateway: bool,
}

/// Checked settings.
#[derive(Clone, Copy, Debug)]
pub struct RestConfig {
    /// Where the proxy listens.
    pub listen: SocketAddr,
    /// Whether other workers of this host listen there too.
    pub shares_port: bool,
    /// Requests a second of one token.
    pub per_second: u32,
    /// How long a request waits for its turn.
    pub longest_wait: Duration,
    /// Invalid requests at which the breaker opens.
    pub invalid_limit: u32,
    /// Passes on requests with any token.
    pub allows_any_token: bool,
    /// Passes on requests for the gateway's address.
    pub allows_gateway: bool,
}

impl RestArgs {
    /// Checks the flags.
    ///
    /// # Errors
    /// The first invalid flag, in one line.
    pub fn into_config(self) -> Result<RestConfig, SettingsError> {
        if self.rest_longest_wait > LONGEST_WAIT {
            return Err(SettingsError::new("--rest-longest-wait (REST_LONGEST_WAIT)", "it takes at most 1m"));
        }
        Ok(RestConfig {
            listen: self.rest_listen,
            shares_port: false,
            per_second: self.rest_global_per_second,
            longest_wait: self.rest_longest_wait,
            invalid_limit: self.rest_invalid_limit,
            allows_any_token: self.rest_allow_any_token,
            allows_gateway: self.rest_allow_gateway,
        })
    }
}

/// Where the budget of Discord's REST limits is kept.
#[derive(Clone, Debug)]
pub enum RestBudget {
    /// Redis, for the whole fleet; while it is away each worker keeps to its own share.
    Redis {
        /// Where.
        url: Box<RedisUrl>,
        /// The prefix of its keys.
        prefix: KeyPrefix,
    },
    /// All workers of this process.
    Memory(Arc<MemoryBudget>),
}

impl RestBudget {
    /// Creates a budget for all workers that get a clone.
    pub fn memory() -> Self {
        Self::Memory(Arc::new(MemoryBudget::new(LimitRules::default())))
    }
}

/// The proxy as the rest of the worker knows it.
pub(crate) struct Proxy {
    /// Where this process reaches it, as `host:port`. Without TLS, which callers on this host do not need.
    pub(crate) authority: String,
    pub(crate) status: RestStatus,
}

/// Starts serving.
///
/// # Errors
/// The client for Discord cannot be set up; in one line.
pub(crate) fn start(
    rest: Rest,
    (config, certificate, api): (RestConfig, ClientFacingCertificate, Option<&ApiOrigin>),
    (worker, token): (WorkerId, &Secret),
    budget: RestBudget,
    (routes, metrics): (watch::Receiver<Arc<Routes>>, RestMetrics),
    gateway: Option<OwnGateway>,
    (tasks, stop): (&TaskTracker, &CancellationToken),
) -> Result<Proxy, String> {
    let upstream = Upstream::new(api).map_err(|error| error.to_string())?;
    let status = RestStatus::default();
    let rules = LimitRules { invalid_limit: config.invalid_limit };
    let budget: Arc<dyn Budget> = match budget {
        RestBudget::Memory(budget) => budget,
        RestBudget::Redis { url, prefix } => {
            // A connection of its own: leases must not wait behind requests, and its deadline is another.
            let options = LinkOptions { deadline: REDIS_WITHIN, connect_timeout: CONNECT_WITHIN };
            let redis = RedisBudget::new(RedisLink::new(*url, options), &prefix, rules);
            let share = move || share_of(&worker, &routes.borrow());
            let shared = SharedBudget::new(redis, rules, share, metrics.clone(), status.clone());
            tasks.spawn(shared.clone().keep(stop.clone()));
            shared
        }
    };
    let gate = Arc::new(Gate::new(budget, config.per_second, metrics.clone(), status.clone()));
    let address = rest.address();
    let options = RestOptions {
        longest_wait: config.longest_wait,
        only_token: (!config.allows_any_token).then(|| Caller::bot(token.expose())),
        allows_gateway: config.allows_gateway,
        certificate,
        gateway,
    };
    tracing::info!(%address, scheme = options.certificate.scheme(), "REST proxy listening");
    tasks.spawn(rest.serve(gate, upstream, metrics, options, stop.clone()));
    Ok(Proxy { authority: towards(address).to_string(), status })
}

/// Returns a worker's place in the routing table.
fn share_of(worker: &WorkerId, routes: &Routes) -> FleetShare {
    let listed = routes.workers();
    let place = listed.binary_search_by(|(name, _)| name.cmp(worker));
    let workers = listed.len() + usize::from(place.is_err() && !listed.is_empty());
    let rank = place.unwrap_or_else(|rank| rank);
    let count = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
    FleetShare { rank: count(rank), workers: count(workers) }
}

/// An address at which this process reaches what listens there.
pub(crate) fn towards(address: SocketAddr) -> SocketAddr {
    use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, address.port())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unspecified_address_is_reached_on_the_loopback() {
        for (listens, reached) in
            [("0.0.0.0:7", "127.0.0.1:7"), ("[::]:7", "[::1]:7"), ("10.0.0.1:7", "10.0.0.1:7")]
        {
            assert_eq!(towards(listens.parse().unwrap()).to_string(), reached);
        }
    }
}
