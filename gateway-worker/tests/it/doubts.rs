//! A guild in doubt is not complete, whichever call asks for it.

#![allow(clippy::enum_glob_use, reason = "scripts read as lists of steps")]

use std::sync::Arc;

use altergolden_proto::v1;

use crate::{
    bench::{Bench, Handler, Recorder, sim},
    odd_gateway::{
        HELLO, OddGateway,
        Step::{self, *},
    },
};

/// One channel cannot be read.
const GUILD_5: &str = r#"{"t":"GUILD_CREATE","s":2,"op":0,"d":{"id":"5","name":"odd","owner_id":"1","member_count":1,"channels":[7,{"id":"8","type":0}],"members":[{"user":{"id":"9","username":"u"}}]}}"#;
const GUILD_6: &str = r#"{"t":"GUILD_CREATE","s":3,"op":0,"d":{"id":"6","name":"whole","owner_id":"1","member_count":0,"channels":[],"members":[]}}"#;
/// Of guilds that READY did not name; Discord sends interactions also for guilds that the bot is not in.
const UNTOLD_7: &str =
    r#"{"t":"TYPING_START","s":4,"op":0,"d":{"guild_id":"7","channel_id":"1","user_id":"9","timestamp":1}}"#;
const FOREIGN_8: &str = r#"{"t":"INTERACTION_CREATE","s":5,"op":0,"d":{"id":"1","guild_id":"8"}}"#;

#[tokio::test(flavor = "multi_thread")]
async fn guild_in_doubt_is_not_complete_for_any_call() {
    const STEPS: &[Step] =
        &[Send(HELLO), Greet, Send(GUILD_5), Send(GUILD_6), Send(UNTOLD_7), Send(FOREIGN_8), Serve];
    let gateway = OddGateway::always(STEPS).await;
    let mut bench = Bench::without_workers(sim(1), Recorder::default()).await;
    let handler = Arc::new(Handler(bench.recorder.clone()));
    let url = format!("--discord-gateway-url={}", gateway.url);
    bench.worker("a", handler, &["--drain-timeout=100ms", "--cache=all", &url]).await;
    bench
        .until_seen("the last event", |recorder| {
            recorder.seen.lock().unwrap().iter().any(|seen| seen.name == "INTERACTION_CREATE")
        })
        .await;
    bench.until_ready("the shard to be ready").await;

    for (guild, found, complete) in [(5, true, false), (6, true, true), (7, true, false), (8, false, false)] {
        let answer = bench.client.find_guild(guild).await.unwrap();
        let said = (answer.found, answer.complete, answer.reason.is_empty());
        assert_eq!(said, (found, complete, complete), "{answer:?}");
    }
    let mut bridge = bench.bridge("coordinator").await;
    let doubts = [
        bridge
            .get_guild(v1::GetGuildRequest { guild_id: 5, ..Default::default() })
            .await
            .unwrap()
            .into_inner()
            .doubt,
        bridge
            .get_guild(v1::GetGuildRequest { guild_id: 6, ..Default::default() })
            .await
            .unwrap()
            .into_inner()
            .doubt,
        bridge
            .get_channel(v1::GetChannelRequest { guild_id: 5, channel_id: 8, ..Default::default() })
            .await
            .unwrap()
            .into_inner()
            .doubt,
        bridge
            .get_member(v1::GetMemberRequest { guild_id: 5, user_id: 9, ..Default::default() })
            .await
            .unwrap()
            .into_inner()
            .doubt,
        bridge
            .get_roles(v1::GetRolesRequest { guild_id: 5, ..Default::default() })
            .await
            .unwrap()
            .into_inner()
            .doubt,
    ];
    assert_eq!(doubts.map(|doubt| doubt.is_empty()), [false, true, false, true, true]);
    bench.finish().await;
}
