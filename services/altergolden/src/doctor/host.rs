//! Checks of this machine: open files, huge pages.

use std::fs;

use rustix::process::{Resource, getrlimit};

use super::report::Finding;

/// Descriptors of a process besides its shards: its ports' clients, Redis, the coordinator, other workers.
const BESIDES_SHARDS: u64 = 1_024;
const HUGE_PAGES: &str = "/sys/kernel/mm/transparent_hugepage/enabled";

/// Compares the hard limit of open files, to which every program raises its own, with the need of `shards` in one worker.
pub(super) fn open_files(shards: Option<u32>) -> Finding {
    judge_open_files(getrlimit(Resource::Nofile).maximum, shards)
}

fn judge_open_files(limit: Option<u64>, shards: Option<u32>) -> Finding {
    const CHECK: &str = "open_files";
    // While a shard moves or reconnects it has two sockets.
    let need = BESIDES_SHARDS + 2 * u64::from(shards.unwrap_or_default());
    let for_shards = shards.map_or_else(String::new, |shards| format!(" for {shards} shards in one worker"));
    match limit {
        Some(limit) if limit < need => Finding::warn(
            CHECK,
            format!("the hard limit of open files is {limit}; {need} are needed{for_shards}"),
            "raise it for the user that runs the fleet: ulimit -Hn, or LimitNOFILE in the systemd unit",
        ),
        Some(limit) => {
            Finding::ok(CHECK, format!("the hard limit is {limit}; {need} are needed{for_shards}"))
        }
        None => Finding::ok(CHECK, "no limit"),
    }
}

/// Looks at the kernel's setting for transparent huge pages.
pub(super) fn huge_pages() -> Finding {
    let setting = fs::read_to_string(HUGE_PAGES).map_err(|error| error.to_string());
    judge_huge_pages(
        setting.as_deref().map_err(String::as_str),
        std::env::var_os("MIMALLOC_ALLOW_THP").is_some(),
    )
}

fn judge_huge_pages(setting: Result<&str, &str>, is_turned_off: bool) -> Finding {
    const CHECK: &str = "huge_pages";
    let setting = match setting {
        Ok(setting) => setting,
        Err(why) => {
            return Finding::not_needed(
                CHECK,
                format!("this kernel has no setting for huge pages: {why}"),
                "",
            );
        }
    };
    let chosen = setting.split_once('[').and_then(|(_, rest)| rest.split_once(']')).map(|(chosen, _)| chosen);
    match chosen {
        Some("always") if !is_turned_off => Finding::warn(
            CHECK,
            "the kernel uses transparent huge pages always: an idle worker may take 20 MiB more",
            "start the programs with MIMALLOC_ALLOW_THP=0",
        ),
        Some(chosen) => Finding::ok(CHECK, format!("the kernel's setting is {chosen}")),
        None => Finding::unknown(CHECK, format!("cannot read {HUGE_PAGES}"), "look at it yourself"),
    }
}

#[cfg(test)]
mod tests {
    use super::{super::report::Verdict, *};

    #[test]
    fn open_files_must_suffice_for_two_sockets_a_shard() {
        assert_eq!(judge_open_files(Some(1_024), None).verdict, Verdict::Ok);
        assert_eq!(judge_open_files(Some(1_043), Some(10)).verdict, Verdict::Warn);
        assert_eq!(judge_open_files(Some(1_044), Some(10)).verdict, Verdict::Ok);
        assert_eq!(judge_open_files(None, Some(60_000)).verdict, Verdict::Ok);
    }

    #[test]
    fn huge_pages_matter_when_always_used() {
        let judge = |setting, off| judge_huge_pages(setting, off).verdict;
        assert_eq!(judge(Ok("[always] madvise never\n"), false), Verdict::Warn);
        assert_eq!(judge(Ok("[always] madvise never\n"), true), Verdict::Ok);
        assert_eq!(judge(Ok("always [madvise] never\n"), false), Verdict::Ok);
        assert_eq!(judge(Ok("odd"), false), Verdict::Unknown);
        assert_eq!(judge(Err("no such file"), false), Verdict::NotNeeded);
    }
}
