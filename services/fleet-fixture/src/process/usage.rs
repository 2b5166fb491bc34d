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
}

impl Memory {
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
        }
    }
}

impl Process {
    /// Returns the resident memory of the process.
    pub fn memory(&self) -> Memory {
        let rollup = fs::read_to_string(format!("/proc/{}/smaps_rollup", self.pid())).unwrap();
        let size = |name: &str| {
            let line = rollup.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
            line.and_then(|line| line.trim().strip_suffix(" kB")?.parse().ok()).unwrap_or_default()
        };
        Memory { resident: size("Rss"), anonymous: size("Anonymous"), huge: size("AnonHugePages") }
    }

    /// Returns the most memory that the process has had resident, in KiB.
    pub fn peak_memory(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid())).unwrap();
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        peak.and_then(|peak| peak.trim().strip_suffix(" kB")?.parse().ok()).unwrap()
    }

    /// Returns the CPU time that the process has used, in steps of 10 ms.
    pub fn cpu_time(&self) -> Duration {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.pid())).unwrap();
        // After the name, which may contain spaces, utime and stime are the 12th and 13th field, in ticks of 10 ms.
        let fields = stat.rsplit(") ").next().unwrap_or_default().split(' ');
        let ticks: u64 = fields.skip(11).take(2).filter_map(|field| field.parse::<u64>().ok()).sum();
        Duration::from_millis(ticks * 10)
    }
}
