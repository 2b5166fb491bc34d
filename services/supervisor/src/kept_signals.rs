//! Signals that arrive while one image of the supervisor becomes the next.
//!
//! `exec` resets handlers and forgets what they have noted: a SIGHUP would end the new image, and a SIGTERM be lost. So the signals are
//! blocked across it, which `exec` keeps, and the new image takes them as its first step, before it has other threads. Between the last
//! look of the old image and its end, some microseconds, a signal can still be taken by one of its other threads, and be lost.

use std::{
    io,
    sync::{
        Arc, LazyLock, Once,
        atomic::{AtomicBool, Ordering},
    },
};

use nix::sys::signal::{SigSet, Signal};

/// SIGTERM or SIGINT has arrived.
static STOP: LazyLock<Arc<AtomicBool>> = LazyLock::new(Arc::default);

fn signals() -> SigSet {
    [Signal::SIGHUP, Signal::SIGINT, Signal::SIGTERM].into_iter().collect()
}

/// Keeps the signals of the supervisor until it listens for them. `main` of a program that may be a [later image](crate::is_replacement)
/// calls this before it starts any thread.
///
/// # Errors
/// The system refused a handler.
pub fn keep_signals() -> io::Result<()> {
    note_signals()?;
    signals().thread_unblock()?;
    Ok(())
}

/// Notes from now on that the process is to stop.
pub(crate) fn note_signals() -> io::Result<()> {
    static NOTED: Once = Once::new();
    let mut noted = Ok(());
    NOTED.call_once(|| {
        noted = [Signal::SIGINT, Signal::SIGTERM]
            .into_iter()
            .try_for_each(|signal| signal_hook::flag::register(signal as i32, STOP.clone()).map(drop))
            // A replacement is under way already.
            .and_then(|()| signal_hook::flag::register(Signal::SIGHUP as i32, Arc::default()).map(drop));
    });
    noted
}

/// Whether the process was told to stop since the last call.
pub(crate) fn take_stop() -> bool {
    STOP.swap(false, Ordering::Relaxed)
}

/// Runs `exec` with the signals blocked, unless the process has just been told to stop. Returns why that failed.
pub(crate) fn across(exec: impl FnOnce() -> String) -> String {
    if let Err(error) = signals().thread_block() {
        return format!("cannot block signals: {error}");
    }
    let failed =
        if STOP.load(Ordering::Relaxed) { "the supervisor is told to stop".to_owned() } else { exec() };
    if let Err(error) = signals().thread_unblock() {
        tracing::error!(%error, "cannot unblock signals");
    }
    failed
}
