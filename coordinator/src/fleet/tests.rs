mod scripted;
mod world;

use std::time::Duration;

use super::*;

/// A lease lives five seconds, as by default.
const TTL: Duration = Duration::from_secs(5);

fn rules() -> Rules {
    Rules { lease_ttl: TTL, settle: Duration::from_secs(1), moves_at_once: 2 }
}

fn at(ms: u64) -> Now {
    Now { mono: Duration::from_millis(ms), unix_ms: 1_700_000_000_000 + ms }
}

fn id(name: &str) -> WorkerId {
    name.parse().unwrap()
}

fn life(name: &str) -> Incarnation {
    name.parse().unwrap()
}

fn registration(worker: &str, incarnation: &str) -> Registration {
    Registration {
        worker: id(worker),
        incarnation: life(incarnation),
        url: format!("http://{worker}"),
        version: String::new(),
        capacity: None,
        running: BTreeMap::new(),
        running_total: 0,
        draining: false,
    }
}
