//! What the users of `deploy/redis/users.acl` may do: a bot reads events and sends commands, and reaches nothing else.

use fleet_model::Epoch;
use redis::{Value, aio::MultiplexedConnection};
use redis_fixture::{RedisServer, RedisUser};
use relay::{Caps, RelayStore};

use super::{SHARD, entries, redis_relay};

async fn ask(connection: &mut MultiplexedConnection, words: &str) -> Result<Value, String> {
    let mut words = words.split(' ');
    let mut cmd = redis::cmd(words.next().unwrap());
    cmd.arg(words.collect::<Vec<_>>());
    cmd.query_async(connection).await.map_err(|error| error.to_string())
}

#[tokio::test]
async fn bot_reads_events_and_sends_commands_and_reaches_nothing_else() {
    let server = RedisServer::start_with_users().await;
    let relay = redis_relay(&server.url_as(RedisUser::Member), "", Caps::default());
    relay.append(SHARD, Epoch(1), None, &entries("MESSAGE_CREATE", 1, 1..=3)).await.unwrap();
    server.command::<()>(&["HSET", "{altergolden:shard:3}:checkpoint", ".head", "secret"]).await;
    server.command::<()>(&["HSET", "{altergolden}:term", "term", "7"]).await;
    let mut bot = redis_fixture::connect(server.url_as(RedisUser::Bot)).await.unwrap();

    // What the examples and discord.js's brokers do.
    for allowed in [
        "PING",
        "INFO server",
        "XGROUP CREATE MESSAGE_CREATE bot 0 MKSTREAM",
        "XGROUP CREATE INTERACTION_CREATE bot 0 MKSTREAM",
        "XREADGROUP GROUP bot one COUNT 2 BLOCK 1 STREAMS MESSAGE_CREATE INTERACTION_CREATE > >",
        "XPENDING MESSAGE_CREATE bot IDLE 0 - + 100 one",
        "XCLAIM MESSAGE_CREATE bot two 0 1-1",
        "XAUTOCLAIM MESSAGE_CREATE bot two 0 0",
        "XACK MESSAGE_CREATE bot 1-1",
        "XADD MESSAGE_CREATE:set_aside MAXLEN ~ 1000 * id 1-1",
        "XRANGE MESSAGE_CREATE - +",
        "XREAD COUNT 1 STREAMS MESSAGE_CREATE 0",
        "XADD gateway_send * data x",
    ] {
        ask(&mut bot, allowed).await.unwrap_or_else(|error| panic!("{allowed}: {error}"));
    }
    for refused in [
        "HGETALL {altergolden:shard:3}:checkpoint",
        "HGET {altergolden:shard:3}:checkpoint .head",
        "HSET {altergolden}:term term 9223372036854775808",
        "XADD {altergolden}:history * entry x",
        "XRANGE {altergolden}:broadcasts - +",
        "DEL {altergolden}:fleet",
        "HGETALL altergolden:relay:3",
        "XADD altergolden:relay * a b",
        // Events for other bots, and commands of others.
        "XADD MESSAGE_CREATE * data x",
        "XDEL MESSAGE_CREATE 1-1",
        "XTRIM MESSAGE_CREATE MAXLEN 0",
        "DEL MESSAGE_CREATE",
        "XGROUP DESTROY MESSAGE_CREATE bot",
        "XRANGE gateway_send - +",
        "XREADGROUP GROUP altergolden one STREAMS gateway_send >",
        "PUBLISH altergolden:broadcasts x",
        "SUBSCRIBE altergolden:broadcasts",
        "EVAL return 0",
        "SCRIPT FLUSH",
        "KEYS *",
        "SCAN 0",
        "CONFIG GET *",
        "FLUSHALL",
        "ACL LIST",
        "CLIENT LIST",
        "MONITOR",
    ] {
        let answer = ask(&mut bot, refused).await;
        assert!(answer.as_ref().is_err_and(|error| error.contains("permission")), "{refused}: {answer:?}");
    }
    assert_eq!(server.command::<u64>(&["XLEN", "MESSAGE_CREATE"]).await, 3);
}

#[tokio::test]
async fn member_reaches_no_keys_of_other_programs_and_no_settings() {
    let server = RedisServer::start_with_users().await;
    server.command::<()>(&["SET", "other", "x"]).await;
    let mut member = redis_fixture::connect(server.url_as(RedisUser::Member)).await.unwrap();
    for refused in [
        "GET other",
        "SET {other}:term x",
        "HGETALL {other:shard:0}",
        "KEYS *",
        "CONFIG SET maxmemory 1",
        "FLUSHALL",
        "SHUTDOWN",
        "ACL LIST",
        "REPLICAOF NO ONE",
        "SCRIPT FLUSH",
    ] {
        let answer = ask(&mut member, refused).await;
        assert!(answer.as_ref().is_err_and(|error| error.contains("permission")), "{refused}: {answer:?}");
    }
}

#[tokio::test]
async fn default_user_is_off_and_passwords_count() {
    let acl = include_str!("../../../../deploy/redis/users.acl");
    assert!(acl.starts_with("user default off "), "the default user is off");
    let server = RedisServer::start_with_users().await;
    let wrong = server.url_as(RedisUser::Member).replace("password-of-member", "CHANGE_ME_MEMBER");
    assert!(redis_fixture::connect(wrong).await.is_err());
}
