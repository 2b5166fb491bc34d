//! Settings in the environment that dev mode does not use: each is named with the reason, so that none is ignored in silence.

use super::{
    DevArgs,
    discord::Discord,
    relay::{RelayPlace, RelayTarget},
};

/// Settings of coordinator and workers that dev mode never uses.
const NEVER_USED: [(&str, &str); 10] = [
    ("CREDENTIALS", "all parts of dev mode are in one process"),
    ("CREDENTIALS_OPTIONAL", "all parts of dev mode are in one process"),
    ("GATEWAY_ADVERTISE", "the gateway for bots is at GATEWAY_LISTEN"),
    ("FLEET", "all parts of dev mode are in one process"),
    ("WORKER_NAME", "the workers are worker-0, worker-1, ... (--workers sets their number)"),
    ("WORKER_LISTEN", "workers take free ports of 127.0.0.1"),
    ("WORKER_ADVERTISE", "workers take free ports of 127.0.0.1"),
    ("REDIS_PREFIX", "only relayed events may be in Redis, and RELAY_PREFIX is their prefix"),
    ("REDIS_PASSWORD_FILE", "the password of the relay's Redis is in its URL"),
    ("REDIS_CA_FILE", "the relay's Redis needs a certificate of a public authority"),
];

/// Returns the variables that are set and not used, each with the reason.
pub(super) fn lines(
    args: &DevArgs,
    discord: &Discord,
    relay: &RelayTarget,
    value: impl Fn(&str) -> Option<String>,
) -> Vec<String> {
    let mut ignored = NEVER_USED.to_vec();
    let own = args.coordinator_listen.to_string();
    if value("COORDINATOR_URL").is_some_and(|url| !url.ends_with(&own)) {
        ignored.push(("COORDINATOR_URL", "dev starts a coordinator of its own (COORDINATOR_LISTEN)"));
    }
    if discord.is_simulated() {
        let why =
            if args.simulate { "--simulate is given" } else { "no token is set, so Discord is simulated" };
        ignored.extend(["DISCORD_API_URL", "DISCORD_GATEWAY_URL"].map(|name| (name, why)));
        let tokens = ["DISCORD_TOKEN", "DISCORD_TOKEN_FILE", "BOT_TOKEN"];
        ignored.extend(tokens.map(|name| (name, "--simulate is given")));
    } else {
        ignored.push(("SIM_LISTEN", "Discord is not simulated"));
    }
    if discord.is_simulated() || args.fixed_shards().is_some() {
        ignored.push((
            "SHARD_BUFFER",
            "it adds to what the real Discord recommends, and the number of shards is fixed",
        ));
    }
    match relay {
        RelayTarget::Redis { setting, .. } if setting.variable == "RELAY_REDIS_URL" => {
            ignored.push(("REDIS_URL", "RELAY_REDIS_URL is used in its place"));
        }
        RelayTarget::Redis { .. } => {}
        RelayTarget::Memory | RelayTarget::Off => {
            let why = if args.relay.relay == Some(RelayPlace::Off) {
                "the relay is off (--relay, RELAY)"
            } else {
                "events are kept in memory (--relay, RELAY)"
            };
            ignored.extend(["REDIS_URL", "RELAY_REDIS_URL", "RELAY_PREFIX"].map(|name| (name, why)));
        }
    }
    if matches!(relay, RelayTarget::Off) {
        let names = ["RELAY_EVENTS", "RELAY_MAX_LENGTH", "RELAY_MAX_MIB", "RELAY_MAX_AGE"];
        ignored.extend(names.map(|name| (name, "the relay is off (--relay, RELAY)")));
    }
    let set = ignored.into_iter().filter(|(name, _)| value(name).is_some());
    set.map(|(name, why)| format!("{name} is set but not used: {why}")).collect()
}

#[cfg(test)]
mod tests {
    use clap::{CommandFactory as _, Parser as _};

    use super::*;

    #[derive(clap::Parser)]
    struct Program {
        #[command(flatten)]
        dev: DevArgs,
    }

    /// Settings of coordinator and workers that dev mode uses, besides the variables of its own flags.
    const USED: [&str; 35] = [
        "ACTIVE_GENERATION",
        "BRIDGE_DEADLINE",
        "CACHE",
        "CACHE_MESSAGES",
        "CACHE_MESSAGE_LIFETIME",
        "CHECKPOINT",
        "CHECKPOINT_EVERY",
        "CHECKPOINT_FORMAT_MAX",
        "CLIENT_FACING_CERTIFICATE",
        "DRAIN_TIMEOUT",
        "GATEWAY_CLIENTS",
        "GATEWAY_COMPRESSION",
        "GENERATION",
        "HANDLERS_AT_ONCE",
        "HEALTH_LISTEN_HOST",
        "IDENTIFY_INTERVAL",
        "IDENTIFY_RESERVE",
        "INSECURE_NETWORK",
        "INTENTS",
        "LEASE_TTL",
        "METRICS_PREFIX",
        "MOVES_AT_ONCE",
        "PROBLEMS_WEBHOOK_INTERVAL",
        "PROBLEMS_WEBHOOK_URL",
        "QUEUE_EVENTS",
        "QUEUE_MIB",
        "REST_ALLOW_ANY_TOKEN",
        "REST_ALLOW_GATEWAY",
        "REST_GLOBAL_PER_SECOND",
        "REST_INVALID_LIMIT",
        "REST_LONGEST_WAIT",
        "SETTLE",
        "SHARDS_PER_CLUSTER",
        "SINGLETON_TIMEOUT",
        "TRACE_EVENTS",
    ];
    /// Settings that dev mode uses or names, depending on others.
    const DEPENDS: [&str; 4] = ["COORDINATOR_URL", "DISCORD_API_URL", "DISCORD_GATEWAY_URL", "SHARD_BUFFER"];

    fn said(flags: &[&str], set: &[&str]) -> Vec<String> {
        let args = Program::try_parse_from([&["dev"], flags].concat()).unwrap().dev;
        let relay = args.relay.target().unwrap();
        lines(&args, &Discord::Simulated, &relay, |name| set.contains(&name).then(|| "x".to_owned()))
    }

    #[test]
    fn each_setting_is_used_or_named() {
        let known: Vec<&str> =
            USED.into_iter().chain(DEPENDS).chain(NEVER_USED.map(|(name, _)| name)).collect();
        let commands = [coordinator::CoordinatorArgs::command(), gateway_worker::WorkerArgs::command()];
        let own = Program::command();
        let own: Vec<String> =
            own.get_arguments().filter_map(|arg| Some(arg.get_env()?.display().to_string())).collect();
        for command in &commands {
            for arg in command.get_arguments() {
                let Some(name) = arg.get_env().map(|name| name.display().to_string()) else { continue };
                assert!(
                    known.contains(&name.as_str()) || own.contains(&name),
                    "{name}: used in dev mode, or named?"
                );
            }
        }
    }

    #[test]
    fn a_variable_without_effect_is_named_with_the_reason() {
        assert_eq!(said(&[], &["CACHE", "INTENTS", "SHARD_COUNT"]), [""; 0]);
        assert_eq!(said(&[], &["WORKER_NAME", "REDIS_PASSWORD_FILE"]).len(), 2);
        let said_url = said(&[], &["DISCORD_API_URL"]);
        assert!(said_url[0].contains("no token is set"), "{said_url:?}");
        let token = said(&["--simulate"], &["DISCORD_TOKEN"]);
        assert_eq!(token, ["DISCORD_TOKEN is set but not used: --simulate is given"]);
        let redis = ["--redis-url=redis://127.0.0.1:1"];
        assert_eq!(said(&redis, &["REDIS_URL", "RELAY_PREFIX"]), [""; 0]);
        let memory = said(&[&redis[..], &["--relay=memory"]].concat(), &["REDIS_URL", "RELAY_PREFIX"]);
        assert!(memory.len() == 2 && memory[0].contains("in memory"), "{memory:?}");
        let both = ["--redis-url=redis://127.0.0.1:1", "--relay-redis-url=redis://127.0.0.1:2"];
        assert_eq!(said(&both, &["REDIS_URL", "RELAY_REDIS_URL"]).len(), 1);
    }
}
