//! Reads what the client sends and answers it.

use super::{Connection, Joined, scripts::Answer, writing::LONGEST_PAUSE};
use crate::{
    gateway::{ending::End, envelope},
    hub::{Departure, Refusal, SessionCell},
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
            Some(Err(_)) | None => return Err(End::Left(Departure::Resumable)),
        };
        if self.frozen {
            self.notice_zombie(&payload);
            return Ok(());
        }
        let arrived = self.hub.since_start(arrived);
        if !self.sends.allows(arrived) {
            self.violation(ViolationKind::RateLimited, "more than 120 sends in 60 s".into());
            return Err(End::code(close::RATE_LIMITED, "Rate limited."));
        }
        self.handle(payload, arrived).await
    }

    async fn handle(&mut self, payload: Payload, arrived: Duration) -> Result<(), End> {
        match payload {
            Payload::Heartbeat(sequence) => {
                self.expect_heartbeat();
                if let (Some(joined), Some(sequence)) = (&self.joined, sequence) {
                    let trim = self.hub.switches().heartbeat_trims;
                    joined.cell.lock().acknowledge(sequence, trim);
                }
                self.send(envelope::heartbeat_ack()).await
            }
            Payload::Identify(_) | Payload::Resume(_) if self.joined.is_some() => {
                self.violation(ViolationKind::AlreadyAuthenticated, "a second IDENTIFY or RESUME".into());
                Err(End::code(close::ALREADY_AUTHENTICATED, "Already authenticated."))
            }
            Payload::Identify(asked) => {
                if asked.compress {
                    self.wire.compress_payloads();
                }
                let delay = self.hub.switches().ready_delay;
                let from = (!delay.is_zero()).then(|| Instant::now() + delay.min(LONGEST_PAUSE));
                let outcome = self.hub.identify(self.id, asked, arrived).await;
                self.join(outcome, from).await?;
                if self.joined.is_some() { self.run_script(Moment::Identify).await } else { Ok(()) }
            }
            Payload::Resume(asked) => {
                let Answer::Usual { from } = self.run_resume_script(&asked.session_id).await? else {
                    return Ok(());
                };
                let outcome = self.hub.resume(self.id, asked).await;
                self.join(outcome, from).await
            }
            Payload::Request(asked) => match (asked, &self.joined) {
                (_, None) => {
                    self.violation(ViolationKind::NotAuthenticated, "a request before IDENTIFY".into());
                    Err(End::code(close::NOT_AUTHENTICATED, "Not authenticated."))
                }
                (Err(detail), _) => {
                    self.violation(ViolationKind::DecodeError, detail);
                    Err(End::code(close::DECODE_ERROR, "Error while decoding payload."))
                }
                (Ok(Request::Presence(_)), _) if !self.presences.allows(arrived) => {
                    self.violation(
                        ViolationKind::PresenceLimit,
                        "more than 5 presence updates in 20 s".into(),
                    );
                    Ok(())
                }
                (Ok(asked), Some(joined)) => {
                    self.hub.request(self.id, &joined.cell, asked, arrived);
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
        outcome: Result<Arc<SessionCell>, Refusal>,
        from: Option<Instant>,
    ) -> Result<(), End> {
        match outcome {
            Ok(cell) => {
                let sight = cell.lock().sight.clone();
                let bell = cell.bell();
                self.joined = Some(Joined { cell, bell, sight, from });
                Ok(())
            }
            Err(Refusal::InvalidSession { resumable }) => {
                self.send(envelope::invalid_session(resumable)).await
            }
            Err(Refusal::Close(code, reason)) => Err(End::code(code, reason)),
        }
    }

    /// A client that got no answer to a heartbeat must close before the next one is due.
    fn notice_zombie(&mut self, payload: &Payload) {
        if matches!(payload, Payload::Heartbeat(_)) {
            self.unanswered += 1;
            if self.unanswered == 2 {
                self.violation(
                    ViolationKind::ZombieKept,
                    "a second heartbeat, and the first had no ACK".into(),
                );
            }
        }
    }
}

/// Whether a frame was refused for its length.
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
