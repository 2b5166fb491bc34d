//! Which process a pid belongs to, and how much memory a process group has: read from `/proc`. Elsewhere than on Linux nothing is
//! known, and a process of an earlier supervisor is never touched.

use std::fs;

use rustix::process::Pid;

/// A process that no later one with the same pid can be taken for.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(crate) struct ProcessIdentity {
    pid: i32,
    /// When it started, in clock ticks since the machine did.
    started: u64,
}

impl ProcessIdentity {
    /// Returns the process that has this pid now.
    pub(crate) fn of(pid: Pid) -> Option<Self> {
        let pid = pid.as_raw_nonzero().get();
        Some(Self { pid, started: Stat::read(pid)?.started })
    }

    /// The pid, if the process still runs. A zombie does not.
    pub(crate) fn running(&self) -> Option<Pid> {
        let stat = Stat::read(self.pid)?;
        (stat.started == self.started && !matches!(stat.state, 'Z' | 'X'))
            .then(|| Pid::from_raw(self.pid))
            .flatten()
    }

    /// The pid, for messages.
    pub(crate) fn pid(&self) -> i32 {
        self.pid
    }
}

/// Differs after each start of the machine.
pub(crate) fn boot_id() -> Option<String> {
    let id = fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    Some(id.trim().to_owned())
}

/// Resident memory of a process group, in bytes: all of its processes added up. `None` when it is not known.
pub(crate) fn group_memory(group: Pid) -> Option<u64> {
    let group = group.as_raw_nonzero().get();
    let page = rustix::param::page_size() as u64;
    let mut bytes = None;
    for entry in fs::read_dir("/proc").ok()?.flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<i32>().ok()) else {
            continue;
        };
        if let Some(stat) = Stat::read(pid).filter(|stat| stat.group == group) {
            bytes = Some(bytes.unwrap_or(0_u64).saturating_add(stat.resident_pages.saturating_mul(page)));
        }
    }
    bytes
}

/// Parts of `/proc/PID/stat` ([proc(5)](https://man7.org/linux/man-pages/man5/proc_pid_stat.5.html)).
struct Stat {
    state: char,
    group: i32,
    started: u64,
    resident_pages: u64,
}

impl Stat {
    fn read(pid: i32) -> Option<Self> {
        Self::parse(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
    }

    /// The name, in parentheses, may contain anything. State is the first field after it.
    fn parse(text: &str) -> Option<Self> {
        let fields: Vec<&str> = text.rsplit_once(')')?.1.split_whitespace().collect();
        Some(Self {
            state: fields.first()?.chars().next()?,
            group: fields.get(2)?.parse().ok()?,
            started: fields.get(19)?.parse().ok()?,
            resident_pages: fields.get(21)?.parse().ok()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_with_parentheses_are_read_over() {
        let text =
            "42 (a) b) S 1 42 42 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 4 0 9001 1000 77 18446744073709551615 1";
        let stat = Stat::parse(text).unwrap();
        assert_eq!((stat.state, stat.group, stat.started, stat.resident_pages), ('S', 42, 9_001, 77));
        assert!(Stat::parse("").is_none() && Stat::parse("1 (x) S").is_none());
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn another_process_with_the_pid_is_not_taken_for_it() {
        let own = ProcessIdentity::of(rustix::process::getpid()).unwrap();
        assert_eq!(own.running(), Some(rustix::process::getpid()));
        let earlier = ProcessIdentity { started: own.started - 1, ..own };
        assert_eq!(earlier.running(), None);
        assert!(group_memory(rustix::process::getpgrp()).unwrap() > 100_000);
    }
}
