//! Messages between workers and the identify queue.

use std::time::Duration;

use fleet_model::{Epoch, IdentifyAnswer, IdentifyMessage, ShardSlot, Term};

use super::{
    Malformed,
    bounds::{Bounded as _, for_people},
    millis,
};
use crate::v1::{self, identify_down::Message as Down, identify_up::Message as Up};

impl From<IdentifyMessage> for v1::IdentifyUp {
    fn from(message: IdentifyMessage) -> Self {
        let message = match message {
            IdentifyMessage::Request { ticket, shard, epoch, traceparent } => {
                Up::Ask(v1::IdentifyAsk { ticket, shard_id: shard.0, epoch: epoch.0, traceparent })
            }
            IdentifyMessage::Used { ticket } => Up::Used(v1::IdentifyUsed { ticket }),
            IdentifyMessage::Cancel { ticket } => Up::Cancel(v1::IdentifyCancel { ticket }),
        };
        Self { message: Some(message) }
    }
}

/// Returns a worker's message; `None` for one that this version does not know, and for a repeated hello.
///
/// # Errors
/// A request beyond its bounds.
pub fn permit_message(message: v1::IdentifyUp) -> Result<Option<IdentifyMessage>, Malformed> {
    Ok(match message.message {
        Some(Up::Ask(ask)) => {
            ask.check_bounds()?;
            let v1::IdentifyAsk { ticket, shard_id, epoch, traceparent } = ask;
            Some(IdentifyMessage::Request {
                ticket,
                shard: ShardSlot(shard_id),
                epoch: Epoch(epoch),
                traceparent,
            })
        }
        Some(Up::Used(used)) => Some(IdentifyMessage::Used { ticket: used.ticket }),
        Some(Up::Cancel(cancel)) => Some(IdentifyMessage::Cancel { ticket: cancel.ticket }),
        Some(Up::Hello(_)) | None => None,
    })
}

impl From<IdentifyAnswer> for v1::IdentifyDown {
    fn from(answer: IdentifyAnswer) -> Self {
        let message = match answer {
            IdentifyAnswer::Granted { ticket, valid_after_request, term } => {
                Down::Permit(v1::IdentifyPermit {
                    ticket,
                    valid_ms_after_ask: millis(valid_after_request),
                    term: term.0,
                })
            }
            IdentifyAnswer::Waiting { ticket, reason } => {
                Down::Waiting(v1::IdentifyWaiting { ticket, reason })
            }
            IdentifyAnswer::Refused { ticket, reason } => {
                Down::Refused(v1::IdentifyRefused { ticket, reason })
            }
        };
        Self { message: Some(message) }
    }
}

/// Returns the identify queue's answer; `None` for one that this version does not know.
pub fn permit_answer(message: v1::IdentifyDown) -> Option<IdentifyAnswer> {
    Some(match message.message? {
        Down::Permit(v1::IdentifyPermit { ticket, valid_ms_after_ask, term }) => IdentifyAnswer::Granted {
            ticket,
            valid_after_request: Duration::from_millis(valid_ms_after_ask),
            term: Term(term),
        },
        Down::Waiting(v1::IdentifyWaiting { ticket, reason }) => {
            IdentifyAnswer::Waiting { ticket, reason: for_people(&reason) }
        }
        Down::Refused(v1::IdentifyRefused { ticket, reason }) => {
            IdentifyAnswer::Refused { ticket, reason: for_people(&reason) }
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_permit_message_survives_the_wire() {
        let (ticket, reason) = (3, "why".to_owned());
        let request = IdentifyMessage::Request {
            ticket,
            shard: ShardSlot(1),
            epoch: Epoch(2),
            traceparent: "t".to_owned(),
        };
        for message in [request, IdentifyMessage::Used { ticket }, IdentifyMessage::Cancel { ticket }] {
            assert_eq!(permit_message(message.clone().into()), Ok(Some(message)));
        }
        let granted =
            IdentifyAnswer::Granted { ticket, valid_after_request: Duration::from_millis(7), term: Term(4) };
        let waiting = IdentifyAnswer::Waiting { ticket, reason: reason.clone() };
        for answer in [granted, waiting, IdentifyAnswer::Refused { ticket, reason }] {
            assert_eq!(permit_answer(answer.clone().into()), Some(answer));
        }
        let ask = v1::IdentifyAsk { shard_id: u32::MAX, ..Default::default() };
        let beyond = permit_message(v1::IdentifyUp { message: Some(Up::Ask(ask)) });
        assert_eq!(beyond, Err(Malformed::Shard(ShardSlot(u32::MAX))));
    }
}
