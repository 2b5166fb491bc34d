//! Memory and CPU time of a process, from `/proc`.

use std::{fs, ops::Add, time::Duration};

use super::Process;

/// Resident memory of a process, in KiB.
#[derive(Clone, Copy, Debug, Default)]
pub struct Memory {
    /// All resident memory.
    pub resident: u64,
    /// Heap, stacks, and changed data.
    pub anonymous: u64,
    /// The part of `anonymous` in huge pages.
    pub huge: u64,
    /// Memory with each shared page divided by the number of processes that map it (PSS).
    pub proportional: u64,
}

impl Memory {
    /// Returns the memory of the process with this id, if it runs.
    pub fn of(pid: u32) -> Option<Self> {
        let rollup = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).ok()?;
        let size = |name: &str| {
            let line = rollup.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
            line.and_then(|line| line.trim().strip_suffix(" kB")?.parse().ok()).unwrap_or_default()
        };
        Some(Self {
            resident: size("Rss"),
            anonymous: size("Anonymous"),
            huge: size("AnonHugePages"),
            proportional: size("Pss"),
        })
    }

    /// Returns the memory of programs and libraries, which processes of one program share.
    pub fn file(&self) -> u64 {
        self.resident.saturating_sub(self.anonymous)
    }
}

impl Add for Memory {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            resident: self.resident + other.resident,
            anonymous: self.anonymous + other.anonymous,
            huge: self.huge + other.huge,
            proportional: self.proportional + other.proportional,
        }
    }
}

/// Returns the CPU time of the process with this id and of its children that have ended, if it runs. In steps of 10 ms.
pub fn cpu_time_with_children(pid: u32) -> Option<Duration> {
    ticks(pid, 4)
}

/// Adds up the first `count` of utime, stime, cutime and cstime of a process.
fn ticks(pid: u32, count: usize) -> Option<Duration> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // After the name, which may contain spaces, utime is the 12th field. A tick is 10 ms.
    let fields = stat.rsplit(") ").next()?.split(' ').skip(11).take(count);
    Some(Duration::from_millis(fields.filter_map(|field| field.parse::<u64>().ok()).sum::<u64>() * 10))
}

impl Process {
    /// Returns the resident memory of the process.
    pub fn memory(&self) -> Memory {
        Memory::of(self.pid()).unwrap()
    }

    /// Returns the most memory that the process has had resident, in KiB.
    pub fn peak_memory(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid())).unwrap();
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        peak.and_then(|peak| peak.trim().strip_suffix(" kB")?.parse().ok()).unwrap()
    }

    /// Returns the CPU time that the process has used, in steps of 10 ms.
    pub fn cpu_time(&self) -> Duration {
        ticks(self.pid(), 2).unwrap()
    }
}
