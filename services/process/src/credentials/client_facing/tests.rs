//! Real handshakes, with the certificate that is in use.

use std::{fs, net::SocketAddr, sync::Arc, time::Duration};

use http_body_util::Full;
use hyper::{Response, body::Bytes, service::service_fn};
use rcgen::{
    BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, date_time_ymd,
};
use rustls::{
    ClientConfig, RootCertStore, SupportedProtocolVersion,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, ServerName},
    version::{TLS12, TLS13},
};
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};
use tokio_rustls::TlsConnector;
use tokio_util::sync::CancellationToken;

use super::ClientFacingCertificate;
use crate::{
    credentials::{Credentials, Enforcement, Identity, PortSecurity, Role, dns_name, uri},
    server::{Http1, Limits, Listener, serve_http1},
};

struct Ca {
    folder: TempDir,
    certificate: CertificateDer<'static>,
    pem: String,
    issuer: Issuer<'static, KeyPair>,
}

impl Ca {
    fn new() -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        let certificate = params.self_signed(&key).unwrap();
        let (pem, certificate) = (certificate.pem(), certificate.der().clone());
        Self { folder: tempfile::tempdir().unwrap(), certificate, pem, issuer: Issuer::new(params, key) }
    }

    fn path(&self) -> std::path::PathBuf {
        self.folder.path().join("rest.pem")
    }

    /// Writes a certificate for these hosts, its key and the CA.
    fn write(&self, hosts: &[&str], serial: u8, expires: i32) -> (CertificateDer<'static>, KeyPair) {
        let hosts: Vec<String> = hosts.iter().map(|&host| host.to_owned()).collect();
        let mut params = CertificateParams::new(hosts).unwrap();
        params.serial_number = Some(vec![serial].into());
        params.not_after = date_time_ymd(expires, 1, 1);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        let key = KeyPair::generate().unwrap();
        let leaf = params.signed_by(&key, &self.issuer).unwrap();
        fs::write(self.path(), format!("{}{}{}", leaf.pem(), key.serialize_pem(), self.pem)).unwrap();
        (leaf.der().clone(), key)
    }

    /// A client that trusts the CA alone.
    fn client(&self, version: &'static SupportedProtocolVersion) -> ClientConfig {
        self.with_own(version, None)
    }

    fn with_own(
        &self,
        version: &'static SupportedProtocolVersion,
        own: Option<(CertificateDer<'static>, KeyPair)>,
    ) -> ClientConfig {
        let mut roots = RootCertStore::empty();
        roots.add(self.certificate.clone()).unwrap();
        let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_protocol_versions(&[version])
            .unwrap()
            .with_root_certificates(roots);
        match own {
            None => builder.with_no_client_auth(),
            Some((leaf, key)) => {
                let key = PrivateKeyDer::Pkcs8(key.serialize_der().into());
                builder.with_client_auth_cert(vec![leaf], key).unwrap()
            }
        }
    }
}

/// A port that answers each request with whether the connection is encrypted.
async fn serve(security: PortSecurity) -> SocketAddr {
    let listener = Listener::bind("127.0.0.1:0".parse().unwrap(), "test", Limits::HTTP1).await.unwrap();
    let address = listener.address().unwrap();
    let service = service_fn(async |request: hyper::Request<hyper::body::Incoming>| {
        let peer = request.extensions().get::<crate::credentials::Peer>().unwrap();
        assert!(peer.is_on_this_host);
        let text = format!("encrypted: {}", peer.is_tls);
        Ok::<_, std::convert::Infallible>(Response::new(Full::new(Bytes::from(text))))
    });
    let limits = Http1 {
        head_within: Duration::from_secs(5),
        largest_head: 64 * 1024,
        last_answers: Duration::from_secs(1),
    };
    tokio::spawn(serve_http1(listener, security, limits, service, CancellationToken::new()));
    address
}

/// Returns the answer of the port, and the serial number of its certificate.
async fn ask(address: SocketAddr, client: ClientConfig) -> std::io::Result<(String, u8)> {
    let name = ServerName::try_from("localhost").unwrap();
    let stream = TcpStream::connect(address).await?;
    let mut stream = TlsConnector::from(Arc::new(client)).connect(name, stream).await?;
    let leaf = stream.get_ref().1.peer_certificates().unwrap()[0].to_vec();
    let (_, leaf) = x509_parser::parse_x509_certificate(&leaf).unwrap();
    let serial = leaf.raw_serial()[0];
    stream.write_all(b"GET / HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n").await?;
    let mut text = String::new();
    stream.read_to_string(&mut text).await?;
    Ok((text, serial))
}

#[tokio::test]
async fn certificate_is_replaced_while_clients_connect_and_bad_ones_are_not_taken() {
    let ca = Ca::new();
    ca.write(&["localhost"], 1, 2100);
    let certificate = ClientFacingCertificate::open(&ca.path()).unwrap();
    let address = serve(PortSecurity::Clients(certificate.clone())).await;
    for version in [&TLS12, &TLS13] {
        let (text, serial) = ask(address, ca.client(version)).await.unwrap();
        assert!(text.contains("encrypted: true") && serial == 1, "{text}");
    }
    // Callers on this host may stay without TLS: the worker's own bot code does.
    let mut plain = TcpStream::connect(address).await.unwrap();
    plain.write_all(b"GET / HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n").await.unwrap();
    let mut text = String::new();
    plain.read_to_string(&mut text).await.unwrap();
    assert!(text.contains("encrypted: false"), "{text}");

    let codes =
        || -> Vec<&str> { certificate.problems().iter().map(|problem| problem.code.as_str()).collect() };
    ca.write(&["localhost"], 2, 2020);
    let expired = fs::read_to_string(ca.path()).unwrap();
    for bad in ["", "no PEM", &ca.pem, &expired] {
        fs::write(ca.path(), bad).unwrap();
        certificate.read_again();
        assert_eq!(codes(), ["credentials_rejected"], "{bad}");
        assert_eq!(ask(address, ca.client(&TLS13)).await.unwrap().1, 1);
    }
    ca.write(&["localhost"], 3, 2100);
    certificate.read_again();
    assert_eq!(codes(), <[&str; 0]>::default());
    assert_eq!(ask(address, ca.client(&TLS13)).await.unwrap().1, 3);
}

#[test]
fn certificates_that_clients_would_refuse_are_refused_at_the_start() {
    let ca = Ca::new();
    let error = || ClientFacingCertificate::open(&ca.path()).unwrap_err().to_string();
    assert!(error().contains("cannot read"));
    ca.write(&["localhost"], 1, 2020);
    assert!(error().contains("has expired"), "{}", error());
    ca.write(&[], 1, 2100);
    assert!(error().contains("names no host"), "{}", error());
    ca.write(&["localhost"], 1, 2100);
    let other = KeyPair::generate().unwrap().serialize_pem();
    let leaf = fs::read_to_string(ca.path()).unwrap();
    let leaf = leaf.split("-----BEGIN PRIVATE").next().unwrap();
    fs::write(ca.path(), format!("{leaf}{other}")).unwrap();
    assert!(error().contains("cannot be used"), "{}", error());
    fs::write(ca.path(), leaf).unwrap();
    assert!(error().contains("no private key"), "{}", error());
}

/// Such a certificate and key opens nothing that members of the fleet have, although one CA has signed both.
#[tokio::test]
async fn client_facing_certificate_is_none_of_a_member() {
    let ca = Ca::new();
    let own = ca.write(&["localhost"], 1, 2100);
    let fleet = "f".parse().unwrap();
    let error = Credentials::open(&ca.path(), fleet, Enforcement::Enforced).unwrap_err().to_string();
    assert!(error.contains("fleet f"), "{error}");

    // A member's port refuses it. In TLS 1.3 the client learns that when it reads.
    let fleet = "f".parse().unwrap();
    let identity = Identity::new(Role::Coordinator, "c").unwrap();
    let mut params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    params.subject_alt_names.extend([
        rcgen::SanType::URI(uri(&fleet, &identity).try_into().unwrap()),
        rcgen::SanType::DnsName(dns_name(&fleet, Role::Coordinator).try_into().unwrap()),
    ]);
    params.extended_key_usages =
        vec![ExtendedKeyUsagePurpose::ClientAuth, ExtendedKeyUsagePurpose::ServerAuth];
    let key = KeyPair::generate().unwrap();
    let leaf = params.signed_by(&key, &ca.issuer).unwrap().pem();
    let member = ca.folder.path().join("coordinator.pem");
    fs::write(&member, format!("{leaf}{}{}", key.serialize_pem(), ca.pem)).unwrap();
    let credentials = Credentials::open(&member, fleet, Enforcement::Enforced).unwrap();
    let address = serve(PortSecurity::Fleet(credentials)).await;
    assert!(ask(address, ca.client(&TLS13)).await.is_ok(), "without a certificate the handshake succeeds");
    let refused = ask(address, ca.with_own(&TLS13, Some(own))).await;
    assert!(refused.is_err(), "{refused:?}");
}
