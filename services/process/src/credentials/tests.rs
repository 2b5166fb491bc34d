//! Real handshakes and calls, with certificates that are made here.

use std::{convert::Infallible, fs, net::SocketAddr, path::PathBuf, sync::Arc, time::Duration};

use axum::{Router, body::Body, routing::get};
use futures_util::{StreamExt as _, stream};
use hyper_util::rt::TokioIo;
use rcgen::{
    BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, SanType,
    date_time_ymd,
};
use rustls::HandshakeKind;
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    time::{Instant, timeout},
};
use tokio_rustls::{TlsAcceptor, TlsConnector, client::TlsStream};
use tokio_util::sync::CancellationToken;
use tonic::{
    Code, Request, Status, Streaming,
    service::Routes,
    transport::{Channel, Endpoint},
};
use tonic_health::pb::{HealthCheckRequest, HealthCheckResponse, health_server::HealthServer};

use super::{
    Credentials, Enforcement, FleetName, Identity, Role, TokenHash, dns_name, loaded::Protocol, uri,
};
use crate::{
    client::GrpcServer,
    server::{Limits, Listener, serve_grpc},
    telemetry::{
        health::{HealthServer as HealthPort, HealthSource, Verdict, for_readers},
        metrics::Metrics,
    },
};

const PATIENCE: Duration = Duration::from_secs(8);
const REGISTER: &str = "/altergolden.v1.Coordinator/Register";
const START_PLAN: &str = "/altergolden.v1.Fleet/StartPlan";
const FIND_GUILD: &str = "/altergolden.v1.ShardBridge/FindGuild";
const HEALTH: &str = "/grpc.health.v1.Health/Check";

/// A CA and its certificates, as files.
struct Ca {
    folder: TempDir,
    certificate: String,
    issuer: Issuer<'static, KeyPair>,
}

impl Ca {
    fn new() -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        let certificate = params.self_signed(&key).unwrap().pem();
        Self { folder: tempfile::tempdir().unwrap(), certificate, issuer: Issuer::new(params, key) }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Writes the access list.
    fn admit(&self, list: &str) {
        fs::write(self.path(super::ACCESS_LIST), list).unwrap();
    }

    /// Writes the credentials of one process.
    fn write(&self, file: &str, fleet: &str, role: Role, name: &str, serial: u8, expires: i32) -> PathBuf {
        let (fleet, identity) = (fleet.parse().unwrap(), Identity::new(role, name).unwrap());
        let mut params = CertificateParams::default();
        params.serial_number = Some(vec![serial].into());
        params.not_after = date_time_ymd(expires, 1, 1);
        params.subject_alt_names = vec![
            SanType::URI(uri(&fleet, &identity).try_into().unwrap()),
            SanType::DnsName(dns_name(&fleet, role).try_into().unwrap()),
        ];
        params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ClientAuth, ExtendedKeyUsagePurpose::ServerAuth];
        let key = KeyPair::generate().unwrap();
        let leaf = params.signed_by(&key, &self.issuer).unwrap().pem();
        let path = self.path(file);
        fs::write(&path, format!("{leaf}{}{}", key.serialize_pem(), self.certificate)).unwrap();
        path
    }

    fn credentials(&self, role: Role) -> Credentials {
        let path = self.write(&format!("{role}.pem"), "f", role, "any", 10 + role as u8, 2100);
        open(&path, Enforcement::Enforced)
    }
}

fn open(path: &std::path::Path, enforcement: Enforcement) -> Credentials {
    Credentials::open(path, fleet(), enforcement).unwrap()
}

fn fleet() -> FleetName {
    "f".parse().unwrap()
}

type Named = HealthServer<tonic_health::server::HealthService>;

/// A server of a role, without services of the fleet: a call that credentials allow is unimplemented.
async fn serve(credentials: Credentials, limits: Limits) -> SocketAddr {
    let listener = Listener::bind("127.0.0.1:0".parse().unwrap(), "test", limits).await.unwrap();
    let address = listener.address().unwrap();
    let routes = Routes::default();
    let stop = CancellationToken::new();
    let descriptors = tonic_health::pb::FILE_DESCRIPTOR_SET;
    tokio::spawn(serve_grpc::<Named>(listener, credentials, routes, descriptors, stop));
    address
}

async fn connect(url: &str, credentials: &Credentials, server: Role) -> Result<Channel, String> {
    let server_at = GrpcServer::new(url, PATIENCE, PATIENCE).unwrap();
    server_at.connect(credentials, server).await.map_err(|error| {
        let mut cause: &dyn std::error::Error = &error;
        while let Some(deeper) = cause.source() {
            cause = deeper;
        }
        cause.to_string()
    })
}

async fn call_with(channel: &Channel, path: &'static str, token: Option<&str>) -> Result<(), Status> {
    let mut client = tonic::client::Grpc::new(channel.clone());
    client.ready().await.map_err(|error| Status::unknown(error.to_string()))?;
    let mut request = Request::new(HealthCheckRequest::default());
    if let Some(token) = token {
        request.metadata_mut().insert("authorization", format!("Bearer {token}").parse().unwrap());
    }
    let codec = tonic_prost::ProstCodec::<HealthCheckRequest, HealthCheckResponse>::default();
    client.unary(request, http::uri::PathAndQuery::from_static(path), codec).await.map(drop)
}

async fn code(channel: &Channel, path: &'static str) -> Code {
    call_with(channel, path, None).await.map_or_else(|status| status.code(), |()| Code::Ok)
}

/// Whether a bot with these credentials can make a call that bots may make.
async fn reaches(url: &str, credentials: &Credentials) -> bool {
    match connect(url, credentials, Role::Coordinator).await {
        Ok(channel) => code(&channel, FIND_GUILD).await == Code::Unimplemented,
        Err(_) => false,
    }
}

#[tokio::test]
async fn roles_decide_which_calls_pass() {
    let ca = Ca::new();
    let url = format!("https://{}", serve(ca.credentials(Role::Coordinator), Limits::GRPC).await);
    // Allowed calls reach the router, which has no such service.
    for (role, register, plan, guild) in [
        (Role::Worker, Code::Unimplemented, Code::PermissionDenied, Code::PermissionDenied),
        (Role::Bot, Code::PermissionDenied, Code::PermissionDenied, Code::Unimplemented),
        (Role::Operator, Code::PermissionDenied, Code::Unimplemented, Code::Unimplemented),
        (Role::Supervisor, Code::PermissionDenied, Code::PermissionDenied, Code::PermissionDenied),
        (Role::Coordinator, Code::PermissionDenied, Code::PermissionDenied, Code::PermissionDenied),
    ] {
        let channel = connect(&url, &ca.credentials(role), Role::Coordinator).await.unwrap();
        let codes = [
            code(&channel, REGISTER).await,
            code(&channel, START_PLAN).await,
            code(&channel, FIND_GUILD).await,
        ];
        assert_eq!(codes, [register, plan, guild], "{role}");
        assert_eq!(code(&channel, HEALTH).await, Code::Ok, "{role}");
    }
}

#[tokio::test]
async fn callers_without_credentials_get_health_only_until_they_are_optional() {
    let ca = Ca::new();
    let path = ca.write("coordinator.pem", "f", Role::Coordinator, "c", 1, 2100);
    let enforced = serve(open(&path, Enforcement::Enforced), Limits::GRPC).await;
    let channel =
        connect(&format!("http://{enforced}"), &Credentials::none(), Role::Coordinator).await.unwrap();
    let refused = call_with(&channel, FIND_GUILD, None).await.unwrap_err();
    assert_eq!(refused.code(), Code::Unauthenticated);
    assert!(refused.message().contains("https://"), "{refused}");
    assert_eq!(code(&channel, HEALTH).await, Code::Ok);

    let credentials = open(&path, Enforcement::Optional);
    let optional = serve(credentials.clone(), Limits::GRPC).await;
    let channel =
        connect(&format!("http://{optional}"), &Credentials::none(), Role::Coordinator).await.unwrap();
    assert_eq!(code(&channel, FIND_GUILD).await, Code::Unimplemented);
    let problems = credentials.problems();
    let text = problems.iter().map(ToString::to_string).collect::<String>();
    assert!(text.contains(": 1, ") && text.contains("127.0.0.1 (ShardBridge)"), "{text}");
    // A bearer token does not travel in the clear, even while credentials are optional.
    let refused = call_with(&channel, FIND_GUILD, Some("secret")).await.unwrap_err();
    assert!(refused.code() == Code::Unauthenticated && refused.message().contains("replace it"), "{refused}");
}

#[tokio::test]
async fn certificates_of_others_are_refused_on_both_sides() {
    let ca = Ca::new();
    let url = format!("https://{}", serve(ca.credentials(Role::Worker), Limits::GRPC).await);
    let own = ca.credentials(Role::Coordinator);
    // The server has another role than the client expects.
    let error = connect(&url, &own, Role::Coordinator).await.unwrap_err();
    assert!(error.contains("not valid for name"), "{error}");
    connect(&url, &own, Role::Worker).await.unwrap();
    // Another CA.
    let error = connect(&url, &Ca::new().credentials(Role::Coordinator), Role::Worker).await.unwrap_err();
    assert!(error.contains("invalid peer certificate"), "{error}");
    // The same CA, and another fleet.
    let other = ca.write("other.pem", "g", Role::Coordinator, "c", 3, 2100);
    let other = Credentials::open(&other, "g".parse().unwrap(), Enforcement::Enforced).unwrap();
    connect(&url, &other, Role::Worker).await.unwrap_err();
    // No credentials.
    let error = connect(&url, &Credentials::none(), Role::Worker).await.unwrap_err();
    assert!(error.contains("CREDENTIALS"), "{error}");
}

#[tokio::test]
async fn token_counts_more_than_the_certificate() {
    let ca = Ca::new();
    let list = format!("token operator alice {}\n", TokenHash::of("right"));
    fs::write(ca.path(super::ACCESS_LIST), list).unwrap();
    let url = format!("https://{}", serve(ca.credentials(Role::Coordinator), Limits::GRPC).await);
    let channel = connect(&url, &ca.credentials(Role::Bot), Role::Coordinator).await.unwrap();
    let with = async |token| call_with(&channel, START_PLAN, token).await.unwrap_err().code();
    assert_eq!(with(None).await, Code::PermissionDenied);
    assert_eq!(with(Some("right")).await, Code::Unimplemented);
    assert_eq!(with(Some("wrong")).await, Code::Unauthenticated);
}

#[tokio::test]
async fn files_are_read_again_and_bad_ones_leave_the_old_in_use() {
    let ca = Ca::new();
    let server = ca.credentials(Role::Coordinator);
    let url = format!("https://{}", serve(server.clone(), Limits::GRPC).await);
    let bot = ca.credentials(Role::Bot);
    let channel = connect(&url, &bot, Role::Coordinator).await.unwrap();
    assert_eq!(code(&channel, FIND_GUILD).await, Code::Unimplemented);

    // Revoked: the open connection ends, and a new one is refused.
    let serial = 10 + Role::Bot as u8;
    fs::write(ca.path(super::ACCESS_LIST), format!("revoked {serial:02x}\n")).unwrap();
    server.read_again();
    assert_ne!(code(&channel, FIND_GUILD).await, Code::Unimplemented);
    assert!(!reaches(&url, &bot).await);
    // A list that is gone admits no revoked certificate.
    fs::remove_file(ca.path(super::ACCESS_LIST)).unwrap();
    server.read_again();
    let problems: Vec<&str> = server.problems().iter().map(|problem| problem.code.as_str()).collect();
    assert_eq!(problems, ["credentials_rejected"]);
    assert!(!reaches(&url, &bot).await);
    // The list counts although the certificate beside it is no longer valid.
    let other = ca.path("coordinator.pem");
    let valid = fs::read_to_string(&other).unwrap();
    fs::write(&other, "").unwrap();
    fs::write(ca.path(super::ACCESS_LIST), "").unwrap();
    server.read_again();
    assert!(reaches(&url, &bot).await);
    fs::write(&other, valid).unwrap();

    for bad in ["", "no PEM", &fs::read_to_string(ca.path("bot.pem")).unwrap()] {
        fs::write(ca.path("coordinator.pem"), bad).unwrap();
        server.read_again();
        let problems: Vec<&str> = server.problems().iter().map(|problem| problem.code.as_str()).collect();
        assert_eq!(problems, ["credentials_rejected"], "{}", bad.len());
        connect(&url, &ca.credentials(Role::Worker), Role::Coordinator).await.unwrap();
    }
    ca.write("coordinator.pem", "f", Role::Coordinator, "c", 9, 2100);
    server.read_again();
    assert_eq!(server.problems(), []);
    assert_eq!(server.identity().unwrap().name, "c");
}

#[test]
fn credentials_that_others_would_refuse_are_refused_at_the_start() {
    let ca = Ca::new();
    let error =
        |path: PathBuf| Credentials::open(&path, fleet(), Enforcement::Enforced).unwrap_err().to_string();
    assert!(error(ca.write("a.pem", "f", Role::Worker, "a", 1, 2020)).contains("xpired"));
    assert!(error(ca.write("a.pem", "g", Role::Worker, "a", 1, 2100)).contains("fleet f (FLEET"));
    assert!(error(ca.path("none.pem")).contains("cannot read"));
    fs::write(ca.path(super::ACCESS_LIST), "revoked 05\n").unwrap();
    assert!(error(ca.write("a.pem", "f", Role::Worker, "a", 5, 2100)).contains("revoked"));
    fs::write(ca.path(super::ACCESS_LIST), "token operator a secret\n").unwrap();
    let text = error(ca.write("a.pem", "f", Role::Worker, "a", 6, 2100));
    assert!(text.contains("line 1") && !text.contains("secret"), "{text}");
}

#[tokio::test]
async fn clients_that_never_finish_the_handshake_do_not_delay_others() {
    let ca = Ca::new();
    let limits = Limits { connections: 65, greeting_within: Duration::from_millis(700), ..Limits::GRPC };
    let address = serve(ca.credentials(Role::Coordinator), limits).await;
    let began = Instant::now();
    let mut silent = Vec::new();
    for _ in 0..64 {
        silent.push(TcpStream::connect(address).await.unwrap());
    }
    let url = format!("https://{address}");
    let bot = ca.credentials(Role::Bot);
    let served = connect(&url, &bot, Role::Coordinator);
    let channel = timeout(PATIENCE, served).await.unwrap().unwrap();
    assert_eq!(code(&channel, FIND_GUILD).await, Code::Unimplemented);
    assert!(began.elapsed() < PATIENCE);
    for mut stream in silent {
        let mut sink = Vec::new();
        let _ =
            timeout(PATIENCE, stream.read_to_end(&mut sink)).await.expect("the server closes the connection");
    }
}

const WATCH: &str = "/grpc.health.v1.Health/Watch";

/// Opens a stream that says nothing more after its first message.
async fn open_stream(channel: &Channel, token: Option<&str>) -> Streaming<HealthCheckResponse> {
    let mut client = tonic::client::Grpc::new(channel.clone());
    client.ready().await.unwrap();
    let mut request = Request::new(HealthCheckRequest::default());
    if let Some(token) = token {
        request.metadata_mut().insert("authorization", format!("Bearer {token}").parse().unwrap());
    }
    let codec = tonic_prost::ProstCodec::<HealthCheckRequest, HealthCheckResponse>::default();
    let path = http::uri::PathAndQuery::from_static(WATCH);
    let mut stream = client.server_streaming(request, path, codec).await.unwrap().into_inner();
    stream.message().await.unwrap().unwrap();
    stream
}

#[tokio::test]
async fn removed_token_ends_its_open_streams_and_no_others() {
    let ca = Ca::new();
    let line = |role, name, token| format!("token {role} {name} {}\n", TokenHash::of(token));
    let (alice, bob) = (line("operator", "alice", "one"), line("operator", "bob", "two"));
    ca.admit(&format!("{alice}{bob}"));
    let server = ca.credentials(Role::Coordinator);
    let url = format!("https://{}", serve(server.clone(), Limits::GRPC).await);
    let channel = connect(&url, &ca.credentials(Role::Monitor), Role::Coordinator).await.unwrap();
    let mut removed = open_stream(&channel, Some("one")).await;
    let mut kept = open_stream(&channel, Some("two")).await;
    let mut by_certificate = open_stream(&channel, None).await;

    // Another list with the same token changes nothing.
    ca.admit(&format!("# both\n{bob}{alice}revoked 0a0b\n"));
    server.read_again();
    assert!(timeout(Duration::from_millis(100), removed.message()).await.is_err());
    ca.admit(&bob);
    server.read_again();
    let ended = timeout(PATIENCE, removed.message()).await.unwrap().unwrap_err();
    assert_eq!(ended.code(), Code::Unauthenticated, "{ended}");
    assert!(ended.message().contains("removed"), "{ended}");
    // The same token with another role is another right.
    for stream in [&mut kept, &mut by_certificate] {
        assert!(timeout(Duration::from_millis(100), stream.message()).await.is_err());
    }
    ca.admit(&line("bot", "bob", "two"));
    server.read_again();
    let ended = timeout(PATIENCE, kept.message()).await.unwrap().unwrap_err();
    assert_eq!(ended.code(), Code::Unauthenticated, "{ended}");
    assert!(timeout(Duration::from_millis(100), by_certificate.message()).await.is_err());
}

/// A TLS connection of a client without a certificate.
async fn without_certificate(ca: &Ca, address: SocketAddr, protocol: &[u8]) -> TlsStream<TcpStream> {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(pem::parse(&ca.certificate).unwrap().into_contents().into()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![protocol.to_vec()];
    let name = dns_name(&fleet(), Role::Coordinator).try_into().unwrap();
    let stream = TcpStream::connect(address).await.unwrap();
    TlsConnector::from(Arc::new(config)).connect(name, stream).await.unwrap()
}

/// Says nothing of itself.
struct Silent;

impl HealthSource for Silent {
    fn health(&self) -> (Verdict, serde_json::Value) {
        (Verdict::Healthy, serde_json::Value::Null)
    }

    fn ready(&self) -> (bool, serde_json::Value) {
        (true, serde_json::Value::Null)
    }
}

#[tokio::test]
async fn removed_token_ends_what_it_reads_over_http1() {
    let ca = Ca::new();
    ca.admit(&format!("token monitor page {}\n", TokenHash::of("one")));
    let credentials = ca.credentials(Role::Coordinator);
    // As the live page's stream.
    let endless = async || {
        let first = stream::iter([Ok::<_, Infallible>("first")]);
        Body::from_stream(first.chain(stream::pending()))
    };
    let routes = Router::new().route("/stream", get(endless));
    let routes = for_readers(routes, credentials.clone());
    let any = "127.0.0.1:0".parse().unwrap();
    let server = HealthPort::bind(any, "", credentials.clone()).await.unwrap().with_routes(routes);
    let address = server.address();
    let metrics = Metrics::new("test", |_| {});
    tokio::spawn(server.serve(Arc::new(Silent), metrics, CancellationToken::new()));

    let mut client = without_certificate(&ca, address, b"http/1.1").await;
    let head = "GET /stream HTTP/1.1\r\nhost: x\r\nauthorization: Bearer one\r\n\r\n";
    client.write_all(head.as_bytes()).await.unwrap();
    let mut read = Vec::new();
    while !String::from_utf8_lossy(&read).contains("first") {
        assert_ne!(client.read_buf(&mut read).await.unwrap(), 0, "{}", String::from_utf8_lossy(&read));
    }
    ca.admit("");
    credentials.read_again();
    let rest = async {
        while !read.ends_with(b"0\r\n\r\n") {
            assert_ne!(client.read_buf(&mut read).await.unwrap(), 0, "{}", String::from_utf8_lossy(&read));
        }
    };
    timeout(PATIENCE, rest).await.expect("the stream ends");
}

#[tokio::test]
async fn clients_that_prove_nothing_make_room_for_members() {
    let ca = Ca::new();
    ca.admit(&format!("token bot shop {}\n", TokenHash::of("one")));
    // Silent clients alone have every place.
    let full = serve(ca.credentials(Role::Coordinator), Limits { connections: 4, ..Limits::GRPC }).await;
    let mut first = Vec::new();
    for _ in 0..8 {
        first.push(TcpStream::connect(full).await.unwrap());
    }
    assert!(reaches(&format!("https://{full}"), &ca.credentials(Role::Bot)).await);

    let limits = Limits { connections: 16, ..Limits::GRPC };
    let address = serve(ca.credentials(Role::Coordinator), limits).await;
    let url = format!("https://{address}");
    let bot = ca.credentials(Role::Bot);
    // Two that have proven who they are, one of them by a token.
    let member = connect(&url, &bot, Role::Coordinator).await.unwrap();
    let mut stream = Some(TokioIo::new(without_certificate(&ca, address, b"h2").await));
    let once = tower::service_fn(move |_| std::future::ready(stream.take().ok_or("one connection only")));
    let bearer = Endpoint::from_static("http://x").connect_with_connector(once).await.unwrap();
    assert_eq!(call_with(&bearer, FIND_GUILD, Some("one")).await.unwrap_err().code(), Code::Unimplemented);
    // Silent ones, and half a handshake: three times as many as there are places.
    let mut silent = Vec::new();
    for n in 0..48 {
        let mut stream = TcpStream::connect(address).await.unwrap();
        if n % 2 == 0 {
            let _ = stream.write_all(&[22, 3, 1, 2, 0, 1, 0]).await;
        }
        silent.push(stream);
        if n % 12 == 11 {
            let channel = timeout(PATIENCE, connect(&url, &bot, Role::Coordinator)).await.unwrap().unwrap();
            assert_eq!(code(&channel, FIND_GUILD).await, Code::Unimplemented);
        }
    }
    // Their connections are the ones from before.
    assert_eq!(code(&member, FIND_GUILD).await, Code::Unimplemented);
    assert_eq!(call_with(&bearer, FIND_GUILD, Some("one")).await.unwrap_err().code(), Code::Unimplemented);
}

#[tokio::test]
async fn removed_token_keeps_no_place() {
    let ca = Ca::new();
    ca.admit(&format!("token bot shop {}\n", TokenHash::of("one")));
    let credentials = ca.credentials(Role::Coordinator);
    let address = serve(credentials.clone(), Limits { connections: 2, ..Limits::GRPC }).await;
    let mut bearers = Vec::new();
    for _ in 0..2 {
        let mut stream = Some(TokioIo::new(without_certificate(&ca, address, b"h2").await));
        let once = tower::service_fn(move |_| std::future::ready(stream.take().ok_or("one connection only")));
        let bearer = Endpoint::from_static("http://x").connect_with_connector(once).await.unwrap();
        assert_eq!(
            call_with(&bearer, FIND_GUILD, Some("one")).await.unwrap_err().code(),
            Code::Unimplemented
        );
        bearers.push(bearer);
    }
    ca.admit("");
    credentials.read_again();
    assert!(reaches(&format!("https://{address}"), &ca.credentials(Role::Bot)).await);
}

/// A whole handshake costs each side a signature and the check of a chain; many workers reconnect at once.
#[tokio::test]
async fn reconnecting_client_resumes_its_session() {
    let ca = Ca::new();
    let (coordinator, worker) = (ca.credentials(Role::Coordinator), ca.credentials(Role::Worker));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    for wanted in [HandshakeKind::Full, HandshakeKind::Resumed, HandshakeKind::Resumed] {
        let server = async {
            let (stream, _) = listener.accept().await.unwrap();
            let acceptor = TlsAcceptor::from(coordinator.server(Protocol::Http2).unwrap());
            let mut stream = acceptor.accept(stream).await.unwrap();
            stream.write_u8(7).await.unwrap();
            stream.shutdown().await.unwrap();
            let connection = stream.get_ref().1;
            let peer = coordinator.peer(connection.peer_certificates().unwrap_or_default()).unwrap();
            (connection.handshake_kind(), peer.map(|peer| peer.identity.role))
        };
        let client = async {
            let (config, name) = worker.client(Role::Coordinator).unwrap();
            let stream = TcpStream::connect(address).await.unwrap();
            let mut stream = TlsConnector::from(config).connect(name, stream).await.unwrap();
            // The tickets come before it.
            assert_eq!(stream.read_u8().await.unwrap(), 7);
            stream.get_ref().1.handshake_kind()
        };
        let (at_server, at_client) = tokio::join!(server, client);
        assert_eq!((at_server, at_client), ((Some(wanted), Some(Role::Worker)), Some(wanted)));
    }
}
