//! What of an event leaves the worker: JSON without tokens, and of bounded size. Pure.
//!
//! Without content only ids, numbers and counts are shown, each by a name in a list, so that nothing new of Discord's can
//! appear by itself. With content everything is shown except values whose key says that they are secret, wherever they are.
//! Discord's payload is outside data: keys may be escaped, values of any type, text broken.

use outside_text::{without_lone_surrogates, without_secrets};
use serde_json::{Map, Value};

/// Larger payloads, such as the GUILD_CREATE of a large guild, are not read: that would hold up a thread for long.
const LARGEST_READ: usize = 512 * 1024;

/// Bytes of the text that is shown of an event, before escapes.
const LARGEST_SHOWN: usize = 8 * 1024;

/// Characters shown of one text, and of one key.
const LONGEST_TEXT: usize = 500;
const LONGEST_KEY: usize = 60;

/// Entries shown of one list, and of one object.
const MOST_ENTRIES: usize = 40;

/// Levels shown.
const DEEPEST: usize = 12;

/// What replaces a secret, and what is cut.
const HIDDEN: &str = "[hidden]";
const CUT: &str = "…";

/// Ids and numbers that are shown without content.
const SHOWN: [&str; 29] = [
    "id",
    "type",
    "channel_id",
    "message_id",
    "user_id",
    "role_id",
    "parent_id",
    "application_id",
    "webhook_id",
    "owner_id",
    "thread_id",
    "target_id",
    "member_count",
    "position",
    "version",
    "flags",
    "bot",
    "op",
    "large",
    "unavailable",
    "action_type",
    "chunk_index",
    "chunk_count",
    "deaf",
    "mute",
    "self_deaf",
    "self_mute",
    "available",
    "count",
];

/// Objects whose ids are shown without content.
const SHOWN_WITHIN: [&str; 7] = ["author", "member", "user", "role", "message", "data", "thread"];

/// Lists whose lengths are shown without content.
const COUNTED: [&str; 22] = [
    "attachments",
    "embeds",
    "mentions",
    "mention_roles",
    "components",
    "stickers",
    "sticker_items",
    "reactions",
    "members",
    "channels",
    "roles",
    "threads",
    "emojis",
    "guilds",
    "ids",
    "presences",
    "voice_states",
    "options",
    "activities",
    "member_ids_preview",
    "soundboard_sounds",
    "stage_instances",
];

/// The start of an interaction's token: `interaction:` in Base64.
const INTERACTION_TOKEN: &str = "aW50ZXJhY3Rpb246";

/// What is shown of an event.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct ShownData {
    /// A JSON object or value; empty when the payload cannot be read or is too large to be read.
    pub(crate) json: String,
    /// Parts are left out for their size.
    pub(crate) is_cut: bool,
}

/// Returns what is shown of an event with this payload, which has the data in `d`.
pub(crate) fn show(payload: &str, content: bool) -> ShownData {
    if payload.len() > LARGEST_READ {
        return ShownData { json: String::new(), is_cut: true };
    }
    let Ok(Value::Object(mut payload)) = serde_json::from_str(&without_lone_surrogates(payload)) else {
        return ShownData::default();
    };
    let data = payload.remove("d").unwrap_or_default();
    if !content {
        return ShownData { json: Value::Object(ids(&data)).to_string(), is_cut: false };
    }
    let mut cutter = Cutter { left: LARGEST_SHOWN, is_cut: false };
    let shown = cutter.value(data, 0);
    ShownData { json: without_secrets(&shown.to_string()).into_owned(), is_cut: cutter.is_cut }
}

/// The ids, numbers and counts; an id of an object within has the name `author.id`.
fn ids(data: &Value) -> Map<String, Value> {
    let mut shown = Map::new();
    let Value::Object(data) = data else { return shown };
    add_ids(data, "", &mut shown);
    for name in SHOWN_WITHIN {
        let Some(Value::Object(within)) = data.get(name) else { continue };
        add_ids(within, &format!("{name}."), &mut shown);
        if let Some(Value::Object(user)) = within.get("user") {
            add_ids(user, &format!("{name}.user."), &mut shown);
        }
    }
    shown
}

fn add_ids(object: &Map<String, Value>, before: &str, shown: &mut Map<String, Value>) {
    for name in SHOWN {
        let value = match object.get(name) {
            Some(Value::String(id)) if is_id(id) => Value::String(id.clone()),
            Some(number @ Value::Number(_)) => number.clone(),
            Some(Value::Bool(true)) => Value::Bool(true),
            _ => continue,
        };
        shown.insert(format!("{before}{name}"), value);
    }
    for name in COUNTED {
        if let Some(Value::Array(list)) = object.get(name)
            && !list.is_empty()
        {
            shown.insert(format!("{before}{name}"), list.len().into());
        }
    }
}

fn is_id(text: &str) -> bool {
    (1..=20).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// Whether a key says that its value is secret: tokens of interactions, webhooks and voice servers; sessions, which can be
/// resumed; codes of invites.
fn is_secret(key: &str) -> bool {
    let key = key.to_lowercase();
    ["token", "secret", "password", "authorization", "session_id", "resume_gateway_url", "signature"]
        .iter()
        .any(|word| key.contains(word))
        || key == "code"
}

/// Whether a text has something of the shape of a token: of an interaction, of a bot, or of a webhook in an encoded URL.
fn has_token(text: &str) -> bool {
    text.contains(INTERACTION_TOKEN)
        || text.to_ascii_lowercase().contains("webhooks%2f")
        || text.split(|c: char| !c.is_ascii_alphanumeric() && !"-_.".contains(c)).any(is_bot_token)
}

/// The bot's id in Base64, a time and a signature, with dots between them; other bots' tokens too.
fn is_bot_token(word: &str) -> bool {
    let parts: Vec<&str> = word.split('.').collect();
    parts.windows(3).any(|parts| {
        (20..=40).contains(&parts[0].len()) && (5..=8).contains(&parts[1].len()) && parts[2].len() >= 25
    })
}

/// Cuts a value to a bounded size. What is left is a valid value.
struct Cutter {
    left: usize,
    is_cut: bool,
}

impl Cutter {
    fn value(&mut self, value: Value, depth: usize) -> Value {
        match value {
            Value::String(text) => Value::String(self.text(&text, LONGEST_TEXT)),
            Value::Array(_) | Value::Object(_) if depth >= DEEPEST => self.cut(),
            Value::Array(list) => self.list(list, depth),
            Value::Object(object) => self.object(object, depth),
            other => {
                // A number has as many digits as was sent.
                let bytes = if other.is_number() { other.to_string().len() } else { 4 };
                if bytes > LONGEST_TEXT {
                    return self.cut();
                }
                self.spend(bytes);
                other
            }
        }
    }

    fn list(&mut self, list: Vec<Value>, depth: usize) -> Value {
        self.spend(2);
        let mut shown = Vec::new();
        for entry in list {
            if self.left == 0 || shown.len() == MOST_ENTRIES {
                shown.push(self.cut());
                break;
            }
            shown.push(self.value(entry, depth + 1));
        }
        Value::Array(shown)
    }

    fn object(&mut self, object: Map<String, Value>, depth: usize) -> Value {
        self.spend(2);
        let mut shown = Map::new();
        for (key, value) in object {
            if self.left == 0 || shown.len() == MOST_ENTRIES {
                shown.insert(CUT.to_owned(), self.cut());
                break;
            }
            let value = match value {
                Value::Null | Value::Bool(_) => value,
                _ if is_secret(&key) => Value::String(self.hidden()),
                value => self.value(value, depth + 1),
            };
            shown.insert(self.text(&key, LONGEST_KEY), value);
        }
        Value::Object(shown)
    }

    fn text(&mut self, text: &str, most: usize) -> String {
        if has_token(text) {
            return self.hidden();
        }
        let most = most.min(self.left);
        let mut shown: String = text.chars().take(most).collect();
        if shown.len() < text.len() {
            self.is_cut = true;
            shown.push_str(CUT);
        }
        self.spend(shown.len() + 3);
        shown
    }

    fn hidden(&mut self) -> String {
        self.spend(HIDDEN.len() + 3);
        HIDDEN.to_owned()
    }

    fn cut(&mut self) -> Value {
        self.is_cut = true;
        self.spend(CUT.len() + 3);
        Value::String(CUT.to_owned())
    }

    fn spend(&mut self, bytes: usize) {
        self.left = self.left.saturating_sub(bytes);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const TOKEN: &str = "tapT0kenMarker";

    fn shown(data: &str, content: bool) -> ShownData {
        show(&format!(r#"{{"op":0,"t":"X","s":1,"d":{data}}}"#), content)
    }

    fn value(data: &str, content: bool) -> Value {
        serde_json::from_str(&shown(data, content).json).unwrap()
    }

    #[test]
    fn without_content_only_ids_numbers_and_counts_are_shown() {
        let message = r#"{"id":"5","channel_id":"6","content":"hello","type":0,"nonce":"7","embeds":[{"title":"x"},{}],
            "mentions":[],"author":{"id":"8","username":"zoe","bot":true},"member":{"nick":"z","user":{"id":"9"}},
            "webhook_id":"not an id","owner_id":{"id":"hello"},"pinned":true}"#;
        let expected = json!({"id": "5", "channel_id": "6", "type": 0, "embeds": 2, "author.id": "8", "author.bot": true,
            "member.user.id": "9"});
        assert_eq!(value(message, false), expected);
    }

    #[test]
    fn with_content_everything_but_secrets_is_shown() {
        let shown = value(
            r#"{"id":"5","content":"hello","embeds":[{"title":"x"}],"token":"t","deep":[{"Token":"t"}]}"#,
            true,
        );
        let expected = json!({"id": "5", "content": "hello", "embeds": [{"title": "x"}], "token": HIDDEN,
            "deep": [{"Token": HIDDEN}]});
        assert_eq!(shown, expected);
    }

    #[test]
    fn tokens_are_never_shown() {
        for data in [
            r#"{"token":"TOKEN"}"#,
            r#"{"id":"5","TOKEN":1,"token":"TOKEN"}"#,
            r#"{"\u0074oken":"TOKEN"}"#,
            r#"{"access_token":{"value":["TOKEN"]}}"#,
            r#"{"data":[[[{"x":{"webhook_Token":["TOKEN"]}}]]]}"#,
            r#"{"session_id":"TOKEN","resume_gateway_url":"wss://TOKEN"}"#,
            r#"{"code":"TOKEN"}"#,
            r#"{"url":"https://discord.com/api/webhooks/123/TOKEN/messages"}"#,
            r#"{"path":"/interactions/123/TOKEN/callback"}"#,
            r#"{"text":"aW50ZXJhY3Rpb246MTIzOTOKEN"}"#,
            r#"{"text":"see https://x.org/?u=discord.com%2Fapi%2FWebhooks%2F123%2FTOKEN"}"#,
            r#"{"content":"is (MTIzNDU2Nzg5MDEyMzQ1Njc4.GabcDE.abcdefghijklmnTOKENabcdef) valid?"}"#,
            r#"{"token":"TOKEN","token":{"a":"TOKEN"}}"#,
            r#"{"id":"TOKEN","author":{"id":"TOKEN","type":"TOKEN"},"embeds":"TOKEN"}"#,
        ] {
            let data = data.replace("TOKEN", TOKEN);
            let id_is_text = data.contains("\"author\"");
            for content in [false, true] {
                let json = shown(&data, content).json;
                let is_key = json.contains(&format!("\"{TOKEN}\":"));
                assert!(
                    !json.contains(TOKEN) || content && (is_key || id_is_text),
                    "{content} {data}: {json}"
                );
            }
        }
    }

    #[test]
    fn size_is_bounded_and_what_is_left_is_json() {
        let long = "é".repeat(600_000);
        let many = vec![r#"{"a":[1,2,3],"b":"text text text"}"#; 10_000].join(",");
        let keys: Vec<String> = (0..10_000).map(|n| format!(r#""key{n}":{n}"#)).collect();
        let deep = "[".repeat(100) + &"]".repeat(100);
        let escapes = "\\u0001".repeat(80_000);
        for data in [
            format!(r#"{{"content":"{}"}}"#, &long[..400_000]),
            format!("[{many}]"),
            format!("{{{}}}", keys.join(",")),
            format!(r#"{{"{}":1}}"#, &long[..10_000]),
            deep,
            format!(r#"{{"n":1{}}}"#, "0".repeat(200)),
            format!(r#"["{escapes}","{}"]"#, &escapes[..1_200]),
            format!(
                "[{}]",
                vec![format!("[{}]", vec![format!("[{}]", ["[]"; 40].join(",")); 40].join(",")); 40]
                    .join(",")
            ),
            format!("[{}]", vec![r#"{"token":"a","b":{"token":[1]}}"#; 10_000].join(",")),
        ] {
            assert!(data.len() < LARGEST_READ - 100, "{}", &data[..20]);
            let with = shown(&data, true);
            assert!(with.json.len() <= 6 * LARGEST_SHOWN, "{} of {}", with.json.len(), &data[..20]);
            serde_json::from_str::<Value>(&with.json).unwrap();
            assert!(with.is_cut || data.len() < 1_000, "{}", &data[..20]);
            assert!(shown(&data, false).json.len() < 1_000);
        }
        let huge = format!(r#"{{"content":"{long}"}}"#);
        assert_eq!(shown(&huge, true), ShownData { json: String::new(), is_cut: true });
    }

    #[test]
    fn broken_payloads_show_nothing() {
        for payload in ["", "{", "[]", "7", r#"{"d":{"a":}}"#, &"[".repeat(10_000)] {
            for content in [false, true] {
                assert_eq!(show(payload, content), ShownData::default(), "{payload:.20}");
            }
        }
        assert_eq!(value(r#"{"content":"\ud83d"}"#, true), json!({ "content": "\u{fffd}" }));
        assert_eq!(value("null", false), json!({}));
    }
}
