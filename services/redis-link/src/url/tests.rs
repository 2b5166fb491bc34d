use redis::ConnectionAddr;

use super::*;

fn parse(text: &str) -> RedisUrl {
    text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
}

#[test]
fn one_server() {
    let url = parse("redis://bot:s%40cret@redis.example:6380/3");
    let Topology::Single(info) = &url.topology else { panic!("{url}") };
    assert_eq!(*info.addr(), ConnectionAddr::Tcp("redis.example".to_owned(), 6380));
    assert_eq!(info.redis_settings().username(), Some("bot"));
    assert_eq!(info.redis_settings().password(), Some("s@cret"));
    assert_eq!(info.redis_settings().db(), 3);
}

#[test]
fn tls_and_default_port() {
    let url = parse("rediss://[::1]");
    let Topology::Single(info) = &url.topology else { panic!("{url}") };
    assert!(
        matches!(info.addr(), ConnectionAddr::TcpTls { host, port: 6379, insecure: false, .. } if host == "::1")
    );
}

#[test]
fn sentinels() {
    let url = parse("redis-sentinel://:pw@s1:26379,s2/1?master=main&sentinel_password=other");
    let Topology::Sentinel { sentinels, master, login } = &url.topology else { panic!("{url}") };
    assert_eq!(master, "main");
    assert_eq!(*sentinels[1].addr(), ConnectionAddr::Tcp("s2".to_owned(), 26379));
    assert_eq!(sentinels[0].redis_settings().password(), Some("other"));
    assert_eq!(login.redis_settings().password(), Some("pw"));
    assert_eq!(login.redis_settings().db(), 1);
}

#[test]
fn a_cluster() {
    let url = parse("redis-cluster://u:p@h1:7001,h2:7002,h3");
    let Topology::Cluster(nodes) = &url.topology else { panic!("{url}") };
    assert_eq!(nodes.len(), 3);
    assert_eq!(*nodes[2].addr(), ConnectionAddr::Tcp("h3".to_owned(), 6379));
    assert_eq!(nodes[1].redis_settings().password(), Some("p"));
}

#[test]
fn a_password_is_never_shown() {
    for text in [
        "redis://u:hunter2@h/1",
        "redis://u:hunter2@x@h/1",
        "redis-sentinel://u:hunter2@h/1?master=m&sentinel_password=hunter2",
        "redis-cluster://:hunter2@a,b",
    ] {
        let url = parse(text);
        for shown in [url.to_string(), format!("{url:?}")] {
            assert!(!shown.contains("hunter2"), "{shown}");
            assert!(shown.contains("***@"), "{shown}");
        }
    }
    for text in [
        "http://u:hunter2@h",
        "u:hunter2@h",
        "redis://u:hunter2@",
        "redis://u:hunter2@h:port",
        "redis://u:hunter2@h/x",
        "redis://u:hunter2@a,b",
        "redis://u:hunter2@h?x=y",
        "redis-cluster://u:hunter2@h/4",
        "redis-sentinel://u:hunter2@h",
        "redis-sentinel://u:hunter2@h?master=",
        "redis-sentinel://h?master=m&hunter2",
        "redis-sentinel://h?master=m&hunter2=x",
        "redis-sentinel://h?master=m&sentinel_password=hunter2@x",
        "redis://bot:hunter2",
        "redis://h/1#hunter2",
        "redis://bot:hunter2/1@h",
        "redis://bot:a?hunter2@h",
    ] {
        let error =
            text.parse::<RedisUrl>().map_or_else(|error| error.to_string(), |url| panic!("{url} passed"));
        assert!(!error.contains("hunter2"), "{error}");
        assert!(error.starts_with("not a redis url: "), "{error}");
    }
}
