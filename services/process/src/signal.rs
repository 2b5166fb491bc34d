//! Signals that stop the process.

use tokio_util::sync::CancellationToken;

use crate::supervised::{is_supervised, when_supervisor_is_gone};

/// A token that is cancelled at the first SIGINT or SIGTERM, or when the supervisor that started the process is gone. A second
/// signal ends the process at once, except in a supervised program, which ignores it: what signals a whole process tree reaches the
/// program a second time through the supervisor, and the supervisor kills what does not stop in time.
pub fn stop_on_signal() -> CancellationToken {
    let stop = CancellationToken::new();
    let cancelled = stop.clone();
    let gone = stop.clone();
    let watched = when_supervisor_is_gone(move || {
        if !gone.is_cancelled() {
            tracing::warn!("supervisor is gone; stopping");
            gone.cancel();
        }
    });
    if let Err(error) = watched {
        tracing::error!(%error, "cannot watch the supervisor");
    }
    // Owned by the process: it lives until the runtime ends.
    tokio::spawn(async move {
        next_signal().await;
        if is_supervised() {
            tracing::info!("stopping");
            // The handlers stay, so that further signals do nothing.
            return cancelled.cancel();
        }
        tracing::info!("stopping; a second signal ends the process at once");
        cancelled.cancel();
        next_signal().await;
        std::process::exit(130);
    });
    stop
}

#[cfg(unix)]
async fn next_signal() {
    use tokio::signal::unix::{SignalKind, signal};
    let (Ok(mut interrupt), Ok(mut terminate)) =
        (signal(SignalKind::interrupt()), signal(SignalKind::terminate()))
    else {
        tracing::error!("cannot listen for signals");
        return std::future::pending().await;
    };
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
}

#[cfg(not(unix))]
async fn next_signal() {
    if let Err(error) = tokio::signal::ctrl_c().await {
        tracing::error!(%error, "cannot listen for Ctrl-C");
        std::future::pending::<()>().await;
    }
}

#[cfg(all(test, unix))]
mod tests {
    use std::process::{Command, Stdio};

    use rustix::process::{Signal, getpid, kill_process};
    use tokio::signal::unix::{SignalKind, signal};

    use super::*;
    use crate::supervised::SUPERVISED;

    const PROGRAM: &str = "ALTERGOLDEN_TEST_SIGNALLED_TWICE";

    /// Run by the test below in a process of its own.
    #[tokio::test]
    async fn program_that_is_signalled_twice() {
        if std::env::var_os(PROGRAM).is_none() {
            return;
        }
        let mut seen = signal(SignalKind::terminate()).unwrap();
        let stop = stop_on_signal();
        tokio::task::yield_now().await;
        kill_process(getpid(), Signal::TERM).unwrap();
        stop.cancelled().await;
        seen.recv().await.unwrap();
        // The listener for the second signal is there.
        for _ in 0..10 {
            tokio::task::yield_now().await;
        }
        kill_process(getpid(), Signal::TERM).unwrap();
        seen.recv().await.unwrap();
        // The other task has had its turn.
        for _ in 0..10 {
            tokio::task::yield_now().await;
        }
    }

    #[test]
    fn second_signal_ends_only_a_program_without_a_supervisor() {
        let exit = |supervised: &str| {
            let mut command = Command::new(std::env::current_exe().unwrap());
            command.args(["--exact", "signal::tests::program_that_is_signalled_twice"]);
            command.env(PROGRAM, "1").env(SUPERVISED, supervised);
            command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
            command.status().unwrap().code()
        };
        assert_eq!(exit("1"), Some(0));
        assert_eq!(exit(""), Some(130));
    }
}
