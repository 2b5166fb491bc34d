//! The link over real Redis servers: deadlines, coming back, logins, scripts, warnings.

#![allow(clippy::unwrap_used, reason = "a test panics on what it did not expect")]

use std::time::{Duration, Instant};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use redis::cmd;
use redis_fixture::{RedisCluster, RedisSentinel, RedisServer};
use redis_link::{LinkError, LinkOptions, RedisLink, RedisUrl, Script};

fn link(url: &str) -> RedisLink {
    RedisLink::new(url.parse().unwrap(), LinkOptions::default())
}

async fn ping(link: &RedisLink) -> Result<String, LinkError> {
    link.command(&cmd("PING")).await
}

/// Asks until there is an answer; each try waits for the link's back-off by itself.
async fn until_back(link: &RedisLink) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while let Err(error) = ping(link).await {
        assert!(matches!(error, LinkError::Away(_)), "{error:?}");
        assert!(Instant::now() < deadline, "still {error}");
    }
}

#[tokio::test]
async fn link_recovers_after_each_kind_of_loss() {
    let mut server = RedisServer::start().await;
    let link = link(&server.url());
    ping(&link).await.unwrap();
    server.command::<u64>(&["CLIENT", "KILL", "TYPE", "normal"]).await;
    until_back(&link).await;
    server.pause();
    let asked = Instant::now();
    assert!(matches!(ping(&link).await, Err(LinkError::Away(_))));
    let waited = asked.elapsed();
    assert!(waited > Duration::from_millis(1900) && waited < Duration::from_secs(3), "{waited:?}");
    server.resume();
    until_back(&link).await;
    server.kill();
    for _ in 0..10 {
        let asked = Instant::now();
        assert!(matches!(ping(&link).await, Err(LinkError::Away(_))));
        assert!(asked.elapsed() < Duration::from_secs(1), "{:?}", asked.elapsed());
    }
    server.restart().await;
    until_back(&link).await;
}

#[tokio::test]
async fn many_callers_share_one_try() {
    let mut server = RedisServer::start().await;
    server.kill();
    let link = link(&server.url());
    let asked = Instant::now();
    let calls: Vec<_> = (0..500)
        .map(|_| {
            tokio::spawn({
                let link = link.clone();
                async move { ping(&link).await }
            })
        })
        .collect();
    for call in calls {
        assert!(matches!(call.await.unwrap(), Err(LinkError::Away(_))));
    }
    assert!(asked.elapsed() < Duration::from_secs(2), "{:?}", asked.elapsed());
}

#[tokio::test]
async fn script_is_sent_again_after_the_server_forgot_it() {
    let server = RedisServer::start().await;
    let link = link(&server.url());
    let script = Script::new("return {KEYS[1], ARGV[1], ARGV[2]}");
    for _ in 0..2 {
        let answer: Vec<String> = link.script(&script, &["k"], &["a", "b"]).await.unwrap();
        assert_eq!(answer, ["k", "a", "b"]);
        server.command::<()>(&["SCRIPT", "FLUSH"]).await;
    }
}

#[tokio::test]
async fn a_script_takes_any_bytes() {
    let server = RedisServer::start().await;
    let link = link(&server.url());
    let bytes: Vec<u8> = (0..=u8::MAX).collect();
    let answer: Vec<Vec<u8>> =
        link.script(&Script::new("return ARGV"), &["k"], &[bytes.as_slice(), b""]).await.unwrap();
    assert_eq!(answer, [bytes, Vec::new()]);
}

#[tokio::test]
async fn answer_beyond_its_bound_is_not_read() {
    let server = RedisServer::start().await;
    let link = link(&server.url());
    // What the script returns, and whether that is within 10 bytes.
    let rows = [
        ("'0123456789'", true),
        ("'0123456789a'", false),
        ("{'01234', {'56789'}}", true),
        ("{'01234', {'56789', 'a'}}", false),
        ("{'01234', false, 5, {ok = '0123456789a'}}", true),
        ("7", true),
        ("false", true),
    ];
    for (answer, is_within) in rows {
        let script = Script::with_largest_answer(&format!("return {answer}"), 10);
        let answered = link.script::<redis::Value, _>(&script, &["k"], &[""; 0]).await;
        match answered {
            Ok(_) => assert!(is_within, "{answer}"),
            Err(LinkError::Unexpected(why)) => {
                assert!(!is_within && why.contains("bytes"), "{answer}: {why}");
            }
            Err(error) => panic!("{answer}: {error}"),
        }
    }
    link.command::<()>(cmd("SETRANGE").arg("large").arg(99_999_999).arg("a")).await.unwrap();
    let read = Script::new("return {'VALUE', redis.call('GET', KEYS[1])}");
    let answered = link.script::<Vec<Vec<u8>>, _>(&read, &["large"], &[""; 0]).await;
    assert!(matches!(answered, Err(LinkError::Unexpected(_))));
}

#[tokio::test]
async fn unexpected_answer_and_refusal_are_distinct_errors() {
    let server = RedisServer::start().await;
    let link = link(&server.url());
    link.command::<()>(cmd("SET").arg("text").arg("x")).await.unwrap();
    assert!(matches!(link.command::<u64>(cmd("GET").arg("text")).await, Err(LinkError::Unexpected(_))));
    assert!(matches!(
        link.command::<u64>(cmd("LPUSH").arg("text").arg("x")).await,
        Err(LinkError::Refused(_))
    ));
    assert!(matches!(link.command::<()>(&cmd("NOSUCH")).await, Err(LinkError::Refused(_))));
}

#[tokio::test]
async fn wrong_login_is_an_error_without_the_password() {
    let server = RedisServer::start().await;
    server
        .command::<()>(&["ACL", "SETUSER", "bot", "on", ">hunter2", "~*", "&*", "+@all", "-config", "-info"])
        .await;
    let at = |login: &str| server.url().replace("redis://", &format!("redis://{login}@"));
    let right = link(&at("bot:hunter2"));
    ping(&right).await.unwrap();
    assert_eq!(right.warnings().await, Vec::<String>::new(), "INFO is forbidden, so nothing is known");
    let wrong = link(&at("bot:hunter3"));
    let error = ping(&wrong).await.unwrap_err();
    for shown in [error.to_string(), format!("{error:?} {wrong:?}")] {
        assert!(!shown.contains("hunter"), "{shown}");
    }
}

#[tokio::test]
async fn a_policy_that_loses_keys_is_warned_of() {
    let server = RedisServer::start().await;
    let link = link(&server.url());
    assert_eq!(link.warnings().await, Vec::<String>::new());
    server.command::<()>(&["CONFIG", "SET", "maxmemory-policy", "allkeys-lru"]).await;
    let warnings = link.warnings().await;
    assert!(warnings.len() == 1 && warnings[0].contains("allkeys-lru"), "{warnings:?}");
}

#[tokio::test]
async fn tls_to_a_server_without_it_is_an_error() {
    let server = RedisServer::start().await;
    let link = link(&server.url().replace("redis://", "rediss://"));
    let error = ping(&link).await.unwrap_err();
    assert!(matches!(error, LinkError::Away(_)), "{error:?}");
}

#[tokio::test]
async fn a_cluster_answers_for_every_master() {
    let cluster = RedisCluster::start().await;
    let link = link(&cluster.url());
    assert_eq!(link.run_id().await.unwrap().split(',').count(), 3);
    assert_eq!(link.warnings().await, Vec::<String>::new());
    for key in 0..50 {
        link.command::<()>(cmd("SET").arg(key).arg(key)).await.unwrap();
        let answer: u32 = link.command(cmd("GET").arg(key)).await.unwrap();
        assert_eq!(answer, key);
    }
    link.pub_sub().await.unwrap().subscribe("c").await.unwrap();
}

#[tokio::test]
async fn sentinel_without_the_master_is_an_error() {
    let sentinel = RedisSentinel::start().await;
    ping(&link(&sentinel.url())).await.unwrap();
    let error = ping(&link(&sentinel.url().replace("master=main", "master=other"))).await.unwrap_err();
    assert_eq!(error, LinkError::Away("the sentinels know no master named \"other\"".to_owned()));
}

/// A certificate authority of our own, and a certificate of it for 127.0.0.1 with its key: all in PEM.
fn certificates() -> (String, String, String) {
    let mut authority = CertificateParams::new(Vec::new()).unwrap();
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = CertifiedIssuer::self_signed(authority, KeyPair::generate().unwrap()).unwrap();
    let key = KeyPair::generate().unwrap();
    let server = CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
    let server = server.signed_by(&key, &authority).unwrap();
    (authority.pem(), server.pem(), key.serialize_pem())
}

#[tokio::test]
async fn rediss_trusts_the_given_authority_and_no_other() {
    let (authority, certificate, key) = certificates();
    let server = RedisServer::start_with_tls(&certificate, &key).await;
    let url: RedisUrl = format!("rediss://127.0.0.1:{}", server.tls_port()).parse().unwrap();
    let trusting = |pem: &str| {
        let url = url.clone().with_root(pem.as_bytes().to_vec()).unwrap();
        RedisLink::new(url, LinkOptions::default())
    };
    let link = trusting(&authority);
    assert_eq!(ping(&link).await.unwrap(), "PONG");
    let mut events = link.pub_sub().await.unwrap();
    events.subscribe("channel").await.unwrap();
    assert_eq!(link.command::<u64>(cmd("PUBLISH").arg("channel").arg("x")).await.unwrap(), 1);
    // Public authorities, and another private one.
    for stranger in [RedisLink::new(url.clone(), LinkOptions::default()), trusting(&certificates().0)] {
        assert!(matches!(ping(&stranger).await, Err(LinkError::Away(_))));
    }
}

#[test]
fn authority_needs_tls_and_a_certificate() {
    let (authority, ..) = certificates();
    let with = |url: &str, pem: &str| url.parse::<RedisUrl>().unwrap().with_root(pem.as_bytes().to_vec());
    assert!(with("redis://h", &authority).unwrap_err().to_string().contains("rediss://"));
    for pem in ["", "no certificate", "-----BEGIN CERTIFICATE-----\n%\n-----END CERTIFICATE-----\n"] {
        assert!(with("rediss://h", pem).unwrap_err().to_string().contains("certificate"), "{pem}");
    }
    for url in ["rediss://h", "rediss-sentinel://h:1/?master=m", "rediss-cluster://h:1"] {
        with(url, &authority).unwrap();
    }
}

#[tokio::test]
async fn password_file_is_read_at_each_connection() {
    let server = RedisServer::start().await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("password");
    let rotate = async |password: &str| {
        std::fs::write(&file, format!(" {password}\n")).unwrap();
        server
            .command::<()>(&[
                "ACL",
                "SETUSER",
                "fleet",
                "reset",
                "on",
                &format!(">{password}"),
                "+@all",
                "~*",
                "&*",
            ])
            .await;
        // Connections of a user stay when its password changes.
        let _: u64 = server.command(&["CLIENT", "KILL", "USER", "fleet"]).await;
    };
    rotate("first-password-of-the-fleet").await;
    let url: RedisUrl = format!("redis://fleet@127.0.0.1:{}", server.port()).parse().unwrap();
    let link = RedisLink::new(url.with_password_file(file.clone()).unwrap(), LinkOptions::default());
    assert_eq!(ping(&link).await.unwrap(), "PONG");
    let whoami: String = link.command(cmd("ACL").arg("WHOAMI")).await.unwrap();
    assert_eq!(whoami, "fleet");
    rotate("second-password-of-the-fleet").await;
    until_back(&link).await;
    link.pub_sub().await.unwrap();
    for text in ["", "  \n", &"x".repeat(5_000)] {
        std::fs::write(&file, text).unwrap();
        let Err(LinkError::Away(why)) = link.pub_sub().await.map(drop) else {
            panic!("{} bytes", text.len())
        };
        assert!(why.contains("password") && why.len() < 300, "{why}");
    }
    std::fs::write(&file, "wrong-password-of-the-fleet").unwrap();
    let refused = link.pub_sub().await.map(drop).unwrap_err().to_string();
    assert!(refused.contains("authentication failed") && !refused.contains("wrong-password"), "{refused}");
    std::fs::remove_file(&file).unwrap();
    assert!(link.pub_sub().await.map(drop).unwrap_err().to_string().contains("cannot read"));
}

#[test]
fn password_in_the_url_excludes_the_file() {
    for url in
        ["redis://:p@h", "redis://u:p@h", "redis-cluster://u:p@h:1,g:1", "redis-sentinel://u:p@h:1/?master=m"]
    {
        let refused = url.parse::<RedisUrl>().unwrap().with_password_file("f".into()).map(drop);
        assert!(refused.unwrap_err().to_string().contains("REDIS_PASSWORD_FILE"), "{url}");
    }
    "redis-sentinel://h:1/?master=m&sentinel_password=p"
        .parse::<RedisUrl>()
        .unwrap()
        .with_password_file("f".into())
        .unwrap();
}
