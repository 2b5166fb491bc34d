//! Starts and shuts down a simulator.

use crate::{
    config::{ConfigError, SimConfig},
    control::Control,
    faults::{Fault, NewPreset},
    hub::Hub,
    net::{Listener, RawSocket},
    server,
    shared::Shared,
};
use futures_util::future::BoxFuture;
use std::{io, net::SocketAddr, sync::Arc, time::Duration};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until, timeout};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// Time that a shutdown waits for connections.
const SHUTDOWN_WAIT: Duration = Duration::from_secs(3);
/// Interval in which messages are written.
const MESSAGE_TICK: Duration = Duration::from_millis(10);
/// Longest stall whose messages are made up for.
const CATCH_UP: Duration = Duration::from_secs(1);
/// Interval of the check for expired sessions.
const EXPIRY_TICK: Duration = Duration::from_millis(100);

/// Why a simulator did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A setting is invalid.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The address is in use or not local.
    #[error("cannot bind {addr}")]
    Listen {
        /// The listen address.
        addr: SocketAddr,
        /// The cause.
        source: io::Error,
    },
}

/// A running simulator. Dropping it stops it without waiting; [`shutdown`](Self::shutdown) waits.
#[derive(Debug)]
pub struct Sim {
    addr: SocketAddr,
    shared: Shared,
    control: Control,
}

impl Sim {
    /// Starts a simulator on the current tokio runtime.
    ///
    /// # Errors
    ///
    /// A setting is invalid or the address cannot be bound.
    pub fn start(config: SimConfig) -> BoxFuture<'static, Result<Self, StartError>> {
        // Boxed so that this crate compiles it, not each program that polls it.
        Box::pin(Self::listen(config))
    }

    async fn listen(config: SimConfig) -> Result<Self, StartError> {
        config.validate()?;
        let addr = config.listen;
        let listen = |source| StartError::Listen { addr, source };
        let listener = Listener::bind(addr).await.map_err(listen)?;
        let addr = listener.addr().map_err(listen)?;
        let advertised = config.advertise.clone().unwrap_or_else(|| reachable(addr).to_string());
        let gateway_url = format!("ws://{advertised}");
        let presets = config.presets.clone();
        let hub = Arc::new(Hub::new(config, gateway_url));
        let control = Control::new(Arc::clone(&hub));
        for name in presets {
            if let Err(error) = control.inject(Fault::Preset(NewPreset { name, ..NewPreset::default() })) {
                tracing::warn!(%error, "preset not applied");
            }
        }
        let shared = Shared { hub, stop: CancellationToken::new(), tasks: TaskTracker::new() };
        let routes = server::router(shared.clone(), control.clone())
            .into_make_service_with_connect_info::<RawSocket>();
        let server =
            axum::serve(listener, routes).with_graceful_shutdown(shared.stop.clone().cancelled_owned());
        shared.tasks.spawn(async move {
            if let Err(error) = server.await {
                tracing::error!(%error, "HTTP server failed");
            }
        });
        shared
            .tasks
            .spawn(shared.stop.clone().run_until_cancelled_owned(write_messages(Arc::clone(&shared.hub))));
        shared
            .tasks
            .spawn(shared.stop.clone().run_until_cancelled_owned(expire_sessions(Arc::clone(&shared.hub))));
        shared.tasks.spawn(shared.stop.clone().run_until_cancelled_owned(make_faults(control.clone())));
        tracing::info!(%addr, guilds = shared.hub.config.guilds, "discord-sim started");
        Ok(Self { addr, shared, control })
    }

    /// Returns the listen address.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Returns the origin of REST and control API, such as `http://127.0.0.1:3900`.
    pub fn http_origin(&self) -> String {
        format!("http://{}", reachable(self.addr))
    }

    /// Returns the gateway URL that clients get, such as `ws://127.0.0.1:3900`.
    pub fn gateway_url(&self) -> String {
        self.shared.hub.server.gateway_url.clone()
    }

    /// Returns the control handle.
    pub fn control(&self) -> Control {
        self.control.clone()
    }

    /// Closes all connections with 1001 and stops. Waits at most 3 s for clients that do not close.
    pub async fn shutdown(self) {
        self.shared.stop.cancel();
        self.shared.tasks.close();
        if timeout(SHUTDOWN_WAIT, self.shared.tasks.wait()).await.is_err() {
            tracing::warn!(left = self.shared.tasks.len(), "connections still open after shutdown timeout");
        }
    }
}

impl Drop for Sim {
    fn drop(&mut self) {
        self.shared.stop.cancel();
    }
}

/// Returns an address that a client on this machine can connect to.
fn reachable(addr: SocketAddr) -> SocketAddr {
    match addr {
        SocketAddr::V4(v4) if v4.ip().is_unspecified() => SocketAddr::from(([127, 0, 0, 1], v4.port())),
        SocketAddr::V6(v6) if v6.ip().is_unspecified() => {
            SocketAddr::from((std::net::Ipv6Addr::LOCALHOST, v6.port()))
        }
        other => other,
    }
}

/// Writes messages at the current rate until shutdown.
async fn write_messages(hub: Arc<Hub>) {
    let mut rate = hub.rate.subscribe();
    loop {
        let per_second = *rate.borrow_and_update();
        if per_second <= 0.0 {
            if rate.changed().await.is_err() {
                return;
            }
            continue;
        }
        let mut due = 0.0_f64;
        let mut last = Instant::now();
        let mut tick = interval(MESSAGE_TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = tick.tick() => {}
                _ = rate.changed() => break,
            }
            // The borrow delays a change of the rate until the messages are written: none follows the change.
            let current = rate.borrow();
            if current.has_changed() {
                break;
            }
            let now = Instant::now();
            due += per_second * (now - last).min(CATCH_UP).as_secs_f64();
            last = now;
            hub.write_messages(due as u64);
            due = due.fract();
        }
    }
}

/// Injects the faults of the current schedule.
async fn make_faults(control: Control) {
    let hub = control.hub();
    let mut wanted = hub.schedule.subscribe();
    loop {
        let schedule = wanted.borrow_and_update().clone();
        if let Some(schedule) = schedule {
            let started = Instant::now();
            let mut plan = hub.plan(schedule.clone());
            let changed = loop {
                let Some(at) = plan.due() else { break false };
                tokio::select! {
                    _ = wanted.changed() => break true,
                    () = sleep_until(started + at) => {
                        let Some((_, fault)) = plan.next() else { break false };
                        let begins = fault.begins();
                        if !control.inject_scheduled(fault) && begins {
                            plan.cancel_end_of_last();
                        }
                    }
                }
            };
            for end in plan.into_ends() {
                control.inject_scheduled(end);
            }
            if changed {
                continue;
            }
            // The schedule is finished.
            let finished = Some(schedule);
            hub.schedule.send_if_modified(|now| *now == finished && now.take().is_some());
        }
        if wanted.changed().await.is_err() {
            return;
        }
    }
}

/// Ends sessions that were not resumed in time.
async fn expire_sessions(hub: Arc<Hub>) {
    let mut tick = interval(EXPIRY_TICK);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tick.tick().await;
        hub.expire_sessions();
    }
}
