//! Where the fleet's shared state is.

use redis_link::{KeyPrefix, RedisUrl};

/// Flags that say where Redis is and how our keys begin.
#[derive(Clone, Debug, clap::Args)]
#[command(next_help_heading = "Redis")]
pub struct StoreArgs {
    /// `redis://`, `rediss://`, `redis-sentinel://HOST:PORT,HOST:PORT/?master=NAME` or `redis-cluster://HOST:PORT,HOST:PORT`
    #[arg(long, env = "REDIS_URL", value_name = "URL", hide_env_values = true)]
    pub redis_url: Option<RedisUrl>,

    /// What every key and channel begins with; two bots can share a Redis under different ones
    #[arg(long, env = "REDIS_PREFIX", value_name = "TEXT", default_value = "altergolden")]
    pub redis_prefix: KeyPrefix,
}
