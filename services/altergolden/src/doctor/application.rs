//! Judges the token and the intents by what Discord says about the bot. Pure.

use outside_text::printable_within;
use serde_json::Value;
use twilight_model::gateway::Intents;

use super::{
    discord::{Answer, DiscordFacts},
    report::Finding,
};

/// Where an operator changes what these checks look at.
const PORTAL: &str = "in the Developer Portal (your application, Bot)";

/// A privileged intent and the application's flags for it: enabled after Discord's review, or without one
/// ([application flags](https://docs.discord.com/developers/resources/application#application-object-application-flags)).
struct Privileged {
    intent: Intents,
    name: &'static str,
    /// The switch's name in the portal.
    switch: &'static str,
    full: u64,
    limited: u64,
}

const PRIVILEGED: [Privileged; 3] = [
    Privileged {
        intent: Intents::GUILD_PRESENCES,
        name: "GUILD_PRESENCES",
        switch: "Presence Intent",
        full: 1 << 12,
        limited: 1 << 13,
    },
    Privileged {
        intent: Intents::GUILD_MEMBERS,
        name: "GUILD_MEMBERS",
        switch: "Server Members Intent",
        full: 1 << 14,
        limited: 1 << 15,
    },
    Privileged {
        intent: Intents::MESSAGE_CONTENT,
        name: "MESSAGE_CONTENT",
        switch: "Message Content Intent",
        full: 1 << 18,
        limited: 1 << 19,
    },
];

/// Whether text has the form of a bot's token: three parts, the first of them the user's id in Base64.
fn has_token_form(token: &str) -> bool {
    let token = token.strip_prefix("Bot ").unwrap_or(token);
    let parts: Vec<&str> = token.split('.').collect();
    let is_part = |part: &&str| {
        !part.is_empty() && part.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_=".contains(&b))
    };
    parts.len() == 3 && parts.iter().all(is_part)
}

/// Judges the token. Never shows it.
pub(super) fn token(token: &str, user: &Result<Answer, String>, is_stand_in: bool) -> Finding {
    let answer = match user {
        Ok(answer) => answer,
        Err(why) => {
            return Finding::unknown(
                "token",
                why.clone(),
                "check the network and DISCORD_API_URL; status page: https://discordstatus.com",
            );
        }
    };
    let form =
        if has_token_form(token) || is_stand_in { "" } else { ", and it has not the form of a bot token" };
    match answer.status {
        200 => {
            let body = answer.body.as_ref().unwrap_or(&Value::Null);
            if body["bot"] == false {
                return Finding::fail(
                    "token",
                    "Discord accepts it, but it is the token of a user, not of a bot",
                    format!("copy the bot's token {PORTAL}"),
                );
            }
            let name = printable_within(body["username"].as_str().unwrap_or("(no name)"), 40);
            let id = printable_within(body["id"].as_str().unwrap_or("no id"), 20);
            Finding::ok(
                "token",
                format!("Discord accepts it: {name} ({id}), in {} ms", answer.took.as_millis()),
            )
        }
        401 => Finding::fail(
            "token",
            format!("Discord refuses it (401){form}"),
            format!(
                "reset the token {PORTAL} and set DISCORD_TOKEN; do not start the fleet until then: refusals count towards a ban"
            ),
        ),
        status @ (403 | 429) => Finding::unknown(
            "token",
            format!("GET /users/@me: Discord answers {status}: this address or token is limited for now"),
            "wait some minutes before the next try",
        ),
        status => Finding::unknown(
            "token",
            format!("GET /users/@me: Discord answers {status}"),
            "try again; status page: https://discordstatus.com",
        ),
    }
}

/// Returns the application's flags.
fn flags(application: &Value) -> Option<u64> {
    // `flags_new` is a text and has the bits above 30 too.
    application["flags"].as_u64().or_else(|| application["flags_new"].as_str()?.parse().ok())
}

/// Judges the privileged intents among `wanted` by the application's flags.
pub(super) fn intents(wanted: Intents, facts: &DiscordFacts) -> Finding {
    let privileged: Vec<&Privileged> = PRIVILEGED.iter().filter(|one| wanted.contains(one.intent)).collect();
    let Some(application) = &facts.application else {
        return Finding::unknown("intents", "needs an accepted token", "see the line about the token");
    };
    let flags = match application {
        Ok(answer) if answer.status == 200 => answer.body.as_ref().and_then(flags),
        Ok(answer) => {
            let why = format!("GET /applications/@me: Discord answers {}", answer.status);
            return Finding::unknown("intents", why, "try again");
        }
        Err(why) => return Finding::unknown("intents", why.clone(), "try again"),
    };
    let Some(flags) = flags else {
        return Finding::unknown("intents", "GET /applications/@me: the answer has no flags", "try again");
    };
    let missing: Vec<&Privileged> =
        privileged.iter().copied().filter(|one| flags & (one.full | one.limited) == 0).collect();
    if !missing.is_empty() {
        let names: Vec<&str> = missing.iter().map(|one| one.name).collect();
        let switches: Vec<&str> = missing.iter().map(|one| one.switch).collect();
        return Finding::fail(
            "intents",
            format!(
                "INTENTS has {}, which the application has not enabled: Discord closes each shard with 4014",
                names.join(", ")
            ),
            format!("enable {} {PORTAL}, or take it out of INTENTS", switches.join(", ")),
        );
    }
    if privileged.is_empty() {
        return Finding::ok("intents", "no privileged intent is in INTENTS");
    }
    let states: Vec<String> = privileged
        .iter()
        .map(|one| {
            let state = if flags & one.full == 0 { "limited: not reviewed by Discord yet" } else { "full" };
            format!("{} ({state})", one.name)
        })
        .collect();
    Finding::ok("intents", format!("enabled: {}", states.join(", ")))
}

/// Returns about how many guilds the bot is in.
pub(super) fn approximate_guilds(facts: &DiscordFacts) -> Option<u64> {
    match &facts.application {
        Some(Ok(answer)) if answer.status == 200 => answer.body.as_ref()?["approximate_guild_count"].as_u64(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use serde_json::json;

    use super::{super::report::Verdict, *};

    fn answer(status: u16, body: Value) -> Answer {
        let (sent, took) = (SystemTime::UNIX_EPOCH, Duration::from_millis(3));
        Answer { status, date: None, sent, took, body: Some(body) }
    }

    fn with_flags(flags: u64) -> DiscordFacts {
        let application = answer(200, json!({ "flags": flags, "approximate_guild_count": 7 }));
        DiscordFacts { user: Ok(answer(200, json!({}))), application: Some(Ok(application)), gateway: None }
    }

    #[test]
    fn each_privileged_intent_needs_one_of_its_two_flags() {
        for one in &PRIVILEGED {
            for flags in [one.full, one.limited] {
                assert_eq!(intents(one.intent, &with_flags(flags)).verdict, Verdict::Ok);
                let missing = intents(one.intent, &with_flags(!flags & !(one.full | one.limited)));
                assert_eq!(missing.verdict, Verdict::Fail);
                assert!(
                    missing.text.contains(one.name) && missing.remedy.contains(one.switch),
                    "{missing:?}"
                );
            }
            assert!(intents(one.intent, &with_flags(one.limited)).text.contains("limited"));
        }
        assert_eq!(intents(Intents::GUILDS, &with_flags(0)).verdict, Verdict::Ok);
        assert_eq!(approximate_guilds(&with_flags(0)), Some(7));
    }

    #[test]
    fn intents_are_unknown_without_an_answer() {
        let mut facts = with_flags(0);
        facts.application = Some(Ok(answer(503, Value::Null)));
        assert_eq!(intents(Intents::GUILDS, &facts).verdict, Verdict::Unknown);
        facts.application = Some(Ok(answer(200, json!([]))));
        assert_eq!(intents(Intents::GUILDS, &facts).verdict, Verdict::Unknown);
        facts.application = None;
        assert_eq!(intents(Intents::GUILDS, &facts).verdict, Verdict::Unknown);
    }

    #[test]
    fn token_form_is_a_hint_and_the_answer_decides() {
        assert!(has_token_form("MTIz.Gabc-_.xyz") && has_token_form("Bot MTIz.Gabc.xyz"));
        for wrong in ["", "abc", "a.b", "a..c", "a.b.c d", "a.b.c.d"] {
            assert!(!has_token_form(wrong), "{wrong:?} passed");
        }
        let ask = |status, body| token("no-token", &Ok(answer(status, body)), false);
        assert_eq!(ask(200, json!({ "username": "b", "id": "1", "bot": true })).verdict, Verdict::Ok);
        assert_eq!(ask(200, json!({ "bot": false })).verdict, Verdict::Fail);
        let refused = ask(401, Value::Null);
        assert_eq!(refused.verdict, Verdict::Fail);
        assert!(refused.text.contains("not the form") && !refused.text.contains("no-token"), "{refused:?}");
        assert_eq!(ask(429, Value::Null).verdict, Verdict::Unknown);
        assert_eq!(ask(500, Value::Null).verdict, Verdict::Unknown);
    }
}
