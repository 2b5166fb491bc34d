//! Close codes. [Source](https://docs.discord.com/developers/topics/opcodes-and-status-codes#gateway-gateway-close-event-codes).

/// The server shuts down. [Source](https://www.rfc-editor.org/rfc/rfc6455#section-7.4.1).
pub(crate) const GOING_AWAY: u16 = 1001;
pub(crate) const UNKNOWN_ERROR: u16 = 4000;
pub(crate) const UNKNOWN_OPCODE: u16 = 4001;
pub(crate) const DECODE_ERROR: u16 = 4002;
pub(crate) const NOT_AUTHENTICATED: u16 = 4003;
pub(crate) const AUTHENTICATION_FAILED: u16 = 4004;
pub(crate) const ALREADY_AUTHENTICATED: u16 = 4005;
pub(crate) const INVALID_SEQ: u16 = 4007;
pub(crate) const RATE_LIMITED: u16 = 4008;
pub(crate) const INVALID_SHARD: u16 = 4010;
pub(crate) const SHARDING_REQUIRED: u16 = 4011;
pub(crate) const INVALID_VERSION: u16 = 4012;
pub(crate) const INVALID_INTENTS: u16 = 4013;
pub(crate) const DISALLOWED_INTENTS: u16 = 4014;

/// Returns whether a client's close with this code ends its session.
/// [Source](https://docs.discord.com/developers/events/gateway#initiating-a-disconnect).
pub(crate) const fn ends_session(code: u16) -> bool {
    matches!(code, 1000 | 1001)
}
