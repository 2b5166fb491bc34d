//! Traces through gRPC: a layer that opens a span for each call served, an interceptor that sends the current span along.

use std::task::{Context, Poll};

use http::{Request, Response};
use tonic::{Status, service::Interceptor};
use tower::{Layer, Service};
use tracing::{Instrument as _, Span, instrument::Instrumented};

use super::trace_context;

/// Calls that are no query of anybody: streams that live for hours, probes.
const UNTRACED: [&str; 4] =
    ["/Heartbeat", "/AcquireIdentify", "/grpc.health.v1.Health/", "/grpc.reflection."];

/// Opens a span named after the method for each call served, as a child of the caller's.
#[derive(Clone, Copy, Debug, Default)]
pub struct TraceLayer;

/// See [`TraceLayer`].
#[derive(Clone, Debug)]
pub struct TraceService<S>(S);

impl<S> Layer<S> for TraceLayer {
    type Service = TraceService<S>;

    fn layer(&self, inner: S) -> TraceService<S> {
        TraceService(inner)
    }
}

impl<S, B, R> Service<Request<B>> for TraceService<S>
where
    S: Service<Request<B>, Response = Response<R>>,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = Instrumented<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.0.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let path = request.uri().path();
        let span = if UNTRACED.iter().any(|part| path.contains(part)) {
            Span::none()
        } else {
            let method = path.trim_start_matches('/');
            let span = tracing::info_span!(
                "serve_rpc",
                otel.name = method,
                otel.kind = "server",
                rpc.system = "grpc",
                rpc.method = method,
            );
            trace_context::continue_from_headers(&span, request.headers());
            span
        };
        self.0.call(request).instrument(span)
    }
}

/// Sends the current span along with each call made.
#[derive(Clone, Copy, Debug, Default)]
pub struct SendTrace;

impl Interceptor for SendTrace {
    fn call(&mut self, mut request: tonic::Request<()>) -> Result<tonic::Request<()>, Status> {
        trace_context::inject(request.metadata_mut());
        Ok(request)
    }
}
