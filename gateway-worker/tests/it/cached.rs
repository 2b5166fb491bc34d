//! Objects out of the caches, over gRPC, from whichever process is asked.

use std::{sync::Arc, time::Duration};

use altergolden_proto::{
    convert::CachedObject,
    v1::{
        self, ObjectFormat, get_channel_response::Channel as ChannelAnswer,
        get_guild_response::Guild as GuildAnswer, get_member_response::Member as MemberAnswer,
        request_guild_members_request::Which, shard_bridge_client::ShardBridgeClient,
    },
};
use discord_sim::{Fault, Snowflake};
use gateway_worker::NoHandler;
use serde_json::{Map, Value};
use tonic::{Code, Status, transport::Channel};

use crate::bench::{Bench, Recorder, sim};

const FLAGS: [&str; 2] = ["--intents=GUILDS,GUILD_MEMBERS,GUILD_VOICE_STATES", "--cache=all"];

fn mask(paths: &[&str]) -> prost_types::FieldMask {
    prost_types::FieldMask { paths: paths.iter().map(|path| (*path).to_owned()).collect() }
}

fn guild(id: Snowflake) -> v1::GetGuildRequest {
    v1::GetGuildRequest { guild_id: id.0, ..Default::default() }
}

fn member(guild: Snowflake, user: Snowflake) -> v1::GetMemberRequest {
    v1::GetMemberRequest { guild_id: guild.0, user_id: user.0, ..Default::default() }
}

fn channel(guild: Snowflake, channel: u64) -> v1::GetChannelRequest {
    v1::GetChannelRequest { guild_id: guild.0, channel_id: channel, ..Default::default() }
}

fn roles(guild: Snowflake) -> v1::GetRolesRequest {
    v1::GetRolesRequest { guild_id: guild.0, ..Default::default() }
}

async fn guild_json(
    bridge: &mut ShardBridgeClient<Channel>,
    id: Snowflake,
    fields: &[&str],
) -> Map<String, Value> {
    let request =
        v1::GetGuildRequest { format: ObjectFormat::Json.into(), fields: Some(mask(fields)), ..guild(id) };
    match bridge.get_guild(request).await.unwrap().into_inner().guild {
        Some(GuildAnswer::Json(json)) => serde_json::from_str(&json).unwrap(),
        other => panic!("{other:?}"),
    }
}

fn all_known<T: CachedObject>(object: &Map<String, Value>) {
    let unknown = object.keys().find(|field| !T::DISCORD_FIELDS.contains(&field.as_str()));
    assert_eq!(unknown, None, "a field that cannot be asked for");
}

fn refused<T: std::fmt::Debug>(outcome: Result<T, Status>, code: Code, words: &str) {
    let status = outcome.unwrap_err();
    assert!(status.code() == code && status.message().contains(words), "{status}");
}

#[tokio::test(flavor = "multi_thread")]
async fn objects_come_in_both_formats_from_any_process() {
    let mut bench = Bench::of_shards(2, sim(20), Recorder::default()).await;
    for worker in ["a", "b"] {
        bench.worker(worker, Arc::new(NoHandler), &FLAGS).await;
    }
    bench.until_all_ready(2).await;
    let someone = bench.control().users(50).into_iter().find(|user| !user.in_voice.is_empty()).unwrap();
    let mut channels = 0;
    for report in bench.control().guilds(8, 2) {
        for entry in ["coordinator", "a", "b"] {
            let mut bridge = bench.bridge(entry).await;
            let answer = bridge.get_guild(guild(report.id)).await.unwrap().into_inner();
            assert_eq!(answer.shard_id, report.shard.number);
            let Some(GuildAnswer::Message(message)) = answer.guild else { panic!("{answer:?}") };
            assert_eq!(
                (message.id, message.name.as_deref()),
                (Some(report.id.0), Some(report.name.as_str()))
            );
            assert_eq!((message.member_count, message.unavailable), (Some(report.member_count), Some(false)));
            let only = v1::GetGuildRequest { fields: Some(mask(&["name"])), ..guild(report.id) };
            let answer = bridge.get_guild(only).await.unwrap().into_inner();
            let name = v1::CachedGuild { name: Some(report.name.clone()), ..Default::default() };
            assert_eq!(answer.guild, Some(GuildAnswer::Message(name)));

            let whole = guild_json(&mut bridge, report.id, &[]).await;
            all_known::<v1::CachedGuild>(&whole);
            assert_eq!(whole["id"], report.id.to_string());
            assert!(
                whole["roles"].as_array().is_some_and(|roles| !roles.is_empty())
                    && whole.contains_key("emojis")
            );
            let part = guild_json(&mut bridge, report.id, &["name", "owner_id"]).await;
            assert_eq!(part.keys().collect::<Vec<_>>(), ["name", "owner_id"]);

            let answer = bridge.get_roles(roles(report.id)).await.unwrap().into_inner();
            assert_eq!(answer.roles[0].id, Some(report.id.0), "@everyone is the lowest");
            assert!(answer.roles.is_sorted_by_key(|role| role.position) && answer.json.is_none());
            let json = v1::GetRolesRequest { format: ObjectFormat::Json.into(), ..roles(report.id) };
            let list: Vec<Map<String, Value>> =
                serde_json::from_str(&bridge.get_roles(json).await.unwrap().into_inner().json.unwrap())
                    .unwrap();
            assert_eq!(list.len(), answer.roles.len());
            list.iter().for_each(all_known::<v1::CachedRole>);

            let Some(any) = message.system_channel_id else { continue };
            channels += 1;
            let answer = bridge.get_channel(channel(report.id, any)).await.unwrap().into_inner();
            let Some(ChannelAnswer::Message(message)) = answer.channel else { panic!("{answer:?}") };
            assert_eq!((message.id, message.guild_id), (Some(any), Some(report.id.0)));
            let json = v1::GetChannelRequest { format: ObjectFormat::Json.into(), ..channel(report.id, any) };
            let answer = bridge.get_channel(json).await.unwrap().into_inner();
            let Some(ChannelAnswer::Json(json)) = answer.channel else { panic!("{answer:?}") };
            all_known::<v1::CachedChannel>(&serde_json::from_str(&json).unwrap());
        }
    }
    assert!(channels > 0);
    let mut bridge = bench.bridge("a").await;
    let answer = bridge.get_member(member(someone.in_voice[0], someone.id)).await.unwrap().into_inner();
    let Some(MemberAnswer::Message(message)) = answer.member else { panic!("{answer:?}") };
    assert_eq!((message.user_id, message.username), (Some(someone.id.0), Some(someone.username.clone())));
    assert!(message.joined_at_unix_ms.is_some_and(|at| at > 1_420_070_400_000));
    let json =
        v1::GetMemberRequest { format: ObjectFormat::Json.into(), ..member(someone.in_voice[0], someone.id) };
    let answer = bridge.get_member(json).await.unwrap().into_inner();
    let Some(MemberAnswer::Json(json)) = answer.member else { panic!("{answer:?}") };
    let json: Map<String, Value> = serde_json::from_str(&json).unwrap();
    all_known::<v1::CachedMember>(&json);
    assert_eq!(json["user"]["username"], someone.username);
    bench.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn missing_object_is_distinct_from_an_unknown_one() {
    let mut bench = Bench::without_workers(sim(5), Recorder::default()).await;
    let here = bench.guilds()[0];
    let (nowhere, stranger) = (Snowflake(9 << 22), Snowflake(77));
    let mut coordinator = bench.bridge("coordinator").await;
    refused(coordinator.get_guild(guild(here)).await, Code::Unavailable, "no ");
    refused(coordinator.get_guild(guild(Snowflake(0))).await, Code::InvalidArgument, "guild_id");
    refused(coordinator.get_channel(channel(here, 0)).await, Code::InvalidArgument, "channel_id");
    refused(coordinator.get_member(member(here, Snowflake(0))).await, Code::InvalidArgument, "user_id");
    let odd = v1::GetGuildRequest { fields: Some(mask(&["nam"])), ..guild(here) };
    refused(coordinator.get_guild(odd).await, Code::InvalidArgument, "\"nam\"");

    // Before READY the shard knows nothing.
    bench.control().switch(|switches| switches.ready_delay = Duration::from_mins(10)).unwrap();
    let a = bench.worker("a", Arc::new(NoHandler), &FLAGS).await;
    bench
        .until("the shard to identify", |shard| shard.status == i32::from(v1::ShardStatus::Identifying))
        .await;
    refused(coordinator.get_guild(guild(nowhere)).await, Code::Unavailable, "identifying");
    bench.control().switch(|switches| switches.ready_delay = Duration::ZERO).unwrap();
    bench.inject(Fault::Abort { shards: None });
    bench.until_all_ready(1).await;

    refused(coordinator.get_guild(guild(nowhere)).await, Code::NotFound, "not in guild");
    refused(coordinator.get_roles(roles(nowhere)).await, Code::NotFound, "not in guild");
    refused(coordinator.get_channel(channel(nowhere, 5)).await, Code::NotFound, "not in guild");
    refused(coordinator.get_channel(channel(here, 5)).await, Code::NotFound, "no channel 5");
    refused(coordinator.get_member(member(here, stranger)).await, Code::Unavailable, "members are cached");
    let all = v1::RequestGuildMembersRequest {
        guild_id: here.0,
        which: Some(Which::Query(String::new())),
        deadline_ms: Some(10_000),
        ..Default::default()
    };
    coordinator.request_guild_members(all).await.unwrap();
    let told = async {
        loop {
            match coordinator.get_member(member(here, stranger)).await.unwrap_err() {
                status if status.code() == Code::NotFound => return,
                status => assert_eq!(status.code(), Code::Unavailable, "{status}"),
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), told).await.unwrap();

    // An outage: what was cached is told, what was not may be there.
    bench.inject(Fault::GuildOutage { guild_id: here, on: true });
    let outage = async {
        while guild_json(&mut coordinator, here, &[]).await["unavailable"] != true {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), outage).await.unwrap();
    refused(coordinator.get_channel(channel(here, 5)).await, Code::Unavailable, "outage");
    refused(coordinator.get_member(member(here, stranger)).await, Code::Unavailable, "outage");
    bench.inject(Fault::GuildOutage { guild_id: here, on: false });

    // While it moves, its owner answers.
    bench.worker("b", Arc::new(NoHandler), &FLAGS).await;
    bench.until_registered("b").await;
    a.cancel();
    let moving = async {
        loop {
            guild_json(&mut coordinator, here, &["name"]).await;
            let shards = bench.client.shards("").await.unwrap_or_default();
            if shards.iter().any(|shard| shard.worker_id == "b" && shard.status == 5) {
                return;
            }
        }
    };
    tokio::time::timeout(Duration::from_mins(1), moving).await.unwrap();
    refused(bench.bridge("b").await.get_guild(guild(nowhere)).await, Code::NotFound, "not in guild");
    bench.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn uncached_object_names_its_setting() {
    let mut bench = Bench::without_workers(sim(5), Recorder::default()).await;
    bench.worker("a", Arc::new(NoHandler), &["--cache=members", "--intents=GUILDS"]).await;
    bench.until_all_ready(1).await;
    let here = bench.guilds()[0];
    for entry in ["coordinator", "a"] {
        let mut bridge = bench.bridge(entry).await;
        refused(bridge.get_guild(guild(here)).await, Code::FailedPrecondition, "CACHE");
        refused(bridge.get_channel(channel(here, 5)).await, Code::FailedPrecondition, "CACHE");
        refused(bridge.get_roles(roles(here)).await, Code::FailedPrecondition, "CACHE");
        refused(bridge.get_member(member(here, Snowflake(77))).await, Code::FailedPrecondition, "INTENTS");
    }
    bench.finish().await;
}
