//! A worker that a thief has made of a stolen file: it registers and reports what it likes, and runs nothing.

use std::{
    convert::Infallible,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use altergolden_proto::{DESCRIPTORS, PROTOCOL_MAX, PROTOCOL_MIN, v1};
use fleet_fixture::{Coordinator, CredentialsFolder, until};
use futures_util::future::BoxFuture;
use process::{
    credentials::Role,
    server::{Limits, Listener, serve_grpc},
};
use tokio::{
    sync::mpsc,
    time::{Instant, timeout},
};
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status, Streaming, body::Body, server::NamedService, service::Routes};
use v1::directive::Directive as Kind;

use super::thief::{Loot, Thief};

/// A report is due each second, or the lease ends.
const REPORT_EVERY: Duration = Duration::from_millis(300);

pub(super) struct FakeWorker {
    pub(super) coordinator: Thief,
    reports: mpsc::Sender<v1::WorkerReport>,
    directives: Streaming<v1::Directive>,
    /// What it says from now on.
    pub(super) says: v1::WorkerReport,
    assignment: v1::Assignment,
}

/// A registration under a new incarnation, of a worker at this URL.
pub(super) fn registration(name: &str, url: &str) -> v1::RegisterRequest {
    v1::RegisterRequest {
        worker_id: name.to_owned(),
        incarnation: format!("{:016x}", rand::random::<u64>()),
        advertise_url: url.to_owned(),
        protocol_min: PROTOCOL_MIN,
        protocol_max: PROTOCOL_MAX,
        version: "stolen".to_owned(),
        checkpoint_format_min: checkpoint::FORMAT_MIN.into(),
        checkpoint_format_max: checkpoint::FORMAT_MAX.into(),
        // Of a worker with INTENTS=GUILDS.
        needs: Some(v1::SessionNeeds {
            intents: 1,
            transport: "json+zstd-stream".to_owned(),
            resources: Vec::new(),
        }),
        ..v1::RegisterRequest::default()
    }
}

impl FakeWorker {
    /// Registers with `worker.pem` of the folder and opens a stream.
    pub(super) async fn join(
        folder: &CredentialsFolder,
        coordinator: &Coordinator,
        change: impl FnOnce(&mut v1::RegisterRequest),
    ) -> Result<Self, Status> {
        let listener = Listener::bind("127.0.0.1:0".parse().unwrap(), "fake", Limits::GRPC).await.unwrap();
        let url = format!("https://{}", listener.address().unwrap());
        let mut registration = registration("thief", &url);
        change(&mut registration);
        let identity = v1::IdentityResponse {
            worker_id: registration.worker_id.clone(),
            incarnation: registration.incarnation.clone(),
            version: String::new(),
        };
        let routes = Routes::new(AnswersIdentity(Arc::new(identity)));
        let stop = CancellationToken::new();
        tokio::spawn(serve_grpc::<AnswersIdentity>(
            listener,
            folder.of(Role::Worker),
            routes,
            DESCRIPTORS,
            stop,
        ));
        let address = coordinator.address.split_once("://").unwrap().1;
        let loot = Loot::file(&folder.path().join("worker.pem"));
        let thief = Thief::connect(folder, &loot, Role::Coordinator, address).await.unwrap();
        let answer: v1::RegisterResponse =
            thief.ask("/altergolden.v1.Coordinator/Register", registration.clone()).await?;
        let says = v1::WorkerReport {
            worker_id: registration.worker_id,
            incarnation: registration.incarnation,
            term: answer.term,
            draining: registration.draining,
            ..v1::WorkerReport::default()
        };
        let (reports, messages) = mpsc::channel(8);
        reports.send(says.clone()).await.unwrap();
        let messages = futures_util::stream::unfold(messages, async |mut messages| {
            Some((messages.recv().await?, messages))
        });
        let directives = thief.call("/altergolden.v1.Coordinator/Heartbeat", messages).await?;
        let assignment = answer.assignment.unwrap_or_default();
        Ok(Self { coordinator: thief, reports, directives, says, assignment })
    }

    /// Sends a report.
    pub(super) async fn report(&mut self) {
        self.says.sequence += 1;
        self.says.assignment_revision = self.assignment.revision;
        self.reports.send(self.says.clone()).await.unwrap();
    }

    /// Reports on and obeys until its assignment satisfies.
    pub(super) async fn until_assigned(&mut self, is: impl Fn(&v1::Assignment) -> bool) -> v1::Assignment {
        let deadline = Instant::now() + fleet_fixture::PATIENCE;
        while !is(&self.assignment) {
            assert!(Instant::now() < deadline, "gave up waiting: {:?}", self.assignment);
            match timeout(REPORT_EVERY, self.directives.message()).await {
                Err(_) => self.report().await,
                Ok(message) => {
                    let directive = message.unwrap().expect("the stream is open").directive;
                    if let Some(Kind::Assignment(assignment)) = directive {
                        self.assignment = assignment;
                    }
                }
            }
        }
        self.assignment.clone()
    }

    /// Leaves the fleet.
    pub(super) async fn leave(mut self) {
        self.says.leaving = true;
        self.report().await;
        // The coordinator ends the stream of a worker that is gone.
        until("the stream to end", async || {
            self.directives.message().await.is_ok_and(|message| message.is_none()).then_some(())
        })
        .await;
    }
}

/// Serves `Identity` for the coordinator that connects back.
#[derive(Clone)]
struct AnswersIdentity(Arc<v1::IdentityResponse>);

impl NamedService for AnswersIdentity {
    const NAME: &'static str = "altergolden.v1.GatewayWorker";
}

impl tower::Service<http::Request<Body>> for AnswersIdentity {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let identity = self.0.clone();
        Box::pin(async move {
            let codec = tonic_prost::ProstCodec::<v1::IdentityResponse, v1::IdentityRequest>::default();
            let answer = tower::service_fn(move |_: Request<v1::IdentityRequest>| {
                std::future::ready(Ok::<_, Status>(Response::new(v1::IdentityResponse::clone(&identity))))
            });
            Ok(tonic::server::Grpc::new(codec).unary(answer, request).await)
        })
    }
}
