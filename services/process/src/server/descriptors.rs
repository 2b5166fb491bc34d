//! The limit of open files, and whether the process ran into it.

use std::{
    io,
    sync::Mutex,
    time::{Duration, Instant},
};

use rustix::{
    io::Errno,
    process::{Resource, Rlimit, getrlimit, setrlimit},
};

/// How long after a failure the process counts as short of descriptors.
const EXHAUSTED_FOR: Duration = Duration::from_mins(1);

/// When `accept` last failed for lack of descriptors; process-wide, as the limit is.
static EXHAUSTED_AT: Mutex<Option<Instant>> = Mutex::new(None);

/// Raises the soft limit of open files to the hard limit, and returns it
/// ([setrlimit(2)](https://man7.org/linux/man-pages/man2/setrlimit.2.html)).
pub fn raised_descriptor_limit() -> usize {
    let mut limit = getrlimit(Resource::Nofile);
    if limit.current != limit.maximum {
        let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
        match setrlimit(Resource::Nofile, raised) {
            Ok(()) => limit = raised,
            Err(error) => {
                tracing::warn!(%error, "cannot raise the soft limit of open files to the hard limit");
            }
        }
    }
    limit.current.and_then(|most| usize::try_from(most).ok()).unwrap_or(usize::MAX)
}

/// Whether `accept` failed for lack of file descriptors or memory within the last minute.
pub fn descriptors_exhausted() -> bool {
    let at = *EXHAUSTED_AT.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    at.is_some_and(|at| at.elapsed() < EXHAUSTED_FOR)
}

/// Whether an `accept` error means a lack of descriptors or memory; records it if so.
pub(crate) fn note_exhaustion(error: &io::Error) -> bool {
    let exhausted = matches!(
        Errno::from_io_error(error),
        Some(Errno::MFILE | Errno::NFILE | Errno::NOBUFS | Errno::NOMEM)
    );
    if exhausted {
        *EXHAUSTED_AT.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = Some(Instant::now());
    }
    exhausted
}
