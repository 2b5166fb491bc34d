//! One request to Discord and its answer's head; what became of it is told to the gate, whether the caller is still there or not.

use std::{sync::Arc, time::Duration};

use http::{Request, Response, StatusCode};
use hyper::body::Incoming;
use tokio::{sync::oneshot, time::timeout};

use super::{Proxy, body, head};
use crate::{
    Limited,
    gate::{Outcome, Permit},
    headers,
    route::Route,
    upstream::Body,
};

/// For the answer's head after a body that was here as a whole.
const HEAD_WITHIN: Duration = Duration::from_secs(15);
/// For body and head where the body still comes from the caller.
const UPLOAD_WITHIN: Duration = Duration::from_mins(2);

/// No answer came.
#[derive(Clone, Copy, Debug)]
pub(super) enum Failed {
    /// Discord can't be reached, or the connection or the caller's body broke off.
    Broken,
    /// It did not come in time.
    Late,
}

impl Failed {
    pub(super) const fn status(self) -> StatusCode {
        match self {
            Self::Broken => StatusCode::BAD_GATEWAY,
            Self::Late => StatusCode::GATEWAY_TIMEOUT,
        }
    }

    pub(super) const fn text(self) -> &'static str {
        match self {
            Self::Broken => "Discord could not be reached, or the connection broke",
            Self::Late => "Discord did not answer in time",
        }
    }
}

impl Proxy {
    /// Sends a request. The answer comes with what it says of limits when it is a 429.
    pub(super) async fn exchange(
        self: &Arc<Self>,
        route: &Route,
        permit: Permit,
        request: Result<Request<()>, http::Error>,
        (body, is_kept): (Body, bool),
    ) -> Result<(Response<Body>, Option<Limited>), Failed> {
        let (done, answer) = oneshot::channel();
        let (proxy, group) = (self.clone(), route.group);
        let within = if is_kept { HEAD_WITHIN } else { UPLOAD_WITHIN };
        self.tasks.spawn(async move {
            let answered = match request {
                Ok(request) => proxy.send(request.map(|()| body), within).await,
                Err(_) => Err(Failed::Broken),
            };
            proxy.metrics.answered(group, answered.as_ref().map_or(0, |response| response.status().as_u16()));
            let outcome = answered.as_ref().map_or_else(|_| Outcome::default(), read);
            let limited = outcome.limited;
            if limited.is_some() {
                // Whoever sends it again asks after this was told.
                proxy.gate.leave(permit, outcome).await;
                let _ = done.send(answered);
            } else {
                let _ = done.send(answered);
                proxy.gate.leave(permit, outcome).await;
            }
        });
        let response = answer.await.unwrap_or(Err(Failed::Broken))?;
        let limited = read(&response).limited;
        let (mut head, body) = response.into_parts();
        head::from_discord(&mut head.headers);
        Ok((Response::from_parts(head, body::paced(body)), limited))
    }

    async fn send(&self, request: Request<Body>, within: Duration) -> Result<Response<Incoming>, Failed> {
        match timeout(within, self.upstream.send(request)).await {
            Ok(Ok(response)) => Ok(response),
            Ok(Err(error)) => {
                tracing::debug!(%error, "a request to Discord failed");
                Err(Failed::Broken)
            }
            Err(_) => Err(Failed::Late),
        }
    }
}

fn read(response: &Response<Incoming>) -> Outcome {
    let (seen, limited) = headers::read(response.status(), response.headers());
    Outcome { status: Some(response.status().as_u16()), seen, limited }
}
