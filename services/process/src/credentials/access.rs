//! The check of each gRPC call before it reaches a service.

use std::{
    future::{Ready, ready},
    task::{Context, Poll},
};

use futures_util::{
    TryFutureExt as _,
    future::{BoxFuture, Either, MapOk},
};
use http::{HeaderMap, Request, Response, header::AUTHORIZATION};
use tonic::{Code, Status};
use tower::{Layer, Service};

use super::{
    Caller, Credentials, Ending, Enforcement, Identity, Peer, TokenHash,
    calls::{Allowed, allowed},
    ending::RightLost,
};
use crate::server::ValidToken;

/// Refuses calls that the caller's role does not allow, and adds the [`Caller`] to the others. An answer to the bearer of a token ends when
/// the token is removed.
#[derive(Clone, Debug, Default)]
pub struct AccessLayer(pub Credentials);

/// See [`AccessLayer`].
#[derive(Clone, Debug)]
pub struct AccessService<S> {
    credentials: Credentials,
    inner: S,
}

/// Why a call is refused: the label of the metric, the gRPC code and the text.
pub(super) struct Refusal {
    pub(super) reason: &'static str,
    code: Code,
    pub(super) text: String,
}

impl Refusal {
    fn unauthenticated(reason: &'static str, text: &str) -> Self {
        Self { reason, code: Code::Unauthenticated, text: text.to_owned() }
    }
}

impl<S> Layer<S> for AccessLayer {
    type Service = AccessService<S>;

    fn layer(&self, inner: S) -> AccessService<S> {
        AccessService { credentials: self.0.clone(), inner }
    }
}

/// A caller that may make its call.
pub(super) struct Admitted {
    pub(super) caller: Caller,
    /// What admitted it, if that is a token.
    token: Option<(TokenHash, Identity)>,
}

impl Admitted {
    /// Resolves when the caller loses the right to an answer that is under way. A certificate is looked at by its connection.
    fn right_lost(&self, credentials: &Credentials, is_grpc: bool) -> Option<RightLost> {
        let (token, bearer) = self.token.clone()?;
        Some(RightLost { lost: Box::pin(credentials.clone().wait_removed(token, bearer)), is_grpc })
    }
}

type Answered<R, E> = Result<Response<Ending<R>>, E>;

impl<S, B, R> Service<Request<B>> for AccessService<S>
where
    S: Service<Request<B>, Response = Response<R>>,
    S::Future: Send + 'static,
    R: Default,
{
    type Response = Response<Ending<R>>;
    type Error = S::Error;
    type Future = Either<
        Ready<Answered<R, S::Error>>,
        Either<
            MapOk<S::Future, fn(Response<R>) -> Response<Ending<R>>>,
            BoxFuture<'static, Answered<R, S::Error>>,
        >,
    >;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        let peer = request.extensions().get::<Peer>().cloned();
        let path = request.uri().path();
        match self.credentials.admit(peer.as_ref(), request.headers(), allowed(path), path) {
            Ok(admitted) => {
                // No service needs it, and it must not reach a log.
                request.headers_mut().remove(AUTHORIZATION);
                let lost = admitted.right_lost(&self.credentials, true);
                request.extensions_mut().insert(admitted.caller);
                let answer = self.inner.call(request);
                Either::Right(match lost {
                    None => Either::Left(answer.map_ok(|answer| answer.map(Ending::never))),
                    Some(lost) => Either::Right(Box::pin(
                        answer.map_ok(|answer| answer.map(|body| Ending::on(lost, body))),
                    )),
                })
            }
            Err(refusal) => {
                let peer = peer.and_then(|peer| peer.address);
                tracing::info!(
                    rpc.method = path,
                    peer = peer.map(tracing::field::display),
                    reason = refusal.reason,
                    "call refused"
                );
                Either::Left(ready(Ok(Status::new(refusal.code, refusal.text).into_http())))
            }
        }
    }
}

impl Credentials {
    /// Checks a request for what this process says of the fleet. Callers on this machine that name it (`is_for_localhost`) need nothing.
    ///
    /// Returns what ends the answer early, if anything does.
    ///
    /// # Errors
    /// Why the request is refused.
    pub(crate) fn admit_reader(
        &self,
        peer: Option<&Peer>,
        is_for_localhost: bool,
        headers: &HeaderMap,
        wanted: Allowed,
        path: &str,
    ) -> Result<Option<RightLost>, String> {
        let is_local =
            |peer: &Peer| peer.address.is_some_and(|address| address.ip().to_canonical().is_loopback());
        if is_for_localhost && peer.is_some_and(is_local) && !headers.contains_key(AUTHORIZATION) {
            return Ok(None);
        }
        let admitted = self.admit(peer, headers, wanted, path).map_err(|refusal| refusal.text)?;
        Ok(admitted.right_lost(self, false))
    }

    /// Checks one request: its connection, its bearer token, and the roles that `wanted` lists.
    pub(super) fn admit(
        &self,
        peer: Option<&Peer>,
        headers: &HeaderMap,
        wanted: Allowed,
        path: &str,
    ) -> Result<Admitted, Refusal> {
        let address = peer.and_then(|peer| peer.address);
        let as_is = |identity| Admitted { caller: Caller { identity, address }, token: None };
        let Some(enforcement) = self.enforcement() else { return Ok(as_is(None)) };
        let identity = self.identify(peer, headers);
        let refused = match identity {
            Ok(None) if wanted.includes(None) => return Ok(as_is(None)),
            Ok(Some((identity, token))) if wanted.includes(Some(identity.role)) => {
                if let (Some(token), Some(proof)) = (token, peer.and_then(|peer| peer.proof.as_ref())) {
                    let credentials = self.clone();
                    proof.given(ValidToken::Listed { token, bearer: identity.clone(), credentials });
                }
                let token = token.map(|token| (token, identity.clone()));
                return Ok(Admitted { token, ..as_is(Some(identity)) });
            }
            Ok(Some((identity, _))) => Refusal {
                reason: "role",
                code: Code::PermissionDenied,
                text: format!("the role {} may not make this call", identity.role),
            },
            Ok(None) if peer.is_some_and(|peer| peer.is_tls) => Refusal::unauthenticated(
                "no_credentials",
                "this call needs a client certificate (CREDENTIALS) or a bearer token",
            ),
            Ok(None) if enforcement == Enforcement::Optional => {
                if let Some(counts) = self.counts()
                    && counts.served(address.map(|address| address.ip()), path)
                {
                    tracing::warn!(
                        rpc.method = path,
                        peer = address.map(tracing::field::display),
                        "call without credentials"
                    );
                }
                return Ok(as_is(None));
            }
            Ok(None) => {
                Refusal::unauthenticated("not_encrypted", "this port takes TLS: use https:// and CREDENTIALS")
            }
            Err(refusal) => refusal,
        };
        if let Some(counts) = self.counts() {
            counts.refused(refused.reason);
        }
        Err(refused)
    }

    /// Returns who the caller is, and the token that says so. A bearer token counts more than the certificate.
    fn identify(
        &self,
        peer: Option<&Peer>,
        headers: &HeaderMap,
    ) -> Result<Option<(Identity, Option<TokenHash>)>, Refusal> {
        if let Some(header) = headers.get(AUTHORIZATION) {
            if !peer.is_some_and(|peer| peer.is_tls) {
                let text = "the token was sent without encryption, and may be known to others now: replace it, and use https://";
                return Err(Refusal::unauthenticated("not_encrypted", text));
            }
            let token = header.to_str().ok().and_then(|value| {
                let (scheme, token) = value.split_once(' ')?;
                scheme.eq_ignore_ascii_case("bearer").then(|| TokenHash::of(token.trim()))
            });
            let bearer = token.and_then(|token| Some((self.bearer(&token)?, token)));
            return match bearer {
                Some((identity, token)) => Ok(Some((identity, Some(token)))),
                None => Err(Refusal::unauthenticated("token", "the bearer token is not in the access list")),
            };
        }
        match peer.and_then(|peer| peer.certificate.as_ref()) {
            Some(certificate) if self.is_revoked(certificate) => {
                Err(Refusal::unauthenticated("revoked", "the certificate was revoked"))
            }
            Some(certificate) => Ok(Some((certificate.identity.clone(), None))),
            None => Ok(None),
        }
    }
}
