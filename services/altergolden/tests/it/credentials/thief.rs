//! A client with stolen credentials, or with none: it speaks to a port directly, and checks nothing of itself.

use std::{error::Error as _, fs, future::ready, path::Path, sync::Arc, time::Duration};

use fleet_fixture::CredentialsFolder;
use futures_util::{Stream, stream};
use hyper_util::rt::TokioIo;
use process::credentials::{FleetName, Identity, Role, dns_name, uri};
use prost::Message;
use rcgen::{CertificateParams, ExtendedKeyUsagePurpose, Issuer, KeyPair, SanType};
use rustls::pki_types::PrivatePkcs8KeyDer;
use time::OffsetDateTime;
use tokio::{net::TcpStream, time::timeout};
use tokio_rustls::{TlsConnector, client::TlsStream};
use tonic::{
    Code, Request, Status, Streaming,
    transport::{Channel, Endpoint},
};

/// How long a port may take to answer.
const PATIENCE: Duration = Duration::from_secs(20);

/// What a client has stolen.
#[derive(Clone, Debug, Default)]
pub(super) struct Loot {
    /// A credentials file.
    pub(super) file: Option<String>,
    /// A bearer token.
    pub(super) token: Option<String>,
    /// It does not even encrypt.
    pub(super) is_plain: bool,
}

impl Loot {
    pub(super) fn file(path: &Path) -> Self {
        Self { file: Some(fs::read_to_string(path).unwrap()), ..Self::default() }
    }

    pub(super) fn token(token: &str) -> Self {
        Self { token: Some(token.to_owned()), ..Self::default() }
    }
}

/// A connection to one port.
pub(super) struct Thief {
    channel: Channel,
    token: Option<String>,
}

impl Thief {
    /// Connects to a server of a role at `HOST:PORT`.
    pub(super) async fn connect(
        folder: &CredentialsFolder,
        loot: &Loot,
        server: Role,
        address: &str,
    ) -> Result<Self, String> {
        let channel = if loot.is_plain {
            Endpoint::from_shared(format!("http://{address}")).unwrap().connect().await
        } else {
            let stream = tls(folder, loot.file.as_deref(), server, address, b"h2").await?;
            let mut stream = Some(TokioIo::new(stream));
            let once = tower::service_fn(move |_| {
                ready(stream.take().ok_or_else(|| std::io::Error::other("the connection has ended")))
            });
            Endpoint::from_static("http://stolen").connect_with_connector(once).await
        };
        Ok(Self { channel: channel.map_err(|error| error.to_string())?, token: loot.token.clone() })
    }

    /// Makes any call with this message, and returns the answers.
    pub(super) async fn call<A, B>(
        &self,
        path: &str,
        messages: impl Stream<Item = A> + Send + 'static,
    ) -> Result<Streaming<B>, Status>
    where
        A: Message + Default + 'static,
        B: Message + Default + 'static,
    {
        let mut client = tonic::client::Grpc::new(self.channel.clone());
        client.ready().await.map_err(|error| Status::unknown(error.to_string()))?;
        let mut request = Request::new(messages);
        if let Some(token) = &self.token {
            request.metadata_mut().insert("authorization", format!("Bearer {token}").parse().unwrap());
        }
        let codec = tonic_prost::ProstCodec::<A, B>::default();
        let path = path.parse::<http::uri::PathAndQuery>().unwrap();
        let calling = client.streaming(request, path, codec);
        let late = |_| Status::deadline_exceeded("no answer");
        Ok(timeout(PATIENCE, calling).await.map_err(late)??.into_inner())
    }

    /// The first answer to a message.
    pub(super) async fn ask<A, B>(&self, path: &str, message: A) -> Result<B, Status>
    where
        A: Message + Default + 'static,
        B: Message + Default + 'static,
    {
        let mut answers = self.call::<A, B>(path, stream::iter([message])).await?;
        let late = |_| Status::deadline_exceeded("no answer");
        let first = timeout(PATIENCE, answers.message()).await.map_err(late)??;
        first.ok_or_else(|| Status::unknown("the stream ended without an answer"))
    }

    /// How far a call gets whose message is empty.
    pub(super) async fn reach(&self, path: &str) -> Reach {
        match self.call::<(), ()>(path, stream::iter([()])).await.err() {
            // Only the statuses that did not come over the wire have a cause.
            Some(status) if status.source().is_some() => Reach::NoConnection,
            Some(status) if status.code() == Code::Unauthenticated => Reach::Refused,
            // The services themselves refuse in other words.
            Some(status) if status.message().starts_with("the role ") => Reach::Refused,
            _ => Reach::Service,
        }
    }
}

/// How far a call gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reach {
    /// The connection is refused.
    NoConnection,
    /// The call is refused before a service sees it.
    Refused,
    /// The service answers.
    Service,
}

/// Makes the TLS handshake with the certificate and key of a credentials file, or without.
pub(super) async fn tls(
    folder: &CredentialsFolder,
    file: Option<&str>,
    server: Role,
    address: &str,
    protocol: &[u8],
) -> Result<TlsStream<TcpStream>, String> {
    let ca = fs::read_to_string(folder.path().join("ca.pem")).unwrap();
    let mut roots = rustls::RootCertStore::empty();
    roots.add(pem::parse(ca).unwrap().into_contents().into()).unwrap();
    let config =
        rustls::ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots);
    let mut config = match file {
        None => config.with_no_client_auth(),
        Some(file) => {
            let blocks = pem::parse_many(file).unwrap();
            let block = |tag| blocks.iter().find(|block| block.tag() == tag).unwrap().contents().to_vec();
            let key = PrivatePkcs8KeyDer::from(block("PRIVATE KEY"));
            config.with_client_auth_cert(vec![block("CERTIFICATE").into()], key.into()).unwrap()
        }
    };
    config.alpn_protocols = vec![protocol.to_vec()];
    let name = dns_name(&"altergolden".parse().unwrap(), server).try_into().unwrap();
    let stream = TcpStream::connect(address).await.map_err(|error| error.to_string())?;
    TlsConnector::from(Arc::new(config)).connect(name, stream).await.map_err(|error| error.to_string())
}

/// Makes a certificate with the CA of a folder: what `altergolden credentials issue` does not.
pub(super) fn issue(
    folder: &CredentialsFolder,
    fleet: &str,
    identity: &Identity,
    (begins, ends): (OffsetDateTime, OffsetDateTime),
) -> String {
    let read = |name: &str| fs::read_to_string(folder.path().join(name)).unwrap();
    let (ca, ca_key) = (read("ca.pem"), KeyPair::from_pem(&read("ca.key")).unwrap());
    let fleet: FleetName = fleet.parse().unwrap();
    let mut params = CertificateParams::default();
    (params.not_before, params.not_after) = (begins, ends);
    params.subject_alt_names = vec![
        SanType::URI(uri(&fleet, identity).try_into().unwrap()),
        SanType::DnsName(dns_name(&fleet, identity.role).try_into().unwrap()),
    ];
    params.extended_key_usages =
        vec![ExtendedKeyUsagePurpose::ClientAuth, ExtendedKeyUsagePurpose::ServerAuth];
    let key = KeyPair::generate().unwrap();
    let issuer = Issuer::from_ca_cert_pem(&ca, &ca_key).unwrap();
    let leaf = params.signed_by(&key, &issuer).unwrap().pem();
    format!("{leaf}{}{ca}", key.serialize_pem())
}
