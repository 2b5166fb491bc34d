//! Members of a guild as Discord answers requests for them. Pure.
//! [Source](https://docs.discord.com/developers/events/gateway-events#guild-members-chunk).

use std::fmt::Write as _;

use crate::{
    cache::Objects,
    object::{fields, string},
};

/// Members of one chunk.
const CHUNK: usize = 1_000;

/// What a request for members asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MemberRequest {
    /// How names or nicknames begin; all when it is empty. Counts only without `users`.
    pub query: String,
    /// The most members; 0: all of them.
    pub limit: u32,
    /// These users.
    pub users: Vec<u64>,
    /// With their presences.
    pub presences: bool,
}

/// The data of the GUILD_MEMBERS_CHUNK events that answer a request, without a nonce. At least one. Members are unpacked chunk by chunk.
#[derive(Debug)]
pub struct MemberChunks {
    guild: u64,
    members: Objects,
    /// Empty when they are not asked for.
    presences: Option<Objects>,
    request: MemberRequest,
    /// The first id of the next chunk.
    from: u64,
    index: usize,
    count: usize,
}

impl MemberChunks {
    pub(crate) fn new(guild: u64, members: Objects, presences: Objects, request: MemberRequest) -> Self {
        let most = if request.limit == 0 { usize::MAX } else { request.limit as usize };
        let found =
            if request.users.is_empty() && request.query.is_empty() { members.len().min(most) } else { 0 };
        let presences = request.presences.then_some(presences);
        Self { guild, members, presences, request, from: 0, index: 0, count: found.div_ceil(CHUNK).max(1) }
    }

    /// Some members, and the users of the request that are no members.
    fn members(&mut self) -> (Vec<(u64, String)>, Vec<u64>) {
        let MemberRequest { query, limit, users, .. } = &self.request;
        let mut found = Vec::new();
        if !users.is_empty() {
            let mut missing = Vec::new();
            for user in users {
                match self.members.get(*user) {
                    Some(text) => found.push((*user, text)),
                    None => missing.push(*user),
                }
            }
            return (found, missing);
        }
        let left =
            if *limit == 0 { usize::MAX } else { (*limit as usize).saturating_sub(self.index * CHUNK) };
        let most = CHUNK.min(left);
        let query = query.to_lowercase();
        self.members.each_from(self.from, |id, text| {
            if begins_with(text, &query) {
                found.push((id, text.to_owned()));
            }
            found.len() < most
        });
        if let Some((last, _)) = found.last() {
            self.from = last.saturating_add(1);
        }
        (found, Vec::new())
    }
}

/// Whether a member's name or nickname begins with a query in lower case.
fn begins_with(member: &str, query: &str) -> bool {
    if query.is_empty() {
        return true;
    }
    let [nick, user] = fields(member, ["nick", "user"]);
    let [username, global_name] = fields(user.unwrap_or_default(), ["username", "global_name"]);
    let names = [nick, username, global_name].into_iter().flatten().filter_map(string);
    names.into_iter().any(|name| name.to_lowercase().starts_with(query))
}

impl Iterator for MemberChunks {
    type Item = String;

    fn next(&mut self) -> Option<String> {
        if self.index >= self.count {
            return None;
        }
        let (members, missing) = self.members();
        let mut text = format!(r#"{{"guild_id":"{}","members":["#, self.guild);
        join(&mut text, members.iter().map(|(_, member)| member.as_str()));
        let _ = write!(text, r#"],"chunk_index":{},"chunk_count":{},"not_found":["#, self.index, self.count);
        join(&mut text, missing.iter().map(|user| format!("\"{user}\"")));
        text.push(']');
        if let Some(presences) = &self.presences {
            text.push_str(r#","presences":["#);
            join(&mut text, members.iter().filter_map(|(user, _)| presences.get(*user)));
            text.push(']');
        }
        text.push('}');
        self.index += 1;
        Some(text)
    }
}

fn join<T: AsRef<str>>(text: &mut String, elements: impl Iterator<Item = T>) {
    for (place, element) in elements.enumerate() {
        if place > 0 {
            text.push(',');
        }
        text.push_str(element.as_ref());
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use serde_json::{Value, json};

    use super::*;
    use crate::{Codec, Resources, Rules, SessionGuilds, ShardCache};

    fn cache(members: u64) -> ShardCache {
        let rules = Rules { resources: Resources::ALL, ..Rules::default() };
        let mut cache = ShardCache::new(rules, Arc::new(Codec::new()));
        cache.begin_session(1, &SessionGuilds { guilds: vec![5], ..Default::default() });
        let member = |id: u64| json!({"user": {"id": id.to_string(), "username": format!("User{id}")}, "nick": null, "roles": []});
        let presence = json!({"user": {"id": "2"}, "status": "idle"});
        let guild = json!({"id": "5", "member_count": members, "members": (1..=members).map(member).collect::<Vec<_>>(),
            "presences": [presence], "unavailable": false});
        cache.apply("GUILD_CREATE", &guild.to_string(), 2);
        cache
    }

    fn chunks(cache: &ShardCache, request: MemberRequest) -> Vec<Value> {
        cache.member_chunks(5, request).map(|chunk| serde_json::from_str(&chunk).unwrap()).collect()
    }

    fn users(chunk: &Value) -> Vec<u64> {
        let members = chunk["members"].as_array().unwrap().iter();
        members.map(|member| member["user"]["id"].as_str().unwrap().parse().unwrap()).collect()
    }

    #[test]
    fn all_members_come_in_chunks_once() {
        let cache = cache(2_345);
        let all = chunks(&cache, MemberRequest::default());
        let found: Vec<u64> = all.iter().flat_map(users).collect();
        assert_eq!(found, (1..=2_345).collect::<Vec<_>>());
        for (index, chunk) in all.iter().enumerate() {
            assert_eq!((&chunk["chunk_index"], &chunk["chunk_count"]), (&json!(index), &json!(3)));
            assert!(chunk.get("presences").is_none() && chunk["guild_id"] == "5");
        }
        let some = chunks(&cache, MemberRequest { limit: 1_200, ..MemberRequest::default() });
        assert_eq!(some.iter().map(|chunk| users(chunk).len()).collect::<Vec<_>>(), [1_000, 200]);
        assert_eq!(chunks(&self::cache(1_000), MemberRequest::default()).len(), 1);
    }

    #[test]
    fn users_and_names_are_found() {
        let cache = cache(20);
        let request = MemberRequest { users: vec![2, 99], presences: true, ..MemberRequest::default() };
        let found = chunks(&cache, request);
        assert_eq!((found.len(), users(&found[0]), &found[0]["not_found"]), (1, vec![2], &json!(["99"])));
        assert_eq!(found[0]["presences"][0]["status"], "idle");
        let request =
            |query: &str, limit| MemberRequest { query: query.to_owned(), limit, ..MemberRequest::default() };
        assert_eq!(users(&chunks(&cache, request("uSer2", 10))[0]), [2, 20]);
        assert_eq!(users(&chunks(&cache, request("user", 3))[0]), [1, 2, 3]);
        assert_eq!(users(&chunks(&cache, request("unknown", 3))[0]), [0_u64; 0]);
    }
}
