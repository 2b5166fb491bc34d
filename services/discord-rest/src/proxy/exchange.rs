//! One request to Discord and its answer's head; what became of it is told to the gate, whether the caller is still there or not.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use hyper::body::Incoming;
use process::telemetry::TimedSpan;
use tokio::{sync::oneshot, time::timeout};

use super::{
    Proxy,
    body::{self, BodyRefused, Outgoing},
    head, trace,
};
use crate::{
    AnswerClass, RateLimit, classify,
    gate::{Permit, RestOutcome},
    needs_body,
    route::Route,
    upstream::Body,
};

/// For the answer's head after a body that was here as a whole.
const HEAD_WITHIN: Duration = Duration::from_secs(15);
/// For body and head where the body still comes from the caller.
const UPLOAD_WITHIN: Duration = Duration::from_mins(2);

/// No answer came.
#[derive(Clone, Copy, Debug)]
pub(super) enum ExchangeError {
    /// The caller's body ended early.
    Caller(BodyRefused),
    /// Discord could not be reached, or the connection broke.
    Broken,
    /// It did not come in time.
    Late,
}

impl ExchangeError {
    pub(super) const fn status(self) -> StatusCode {
        match self {
            Self::Caller(refused) => refused.status(),
            Self::Broken => StatusCode::BAD_GATEWAY,
            Self::Late => StatusCode::GATEWAY_TIMEOUT,
        }
    }

    pub(super) const fn text(self) -> &'static str {
        match self {
            Self::Caller(refused) => refused.text(),
            Self::Broken => "Discord could not be reached, or the connection broke",
            Self::Late => "Discord did not answer in time",
        }
    }
}

/// Discord's answer, and what it says about limits.
pub(super) type Exchanged = Result<(Response<Body>, Option<RateLimit>), ExchangeError>;

impl Proxy {
    /// Sends a request. Returns the limits in the answer if it is a 429 or a block.
    pub(super) async fn exchange(
        self: &Arc<Self>,
        route: &Route,
        permit: Permit,
        request: Result<Request<()>, http::Error>,
        body: Outgoing,
        span: Option<TimedSpan>,
    ) -> Exchanged {
        let (done, answer) = oneshot::channel();
        let (proxy, group) = (self.clone(), route.group);
        self.tasks.spawn(async move {
            let answered = match request {
                Ok(request) => proxy.send(request, body).await,
                Err(_) => Err(ExchangeError::Broken),
            };
            if let Some(span) = span {
                trace::exchanged(
                    &span,
                    answered.as_ref().map(Response::status).map_err(|error| error.text()),
                );
            }
            proxy.metrics.answered(group, answered.as_ref().map_or(0, |response| response.status().as_u16()));
            let (answered, outcome) = match answered {
                Ok(response) => {
                    let (response, outcome) = proxy.read(response).await;
                    (Ok((response, outcome.limited)), outcome)
                }
                Err(failed) => (Err(failed), RestOutcome::default()),
            };
            if outcome.limited.is_some() {
                // A retry must ask for its turn after this was reported.
                proxy.gate.leave(permit, outcome).await;
                let _ = done.send(answered);
            } else {
                let _ = done.send(answered);
                proxy.gate.leave(permit, outcome).await;
            }
        });
        answer.await.unwrap_or(Err(ExchangeError::Broken))
    }

    async fn send(&self, request: Request<()>, body: Outgoing) -> Result<Response<Incoming>, ExchangeError> {
        let within = if body.is_kept { HEAD_WITHIN } else { UPLOAD_WITHIN };
        match timeout(within, self.upstream.send(request.map(|()| body.body))).await {
            Ok(Ok(response)) => Ok(response),
            Ok(Err(error)) => {
                tracing::debug!(%error, "a request to Discord failed");
                Err(body.cut_off.why().map_or(ExchangeError::Broken, ExchangeError::Caller))
            }
            Err(_) => Err(ExchangeError::Late),
        }
    }

    /// Classifies an answer, reading the start of its body if necessary.
    async fn read(&self, response: Response<Incoming>) -> (Response<Body>, RestOutcome) {
        let (mut head, incoming) = response.into_parts();
        let (start, body) = if needs_body(head.status, &head.headers) {
            body::peek(incoming).await
        } else {
            (Bytes::new(), body::paced(incoming))
        };
        let (seen, class) = classify(head.status, &head.headers, &start, SystemTime::now());
        let limited = match class {
            AnswerClass::Limited(limited) => Some(limited),
            AnswerClass::ServerTrouble(Some(wait)) => {
                self.upstream.stay_away(wait);
                None
            }
            AnswerClass::ServerTrouble(None) | AnswerClass::TokenRefused | AnswerClass::Fine => None,
        };
        head::from_discord(&mut head.headers);
        let outcome = RestOutcome { status: Some(head.status.as_u16()), seen, limited };
        (Response::from_parts(head, body), outcome)
    }
}
