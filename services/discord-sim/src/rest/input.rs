//! Request bodies: JSON, or a multipart form with files.
//! [Source](https://docs.discord.com/developers/reference#uploading-files).

use super::{error::RestError, form::Form};
use axum::{
    body::Bytes,
    extract::{FromRequest, Multipart, Request},
    http::{StatusCode, header},
};
use serde_json::{Value, json};

/// Largest body in bytes. [Source](https://docs.discord.com/developers/resources/message#create-message).
pub(crate) const LARGEST: usize = 25 * 1024 * 1024;
/// Limit of files per message.
const MOST_FILES: usize = 10;

/// An uploaded file, without its content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Upload {
    /// The `n` of `files[n]`.
    pub(crate) number: String,
    pub(crate) name: String,
    pub(crate) content_type: Option<String>,
    pub(crate) size: usize,
}

/// A body's JSON, an empty object by default, and its files.
#[derive(Debug)]
pub(crate) struct RequestBody {
    pub(crate) json: Value,
    pub(crate) files: Vec<Upload>,
}

impl<S: Send + Sync> FromRequest<S> for RequestBody {
    type Rejection = RestError;

    async fn from_request(request: Request, state: &S) -> Result<Self, RestError> {
        let kind = request.headers().get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
        let kind = kind.unwrap_or_default().split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        if kind == "multipart/form-data" {
            return parts(Multipart::from_request(request, state).await.map_err(|_| RestError::BAD_REQUEST)?)
                .await;
        }
        let body = Bytes::from_request(request, state).await.map_err(|error| refused(error.status()))?;
        if body.is_empty() {
            return Ok(Self { json: json!({}), files: Vec::new() });
        }
        if kind != "application/json" {
            let mut form = Form::default();
            let message =
                "Expected \"Content-Type\" header to be one of {'application/json', 'multipart/form-data'}.";
            form.add_error("", "CONTENT_TYPE_INVALID", message);
            form.finish()?;
        }
        Ok(Self { json: parse(&body)?, files: Vec::new() })
    }
}

fn parse(body: &[u8]) -> Result<Value, RestError> {
    serde_json::from_slice(body).map_err(|_| RestError::INVALID_JSON)
}

fn refused(status: StatusCode) -> RestError {
    if status == StatusCode::PAYLOAD_TOO_LARGE { RestError::TOO_LARGE } else { RestError::BAD_REQUEST }
}

async fn parts(mut form: Multipart) -> Result<RequestBody, RestError> {
    let mut input = RequestBody { json: json!({}), files: Vec::new() };
    while let Some(part) = form.next_field().await.map_err(|error| refused(error.status()))? {
        let field = part.name().unwrap_or_default().to_owned();
        let name = part.file_name().map(ToOwned::to_owned);
        let content_type = part.content_type().map(ToOwned::to_owned);
        let bytes = part.bytes().await.map_err(|error| refused(error.status()))?;
        if field == "payload_json" {
            input.json = parse(&bytes)?;
        } else if let Some(name) = name {
            let number = field.strip_prefix("files[").and_then(|rest| rest.strip_suffix(']'));
            let number = number.map_or_else(|| input.files.len().to_string(), ToOwned::to_owned);
            input.files.push(Upload { number, name, content_type, size: bytes.len() });
        } else {
            // A plain form field, sent by clients that do not use JSON.
            let mut body = Form::default();
            body.require_object(&input.json, "");
            body.finish()?;
            input.json[field] = String::from_utf8_lossy(&bytes).into_owned().into();
        }
    }
    if input.files.len() > MOST_FILES {
        let mut form = Form::default();
        form.add_error("attachments", "BASE_TYPE_MAX_LENGTH", "Must be 10 or fewer in length.");
        form.finish()?;
    }
    Ok(input)
}
