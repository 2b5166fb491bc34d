//! Error answers of REST.
//! [Source](https://docs.discord.com/developers/reference#error-messages), and
//! [codes](https://docs.discord.com/developers/topics/opcodes-and-status-codes#json).

use axum::{
    Json,
    http::StatusCode,
    response::{IntoResponse, Response},
};
use serde_json::{Value, json};

/// A Discord error: status and body.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct RestError {
    pub(crate) status: StatusCode,
    /// Discord's own code.
    pub(crate) code: u32,
    pub(crate) message: &'static str,
    /// Errors of the fields, nested like the fields.
    pub(crate) errors: Option<Value>,
}

macro_rules! rest_errors {
    ($($name:ident = $status:ident, $code:literal, $message:literal;)+) => {
        impl RestError {
            $(pub(crate) const $name: Self = Self::new(StatusCode::$status, $code, $message);)+
        }
    };
}

rest_errors! {
    BAD_REQUEST = BAD_REQUEST, 0, "400: Bad Request";
    UNAUTHORIZED = UNAUTHORIZED, 0, "401: Unauthorized";
    NOT_FOUND = NOT_FOUND, 0, "404: Not Found";
    METHOD_NOT_ALLOWED = METHOD_NOT_ALLOWED, 0, "405: Method Not Allowed";
    UNAVAILABLE = SERVICE_UNAVAILABLE, 0, "503: Service Unavailable";
    UNKNOWN_CHANNEL = NOT_FOUND, 10003, "Unknown Channel";
    UNKNOWN_GUILD = NOT_FOUND, 10004, "Unknown Guild";
    UNKNOWN_MEMBER = NOT_FOUND, 10007, "Unknown Member";
    UNKNOWN_MESSAGE = NOT_FOUND, 10008, "Unknown Message";
    UNKNOWN_USER = NOT_FOUND, 10013, "Unknown User";
    UNKNOWN_WEBHOOK = NOT_FOUND, 10015, "Unknown Webhook";
    UNKNOWN_INTERACTION = NOT_FOUND, 10062, "Unknown interaction";
    UNKNOWN_COMMAND = NOT_FOUND, 10063, "Unknown application command";
    NOT_YOUR_APPLICATION =
        FORBIDDEN, 20012, "You are not authorized to perform this action on this application";
    TOO_MANY_COMMANDS = BAD_REQUEST, 30032, "Maximum number of application commands reached (100)";
    TOO_MANY_CREATES =
        BAD_REQUEST, 30034, "Max number of daily application command creates has been reached (200)";
    TOO_LARGE = PAYLOAD_TOO_LARGE, 40005, "Request entity too large";
    ALREADY_ACKNOWLEDGED = BAD_REQUEST, 40060, "Interaction has already been acknowledged.";
    NO_USER_AGENT = FORBIDDEN, 40333, "internal network error";
    MISSING_ACCESS = FORBIDDEN, 50001, "Missing Access";
    NOT_IN_DIRECT_CHANNELS = FORBIDDEN, 50003, "Cannot execute action on a DM channel";
    EMPTY_MESSAGE = BAD_REQUEST, 50006, "Cannot send an empty message";
    NOT_A_TEXT_CHANNEL = BAD_REQUEST, 50008, "Cannot send messages in a non-text channel";
    MISSING_PERMISSIONS = FORBIDDEN, 50013, "Missing Permissions";
    TOO_FEW_OR_MANY_TO_DELETE =
        BAD_REQUEST, 50016, "Provided too few or too many messages to delete. Must provide at least 2 and fewer than 100 messages to delete";
    INVALID_WEBHOOK_TOKEN = UNAUTHORIZED, 50027, "Invalid Webhook Token";
    TOO_OLD_TO_DELETE =
        BAD_REQUEST, 50034, "You can only bulk delete messages that are under 14 days old.";
    INVALID_FORM = BAD_REQUEST, 50035, "Invalid Form Body";
    INVALID_VERSION = BAD_REQUEST, 50041, "Invalid API version";
    INVALID_JSON = BAD_REQUEST, 50109, "The request body contains invalid JSON.";
}

impl RestError {
    const fn new(status: StatusCode, code: u32, message: &'static str) -> Self {
        Self { status, code, message, errors: None }
    }
}

impl IntoResponse for RestError {
    fn into_response(self) -> Response {
        let mut body = json!({ "message": self.message, "code": self.code });
        if let Some(errors) = self.errors {
            body["errors"] = errors;
        }
        (self.status, Json(body)).into_response()
    }
}
