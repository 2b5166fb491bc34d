//! Signals that stop the process.

use tokio_util::sync::CancellationToken;

/// A token that is cancelled at the first SIGINT or SIGTERM. A second one ends the process at once.
pub fn stop_on_signal() -> CancellationToken {
    let stop = CancellationToken::new();
    let cancelled = stop.clone();
    // Owned by the process: it lives until the runtime ends.
    tokio::spawn(async move {
        next_signal().await;
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
