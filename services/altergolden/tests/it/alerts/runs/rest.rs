//! Alerts about the REST proxy.

use std::{collections::BTreeMap, fs, path::Path};

use discord_sim::{Fault, LimitScope, RestAnswer, SimConfig};
use fleet_fixture::{http, sim_config};
use rcgen::{CertificateParams, KeyPair};
use time::{Duration, OffsetDateTime};
use tokio::task::JoinSet;

use super::scene::Scene;

/// Where a request of the bot goes: the proxy of worker `a`.
async fn proxy_of_a(scene: &mut Scene) -> String {
    let address = scene.worker("a").process.logged("REST proxy listening", "address").await;
    format!("http://{address}/api/v10/users/@me")
}

/// Sends a request as the bot does; the status of the answer.
async fn ask(url: &str) -> u16 {
    http::get_as(url, "Bot a-token-of-the-tests").await.unwrap().0
}

fn answers(status: u16, headers: &[(&str, &str)], body: &str, times: u32) -> Fault {
    let headers = headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    Fault::RestAnswer(RestAnswer {
        route: Some("/users/@me".to_owned()),
        times: Some(times),
        status: Some(status),
        headers: headers.collect::<BTreeMap<_, _>>(),
        body: body.to_owned(),
        ..RestAnswer::default()
    })
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes minutes: .ci/night alerts"]
async fn alerts_about_rest_limits_and_blocks_fire_and_clear() {
    let mut scene = Scene::start(1).await;
    scene.start_worker("a", &[("REST_LONGEST_WAIT", "3s")]).await;
    scene.until_ready().await;
    scene.until_scraped().await;
    let url = proxy_of_a(&mut scene).await;
    assert_eq!(ask(&url).await, 200);

    // Another program uses up the limit of the token.
    scene.inject(Fault::RateLimit { count: 1, scope: LimitScope::Global, retry_after: 0.5 });
    assert_eq!(ask(&url).await, 200, "sent again");
    scene.fires("RestGlobalLimit").await;

    // A turn that comes too late.
    scene.inject(Fault::RateLimit { count: 1, scope: LimitScope::User, retry_after: 10.0 });
    assert_eq!((ask(&url).await, ask(&url).await), (429, 429));
    scene.fires("RestQueueFull").await;
    scene.clears("RestGlobalLimit").await;
    scene.clears("RestQueueFull").await;

    // Cloudflare blocks the address.
    let blocked = [("server", "cloudflare"), ("content-type", "text/plain"), ("retry-after", "10")];
    scene.inject(answers(429, &blocked, "error code: 1015", 1));
    assert_eq!((ask(&url).await, ask(&url).await), (429, 503));
    scene.fires("RestBlocked").await;
    scene.clears("RestBlocked").await;
    assert_eq!(ask(&url).await, 200);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes minutes: .ci/night alerts"]
async fn alert_about_refused_requests_fires_and_clears() {
    const SENDERS: u32 = 8;
    const EACH: u32 = 640;
    let config = SimConfig { rest_global_limit: 100_000, ..sim_config(40) };
    let mut scene = Scene::with(config, 1).await;
    scene.start_worker("a", &[("REST_GLOBAL_PER_SECOND", "100000")]).await;
    scene.until_ready().await;
    scene.until_scraped().await;
    let url = proxy_of_a(&mut scene).await;
    let missing_access = r#"{"message": "Missing Access", "code": 50001}"#;
    let of_discord = [("via", "1.1 google"), ("content-type", "application/json")];
    scene.inject(answers(403, &of_discord, missing_access, SENDERS * EACH));
    let mut senders = JoinSet::new();
    for _ in 0..SENDERS {
        let url = url.clone();
        senders.spawn(async move {
            for _ in 0..EACH {
                assert_eq!(ask(&url).await, 403);
            }
        });
    }
    senders.join_all().await;
    scene.fires("RestInvalidRequests").await;
    scene.clears("RestInvalidRequests").await;
}

/// Writes a certificate for localhost that expires in `days` days.
fn write_certificate(path: &Path, days: i64) {
    let mut params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    params.not_before = OffsetDateTime::now_utc() - Duration::hours(1);
    params.not_after = OffsetDateTime::now_utc() + Duration::days(days);
    let key = KeyPair::generate().unwrap();
    let pem = params.self_signed(&key).unwrap().pem();
    fs::write(path, format!("{pem}{}", key.serialize_pem())).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes minutes: .ci/night alerts"]
async fn alert_about_a_certificate_fires_and_clears() {
    let folder = tempfile::tempdir().unwrap();
    let pem = folder.path().join("rest.pem");
    write_certificate(&pem, 10);
    let mut scene = Scene::start(1).await;
    scene.start_worker("a", &[("CLIENT_FACING_CERTIFICATE", pem.to_str().unwrap())]).await;
    scene.until_ready().await;
    scene.fires("CredentialsExpire").await;
    // The worker reads the new file without a restart.
    write_certificate(&pem, 90);
    scene.clears("CredentialsExpire").await;
}
