//! What workers say to the coordinator: checked, converted, handed to the driver.

use std::{
    pin::Pin,
    sync::Arc,
    time::{Duration, Instant},
};

use altergolden_proto::{
    PROTOCOL_MAX, PROTOCOL_MIN, common_protocol,
    convert::{self, Bounded, Malformed, for_people, refusal},
    v1::{self, coordinator_server::Coordinator},
};
use fleet_model::{
    CheckpointFormats, ClaimedShards, ErrorClass, FIRST_FORMAT, Generation, Incarnation, RefusedDirective,
    WorkerId, WorkerProfile,
};
use fleet_store::{FleetStore, LeaseGrant, WorkerRecord};
use process::credentials::{Caller, Credentials};
use tokio::sync::mpsc;
use tokio_stream::{Stream, StreamExt as _, wrappers::ReceiverStream};
use tokio_util::task::TaskTracker;
use tonic::{Request, Response, Status, Streaming};

use crate::{
    dial_back,
    handle::{Admission, FleetHandle, HandleError},
};
use fleet::{Registration, RegistrationRefused};

/// How long an exit report waits for the store's verdict.
const VERDICT: Duration = Duration::from_secs(3);

/// How long further refused directives of a stream are only counted.
const REFUSED_FOLDED: Duration = Duration::from_secs(10);

/// Serves workers and their supervisors.
#[derive(Clone)]
pub(crate) struct CoordinatorService {
    fleet: FleetHandle,
    store: Arc<dyn FleetStore>,
    heartbeat_interval: Duration,
    lease_ttl: Duration,
    streams: TaskTracker,
    credentials: Credentials,
}

impl CoordinatorService {
    pub(crate) fn new(
        fleet: FleetHandle,
        store: Arc<dyn FleetStore>,
        lease_ttl: Duration,
        streams: TaskTracker,
        credentials: Credentials,
    ) -> Self {
        // A renewal a second with the default TTL of five.
        let heartbeat_interval = (lease_ttl / 5).min(Duration::from_secs(1));
        Self { fleet, store, heartbeat_interval, lease_ttl, streams, credentials }
    }

    /// Grants the lease. False when the store is away: that is no reason to refuse, as the worker then renews through its stream.
    async fn grant_lease(&self, term: fleet_model::Term, record: &WorkerRecord) -> Result<bool, Status> {
        match self.store.grant_lease(term, record, self.lease_ttl).await {
            Ok(LeaseGrant::Granted) => Ok(true),
            Ok(LeaseGrant::Revoked) => Err(refusal(
                ErrorClass::Superseded,
                format!(
                    "the lease of {} ({}) was revoked: drop every shard and register under a new incarnation",
                    record.worker, record.incarnation
                ),
            )),
            // The holder's incarnation is not named: it admits a worker's own calls.
            Ok(LeaseGrant::HeldByOther { remaining, .. }) => {
                let text = format!(
                    "the name {} is taken by a worker whose lease lasts {} ms more",
                    record.worker,
                    remaining.as_millis()
                );
                // The holder may have a longer lease than this coordinator grants.
                Err(name_taken(text, self.lease_ttl.max(remaining)))
            }
            Ok(LeaseGrant::StaleTerm) => {
                let why = "another coordinator has written to the store under a higher term".to_owned();
                Err(HandleError::Standby { why }.into())
            }
            Err(error) => {
                tracing::warn!(worker.id = %record.worker, %error, "cannot write the lease to the store");
                Ok(false)
            }
        }
    }
}

impl From<HandleError> for Status {
    fn from(error: HandleError) -> Self {
        match error {
            HandleError::Refused { refused: RegistrationRefused::NameTaken { .. }, lease_ttl } => {
                name_taken(error.to_string(), lease_ttl)
            }
            error => convert::status(&error),
        }
    }
}

/// A name that is taken frees when its holder's lease has lapsed: how long that can take goes along.
fn name_taken(text: String, lease_ttl: Duration) -> Status {
    let mut status = refusal(ErrorClass::AlreadyExists, text);
    let ttl_ms = u64::try_from(lease_ttl.as_millis()).unwrap_or(u64::MAX);
    status.metadata_mut().insert(altergolden_proto::LEASE_TTL_MS, ttl_ms.into());
    status
}

type Streamed<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

#[tonic::async_trait]
impl Coordinator for CoordinatorService {
    async fn register(
        &self,
        request: Request<v1::RegisterRequest>,
    ) -> Result<Response<v1::RegisterResponse>, Status> {
        let caller = Caller::of(&request);
        let request = request.into_inner();
        let mut registration = registration(&request)?;
        check_worker(&caller, &registration.worker)?;
        let protocol = common_protocol(request.protocol_min, request.protocol_max).ok_or_else(|| {
            refusal(ErrorClass::NotPermitted, format!(
                "no common protocol version: worker {} speaks {} to {}, this coordinator {PROTOCOL_MIN} to {PROTOCOL_MAX}",
                registration.worker, request.protocol_min, request.protocol_max
            ))
        })?;
        let (worker, incarnation) = (registration.worker.clone(), registration.incarnation.clone());
        let term = self.fleet.may_join(registration.clone()).await?;
        registration.found_at = Some(
            dial_back::check(&registration.profile.url, &worker, &incarnation, &self.credentials).await?,
        );
        let record = WorkerRecord { worker, incarnation, url: registration.profile.url.clone() };
        registration.granted = self.grant_lease(term, &record).await?;
        fail::fail_point!("coordinator_lease_granted");
        let Admission { term, assignment, lease_ttl, gateway_url } = self.fleet.join(registration).await?;
        Ok(Response::new(v1::RegisterResponse {
            term: term.0,
            protocol,
            lease_ttl_ms: lease_ttl.as_millis() as u64,
            heartbeat_interval_ms: self.heartbeat_interval.as_millis() as u64,
            shard_total: assignment.shard_total,
            assignment: Some(v1::Assignment::from(&assignment)),
            gateway_url,
        }))
    }

    async fn report_exit(
        &self,
        request: Request<v1::ReportExitRequest>,
    ) -> Result<Response<v1::ReportExitResponse>, Status> {
        request.get_ref().check_bounds()?;
        let v1::ReportExitRequest { worker_id, incarnation, reason } = request.into_inner();
        let worker = worker_id.parse().map_err(Malformed::from)?;
        let incarnation = (!incarnation.is_empty()).then(|| incarnation.parse()).transpose();
        let incarnation = incarnation.map_err(Malformed::from)?;
        let exited = self.fleet.exited(worker, incarnation, for_people(&reason));
        let given_up = tokio::time::timeout(VERDICT, exited).await.map_err(|_| {
            refusal(
                ErrorClass::TooLate,
                "the fleet store did not answer in time whether the lease is revoked",
            )
        })??;
        Ok(Response::new(v1::ReportExitResponse { incarnation: given_up.to_string() }))
    }

    type HeartbeatStream = Streamed<v1::Directive>;

    async fn heartbeat(
        &self,
        request: Request<Streaming<v1::WorkerReport>>,
    ) -> Result<Response<Self::HeartbeatStream>, Status> {
        let caller = Caller::of(&request);
        let peer = caller.address.map(|address| address.ip());
        let mut reports = request.into_inner();
        let first = reports
            .message()
            .await?
            .ok_or_else(|| refusal(ErrorClass::InvalidInput, "the stream ended before its first report"))?;
        first.check_bounds()?;
        let (worker, incarnation) = names(&first.worker_id, &first.incarnation)?;
        check_worker(&caller, &worker)?;
        let opened = self.fleet.open_heartbeat(worker.clone(), incarnation, peer).await?;
        let (fleet, stream, term) = (self.fleet.clone(), opened.stream, opened.term);
        self.streams.spawn(async move {
            let mut next = Some(first);
            let mut refused = RefusedDirectives::default();
            while let Some(message) = next.take() {
                let sequence = message.sequence;
                match convert::worker_report(message) {
                    Ok((report, directives)) => {
                        refused.note(&worker, &directives);
                        if !fleet.report(stream, sequence, report).await {
                            break;
                        }
                    }
                    Err(error) => {
                        tracing::warn!(worker.id = %worker, %error, "malformed report; closing stream");
                        break;
                    }
                }
                // An error is the end of the connection, and no reply can be sent.
                next = reports.message().await.unwrap_or_default();
            }
            fleet.heartbeat_ended(stream).await;
        });
        Ok(Response::new(down(opened.messages, move |directive| convert::directive_to_wire(term, directive))))
    }

    type AcquireIdentifyStream = Streamed<v1::IdentifyDown>;

    async fn acquire_identify(
        &self,
        request: Request<Streaming<v1::IdentifyUp>>,
    ) -> Result<Response<Self::AcquireIdentifyStream>, Status> {
        let caller = Caller::of(&request);
        let mut messages = request.into_inner();
        let first = messages.message().await?.and_then(|first| first.message);
        let Some(v1::identify_up::Message::Hello(hello)) = first else {
            return Err(refusal(ErrorClass::InvalidInput, "the first message must be a hello"));
        };
        hello.check_bounds()?;
        let (worker, incarnation) = names(&hello.worker_id, &hello.incarnation)?;
        check_worker(&caller, &worker)?;
        let opened = self.fleet.open_identify(worker, incarnation).await?;
        let (fleet, stream) = (self.fleet.clone(), opened.stream);
        self.streams.spawn(async move {
            while let Ok(Some(message)) = messages.message().await {
                match convert::permit_message(message) {
                    Ok(Some(message)) => {
                        if !fleet.permit_message(stream, message).await {
                            break;
                        }
                    }
                    Ok(None) => {}
                    Err(error) => {
                        tracing::warn!(%error, "malformed identify request; closing stream");
                        break;
                    }
                }
            }
            fleet.identify_ended(stream).await;
        });
        Ok(Response::new(down(opened.messages, Into::into)))
    }
}

fn down<T, Wire>(messages: mpsc::Receiver<T>, convert: impl Fn(T) -> Wire + Send + 'static) -> Streamed<Wire>
where
    T: Send + 'static,
{
    Box::pin(ReceiverStream::new(messages).map(move |message| Ok(convert(message))))
}

fn names(worker: &str, incarnation: &str) -> Result<(WorkerId, Incarnation), Status> {
    let worker = worker.parse().map_err(Malformed::from)?;
    let incarnation = incarnation.parse().map_err(Malformed::from)?;
    Ok((worker, incarnation))
}

/// Checks that the caller's certificate is for this worker.
fn check_worker(caller: &Caller, worker: &WorkerId) -> Result<(), Status> {
    if caller.may_be_worker(worker.as_str()) {
        return Ok(());
    }
    Err(refusal(ErrorClass::Forbidden, format!("the certificate is not for a worker called {worker}")))
}

fn registration(request: &v1::RegisterRequest) -> Result<Registration, Status> {
    request.check_bounds()?;
    let (worker, incarnation) = names(&request.worker_id, &request.incarnation)?;
    let running = convert::running_shards(request)?.into_iter();
    let running = running.map(|(slot, epoch)| Some((slot.in_total(request.running_total)?, epoch)));
    let running = running.collect::<Option<_>>().filter(|_| request.running_total <= convert::MAX_SHARDS);
    let Some(running) = running else {
        return Err(refusal(
            ErrorClass::InvalidInput,
            format!(
                "running_total is {}: it must be above the number of every running shard, and at most {}",
                request.running_total,
                convert::MAX_SHARDS
            ),
        ));
    };
    let generation = match request.generation.as_str() {
        "" => Generation::default(),
        named => named.parse().map_err(Malformed::from)?,
    };
    let profile = WorkerProfile {
        url: request.advertise_url.clone(),
        version: for_people(&request.version),
        capacity: (request.capacity > 0).then_some(request.capacity),
        generation: Some(generation),
        needs: request.needs.clone().map(Into::into),
        formats: CheckpointFormats {
            oldest: format(request.checkpoint_format_min),
            newest: format(request.checkpoint_format_max),
        },
        head_keys: request.head_keys.iter().filter_map(|id| id.parse().ok()).collect(),
        refuses_unsigned_heads: request.refuses_unsigned_heads,
    };
    Ok(Registration {
        worker,
        incarnation,
        profile,
        running: ClaimedShards { shards: running, total: request.running_total },
        draining: request.draining,
        found_at: None,
        granted: false,
    })
}

/// A checkpoint format as a worker names it; 0 counts as the first.
fn format(named: u32) -> u16 {
    u16::try_from(named).unwrap_or(u16::MAX).max(FIRST_FORMAT)
}

/// Directives that a worker refused, with repeats folded into one log line.
#[derive(Default)]
struct RefusedDirectives {
    logged: Option<Instant>,
    folded: usize,
}

impl RefusedDirectives {
    fn note(&mut self, worker: &WorkerId, refused: &[RefusedDirective]) {
        let Some(last) = refused.last() else { return };
        self.folded += refused.len() - 1;
        if self.logged.is_some_and(|at| at.elapsed() < REFUSED_FOLDED) {
            self.folded += 1;
            return;
        }
        tracing::warn!(
            worker.id = %worker, kind = %last.kind, reason = %last.reason,
            folded = self.folded, "worker refused a directive"
        );
        (self.logged, self.folded) = (Some(Instant::now()), 0);
    }
}
