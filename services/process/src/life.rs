//! Which process an incarnation belongs to, so that its end can be proven on the same host.
//!
//! An incarnation is `RANDOM.HOST.PID.STARTED`: 16 random hex digits; a hash of what identifies the host and its namespaces; the pid, and
//! when the process started, in clock ticks since the host did ([proc(5)](https://man7.org/linux/man-pages/man5/proc_pid_stat.5.html)). Where the host cannot
//! be identified it is `RANDOM` alone, and nothing can be proven.
//!
//! Two processes have the same hash only if machine id, host name, boot id, pid namespace and network namespace are the same. Addresses, such as
//! `localhost` or the service names of Compose, play no part: elsewhere they lead to other processes. Clones of a running virtual machine need another
//! machine id or host name each.

use std::{fs, io, sync::LazyLock};

use fleet_model::Incarnation;
use ring::digest::{SHA256, digest};
use rustix::{
    io::Errno,
    process::{Pid, getpid, test_kill_process},
};

/// Identifies this host and the namespaces of this process; `None` if that is not possible.
static HOST: LazyLock<Option<String>> = LazyLock::new(|| host().ok());

/// Returns a new incarnation of a worker or a coordinator in this process.
pub fn new_incarnation() -> Incarnation {
    let random = format!("{:016x}", rand::random::<u64>());
    let own = getpid();
    let named = match (&*HOST, started(own)) {
        (Some(host), Some(started)) => format!("{random}.{host}.{}.{started}", own.as_raw_nonzero()),
        _ => random.clone(),
    };
    // It fits into the 64 characters of a name for any pid and time of Linux.
    named.parse().or_else(|_| random.parse()).expect("hex digits are a name")
}

/// Returns whether the process of an incarnation has provably ended: it ran on this host, in the same namespaces, and no process has its
/// pid and its start. Zombies have ended when all their threads have.
pub fn is_gone(incarnation: &Incarnation) -> bool {
    let mut parts = incarnation.as_str().split('.').skip(1);
    let (Some(host), Some(pid), Some(then), None) = (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return false;
    };
    let (Ok(pid), Ok(then)) = (pid.parse::<i32>(), then.parse::<u64>()) else { return false };
    // A negative number means a process group.
    let Some(pid) = Pid::from_raw(pid.max(0)) else { return false };
    HOST.as_deref() == Some(host) && has_ended(pid, then)
}

fn has_ended(pid: Pid, then: u64) -> bool {
    // Asked first: under `hidepid` the files of others' processes are missing.
    match test_kill_process(pid) {
        Err(Errno::SRCH) => true,
        Ok(()) | Err(_) => started(pid).is_some_and(|started| started != then) || is_zombie(pid),
    }
}

/// The fields of a process or thread behind its name, which may contain anything in parentheses.
fn fields(path: &str) -> Option<Vec<String>> {
    let text = fs::read_to_string(path).ok()?;
    Some(text.rsplit_once(')')?.1.split_whitespace().map(str::to_owned).collect())
}

/// When a process started, in clock ticks since the host did.
fn started(pid: Pid) -> Option<u64> {
    fields(&format!("/proc/{}/stat", pid.as_raw_nonzero()))?.get(19)?.parse().ok()
}

/// Whether all threads of a process have ended, so that its sockets are closed.
fn is_zombie(pid: Pid) -> bool {
    let tasks = format!("/proc/{}/task", pid.as_raw_nonzero());
    let Ok(entries) = fs::read_dir(&tasks) else { return false };
    let mut threads = entries.filter_map(Result::ok).map(|entry| entry.path().join("stat")).peekable();
    threads.peek().is_some()
        && threads.all(|stat| {
            let state = fields(&stat.to_string_lossy()).and_then(|fields| fields.into_iter().next());
            state.is_some_and(|state| state == "Z" || state == "X")
        })
}

/// Identifies this host and the namespaces of this process.
fn host() -> io::Result<String> {
    // Not every system has one; the others tell hosts apart then.
    let machine = fs::read_to_string("/etc/machine-id").unwrap_or_default();
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id")?;
    let name = rustix::system::uname().nodename().to_string_lossy().into_owned();
    let mut identity = format!("{}\n{name}\n{}", machine.trim(), boot.trim());
    for namespace in ["pid", "net"] {
        let link = fs::read_link(format!("/proc/self/ns/{namespace}"))?;
        identity.push('\n');
        identity.push_str(&link.to_string_lossy());
    }
    let hash = digest(&SHA256, identity.as_bytes());
    let (first, _) = hash.as_ref().split_first_chunk().ok_or(io::ErrorKind::InvalidData)?;
    Ok(format!("{:016x}", u64::from_be_bytes(*first)))
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use super::*;

    /// The incarnation of a process of this host.
    fn of(pid: u32) -> Incarnation {
        let pid = Pid::from_raw(pid.try_into().unwrap()).unwrap();
        let host = HOST.as_ref().unwrap();
        format!("{:016x}.{host}.{}.{}", 7, pid.as_raw_nonzero(), started(pid).unwrap()).parse().unwrap()
    }

    #[test]
    fn only_the_end_of_a_process_of_this_host_is_proven() {
        let own = new_incarnation();
        assert_eq!(own.as_str().split('.').count(), 4, "{own}");
        assert!(!is_gone(&own));
        let mut other = Command::new("sleep").arg("600").stdin(Stdio::null()).spawn().unwrap();
        let incarnation = of(other.id());
        assert!(!is_gone(&incarnation));
        // Another process with the same pid.
        let reused = incarnation.as_str().rsplit_once('.').unwrap().0;
        assert!(is_gone(&format!("{reused}.1").parse().unwrap()));
        other.kill().unwrap();
        // It is a zombie until its parent has asked for it.
        while !is_gone(&incarnation) {
            std::thread::yield_now();
        }
        other.wait().unwrap();
        assert!(is_gone(&incarnation));

        // The same on another host, and what says nothing.
        let host = HOST.as_ref().unwrap();
        let elsewhere = incarnation.as_str().replace(host.as_str(), "0123456789abcdef");
        for unknown in [elsewhere.as_str(), "0123456789abcdef", "a.b.c.d", "a.b.1.2.3", "a"] {
            assert!(!is_gone(&unknown.parse().unwrap()), "{unknown}");
        }
        for pid in ["0", "-1", "99999999999", ""] {
            let odd = format!("a.{host}.{pid}.5").parse::<Incarnation>();
            assert!(odd.is_err() || !is_gone(&odd.unwrap()), "{pid}");
        }
    }
}
