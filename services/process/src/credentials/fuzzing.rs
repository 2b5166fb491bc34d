//! Fuzz targets of credentials and settings: files, access lists, certificates of peers, values.

use std::sync::Arc;

use axum::{body::Body, http::Request};
use fuzz::Target;
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, ExtendedKeyUsagePurpose, IsCa, KeyPair, SanType,
};

use super::{
    ACCESS_LIST, AccessList, Credentials, Enforcement, FleetName, Identity, Peer, Role, TokenHash,
    loaded::Loaded,
};
use crate::{
    settings::{ApiOrigin, GatewayUrl, duration, metrics_prefix},
    telemetry::{
        health::{HealthSource, Verdict, routes},
        metrics::Metrics,
    },
};
use serde_json::{Value, json};
use tower::ServiceExt as _;

/// The PEM file of a worker, and its certificate.
fn worker() -> (String, Vec<u8>) {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    let ca = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    let mut params = CertificateParams::new(vec!["worker.altergolden.altergolden".to_owned()]).unwrap();
    params.subject_alt_names.push(SanType::URI("altergolden://altergolden/worker/w".try_into().unwrap()));
    params.extended_key_usages =
        vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
    let key = KeyPair::generate().unwrap();
    let leaf = params.signed_by(&key, &ca).unwrap();
    let record = "-----BEGIN ALTERGOLDEN HEAD KEY-----\nAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n-----END ALTERGOLDEN HEAD KEY-----\n";
    (format!("{}{}{}{record}", leaf.pem(), key.serialize_pem(), ca.pem()), leaf.der().to_vec())
}

#[test]
fn credentials_files() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("worker.pem");
    let fleet: FleetName = "altergolden".parse().unwrap();
    let (pem, _) = worker();
    std::fs::write(&path, &pem).unwrap();
    Credentials::open(&path, fleet.clone(), Enforcement::Enforced).unwrap();
    let words = ["-----BEGIN ", "-----END ", "PRIVATE KEY-----", "CERTIFICATE-----", "\n", "="];
    Target::new("credentials files", [pem]).words(words).memory(4 << 20, 100).run(|input| {
        std::fs::write(&path, input).unwrap();
        if let Err(error) = Credentials::open(&path, fleet.clone(), Enforcement::Enforced) {
            let text = error.to_string();
            assert!(text.len() < 2_000 && !text.contains("-----"), "{text}");
        }
    });
}

#[test]
fn certificates_of_peers() {
    let fleet: FleetName = "altergolden".parse().unwrap();
    let (_, der) = worker();
    Target::new("certificates of peers", [der]).words(["altergolden://", "/worker/"]).run(|input| {
        let _ = Loaded::peer(&[input.into()], &fleet);
    });
}

#[test]
fn access_lists() {
    let hash = TokenHash::of("token").to_string();
    let list =
        format!("# tokens\ntoken operator alice {hash}\ntoken bot shop {hash} # old\nrevoked 0A:1b:2c\n\n");
    let words = ["token ", "revoked ", "operator ", "worker ", "#", ":"];
    Target::new("access lists", [list]).words(words).memory(1 << 20, 200).run_text(|text| {
        match AccessList::parse(text) {
            Ok(list) => assert!(list.bearer(&TokenHash::of("another token")).is_none()),
            // A line may be a token.
            Err(error) => assert!(error.to_string().len() < 300, "{error}"),
        }
    });
}

#[test]
fn values_of_settings() {
    let examples = [
        "500ms",
        "1m 30s",
        "http://127.0.0.1:3900",
        "wss://gateway.discord.gg/?v=10",
        "altergolden",
        "worker",
        "altergolden://altergolden/worker/w-1",
    ];
    let fleet: FleetName = "altergolden".parse().unwrap();
    Target::new("values of settings", examples).words(["y", "ns", "https://", "@", "?"]).run_text(|text| {
        let _ = (duration(text), metrics_prefix(text), text.parse::<ApiOrigin>(), text.parse::<GatewayUrl>());
        let _ = text.parse::<FleetName>();
        if let Ok(role) = text.parse::<Role>() {
            assert_eq!(role.to_string(), text);
        }
        if let Some(identity) = Identity::from_uri(text, &fleet) {
            assert!(text.contains(identity.role.to_string().as_str()));
        }
    });
}

struct Named;

impl HealthSource for Named {
    fn health(&self) -> (Verdict, Value) {
        (Verdict::Healthy, json!({ "worker": "a-name" }))
    }

    fn ready(&self) -> (bool, Value) {
        (true, json!({ "ready": true }))
    }
}

/// The health port of a process with credentials, asked from this host and from another one.
#[test]
fn health_ports() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("coordinator.pem");
    std::fs::write(&path, worker().0).unwrap();
    let list =
        format!("token operator alice {}\ntoken bot shop {}\n", TokenHash::of("one"), TokenHash::of("w"));
    std::fs::write(folder.path().join(ACCESS_LIST), list).unwrap();
    let fleet: FleetName = "altergolden".parse().unwrap();
    let credentials = Credentials::open(&path, fleet, Enforcement::Enforced).unwrap();
    let router = routes(Arc::new(Named), Metrics::new("altergolden", |_| {}), credentials);
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let examples = [
        "GET /health\nhost: localhost:3001\n",
        "GET /metrics\nauthorization: Bearer one\nhost: 10.0.0.1\n",
        "GET /health\nauthorization: bearer w\nhost: [::1]:3001\norigin: http://x\n",
        "HEAD /live\n",
        "GET /ready?a=b\n",
    ];
    let words =
        ["authorization: ", "Bearer ", "host: ", "localhost", "127.0.0.1", "/health", "%2fhealth", "//"];
    Target::new("health ports", examples).words(words).run_text(|text| {
        let mut lines = text.split('\n');
        let (method, uri) =
            lines.next().and_then(|first| first.split_once(' ')).unwrap_or(("GET", "/health"));
        let headers: Vec<_> = lines.filter_map(|line| line.split_once(':')).take(100).collect();
        for (address, is_tls) in
            [("127.0.0.1:7", false), ("127.0.0.1:7", true), ("10.0.0.7:7", false), ("10.0.0.7:7", true)]
        {
            let mut request = Request::builder().method(method).uri(uri);
            for (name, value) in &headers {
                request = request.header(name.trim(), value.trim());
            }
            let address: std::net::SocketAddr = address.parse().unwrap();
            let is_local = address.ip().is_loopback();
            let peer = Peer::without_certificate(Some(address), is_local, is_tls);
            let Ok(request) = request.extension(peer).body(Body::empty()) else { return };
            let says_token = text.contains("one");
            let text = runtime.block_on(async {
                let answer = router.clone().oneshot(request).await.unwrap();
                let bytes = axum::body::to_bytes(answer.into_body(), 16 << 20).await.unwrap();
                String::from_utf8_lossy(&bytes).into_owned()
            });
            let names = text.contains("a-name") || text.contains("# TYPE");
            assert!(!names || is_local || (is_tls && says_token), "{text}");
        }
    });
}
