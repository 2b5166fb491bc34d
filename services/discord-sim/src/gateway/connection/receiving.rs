//! Parses the client's frames and answers them.

use super::{AttachedSession, Connection, scripts::ResumeReply, writing::LONGEST_PAUSE};
use crate::{
    gateway::{ending::End, envelope},
    hub::{AdmissionError, Disconnect, SessionCell},
    odd::Moment,
    protocol::{Payload, close},
    report::ViolationKind,
    request::Request,
};
use axum::{Error, extract::ws::Message};
use std::{sync::Arc, time::Duration};
use tokio::time::Instant;

impl Connection {
    pub(super) async fn read(
        &mut self,
        frame: Option<Result<Message, Error>>,
        arrived: Instant,
    ) -> Result<(), End> {
        let payload = match frame {
            Some(Ok(Message::Text(text))) => Payload::parse(text.as_bytes()),
            Some(Ok(Message::Binary(bytes))) => Payload::parse(&bytes),
            Some(Ok(Message::Ping(_) | Message::Pong(_))) => return Ok(()),
            Some(Ok(Message::Close(frame))) => {
                return Err(End::by_client(frame.as_ref()));
            }
            Some(Err(error)) if is_too_long(&error) => Payload::Undecodable(error.to_string()),
            Some(Err(_)) | None => return Err(End::ByClient(Disconnect::Resumable)),
        };
        if self.frozen {
            self.notice_zombie(&payload);
            return Ok(());
        }
        let arrived = self.hub.since_start(arrived);
        if !self.sends.try_count(arrived) {
            self.violation(ViolationKind::RateLimited, "more than 120 sends in 60 s".into());
            return Err(End::code(close::RATE_LIMITED, "Rate limited."));
        }
        self.handle(payload, arrived).await
    }

    async fn handle(&mut self, payload: Payload, arrived: Duration) -> Result<(), End> {
        match payload {
            Payload::Heartbeat(sequence) => {
                self.expect_heartbeat();
                if let (Some(session), Some(sequence)) = (&self.session, sequence) {
                    let trim = self.hub.switches().heartbeat_trims;
                    session.cell.lock().acknowledge(sequence, trim);
                }
                self.send(envelope::heartbeat_ack()).await
            }
            Payload::Identify(_) | Payload::Resume(_) if self.session.is_some() => {
                self.violation(ViolationKind::AlreadyAuthenticated, "a second IDENTIFY or RESUME".into());
                Err(End::code(close::ALREADY_AUTHENTICATED, "Already authenticated."))
            }
            Payload::Identify(request) => {
                if request.compress {
                    self.wire.compress_payloads();
                }
                let delay = self.hub.switches().ready_delay;
                let from = (!delay.is_zero()).then(|| Instant::now() + delay.min(LONGEST_PAUSE));
                let outcome = self.hub.identify(self.id, request, arrived).await;
                self.join(outcome, from).await?;
                if self.session.is_some() { self.run_script(Moment::Identify).await } else { Ok(()) }
            }
            Payload::Resume(request) => {
                let ResumeReply::Normal { from } = self.run_resume_script(&request.session_id).await? else {
                    return Ok(());
                };
                let outcome = self.hub.resume(self.id, request).await;
                self.join(outcome, from).await
            }
            Payload::Request(request) => match (request, &self.session) {
                (_, None) => {
                    self.violation(
                        ViolationKind::NotAuthenticated,
                        "a request before IDENTIFY or RESUME".into(),
                    );
                    Err(End::code(close::NOT_AUTHENTICATED, "Not authenticated."))
                }
                (Err(detail), _) => {
                    self.violation(ViolationKind::DecodeError, detail);
                    Err(End::code(close::DECODE_ERROR, "Error while decoding payload."))
                }
                (Ok(Request::Presence(_)), _) if !self.presences.try_count(arrived) => {
                    self.violation(
                        ViolationKind::PresenceLimit,
                        "more than 5 presence updates in 20 s".into(),
                    );
                    Ok(())
                }
                (Ok(request), Some(session)) => {
                    self.hub.request(self.id, &session.cell, request, arrived);
                    Ok(())
                }
            },
            Payload::UnknownOpcode(op) => {
                self.violation(ViolationKind::UnknownOpcode, format!("op {op}"));
                Err(End::code(close::UNKNOWN_OPCODE, "Unknown opcode."))
            }
            Payload::Undecodable(detail) => {
                self.violation(ViolationKind::DecodeError, detail);
                Err(End::code(close::DECODE_ERROR, "Error while decoding payload."))
            }
        }
    }

    async fn join(
        &mut self,
        outcome: Result<Arc<SessionCell>, AdmissionError>,
        from: Option<Instant>,
    ) -> Result<(), End> {
        match outcome {
            Ok(cell) => {
                let params = cell.lock().params.clone();
                let updates = cell.subscribe_updates();
                self.session = Some(AttachedSession { cell, updates, params, from });
                Ok(())
            }
            Err(AdmissionError::InvalidSession { resumable }) => {
                self.send(envelope::invalid_session(resumable)).await
            }
            Err(AdmissionError::Close(code, reason)) => Err(End::code(code, reason)),
        }
    }

    /// Records a client that keeps a zombie connection: without an ACK it must close before its next heartbeat.
    fn notice_zombie(&mut self, payload: &Payload) {
        if matches!(payload, Payload::Heartbeat(_)) {
            self.unanswered += 1;
            if self.unanswered == 2 {
                self.violation(ViolationKind::ZombieKept, "a second heartbeat after one without ACK".into());
            }
        }
    }
}

/// Returns whether a frame was rejected for its length.
fn is_too_long(error: &Error) -> bool {
    use std::error::Error as _;
    let mut source = error.source();
    while let Some(inner) = source {
        if inner.to_string().contains("Message too long")
            || inner.to_string().contains("Space limit exceeded")
        {
            return true;
        }
        source = inner.source();
    }
    false
}
