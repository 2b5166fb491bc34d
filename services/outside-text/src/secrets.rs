//! The process's own secrets, replaced in every text that is shown. Discord, a proxy or a database may send back what it
//! was sent: an error such as `bad header Authorization: Bot ...` must not put the token into a log.
//!
//! A secret is registered once, at the start ([`hide_secret`]). It is then found whole, by any part of [`PART`] bytes, and
//! in Base64. The token of a webhook or an interaction is found by its place in a path.

use std::{
    borrow::Cow,
    collections::BTreeSet,
    ops::Range,
    sync::{PoisonError, RwLock},
};

/// Bytes of a secret that are enough to be hidden. Shorter secrets are not hidden: they would be found in ordinary words.
const PART: usize = 16;

/// Maximum number of parts that are kept: the parts of about fifty tokens.
const PARTS: usize = 32 * 1024;

/// What is shown in place of a secret.
const HIDDEN: &str = "[secret]";

/// Paths that contain a token of their own after an id ([Discord](https://docs.discord.com/developers/resources/webhook)).
const PATHS: [&str; 2] = ["webhooks/", "interactions/"];

static SECRETS: RwLock<Secrets> = RwLock::new(Secrets { parts: BTreeSet::new(), bytes: [false; 256] });

#[derive(Debug)]
struct Secrets {
    parts: BTreeSet<[u8; PART]>,
    /// The bytes that parts consist of.
    bytes: [bool; 256],
}

/// Hides `secret` from now on in everything that this process shows. A leading `Bot ` or `Bearer ` is not part of it.
pub fn hide_secret(secret: &str) {
    let secret = secret.strip_prefix("Bot ").or_else(|| secret.strip_prefix("Bearer ")).unwrap_or(secret);
    // Only ASCII, so that what is replaced starts and ends between characters.
    if !secret.is_ascii() {
        return;
    }
    let mut secrets = SECRETS.write().unwrap_or_else(PoisonError::into_inner);
    secrets.add(secret.as_bytes());
    // Base64 depends on the secret's position in the encoded text, modulo 3.
    for skipped in 0..3 {
        let encoded = base64(secret.as_bytes().get(skipped..).unwrap_or_default());
        let url_safe = encoded.replace('+', "-").replace('/', "_");
        secrets.add(encoded.as_bytes());
        secrets.add(url_safe.as_bytes());
    }
}

/// Returns `text` with `[secret]` in place of each part of a registered secret, and of each token in a path.
pub fn without_secrets(text: &str) -> Cow<'_, str> {
    if text.is_empty() {
        return Cow::Borrowed(text);
    }
    let mut found = SECRETS.read().unwrap_or_else(PoisonError::into_inner).find(text.as_bytes());
    found.extend(tokens_in_paths(text));
    if found.is_empty() {
        return Cow::Borrowed(text);
    }
    found.sort_unstable_by_key(|range| range.start);
    let (mut shown, mut end) = (String::with_capacity(text.len()), 0);
    for range in found {
        if range.start >= end {
            shown.push_str(&text[end..range.start]);
            shown.push_str(HIDDEN);
        }
        end = end.max(range.end);
    }
    shown.push_str(&text[end..]);
    Cow::Owned(shown)
}

impl Secrets {
    fn add(&mut self, secret: &[u8]) {
        for part in secret.windows(PART).filter_map(<[u8]>::first_chunk::<PART>) {
            if self.parts.len() < PARTS {
                self.parts.insert(*part);
                for byte in part {
                    self.bytes[usize::from(*byte)] = true;
                }
            }
        }
    }

    fn find(&self, text: &[u8]) -> Vec<Range<usize>> {
        let mut found: Vec<Range<usize>> = Vec::new();
        // How many of the last bytes could be of a part. Ordinary words are shorter than a part.
        let mut row = 0;
        for (at, byte) in text.iter().enumerate() {
            row = if self.bytes[usize::from(*byte)] { row + 1 } else { 0 };
            if row < PART {
                continue;
            }
            let start = at + 1 - PART;
            if text[start..].first_chunk().is_some_and(|part| self.parts.contains(part)) {
                match found.last_mut() {
                    Some(last) if last.end >= start => last.end = at + 1,
                    _ => found.push(start..at + 1),
                }
            }
        }
        found
    }
}

/// The tokens in paths such as `/webhooks/123/TOKEN/messages`.
fn tokens_in_paths(text: &str) -> impl Iterator<Item = Range<usize>> {
    PATHS.iter().flat_map(move |path| text.match_indices(path)).filter_map(|(at, path)| {
        let length = |from: usize, is_part: fn(&u8) -> bool| {
            text.as_bytes()[from..].iter().take_while(|byte| is_part(byte)).count()
        };
        let id = at + path.len();
        let slash = id + length(id, u8::is_ascii_digit);
        if slash == id || text.as_bytes().get(slash) != Some(&b'/') {
            return None;
        }
        let token = slash + 1;
        let is_part = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_.~%=+:".contains(byte);
        let end = token + length(token, is_part);
        (end > token).then_some(token..end)
    })
}

/// The Base64 of whole groups of three bytes; a shorter rest is left out.
fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for group in bytes.chunks_exact(3) {
        let bits = group.iter().fold(0, |bits, byte| bits << 8 | usize::from(*byte));
        text.extend([18, 12, 6, 0].map(|shift| char::from(DIGITS[bits >> shift & 63])));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{printable, printable_json, printable_lines, printable_within};

    const TOKEN: &str = "MTIzNDU2Nzg5MDEyMzQ1Njc4OQ.Gsecre.tTOKENmarker0123456789abcdefghijklmnopq";

    #[test]
    fn registered_secret_is_hidden_in_every_form() {
        hide_secret(&format!("Bot {TOKEN}"));
        let part = &TOKEN[30..30 + PART];
        for (text, shown) in [
            (format!("bad header Authorization: Bot {TOKEN}"), "bad header Authorization: Bot [secret]"),
            (format!("{{\"token\":\"{TOKEN}\"}}"), "{\"token\":\"[secret]\"}"),
            (format!("Bot%20{TOKEN}&x={TOKEN}"), "Bot%20[secret]&x=[secret]"),
            (format!("cut at the end: {}", &TOKEN[..30]), "cut at the end: [secret]"),
            (format!("{}: cut at the start", &TOKEN[40..]), "[secret]: cut at the start"),
            (format!("from the middle é{part}é"), "from the middle é[secret]é"),
            (format!("too short: {}", &part[1..]), "too short: re.tTOKENmarker"),
        ] {
            assert_eq!(without_secrets(&text), shown);
        }
        for before in ["", "x", "u:", "Bot ", "Bearer "] {
            let text = base64(format!("{before}{TOKEN}??").as_bytes());
            let shown = without_secrets(&text);
            let rest = shown.len() - HIDDEN.len();
            assert!(shown.contains(HIDDEN) && rest < before.len() * 2 + 8, "{shown}");
        }
    }

    #[test]
    fn every_way_to_show_text_hides_secrets() {
        hide_secret(TOKEN);
        let text = format!("token {TOKEN}!");
        for shown in [
            printable(&text).to_string(),
            format!("{:?}", printable(&text)),
            printable_within(&text, 14).to_string(),
            printable_lines(&text).to_string(),
            printable_json(&text).to_string(),
        ] {
            assert!(shown.contains("token [secret]") && !shown.contains(&TOKEN[..5]), "{shown}");
        }
    }

    #[test]
    fn token_in_a_path_is_hidden() {
        for (text, shown) in [
            (
                "POST /webhooks/7/aW50ZXI-_x.y/messages/@original?a=1",
                "POST /webhooks/7/[secret]/messages/@original?a=1",
            ),
            (
                "\"https://x/interactions/7/se%20cret/callback\"",
                "\"https://x/interactions/7/[secret]/callback\"",
            ),
            ("/webhooks/7/é", "/webhooks/7/é"),
            ("/webhooks/7", "/webhooks/7"),
            ("/webhooks/7/", "/webhooks/7/"),
            ("/webhooks/:id/:token", "/webhooks/:id/:token"),
            ("/channels/7/webhooks", "/channels/7/webhooks"),
        ] {
            assert_eq!(without_secrets(text), shown);
        }
    }

    #[test]
    fn short_secrets_hide_nothing_and_many_are_bounded() {
        for secret in ["", "t", "ready", "Bot short", "tokén-tokén-tokén-tokén"] {
            hide_secret(secret);
        }
        let text = "shard ready: short tokén-tokén-tokén-tokén";
        assert_eq!(without_secrets(text), text);
        let mut secrets = Secrets { parts: BTreeSet::new(), bytes: [false; 256] };
        (0..10_000_u128).for_each(|n| secrets.add(format!("{:032x}", n << 64 | n).as_bytes()));
        assert_eq!(secrets.parts.len(), PARTS);
    }
}
