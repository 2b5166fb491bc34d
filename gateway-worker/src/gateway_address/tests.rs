use super::*;

const DISCORD_GATEWAY: &str = "wss://gateway.discord.gg";

fn trust(gateway: Option<&str>, api: Option<&str>) -> Trust {
    Trust::new(gateway.map(|url| url.parse().unwrap()), api.map(|url| url.parse().unwrap()))
}

/// Addresses that must never get the token from a worker that talks to Discord.
const NOT_DISCORD: &[&str] = &[
    "",
    "x",
    "gateway.discord.gg",
    "ws://gateway.discord.gg",
    "http://gateway.discord.gg",
    "https://gateway.discord.gg",
    "file:///etc/passwd",
    "wss://discord.gg",
    "wss://discord.com",
    "wss://evildiscord.gg",
    "wss://discord.gg.evil.com",
    "wss://gateway.discord.gg.evil.com",
    "wss://gateway-discord.gg",
    "wss://gateway.discord.ggg",
    "wss://.discord.gg",
    "wss://a..discord.gg",
    "wss://gateway.discord.gg.",
    "wss://gateway.discord.gg:80",
    "wss://gateway.discord.gg:8443",
    "wss://gateway.discord.gg:0",
    "wss://gateway.discord.gg:99999",
    "wss://discord.gg@evil.com",
    "wss://gateway.discord.gg@evil.com",
    "wss://gateway.discord.gg:443@evil.com",
    "wss://user:secret@gateway.discord.gg",
    "wss://@gateway.discord.gg",
    "wss://evil.com/gateway.discord.gg",
    "wss://evil.com?gateway.discord.gg",
    "wss://evil.com#gateway.discord.gg",
    "wss://evil.com\\.discord.gg",
    "wss:\\\\gateway.discord.gg",
    "wss://gateway us-east1.discord.gg",
    " wss://gateway.discord.gg",
    "wss://gateway.discord.gg\n",
    "wss://gate\tway.discord.gg",
    "wss://gateway.discord.gg\0.evil.com",
    "wss://gateway.discord.gg/path",
    "wss://gateway.discord.gg?x=1",
    "wss://gateway.discord.gg/?v=9&encoding=etf",
    "wss://gateway.discord.gg#x",
    "wss://gateway.dıscord.gg",
    "wss://gateway.discord。gg",
    "wss://gateway.xn--dscord-q4a.gg",
    "wss://gateway%2ediscord.gg",
    "wss://127.0.0.1",
    "wss://127.0.0.1:443",
    "wss://2130706433",
    "wss://0x7f.1",
    "wss://[::1]",
    "wss://[::ffff:127.0.0.1]",
    "ws://localhost",
    "wss://",
    "wss:///",
    "wss:gateway.evil.com",
];

#[test]
fn discord_is_wss_below_discord_gg_at_the_default_port() {
    let trust = trust(None, None);
    let gateway = trust.gateway(DISCORD_GATEWAY).unwrap();
    for (url, address) in [
        ("wss://gateway.discord.gg", "wss://gateway.discord.gg"),
        ("wss://gateway.discord.gg/", "wss://gateway.discord.gg"),
        ("wss://gateway.discord.gg:443", "wss://gateway.discord.gg"),
        ("WSS://GATEWAY.Discord.GG", "wss://gateway.discord.gg"),
        ("wss://gateway-us-east1-b.discord.gg", "wss://gateway-us-east1-b.discord.gg"),
        ("wss://a.b.discord.gg", "wss://a.b.discord.gg"),
    ] {
        assert_eq!(gateway.resume(url).unwrap().as_str(), address, "{url}");
        assert_eq!(trust.gateway(url).unwrap().address().as_str(), address, "{url}");
    }
    let long = format!("wss://{}.discord.gg", "a.".repeat(400));
    for url in NOT_DISCORD.iter().copied().chain([long.as_str()]) {
        assert!(gateway.resume(url).is_err(), "{url:?} as a resume URL");
        assert!(trust.gateway(url).is_err(), "{url:?} from a coordinator");
    }
}

#[test]
fn configured_gateway_is_the_only_one() {
    let configured = trust(Some("ws://127.0.0.1:3900"), None);
    // The coordinator's URL does not count.
    for told in ["ws://10.0.0.66:1", DISCORD_GATEWAY, "", "nonsense"] {
        assert_eq!(configured.gateway(told).unwrap().address().as_str(), "ws://127.0.0.1:3900");
    }
    let gateway = configured.gateway("").unwrap();
    for url in ["ws://127.0.0.1:3900", "ws://127.0.0.1:3900/resume"] {
        assert_eq!(gateway.resume(url).unwrap().as_str(), url);
    }
    for url in [
        "ws://127.0.0.1",
        "ws://127.0.0.1:3901",
        "wss://127.0.0.1:3900",
        "ws://127.0.0.2:3900",
        "ws://localhost:3900",
        "ws://127.0.0.1:3900@10.0.0.66",
        "ws://u@127.0.0.1:3900",
        "ws://127.0.0.1:3900/?x=1",
        "ws://127.0.0.1:3900/#x",
        DISCORD_GATEWAY,
    ] {
        assert!(gateway.resume(url).is_err(), "{url}");
    }
    // A proxy with TLS is never contacted without it.
    let proxy = trust(Some("wss://proxy.internal"), None).gateway("").unwrap();
    assert!(proxy.resume("ws://proxy.internal:443").is_err());
    assert!(proxy.resume("wss://proxy.internal:443/resume").is_ok());
}

#[test]
fn coordinator_may_name_discord_or_the_server_of_the_rest_api() {
    let stand_in = trust(None, Some("http://127.0.0.1:3900/api/v10"));
    for told in ["ws://127.0.0.1:3900", "ws://127.0.0.1:3900/", DISCORD_GATEWAY] {
        assert!(stand_in.gateway(told).is_ok(), "{told}");
    }
    for told in ["ws://127.0.0.1:3901", "ws://127.0.0.1", "ws://10.0.0.66:3900", "ws://gateway.discord.gg"] {
        assert!(stand_in.gateway(told).is_err(), "{told}");
    }
    let tls = trust(None, Some("https://discord.internal"));
    assert!(tls.gateway("wss://discord.internal").is_ok());
    assert!(tls.gateway("ws://discord.internal:443").is_err());
    assert!(trust(None, Some("https://discord.com")).gateway("wss://discord.com").is_ok_and(|gateway| {
        // Discord's API host is not a gateway.
        gateway.resume("wss://evil.com").is_err()
    }));
}

#[test]
fn query_follows_a_slash() {
    let gateway = trust(Some("ws://127.0.0.1:3900"), None).gateway("").unwrap();
    assert_eq!(gateway.address().with_query("v=10"), "ws://127.0.0.1:3900/?v=10");
    let resume = gateway.resume("ws://127.0.0.1:3900/resume").unwrap();
    assert_eq!(resume.with_query("v=10"), "ws://127.0.0.1:3900/resume/?v=10");
}
