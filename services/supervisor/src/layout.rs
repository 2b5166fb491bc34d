//! How many workers run, and on which ports. Pure.

/// What the settings say about the size of the fleet.
#[derive(Clone, Copy, Debug)]
pub struct WantedSize {
    /// `SHARD_COUNT`; `None` for `auto`.
    pub shards: Option<u32>,
    /// `SHARDS_PER_CLUSTER`.
    pub shards_per_worker: Option<u32>,
    /// `CLUSTER_COUNT`.
    pub workers: Option<u16>,
    /// Cores of this machine.
    pub cores: usize,
}

/// The size of the fleet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Size {
    /// Workers at the start.
    pub workers: u16,
    /// When the shard total is known, there must be one worker for each this many shards.
    pub one_for_each: Option<u32>,
}

/// The most workers on one host.
pub const MOST_WORKERS: u16 = 512;

impl WantedSize {
    /// Decides how many workers run.
    ///
    /// # Errors
    /// The settings contradict each other, in one line.
    pub fn decide(self) -> Result<Size, String> {
        let cores = u16::try_from(self.cores).unwrap_or(MOST_WORKERS).clamp(1, MOST_WORKERS);
        match (self.workers, self.shards, self.shards_per_worker) {
            (Some(workers), Some(shards), Some(each))
                if u64::from(workers) * u64::from(each) < shards.into() =>
            {
                Err(format!(
                    "CLUSTER_COUNT={workers} with SHARDS_PER_CLUSTER={each} has room for {} shards, but SHARD_COUNT is {shards}: raise \
                     one of the two, or leave CLUSTER_COUNT out",
                    u64::from(workers) * u64::from(each)
                ))
            }
            (Some(workers), Some(shards), _) if u32::from(workers) > shards => Err(format!(
                "CLUSTER_COUNT={workers} is more than SHARD_COUNT={shards}: some workers would get no shard; lower CLUSTER_COUNT"
            )),
            (Some(workers), ..) => Ok(Size { workers, one_for_each: None }),
            (None, Some(shards), Some(each)) => match u16::try_from(shards.div_ceil(each.max(1))) {
                Ok(workers) if workers <= MOST_WORKERS => Ok(Size { workers, one_for_each: None }),
                _ => Err(format!(
                    "SHARD_COUNT={shards} with SHARDS_PER_CLUSTER={each} needs more than {MOST_WORKERS} workers: raise SHARDS_PER_CLUSTER"
                )),
            },
            (None, Some(shards), None) => {
                let shards = u16::try_from(shards).unwrap_or(u16::MAX).max(1);
                Ok(Size { workers: cores.min(shards), one_for_each: None })
            }
            (None, None, Some(each)) => Ok(Size { workers: 1, one_for_each: Some(each.max(1)) }),
            (None, None, None) => Ok(Size { workers: cores, one_for_each: None }),
        }
    }
}

impl Size {
    /// The number of workers for this many shards; never fewer than at the start.
    pub fn workers_for(self, shards: u32) -> u16 {
        let Some(each) = self.one_for_each else { return self.workers };
        let needed = u16::try_from(shards.div_ceil(each)).unwrap_or(MOST_WORKERS).min(MOST_WORKERS);
        needed.max(self.workers)
    }

    /// The number of workers at the start of an image that takes over a fleet of `running` workers. Only the coordinator knows an
    /// automatic number of shards, so workers that were added for it stay.
    pub fn workers_after(self, running: u16) -> u16 {
        if self.one_for_each.is_some() { running.clamp(self.workers, MOST_WORKERS) } else { self.workers }
    }
}

/// The health port of a worker: `first` for worker 0, `first + i + 1` for worker i above 0, so that the manager's port between them
/// stays free. 0, a free port, stays 0. `None` when there is no such port.
pub fn health_port(first: u16, worker: u16) -> Option<u16> {
    match (first, worker) {
        (0, _) => Some(0),
        (_, 0) => Some(first),
        _ => first.checked_add(worker)?.checked_add(1),
    }
}

/// The least memory limit of a worker, in bytes.
const LEAST_MEMORY: u64 = 32 << 20;

/// Parses an amount of memory as PM2 does: `2G`, `500M`, `1024K`, or bytes. Units are of 1,024.
///
/// # Errors
/// Anything else, or less than an idle worker takes.
pub fn memory_size(text: &str) -> Result<u64, String> {
    let wrong = || "it takes an amount of memory: 2G, 500M, 1024K, or bytes".to_owned();
    let text = text.trim();
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let shift = match text[digits.len()..].to_ascii_uppercase().trim_end_matches("IB").trim_end_matches('B') {
        "" => 0,
        "K" => 10,
        "M" => 20,
        "G" => 30,
        _ => return Err(wrong()),
    };
    let number: u64 = digits.parse().map_err(|_| wrong())?;
    match number.checked_mul(1 << shift) {
        Some(bytes) if bytes < LEAST_MEMORY => {
            Err(format!("it takes at least {}M: an idle worker needs about 25M", LEAST_MEMORY >> 20))
        }
        Some(bytes) => Ok(bytes),
        _ => Err(wrong()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decide(shards: Option<u32>, each: Option<u32>, workers: Option<u16>) -> Result<Size, String> {
        WantedSize { shards, shards_per_worker: each, workers, cores: 4 }.decide()
    }

    #[test]
    fn workers_follow_from_the_settings() {
        for (shards, each, workers, expected) in [
            (None, None, None, 4),
            (Some(2), None, None, 2),
            (Some(16), None, None, 4),
            (Some(16), Some(5), None, 4),
            (Some(50), Some(5), None, 10),
            (Some(50), Some(5), Some(10), 10),
            (Some(50), Some(5), Some(12), 12),
            (None, None, Some(3), 3),
        ] {
            let size = decide(shards, each, workers).unwrap();
            assert_eq!(
                (size.workers, size.one_for_each),
                (expected, None),
                "{shards:?} {each:?} {workers:?}"
            );
        }
    }

    #[test]
    fn contradictions_are_refused_in_one_line() {
        for (shards, each, workers, says) in [
            (Some(8), Some(3), Some(2), "room for 6 shards"),
            (Some(2), None, Some(3), "more than SHARD_COUNT=2"),
            (Some(60_000), Some(1), None, "raise SHARDS_PER_CLUSTER"),
        ] {
            let refused = decide(shards, each, workers).unwrap_err();
            assert!(refused.contains(says) && !refused.contains('\n'), "{refused}");
        }
    }

    #[test]
    fn workers_are_added_when_an_automatic_total_is_known() {
        let size = decide(None, Some(5), None).unwrap();
        assert_eq!(size.workers, 1);
        assert_eq!((size.workers_for(0), size.workers_for(5), size.workers_for(26)), (1, 1, 6));
        assert_eq!(size.workers_for(u32::MAX), MOST_WORKERS);
        let fixed = decide(None, None, Some(3)).unwrap();
        assert_eq!(fixed.workers_for(1_000), 3);
        // Another image takes the fleet over.
        assert_eq!(
            (size.workers_after(0), size.workers_after(6), size.workers_after(u16::MAX)),
            (1, 6, MOST_WORKERS)
        );
        assert_eq!((fixed.workers_after(6), fixed.workers_after(1)), (3, 3));
    }

    #[test]
    fn health_ports_leave_the_managers_port_free() {
        let ports: Vec<_> = (0..4).map(|worker| health_port(3000, worker).unwrap()).collect();
        assert_eq!(ports, [3000, 3002, 3003, 3004]);
        assert_eq!(health_port(0, 7), Some(0));
        assert_eq!(health_port(65_535, 1), None);
    }

    #[test]
    fn memory_is_written_as_for_pm2() {
        for (text, bytes) in [
            ("2G", 2 << 30),
            ("500M", 500 << 20),
            ("65536K", 64 << 20),
            ("40000000", 40_000_000),
            ("1gb", 1 << 30),
        ] {
            assert_eq!(memory_size(text), Ok(bytes), "{text}");
        }
        for wrong in ["", "0", "2", "31M", "G", "1.5G", "-1", "2T", "99999999999G"] {
            assert!(memory_size(wrong).is_err(), "{wrong} passed");
        }
    }
}
