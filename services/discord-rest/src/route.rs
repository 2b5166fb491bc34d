//! What limits a request, told by its method and path alone: pure.
//!
//! Discord keeps limits per route and *major parameter*: the channel, the guild, or the webhook with its token
//! ([Discord](https://discord.com/developers/docs/topics/rate-limits)). Which routes share a bucket only its headers tell.

use std::sync::Arc;

use http::Method;

use crate::caller::hashed;

/// Messages older than this are deleted under a limit of their own, which Discord does not document and all libraries know.
const OLD_MESSAGE_MS: u64 = 14 * 24 * 3_600_000;
/// Discord's epoch in Unix milliseconds: the zero of the time in an id.
const DISCORD_EPOCH_MS: u64 = 1_420_070_400_000;
/// The longest step of a path that is taken for a word of Discord's.
const LONGEST_WORD: usize = 40;
/// The longest pattern; Discord's own are shorter. What comes after is cut off.
const LONGEST_PATTERN: usize = 160;

/// The first steps of Discord's paths, for metrics: a closed set.
const GROUPS: [&str; 16] = [
    "applications",
    "auth",
    "channels",
    "connections",
    "gateway",
    "guilds",
    "interactions",
    "invites",
    "lobbies",
    "oauth2",
    "soundboard-default-sounds",
    "stage-instances",
    "sticker-packs",
    "stickers",
    "users",
    "webhooks",
];

/// How a request is treated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The first answer to an interaction: it has 3 s, a path of its own, and no limit that it could share.
    Callback,
    /// The path holds the token: follow-ups to interactions, webhooks. Buckets, and no global limit.
    OwnToken,
    /// Everything else: buckets and the global limit.
    Bot,
}

/// What limits a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// Method and path with ids, tokens and names taken out: `POST /channels/:id/messages`.
    pub pattern: Arc<str>,
    /// The major parameter: an id, or for a webhook with a token a hash of both; empty for routes without one.
    pub major: Arc<str>,
    /// How it is treated.
    pub kind: Kind,
    /// The path's first step, out of a closed set: for metrics.
    pub group: &'static str,
    /// Leads to the gateway's address, in any spelling.
    pub is_gateway: bool,
    /// A 401 says that the token is bad, and not that this path takes none of its kind.
    pub judges_token: bool,
}

impl Route {
    /// Reads a path under `/api`; `None` when it is invalid. `now` is Unix milliseconds: the age of a message that is deleted counts.
    pub fn of(method: &Method, path: &str, now: u64) -> Option<Self> {
        if leads_elsewhere(path) {
            return None;
        }
        let steps: Vec<&str> = unversioned(path)?.split('/').filter(|step| !step.is_empty()).collect();
        let group = GROUPS.into_iter().find(|group| steps.first() == Some(group)).unwrap_or("other");
        let (major, kind) = match steps.as_slice() {
            ["webhooks", id, token, ..] => {
                (hashed(format!("{id}/{token}").as_bytes()).into(), Kind::OwnToken)
            }
            ["channels" | "guilds", id, ..] | ["webhooks", id] if is_id(id) => (Arc::from(*id), Kind::Bot),
            ["interactions", id, _, "callback"] if is_id(id) && method == Method::POST => {
                (Arc::default(), Kind::Callback)
            }
            _ => (Arc::default(), Kind::Bot),
        };
        let mut pattern = format!("{method} ");
        for index in 0..steps.len() {
            pattern.push('/');
            if index > 0 && steps[index - 1] == "reactions" {
                // All reactions of a message are one route, for any emoji.
                pattern.push_str(":emoji");
                break;
            }
            pattern.push_str(named(&steps, index));
        }
        if let ["channels", _, "messages", message] = steps.as_slice()
            && method == Method::DELETE
            && is_old(message, now)
        {
            pattern.push_str(" (old)");
        }
        // It is ASCII: methods and words are, everything else was replaced.
        pattern.truncate(LONGEST_PATTERN);
        let judges_token = kind == Kind::Bot
            && !matches!(
                steps.as_slice(),
                ["oauth2", ..] | ["users", "@me", "connections" | "applications", ..]
            );
        let is_gateway = leads_to_gateway(path);
        Some(Self { pattern: pattern.into(), major, kind, group, is_gateway, judges_token })
    }
}

/// Whether a server would decode a path under `/api` to the gateway's address, in any case, with extra slashes and with any version.
fn leads_to_gateway(path: &str) -> bool {
    let decoded = decoded(path).to_ascii_lowercase();
    let is_prefix = |step: &&str| {
        let version = step.strip_prefix('v').unwrap_or("-");
        step.is_empty() || *step == "api" || version.bytes().all(|digit| digit.is_ascii_digit())
    };
    let first = decoded.split('/').find(|step| !is_prefix(step));
    first.is_some_and(|step| step.split([';', ' ']).next() == Some("gateway"))
}

/// A path with `%` escapes resolved.
fn decoded(path: &str) -> String {
    let mut bytes = Vec::with_capacity(path.len());
    let mut rest = path.as_bytes();
    while let Some((byte, after)) = rest.split_first() {
        let hex = after.get(..2).and_then(|hex| std::str::from_utf8(hex).ok());
        if let Some(escaped) = hex.and_then(|hex| u8::from_str_radix(hex, 16).ok()).filter(|_| *byte == b'%')
        {
            bytes.push(escaped);
            rest = &after[2..];
        } else {
            bytes.push(*byte);
            rest = after;
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// A path without `/api` and its version; `None` when it does not begin so.
fn unversioned(path: &str) -> Option<&str> {
    let path = path.strip_prefix("/api/")?;
    Some(match path.strip_prefix('v').and_then(|rest| rest.split_once('/')) {
        Some((version, rest))
            if !version.is_empty() && version.bytes().all(|digit| digit.is_ascii_digit()) =>
        {
            rest
        }
        _ => path,
    })
}

/// A step that somebody on the way may take for another path: what is limited would not be what Discord is asked.
fn leads_elsewhere(path: &str) -> bool {
    let is_dots = |step: &str| matches!(step.to_ascii_lowercase().replace("%2e", ".").as_str(), "." | "..");
    let lower = path.to_ascii_lowercase();
    path.split('/').any(is_dots) || path.contains('\\') || lower.contains("%2f") || lower.contains("%5c")
}

fn is_id(step: &str) -> bool {
    !step.is_empty()
        && !step.starts_with('0')
        && step.len() <= 20
        && step.bytes().all(|digit| digit.is_ascii_digit())
}

/// A step of a path as a pattern has it.
fn named<'a>(steps: &[&'a str], index: usize) -> &'a str {
    let step = steps[index];
    let before = index.checked_sub(1).map(|before| steps[before]);
    let is_token = index == 2 && matches!(steps[0], "webhooks" | "interactions");
    let is_word = step.len() <= LONGEST_WORD
        && step.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'@' | b'-' | b'_'));
    match before {
        _ if is_token => ":token",
        _ if is_id(step) => ":id",
        Some("invites" | "templates") => ":code",
        _ if is_word => step,
        _ => ":name",
    }
}

fn is_old(message: &str, now: u64) -> bool {
    let id: Option<u64> = message.parse().ok();
    id.is_some_and(|id| now.saturating_sub((id >> 22) + DISCORD_EPOCH_MS) > OLD_MESSAGE_MS)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_790_000_000_000;

    fn route(method: &str, path: &str) -> Route {
        Route::of(&method.parse().unwrap(), path, NOW).unwrap()
    }

    #[test]
    fn major_parameters_stay_and_other_ids_are_masked() {
        for (method, path, pattern, major) in [
            ("POST", "/api/v10/channels/7/messages", "POST /channels/:id/messages", "7"),
            ("PATCH", "/api/channels/7/messages/8", "PATCH /channels/:id/messages/:id", "7"),
            ("GET", "/api/v9/guilds/7/members/8", "GET /guilds/:id/members/:id", "7"),
            ("GET", "/api/v10/users/@me", "GET /users/@me", ""),
            ("GET", "/api/v10/users/7", "GET /users/:id", ""),
            ("GET", "/api/v10/webhooks/7", "GET /webhooks/:id", "7"),
            ("GET", "/api/v10/invites/abc", "GET /invites/:code", ""),
            ("GET", "/api/v10/guilds/templates/abc", "GET /guilds/templates/:code", ""),
            (
                "PUT",
                "/api/v10/channels/7/messages/8/reactions/%F0%9F/@me",
                "PUT /channels/:id/messages/:id/reactions/:emoji",
                "7",
            ),
            (
                "PUT",
                "/api/v10/applications/7/guilds/8/commands",
                "PUT /applications/:id/guilds/:id/commands",
                "",
            ),
            ("GET", "/api/v10/channels/07/messages", "GET /channels/:name/messages", ""),
            ("GET", "/api/v10/channels/%37/messages", "GET /channels/:name/messages", ""),
            ("GET", "/api/v10/interactions/7/secret/callback", "GET /interactions/:id/:token/callback", ""),
        ] {
            let route = route(method, path);
            assert_eq!((&*route.pattern, &*route.major), (pattern, major), "{path}");
            assert_eq!(route.kind, Kind::Bot, "{path}");
        }
    }

    #[test]
    fn a_token_in_a_path_is_hashed_and_exempt() {
        let follow_up = route("POST", "/api/v10/webhooks/7/secret");
        assert_eq!((&*follow_up.pattern, follow_up.kind), ("POST /webhooks/:id/:token", Kind::OwnToken));
        assert!(!follow_up.major.contains("secret") && follow_up.major.len() == 32);
        assert_ne!(follow_up.major, route("POST", "/api/v10/webhooks/7/other").major);
        let edit = route("PATCH", "/api/v10/webhooks/7/secret/messages/@original");
        assert_eq!(
            (&*edit.pattern, &edit.major),
            ("PATCH /webhooks/:id/:token/messages/@original", &follow_up.major)
        );
        let callback = route("POST", "/api/v10/interactions/7/secret/callback");
        assert_eq!(callback.kind, Kind::Callback);
        assert_eq!(&*callback.pattern, "POST /interactions/:id/:token/callback");
    }

    #[test]
    fn old_messages_are_deleted_under_a_limit_of_their_own() {
        let id = |age_ms: u64| (NOW - age_ms - DISCORD_EPOCH_MS) << 22;
        let delete = |age| route("DELETE", &format!("/api/v10/channels/7/messages/{}", id(age))).pattern;
        assert_eq!(&*delete(OLD_MESSAGE_MS + 1), "DELETE /channels/:id/messages/:id (old)");
        assert_eq!(&*delete(OLD_MESSAGE_MS - 1), "DELETE /channels/:id/messages/:id");
    }

    #[test]
    fn a_401_is_not_always_about_the_token() {
        assert!(route("GET", "/api/v10/users/@me").judges_token);
        assert!(!route("GET", "/api/v10/oauth2/@me").judges_token, "it takes no bot token");
        assert!(!route("POST", "/api/v10/webhooks/7/secret").judges_token, "it has its own");
    }

    #[test]
    fn gateway_is_recognized_in_every_spelling() {
        for path in [
            "/api/gateway",
            "/api/v10/gateway",
            "/api/v10/gateway/",
            "/api/v10/gateway/bot",
            "/api/v10//gateway//bot/",
            "/api//v10/gateway/bot",
            "/api/v6/v10/gateway/bot",
            "/api/v10/Gateway/BOT",
            "/api/v10/%67ateway/bot",
            "/api/v10/gateway%20",
            "/api/v10/gateway;a=b/bot",
        ] {
            assert!(route("GET", path).is_gateway, "{path}");
        }
        for path in ["/api/v10/users/gateway", "/api/v10/gateways", "/api/v10/%", "/api/v10/guilds/7/gateway"]
        {
            assert!(!route("GET", path).is_gateway, "{path}");
        }
    }

    #[test]
    fn path_outside_api_is_not_a_route() {
        for path in [
            "/",
            "/health",
            "/apis/v10/users/@me",
            "/api",
            "/api/v10/../x",
            "/api/v10/interactions/../channels/7/messages",
            "/api/v10/interactions/%2E%2e/channels/7/messages",
            "/api/v10/interactions%2f..%2Fchannels/7",
            "/api/v10/./users/@me",
            "/api/v10/a%5Cb",
        ] {
            assert_eq!(Route::of(&Method::GET, path, NOW), None, "{path}");
        }
        assert_eq!(route("GET", "/api/v10/nonsense").group, "other");
        assert_eq!(route("GET", "/api/v10/guilds/7").group, "guilds");
    }
}
