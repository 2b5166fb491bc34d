//! The handle of the driver for the RPCs: typed methods, never a raw channel.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use fleet_model::{
    Assignment, Classified, Directive, ErrorClass, IdentifyAnswer, IdentifyMessage, Incarnation, Term,
    WorkerId, WorkerReport,
};
use process::credentials::Caller;
use tokio::{
    sync::{mpsc, oneshot},
    time::Instant,
};

use fleet::{ExitRefused, PlanKind, PlanRefused, PlanView, Registration, RegistrationRefused};

/// Commands that wait for the driver. An RPC whose command has no room waits; its caller's deadline bounds that.
const COMMANDS: usize = 1024;

/// Sends commands to the driver. Clones reach the same driver.
#[derive(Clone, Debug)]
pub(crate) struct FleetHandle {
    commands: mpsc::Sender<DriverCommand>,
    reports: NewestReports,
}

/// The newest unread report of each stream. Older ones are stale and must not keep the driver busy.
#[derive(Clone, Debug, Default)]
struct NewestReports(Arc<Mutex<ReportsByStream>>);

/// The sequence and the report, by stream.
type ReportsByStream = HashMap<u64, (u64, Box<WorkerReport>)>;

impl NewestReports {
    fn lock(&self) -> MutexGuard<'_, ReportsByStream> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A stream's newest report, waiting for the driver.
pub(crate) struct WaitingReport {
    stream: u64,
    reports: NewestReports,
}

impl WaitingReport {
    pub(crate) fn stream(&self) -> u64 {
        self.stream
    }

    /// The report and its sequence.
    pub(crate) fn take(self) -> Option<(u64, Box<WorkerReport>)> {
        self.reports.lock().remove(&self.stream)
    }
}

/// A command to the driver.
pub(crate) enum DriverCommand {
    MayJoin {
        registration: Box<Registration>,
        reply: Reply<Term>,
    },
    Join {
        registration: Box<Registration>,
        reply: Reply<Admission>,
    },
    OpenHeartbeat {
        worker: WorkerId,
        incarnation: Incarnation,
        peer: Option<IpAddr>,
        reply: Reply<OpenedStream<Directive>>,
    },
    Report(WaitingReport),
    HeartbeatEnded {
        stream: u64,
        at: Instant,
    },
    Exited {
        worker: WorkerId,
        incarnation: Option<Incarnation>,
        reason: String,
        reply: Reply<Incarnation>,
    },
    OpenIdentify {
        worker: WorkerId,
        incarnation: Incarnation,
        reply: Reply<OpenedStream<IdentifyAnswer>>,
    },
    Permit {
        stream: u64,
        message: IdentifyMessage,
    },
    IdentifyEnded {
        stream: u64,
    },
    StartPlan {
        kind: PlanKind,
        dry_run: bool,
        peer: Option<Caller>,
        reply: Reply<PlanView>,
    },
    AbortPlan {
        peer: Option<Caller>,
        reply: Reply<PlanView>,
    },
}

type Reply<T> = oneshot::Sender<Result<T, HandleError>>;

/// The answer to a registration.
#[derive(Debug)]
pub(crate) struct Admission {
    pub(crate) term: Term,
    pub(crate) assignment: Assignment,
    pub(crate) lease_ttl: Duration,
    pub(crate) gateway_url: String,
}

/// A stream to a worker.
#[derive(Debug)]
pub(crate) struct OpenedStream<T> {
    pub(crate) stream: u64,
    /// Term of the driver that opened it.
    pub(crate) term: Term,
    pub(crate) messages: mpsc::Receiver<T>,
}

/// Why the driver refused a command.
#[derive(Debug, thiserror::Error)]
pub(crate) enum HandleError {
    #[error("this coordinator does not act: {why}")]
    Standby { why: String },
    #[error("this worker is not in the fleet: register first")]
    UnknownWorker,
    #[error("{refused}")]
    Refused { refused: RegistrationRefused, lease_ttl: Duration },
    #[error("{0}")]
    Plan(PlanRefused),
    #[error("{0}")]
    Exit(#[from] ExitRefused),
    #[error("too many pending exit reports")]
    Busy,
    #[error("the coordinator is stopping")]
    Stopping,
}

impl Classified for HandleError {
    fn class(&self) -> ErrorClass {
        match self {
            Self::Refused { refused, .. } => match refused {
                RegistrationRefused::NameTaken { .. } => ErrorClass::AlreadyExists,
                RegistrationRefused::EpochAhead { .. } => ErrorClass::InvalidInput,
                RegistrationRefused::TotalUnlikely { .. } => ErrorClass::NotPermitted,
                RegistrationRefused::Full { .. } => ErrorClass::TooBusy,
                RegistrationRefused::OwnerUnheard { .. }
                | RegistrationRefused::StoreAway { .. }
                | RegistrationRefused::HolderUnknown { .. } => ErrorClass::Unavailable,
            },
            Self::Plan(PlanRefused::Unknown(_))
            | Self::Exit(ExitRefused::Unknown { .. } | ExitRefused::OtherIncarnation { .. }) => {
                ErrorClass::NotFound
            }
            Self::Plan(PlanRefused::Pointless(_)) => ErrorClass::InvalidInput,
            Self::Standby { .. } | Self::UnknownWorker | Self::Plan(_) | Self::Exit(_) => {
                ErrorClass::NotPermitted
            }
            Self::Busy => ErrorClass::TooBusy,
            Self::Stopping => ErrorClass::Unavailable,
        }
    }
}

pub(crate) fn channel() -> (FleetHandle, mpsc::Receiver<DriverCommand>) {
    let (commands, receiver) = mpsc::channel(COMMANDS);
    (FleetHandle { commands, reports: NewestReports::default() }, receiver)
}

impl DriverCommand {
    /// Answers that this coordinator does not act, and why.
    pub(crate) fn refuse(self, why: String) {
        let standby = HandleError::Standby { why };
        match self {
            Self::MayJoin { reply, .. } => drop(reply.send(Err(standby))),
            Self::Join { reply, .. } => drop(reply.send(Err(standby))),
            Self::OpenHeartbeat { reply, .. } => drop(reply.send(Err(standby))),
            Self::Exited { reply, .. } => drop(reply.send(Err(standby))),
            Self::OpenIdentify { reply, .. } => drop(reply.send(Err(standby))),
            Self::StartPlan { reply, .. } | Self::AbortPlan { reply, .. } => drop(reply.send(Err(standby))),
            Self::Report(waiting) => drop(waiting.take()),
            Self::HeartbeatEnded { .. } | Self::Permit { .. } | Self::IdentifyEnded { .. } => {}
        }
    }
}

impl FleetHandle {
    async fn ask<T>(&self, command: impl FnOnce(Reply<T>) -> DriverCommand) -> Result<T, HandleError> {
        let (reply, answer) = oneshot::channel();
        self.commands.send(command(reply)).await.map_err(|_| HandleError::Stopping)?;
        answer.await.map_err(|_| HandleError::Stopping)?
    }

    /// Sends a command. False when the driver is gone.
    async fn tell(&self, command: DriverCommand) -> bool {
        self.commands.send(command).await.is_ok()
    }

    /// Checks whether a worker's name is free and its claims are possible. Returns the current term.
    pub(crate) async fn may_join(&self, registration: Registration) -> Result<Term, HandleError> {
        self.ask(|reply| DriverCommand::MayJoin { registration: Box::new(registration), reply }).await
    }

    pub(crate) async fn join(&self, registration: Registration) -> Result<Admission, HandleError> {
        self.ask(|reply| DriverCommand::Join { registration: Box::new(registration), reply }).await
    }

    pub(crate) async fn open_heartbeat(
        &self,
        worker: WorkerId,
        incarnation: Incarnation,
        peer: Option<IpAddr>,
    ) -> Result<OpenedStream<Directive>, HandleError> {
        self.ask(|reply| DriverCommand::OpenHeartbeat { worker, incarnation, peer, reply }).await
    }

    /// Hands a report over, replacing an unread older one.
    pub(crate) async fn report(&self, stream: u64, sequence: u64, report: WorkerReport) -> bool {
        let waits = self.reports.lock().insert(stream, (sequence, Box::new(report))).is_some();
        if waits {
            return !self.commands.is_closed();
        }
        let waiting = WaitingReport { stream, reports: self.reports.clone() };
        self.tell(DriverCommand::Report(waiting)).await
    }

    pub(crate) async fn heartbeat_ended(&self, stream: u64) {
        self.tell(DriverCommand::HeartbeatEnded { stream, at: Instant::now() }).await;
    }

    /// Reports that a worker's process ended. Returns the incarnation that was given up.
    pub(crate) async fn exited(
        &self,
        worker: WorkerId,
        incarnation: Option<Incarnation>,
        reason: String,
    ) -> Result<Incarnation, HandleError> {
        self.ask(|reply| DriverCommand::Exited { worker, incarnation, reason, reply }).await
    }

    pub(crate) async fn open_identify(
        &self,
        worker: WorkerId,
        incarnation: Incarnation,
    ) -> Result<OpenedStream<IdentifyAnswer>, HandleError> {
        self.ask(|reply| DriverCommand::OpenIdentify { worker, incarnation, reply }).await
    }

    pub(crate) async fn permit_message(&self, stream: u64, message: IdentifyMessage) -> bool {
        self.tell(DriverCommand::Permit { stream, message }).await
    }

    pub(crate) async fn start_plan(
        &self,
        kind: PlanKind,
        dry_run: bool,
        peer: Option<Caller>,
    ) -> Result<PlanView, HandleError> {
        self.ask(|reply| DriverCommand::StartPlan { kind, dry_run, peer, reply }).await
    }

    pub(crate) async fn abort_plan(&self, peer: Option<Caller>) -> Result<PlanView, HandleError> {
        self.ask(|reply| DriverCommand::AbortPlan { peer, reply }).await
    }

    pub(crate) async fn identify_ended(&self, stream: u64) {
        self.tell(DriverCommand::IdentifyEnded { stream }).await;
    }
}
