//! The gRPC calls of this worker to the coordinator: domain types in and out.

use std::time::Duration;

use altergolden_proto::{
    LEASE_TTL_MS, PROTOCOL_MAX, PROTOCOL_MIN,
    convert::{self, Malformed, for_people},
    v1::{self, coordinator_client::CoordinatorClient, identify_up::Message as Up},
};
use fleet_model::{
    Assignment, ClaimedShards, Directive, IdentifyAnswer, IdentifyMessage, Incarnation, SentReport, Term,
    WorkerId, WorkerProfile,
};
use process::{
    client::GrpcServer,
    credentials::{Credentials, Role},
};
use tokio::{sync::mpsc, time::timeout};
use tokio_stream::{StreamExt as _, wrappers::ReceiverStream};
use tonic::{Code, Request, Status, Streaming, transport::Channel};

/// How long a connection may take to be made.
const CONNECT: Duration = Duration::from_secs(2);

/// How often the connection is checked.
const PING_EVERY: Duration = Duration::from_secs(2);
/// How long a registration may take: the coordinator dials back.
const REGISTER: Duration = Duration::from_secs(5);
/// How long the identify queue may take to open a stream.
const OPEN_PERMITS: Duration = Duration::from_secs(5);

/// Bound of reports to the coordinator. A stream that does not take them counts as broken.
const REPORTS: usize = 16;
/// Bound of messages to the identify queue.
const PERMIT_MESSAGES: usize = 1024;

/// How long to wait for a name whose holder's lease is unknown.
const NAME_PATIENCE: Duration = Duration::from_secs(5);

/// The longest lease that is accepted from a coordinator.
pub(crate) const LONGEST_TTL: Duration = Duration::from_hours(1);

/// The longest time between two reports; a coordinator asks for at most a second.
const LONGEST_INTERVAL: Duration = Duration::from_secs(10);

/// A connection to the coordinator. Clones share it.
#[derive(Clone, Debug)]
pub(crate) struct CoordinatorConnection(Channel);

/// What a worker registers with.
pub(crate) struct RegistrationCall {
    pub(crate) worker: WorkerId,
    pub(crate) incarnation: Incarnation,
    pub(crate) profile: WorkerProfile,
    pub(crate) running: ClaimedShards,
    pub(crate) draining: bool,
}

/// The coordinator's answer to a registration.
pub(crate) struct Admitted {
    pub(crate) term: Term,
    pub(crate) lease_ttl: Duration,
    pub(crate) heartbeat_interval: Duration,
    pub(crate) assignment: Assignment,
    pub(crate) gateway_url: String,
}

/// A registration that failed.
pub(crate) enum RegisterFailure {
    /// The coordinator cannot be reached, or does not accept the worker now.
    Unreachable(String),
    /// Another worker has our name.
    NameTaken { why: String, patience: Duration },
    /// This incarnation's lease was revoked.
    Revoked,
}

/// A directive and its coordinator's term. The term counts even if the directive is malformed.
pub(crate) type TermDirective = (Term, Result<Directive, Malformed>);

/// The directives of a heartbeat stream.
pub(crate) struct Directives(Streaming<v1::Directive>);

/// The answers of the identify queue.
pub(crate) struct PermitAnswers(Streaming<v1::IdentifyDown>);

impl CoordinatorConnection {
    /// Connects to the coordinator at `url`.
    pub(crate) async fn connect(url: &str, credentials: &Credentials) -> Result<Self, String> {
        let server = GrpcServer::new(url, CONNECT, PING_EVERY).map_err(|error| error.to_string())?;
        let channel = server.connect(credentials, Role::Coordinator).await;
        channel.map(Self).map_err(|_| "the coordinator cannot be reached".to_owned())
    }

    fn client(&self) -> CoordinatorClient<Channel> {
        CoordinatorClient::new(self.0.clone())
    }

    /// Registers the worker.
    pub(crate) async fn register(&self, call: RegistrationCall) -> Result<Admitted, RegisterFailure> {
        let RegistrationCall { worker, incarnation, profile, running, draining } = call;
        let mut request = Request::new(v1::RegisterRequest {
            worker_id: worker.to_string(),
            incarnation: incarnation.to_string(),
            advertise_url: profile.url,
            capacity: profile.capacity.unwrap_or(0),
            protocol_min: PROTOCOL_MIN,
            protocol_max: PROTOCOL_MAX,
            version: profile.version,
            running: convert::running_ranges(&running.shards),
            running_total: running.total,
            draining,
            generation: profile.generation.map(|generation| generation.to_string()).unwrap_or_default(),
            checkpoint_format_min: profile.formats.oldest.into(),
            checkpoint_format_max: profile.formats.newest.into(),
            needs: profile.needs.map(Into::into),
            head_keys: profile.head_keys.iter().map(ToString::to_string).collect(),
            refuses_unsigned_heads: profile.refuses_unsigned_heads,
        });
        request.set_timeout(REGISTER);
        let answer = self.client().register(request).await.map_err(|status| failure(&status))?.into_inner();
        let assignment = answer.assignment.map(Assignment::try_from).transpose();
        let heartbeat_interval = Duration::from_millis(answer.heartbeat_interval_ms);
        Ok(Admitted {
            term: Term(answer.term),
            lease_ttl: Duration::from_millis(answer.lease_ttl_ms).min(LONGEST_TTL),
            heartbeat_interval: heartbeat_interval.clamp(Duration::from_millis(10), LONGEST_INTERVAL),
            assignment: assignment
                .map_err(|error| RegisterFailure::Unreachable(error.to_string()))?
                .unwrap_or_default(),
            gateway_url: answer.gateway_url,
        })
    }

    /// Opens a heartbeat stream with its first report. Returns where further reports go, and the directives.
    pub(crate) async fn heartbeat(
        &self,
        first: SentReport,
        patience: Duration,
    ) -> Result<(mpsc::Sender<SentReport>, Directives), String> {
        let (reports, messages) = mpsc::channel(REPORTS);
        reports.try_send(first).map_err(|_| "no room for a first report".to_owned())?;
        let messages = ReceiverStream::new(messages).map(v1::WorkerReport::from);
        match timeout(patience, self.client().heartbeat(messages)).await {
            Ok(Ok(response)) => Ok((reports, Directives(response.into_inner()))),
            Ok(Err(status)) => {
                Err(format!("cannot open the heartbeat stream: {}", for_people(status.message())))
            }
            Err(_) => Err("cannot open the heartbeat stream: the coordinator does not answer".to_owned()),
        }
    }

    /// Opens a stream to the identify queue. Returns where messages go, and the answers.
    pub(crate) async fn permits(
        &self,
        worker: &WorkerId,
        incarnation: &Incarnation,
    ) -> Option<(mpsc::Sender<IdentifyMessage>, PermitAnswers)> {
        let (worker_id, incarnation) = (worker.to_string(), incarnation.to_string());
        let hello = v1::IdentifyHello { worker_id, incarnation };
        let hello = tokio_stream::once(v1::IdentifyUp { message: Some(Up::Hello(hello)) });
        let (messages, receiver) = mpsc::channel(PERMIT_MESSAGES);
        let messages_up = hello.chain(ReceiverStream::new(receiver).map(v1::IdentifyUp::from));
        match timeout(OPEN_PERMITS, self.client().acquire_identify(messages_up)).await {
            Ok(Ok(response)) => Some((messages, PermitAnswers(response.into_inner()))),
            Ok(Err(status)) => {
                tracing::debug!(%status, "cannot reach the identify queue");
                None
            }
            Err(_) => None,
        }
    }
}

impl Directives {
    /// Waits for the next directive. `None` when the coordinator has closed the stream.
    pub(crate) async fn next(&mut self) -> Result<Option<TermDirective>, String> {
        let message = self.0.message().await.map_err(|status| for_people(status.message()))?;
        Ok(message.map(convert::directive_from_wire))
    }
}

impl PermitAnswers {
    /// Waits for the next answer that this version knows. `None` when the stream has ended.
    pub(crate) async fn next(&mut self) -> Option<IdentifyAnswer> {
        while let Ok(Some(message)) = self.0.message().await {
            if let Some(answer) = convert::permit_answer(message) {
                return Some(answer);
            }
        }
        None
    }
}

fn failure(status: &Status) -> RegisterFailure {
    let said = for_people(status.message());
    match status.code() {
        Code::AlreadyExists => {
            // A crashed holder's lease lapses within its TTL; one that outlives it twice is alive.
            let ttl_ms = status.metadata().get(LEASE_TTL_MS).and_then(|ms| ms.to_str().ok()?.parse().ok());
            let ttl = ttl_ms.map_or(NAME_PATIENCE, Duration::from_millis).min(LONGEST_TTL);
            RegisterFailure::NameTaken { why: said, patience: ttl * 2 + Duration::from_secs(1) }
        }
        Code::Aborted => RegisterFailure::Revoked,
        Code::FailedPrecondition | Code::InvalidArgument => {
            RegisterFailure::Unreachable(format!("not registered: {said}"))
        }
        code => RegisterFailure::Unreachable(format!("not registered: {code:?} {said}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn coordinators_answer_is_shown_safely_and_its_wait_is_bounded() {
        for (ttl_ms, seconds) in [(None, 11), (Some(1_000), 3), (Some(u64::MAX), 7_201)] {
            let mut status = Status::already_exists(format!("taken\u{1b}[2J{}", "x".repeat(4_000)));
            if let Some(ttl_ms) = ttl_ms {
                status.metadata_mut().insert(LEASE_TTL_MS, ttl_ms.into());
            }
            let RegisterFailure::NameTaken { why, patience } = failure(&status) else { panic!("{status}") };
            assert!(why.starts_with("taken\\u{1b}[2Jx") && why.len() < 400, "{why}");
            assert_eq!(patience, Duration::from_secs(seconds));
        }
    }
}
