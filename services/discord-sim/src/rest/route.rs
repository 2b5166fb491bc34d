//! Properties of routes: the bucket, and whether a token is needed.
//!
//! Discord does not document which routes share a bucket and how large it is. The figures here are ours; clients must read the headers.

use super::limits::Bucket;
use axum::http::Method;
use std::time::Duration;

/// The properties of a call's route.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Route {
    /// The pattern, without the version.
    pub(crate) pattern: String,
    /// The bucket, and the channel, guild or webhook that it belongs to.
    pub(crate) bucket: Option<(Bucket, String)>,
    pub(crate) needs_token: bool,
    /// Whether the global limit applies; answers to interactions are exempt.
    pub(crate) global: bool,
    /// Exempt from injected 429s: answers to interactions, and routes without a token.
    pub(crate) exempt: bool,
}

/// Returns the bucket of a route.
fn bucket_of(method: &Method, pattern: &str) -> Option<Bucket> {
    let (name, limit, seconds) = match (method.as_str(), pattern) {
        ("POST", "/channels/{channel}/messages") => ("message create", 5, 5),
        ("PATCH", "/channels/{channel}/messages/{message}") => ("message edit", 5, 5),
        ("DELETE", "/channels/{channel}/messages/{message}") => ("message delete", 5, 1),
        ("POST", "/channels/{channel}/messages/bulk-delete") => ("message bulk delete", 3, 5),
        ("POST", "/channels/{channel}/typing") => ("typing", 5, 5),
        ("GET", path) if path.starts_with("/channels/") => ("channel read", 50, 1),
        ("GET", "/guilds/{guild}/members") => ("member list", 10, 10),
        ("GET", path) if path.starts_with("/guilds/") => ("guild read", 50, 1),
        ("GET", "/users/{user}") => ("user read", 30, 30),
        ("POST", "/users/@me/channels") => ("direct channel", 10, 10),
        ("GET", path) if path.ends_with("/commands") || path.ends_with("/commands/{command}") => {
            ("command read", 50, 10)
        }
        (_, path) if path.ends_with("/commands") || path.ends_with("/commands/{command}") => {
            ("command write", 20, 20)
        }
        ("GET", path) if path.starts_with("/webhooks/") => ("webhook read", 15, 5),
        (_, path) if path.starts_with("/webhooks/") => ("webhook write", 5, 2),
        _ => return None,
    };
    Some(Bucket { name, limit, window: Duration::from_secs(seconds) })
}

/// Returns the top-level resource of a limit: a channel, a guild, or a webhook with its token.
/// [Source](https://docs.discord.com/developers/topics/rate-limits).
fn major(path: &str) -> String {
    let mut steps = path.split('/').filter(|step| !step.is_empty());
    match (steps.next(), steps.next(), steps.next()) {
        (Some("channels" | "guilds"), Some(id), _) => id.to_owned(),
        (Some("webhooks"), Some(id), Some(token)) => format!("{id}/{token}"),
        _ => String::new(),
    }
}

impl Route {
    /// Returns the properties of a call. `pattern` is the matched route and `path` the call's path, both without the version.
    pub(crate) fn of(method: &Method, pattern: &str, path: &str) -> Self {
        let callback = pattern.starts_with("/interactions/");
        let with_own_token = callback || pattern.starts_with("/webhooks/");
        let open = pattern == "/gateway" || pattern.is_empty();
        Self {
            bucket: bucket_of(method, pattern).map(|bucket| (bucket, major(path))),
            needs_token: !with_own_token && !open,
            global: !with_own_token,
            exempt: callback || open,
            pattern: pattern.to_owned(),
        }
    }
}

/// Strips `/api` and the version from a path.
pub(crate) fn unversioned(path: &str) -> &str {
    let path = path.strip_prefix("/api").unwrap_or(path);
    match path.strip_prefix("/v").and_then(|rest| rest.split_once('/')) {
        Some((version, _)) if version.bytes().all(|digit| digit.is_ascii_digit()) => {
            &path["/v".len() + version.len()..]
        }
        _ => path,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_per_channel_guild_and_webhook() {
        let of = |pattern, path| Route::of(&Method::POST, pattern, path);
        let message = of("/channels/{channel}/messages", "/channels/7/messages");
        let (bucket, major) = message.bucket.unwrap();
        assert_eq!((bucket.limit, major.as_str()), (5, "7"));
        assert!(message.needs_token && message.global);
        let follow_up = of("/webhooks/{application}/{token}", "/webhooks/7/abc");
        assert_eq!(follow_up.bucket.unwrap().1, "7/abc");
        assert!(!follow_up.needs_token && !follow_up.global && !follow_up.exempt);
        let commands = of("/applications/{application}/commands", "/applications/7/commands");
        assert_eq!(commands.bucket.unwrap().1, "", "an application is not a top-level resource");
        let callback = of("/interactions/{interaction}/{token}/callback", "/interactions/7/abc/callback");
        assert!(callback.exempt && callback.bucket.is_none() && !callback.needs_token);
        let get = |path| Route::of(&Method::GET, path, path);
        assert!(get("/gateway/bot").bucket.is_none() && !get("/gateway/bot").exempt);
        assert!(get("/gateway").exempt && !get("/gateway").needs_token && get("/gateway").global);
    }

    #[test]
    fn api_prefix_and_version_are_stripped() {
        assert_eq!(unversioned("/api/v10/gateway/bot"), "/gateway/bot");
        assert_eq!(unversioned("/api/gateway"), "/gateway");
        assert_eq!(unversioned("/api/vanity/x"), "/vanity/x");
    }
}
