//! The gateway protocol: client payloads, close codes and the resume path.

pub(crate) mod close;
mod payload;

pub(crate) use payload::{BotToken, Identify, Payload, Resume};

/// The path of `resume_gateway_url`.
pub(crate) const RESUME_PATH: &str = "/resume";
