//! Messages of the bot, guilds and users.

use super::call::{call, get, somewhere};
use crate::{
    client::{Client, USUAL as INTENTS, first_guild, quick, start},
    http::raw,
};
use discord_sim::{Fault, Intents, SimConfig};
use serde_json::{Value, json};

#[tokio::test]
async fn message_is_returned_and_dispatched_to_its_shard() {
    let sim = start(quick()).await;
    let (guild, channel) = somewhere(&sim).await;
    let shard = guild.shard(2);
    let (mut here, ..) = Client::open_all(&sim, (shard, 2), INTENTS).await;
    let (mut elsewhere, ..) = Client::open_all(&sim, (1 - shard, 2), INTENTS).await;
    let path = format!("/channels/{channel}/messages");
    let body = json!({"content": "hi", "embeds": [{"title": "T"}], "nonce": "n1"});
    let made = call(&sim, "POST", &path, body).await;
    let message = made.json();
    assert_eq!((made.status, &message["content"], &message["nonce"]), (200, &json!("hi"), &json!("n1")));
    assert_eq!((&message["author"]["bot"], message.get("guild_id")), (&json!(true), None));
    let event = here.event("MESSAGE_CREATE").await["d"].clone();
    assert_eq!((&event["id"], &event["guild_id"]), (&message["id"], &json!(guild)));
    assert_eq!((&event["content"], event["member"].is_object()), (&json!("hi"), true));

    let one = format!("{path}/{}", message["id"].as_str().unwrap());
    let edited = call(&sim, "PATCH", &one, json!({"content": "ho"})).await.json();
    assert_eq!((&edited["content"], &edited["embeds"][0]["title"]), (&json!("ho"), &json!("T")));
    assert!(edited["edited_timestamp"].is_string());
    assert_eq!(here.event("MESSAGE_UPDATE").await["d"]["content"], "ho");
    assert_eq!(get(&sim, &one).await.json(), edited);
    assert_eq!(get(&sim, &path).await.json(), json!([edited]));
    let empty = call(&sim, "PATCH", &one, json!({"content": "", "embeds": []})).await;
    assert_eq!(empty.code(), (400, 50006));
    assert_eq!(call(&sim, "DELETE", &one, Value::Null).await.status, 204);
    let deleted = here.event("MESSAGE_DELETE").await["d"].clone();
    assert_eq!(deleted, json!({"id": message["id"], "channel_id": channel, "guild_id": guild}));
    assert_eq!(get(&sim, &one).await.code(), (404, 10008));
    let report = &sim.control().messages()[0];
    assert_eq!((report.deleted, report.edited, report.guild_id), (true, true, Some(guild)));

    elsewhere.send(json!({"op": 1, "d": null})).await;
    assert_eq!(elsewhere.payload().await["op"], 11, "no event before it");
    assert_eq!(call(&sim, "POST", &format!("/channels/{channel}/typing"), Value::Null).await.status, 204);
    sim.shutdown().await;
}

#[tokio::test]
async fn invalid_messages_are_rejected() {
    let sim = start(quick()).await;
    let (guild, channel) = somewhere(&sim).await;
    let path = format!("/channels/{channel}/messages");
    assert_eq!(call(&sim, "POST", &path, json!({})).await.code(), (400, 50006));
    let long = call(&sim, "POST", &path, json!({"content": "x".repeat(2_001)})).await;
    assert_eq!(long.code(), (400, 50035));
    assert_eq!(long.json()["errors"]["content"]["_errors"][0]["code"], "BASE_TYPE_MAX_LENGTH");
    let large = json!({"embeds": [{"description": "x".repeat(4_000)}, {"description": "x".repeat(2_001)}]});
    let large = call(&sim, "POST", &path, large).await;
    assert_eq!(large.json()["errors"]["embeds"]["_errors"][0]["code"], "MAX_EMBED_SIZE_EXCEEDED");
    let nonce = json!({"content": "x", "nonce": "x".repeat(26)});
    assert_eq!(call(&sim, "POST", &path, nonce).await.code(), (400, 50035));
    assert_eq!(
        call(&sim, "POST", "/channels/1/messages", json!({"content": "x"})).await.code(),
        (404, 10003)
    );
    assert_eq!(
        call(&sim, "POST", "/channels/x/messages", json!({"content": "x"})).await.code(),
        (400, 50035)
    );
    let channels = get(&sim, &format!("/guilds/{guild}/channels")).await.json();
    let category = channels.as_array().unwrap().iter().find(|one| one["type"] == 4).unwrap();
    let in_category = format!("/channels/{}/messages", category["id"].as_str().unwrap());
    assert_eq!(call(&sim, "POST", &in_category, json!({"content": "x"})).await.code(), (400, 50008));
    sim.control().inject(Fault::GuildLeave { guild_id: guild }).unwrap();
    assert_eq!(call(&sim, "POST", &path, json!({"content": "x"})).await.code(), (403, 50001));
    sim.shutdown().await;
}

#[tokio::test]
async fn enforced_nonce_makes_one_message() {
    let sim = start(quick()).await;
    let (_, channel) = somewhere(&sim).await;
    let path = format!("/channels/{channel}/messages");
    let body = json!({"content": "x", "nonce": "same", "enforce_nonce": true});
    let first = call(&sim, "POST", &path, body.clone()).await.json();
    assert_eq!(call(&sim, "POST", &path, body).await.json()["id"], first["id"]);
    let free = json!({"content": "x", "nonce": "same"});
    assert_ne!(call(&sim, "POST", &path, free).await.json()["id"], first["id"]);
    assert_eq!(sim.control().messages().len(), 2);
    sim.shutdown().await;
}

#[tokio::test]
async fn uploaded_files_become_attachments() {
    let sim = start(quick()).await;
    let (_, channel) = somewhere(&sim).await;
    let payload = json!({"content": "see", "attachments": [{"id": 0, "description": "a cat"}]});
    let body = format!(
        "--B\r\nContent-Disposition: form-data; name=\"payload_json\"\r\nContent-Type: application/json\r\n\r\n\
         {payload}\r\n--B\r\nContent-Disposition: form-data; name=\"files[0]\"; filename=\"cat.png\"\r\n\
         Content-Type: image/png\r\n\r\nmeow\r\n--B--\r\n"
    );
    let headers =
        "User-Agent: x\r\nAuthorization: Bot t\r\nContent-Type: multipart/form-data; boundary=B\r\n";
    let path = format!("/api/v10/channels/{channel}/messages");
    let answer = raw(&sim, "POST", &path, headers, body.as_bytes()).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    let message = answer.json();
    let file = &message["attachments"][0];
    assert_eq!((&file["filename"], &file["size"]), (&json!("cat.png"), &json!(4)));
    assert_eq!((&file["content_type"], &file["description"]), (&json!("image/png"), &json!("a cat")));
    let one = format!("/channels/{channel}/messages/{}", message["id"].as_str().unwrap());
    let kept = call(&sim, "PATCH", &one, json!({"content": "still"})).await.json();
    assert_eq!(kept["attachments"].as_array().unwrap().len(), 1);
    let gone = call(&sim, "PATCH", &one, json!({"attachments": []})).await.json();
    assert_eq!(gone["attachments"], json!([]));
    sim.shutdown().await;
}

#[tokio::test]
async fn form_fields_need_an_object() {
    let sim = start(quick()).await;
    let (_, channel) = somewhere(&sim).await;
    let headers =
        "User-Agent: x\r\nAuthorization: Bot t\r\nContent-Type: multipart/form-data; boundary=B\r\n";
    let path = format!("/api/v10/channels/{channel}/messages");
    for (payload, status) in [("[]", 400), ("7", 400), ("null", 400), ("{}", 200)] {
        let body = format!(
            "--B\r\nContent-Disposition: form-data; name=\"payload_json\"\r\n\r\n{payload}\r\n\
             --B\r\nContent-Disposition: form-data; name=\"content\"\r\n\r\nhi\r\n--B--\r\n"
        );
        let answer = raw(&sim, "POST", &path, headers, body.as_bytes()).await;
        assert_eq!(answer.status, status, "{payload}: {answer:?}");
        if status == 400 {
            assert_eq!(answer.code(), (400, 50035));
            assert_eq!(answer.json()["errors"]["_errors"][0]["code"], "DICT_TYPE_CONVERT");
        }
    }
    assert_eq!(sim.control().messages()[0].content, "hi");
    sim.shutdown().await;
}

#[tokio::test]
async fn invalid_queries_are_rejected() {
    let sim = start(quick()).await;
    let (guild, channel) = somewhere(&sim).await;
    for (path, field) in [
        (format!("/guilds/{guild}/members?limit=abc"), "limit"),
        (format!("/guilds/{guild}/members?limit=-1"), "limit"),
        (format!("/guilds/{guild}/members?limit="), "limit"),
        (format!("/guilds/{guild}/members?after=abc"), "after"),
        (format!("/channels/{channel}/messages?limit=abc"), "limit"),
        (format!("/channels/{channel}/messages?before=abc"), "before"),
        (format!("/channels/{channel}/messages?after=abc"), "after"),
    ] {
        let answer = get(&sim, &path).await;
        assert_eq!(answer.code(), (400, 50035), "{path}");
        let body = answer.json();
        assert_eq!(body["message"], "Invalid Form Body");
        assert_eq!(body["errors"][field]["_errors"][0]["code"], "NUMBER_TYPE_COERCE", "{path}: {body}");
    }
    // A repeated field is valid.
    let twice = get(&sim, &format!("/guilds/{guild}?with_counts=false&with_counts=true")).await;
    assert!(twice.json()["approximate_member_count"].is_u64(), "{twice:?}");
    sim.shutdown().await;
}

#[tokio::test]
async fn direct_messages_go_to_shard_0() {
    let sim = start(quick()).await;
    let user = sim.control().users(1)[0].id;
    let (mut zero, ..) = Client::open_all(&sim, (0, 2), 1 | 1 << 12).await;
    let opened = call(&sim, "POST", "/users/@me/channels", json!({"recipient_id": user})).await;
    let channel = opened.json();
    assert_eq!((opened.status, &channel["type"]), (200, &json!(1)));
    assert_eq!(channel["recipients"][0]["id"], json!(user));
    let id = channel["id"].as_str().unwrap();
    assert_eq!(get(&sim, &format!("/channels/{id}")).await.json(), channel);
    call(&sim, "POST", &format!("/channels/{id}/messages"), json!({"content": "psst"})).await;
    let event = zero.event("MESSAGE_CREATE").await["d"].clone();
    assert_eq!((&event["content"], event.get("guild_id")), (&json!("psst"), None));
    let unknown = call(&sim, "POST", "/users/@me/channels", json!({"recipient_id": "1"})).await;
    assert_eq!(unknown.code(), (404, 10013));
    assert_eq!(call(&sim, "POST", "/users/@me/channels", json!({})).await.code(), (400, 50035));
    sim.shutdown().await;
}

#[tokio::test]
async fn guilds_and_users_can_be_read() {
    let sim = start(quick()).await;
    let (guild, channel) = somewhere(&sim).await;
    let body = get(&sim, &format!("/guilds/{guild}?with_counts=true")).await.json();
    let members = sim.control().guilds(1, 1)[0].member_count;
    assert_eq!((&body["id"], &body["approximate_member_count"]), (&json!(guild), &json!(members)));
    assert!(body.get("channels").is_none() && body["roles"].is_array());
    assert_eq!(get(&sim, &format!("/guilds/{guild}/roles")).await.json(), body["roles"]);
    assert_eq!(get(&sim, &format!("/channels/{channel}")).await.json()["guild_id"], json!(guild));
    // Few pages, because member lists have a small bucket.
    let limit = members.div_ceil(3);
    let mut seen = Vec::new();
    let mut after = "0".to_owned();
    loop {
        let page = get(&sim, &format!("/guilds/{guild}/members?limit={limit}&after={after}")).await.json();
        let page = page.as_array().unwrap().clone();
        let Some(last) = page.last() else { break };
        after = last["user"]["id"].as_str().unwrap().to_owned();
        seen.extend(page.iter().map(|one| one["user"]["id"].as_str().unwrap().parse::<u64>().unwrap()));
    }
    assert_eq!(seen.len() as u64, members);
    assert!(seen.is_sorted() && seen.windows(2).all(|two| two[0] != two[1]));
    assert_eq!(get(&sim, &format!("/guilds/{guild}/members")).await.json().as_array().unwrap().len(), 1);
    assert_eq!(get(&sim, &format!("/guilds/{guild}/members?limit=1001")).await.code(), (400, 50035));
    let user = seen[1];
    assert_eq!(get(&sim, &format!("/users/{user}")).await.json()["id"], json!(user.to_string()));
    let member = get(&sim, &format!("/guilds/{guild}/members/{user}")).await.json();
    assert_eq!(member["user"]["id"], json!(user.to_string()));
    for (path, code) in [
        ("/users/1".to_owned(), (404, 10013)),
        (format!("/guilds/{guild}/members/1"), (404, 10013)),
        ("/guilds/1".to_owned(), (404, 10004)),
        ("/channels/1".to_owned(), (404, 10003)),
    ] {
        assert_eq!(get(&sim, &path).await.code(), code, "{path}");
    }
    assert_eq!(get(&sim, "/users/%40me").await.json()["bot"], true);
    sim.shutdown().await;
}

#[tokio::test]
async fn member_list_needs_the_privileged_intent() {
    let sim = start(SimConfig { privileged_intents: Intents(0), ..quick() }).await;
    let guild = first_guild(&sim.control());
    assert_eq!(get(&sim, &format!("/guilds/{guild}/members")).await.code(), (403, 50001));
    sim.shutdown().await;
}

/// Returns a guild in which the bot has ADMINISTRATOR and one in which it does not, each with its first text channel.
async fn with_and_without_administrator(sim: &discord_sim::Sim) -> [(discord_sim::Snowflake, String); 2] {
    let bot = super::call::application(sim).await;
    let mut found = [None, None];
    for guild in sim.control().guilds(40, 1) {
        let member = get(sim, &format!("/guilds/{}/members/{bot}", guild.id)).await.json();
        let roles = get(sim, &format!("/guilds/{}/roles", guild.id)).await.json();
        let held = |role: &&Value| member["roles"].as_array().unwrap().contains(&role["id"]);
        let administrator =
            roles.as_array().unwrap().iter().filter(held).any(|role| role["permissions"] == "8");
        let channels = get(sim, &format!("/guilds/{}/channels", guild.id)).await.json();
        let text = channels.as_array().unwrap().iter().find(|channel| channel["type"] == 0).unwrap();
        found[usize::from(!administrator)] = Some((guild.id, text["id"].as_str().unwrap().to_owned()));
        if let [Some(with), Some(without)] = &found {
            return [with.clone(), without.clone()];
        }
    }
    panic!("the seed gives both kinds of guilds");
}

#[tokio::test]
async fn messages_are_deleted_in_bulk() {
    let sim = start(SimConfig { guilds: 40, rest_limit_speed: 1_000.0, ..quick() }).await;
    let [(guild, channel), (_, forbidden)] = with_and_without_administrator(&sim).await;
    let shard = guild.shard(2);
    let (mut here, ..) = Client::open_all(&sim, (shard, 2), INTENTS).await;
    let path = format!("/channels/{channel}/messages");
    let mut ids = Vec::new();
    for text in ["a", "b", "c"] {
        ids.push(call(&sim, "POST", &path, json!({"content": text})).await.json()["id"].clone());
    }
    // A person's message, which is not stored.
    sim.control().inject(Fault::Message { guild_id: guild, content: None }).unwrap();
    let written = loop {
        let message = here.event("MESSAGE_CREATE").await["d"].clone();
        if message["nonce"] == "sim-1" {
            break message["id"].clone();
        }
    };
    let bulk = format!("{path}/bulk-delete");
    let deleted = call(&sim, "POST", &bulk, json!({"messages": [ids[0], ids[1], written]})).await;
    assert_eq!(deleted.status, 204, "{deleted:?}");
    let event = here.event("MESSAGE_DELETE_BULK").await["d"].clone();
    let mut dispatched_ids = event["ids"].as_array().unwrap().clone();
    dispatched_ids.sort_by_key(|id| id.as_str().unwrap().parse::<u64>().unwrap());
    let mut wanted = vec![ids[0].clone(), ids[1].clone(), written];
    wanted.sort_by_key(|id| id.as_str().unwrap().parse::<u64>().unwrap());
    assert_eq!(
        (dispatched_ids, &event["guild_id"], &event["channel_id"]),
        (wanted, &json!(guild), &json!(channel))
    );
    let left = get(&sim, &path).await.json();
    assert_eq!((left.as_array().unwrap().len(), &left[0]["id"]), (1, &ids[2]));

    let young = ids[2].clone();
    let many: Vec<String> =
        (0..101).map(|n| (young.as_str().unwrap().parse::<u64>().unwrap() + n).to_string()).collect();
    for (body, code) in [
        (json!({"messages": [young]}), (400, 50016)),
        (json!({"messages": many}), (400, 50016)),
        (json!({"messages": [young, young]}), (400, 50035)),
        (json!({"messages": [young, "x"]}), (400, 50035)),
        (json!({}), (400, 50035)),
        (json!({"messages": [young, "175928847299117063"]}), (400, 50034)),
    ] {
        // The bucket is small, and refills within milliseconds.
        let refused = loop {
            let answer = call(&sim, "POST", &bulk, body.clone()).await;
            if answer.status != 429 {
                break answer;
            }
        };
        assert_eq!(refused.code(), code, "{body}");
    }
    let both = json!({"messages": ids});
    let missing =
        call(&sim, "POST", &format!("/channels/{forbidden}/messages/bulk-delete"), both.clone()).await;
    assert_eq!(missing.code(), (403, 50013));
    let user = sim.control().users(1)[0].id;
    let direct = call(&sim, "POST", "/users/@me/channels", json!({"recipient_id": user})).await.json();
    let direct = format!("/channels/{}/messages/bulk-delete", direct["id"].as_str().unwrap());
    assert_eq!(call(&sim, "POST", &direct, both).await.code(), (403, 50003));
    sim.shutdown().await;
}

#[tokio::test]
async fn query_booleans_are_words_or_digits() {
    let sim = start(quick()).await;
    let (guild, _) = somewhere(&sim).await;
    for (text, wanted) in
        [("1", true), ("true", true), ("True", true), ("0", false), ("false", false), ("False", false)]
    {
        let body = get(&sim, &format!("/guilds/{guild}?with_counts={text}")).await.json();
        assert_eq!(body.get("approximate_member_count").is_some(), wanted, "{text}");
    }
    let refused = get(&sim, &format!("/guilds/{guild}?with_counts=yes")).await;
    assert_eq!(refused.code(), (400, 50035));
    assert_eq!(refused.json()["errors"]["with_counts"]["_errors"][0]["code"], "BOOLEAN_TYPE_CONVERT");
    sim.shutdown().await;
}
