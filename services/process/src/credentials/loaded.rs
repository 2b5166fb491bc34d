//! Credentials that were checked, as the TLS library takes them.

use std::{path::Path, sync::Arc, time::SystemTime};

use rustls::{
    ClientConfig, RootCertStore, ServerConfig,
    crypto::{CryptoProvider, ring},
    pki_types::{CertificateDer, UnixTime},
    server::WebPkiClientVerifier,
    version::TLS13,
};
use x509_parser::extensions::GeneralName;

use super::{CredentialsError, FleetName, Identity, caller::PeerCertificate, files::Files};

/// The protocol that a port speaks (ALPN, [RFC 7301](https://www.rfc-editor.org/rfc/rfc7301)).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// HTTP/2, for gRPC.
    Http2,
    /// HTTP/1.1.
    Http1,
}

/// The content of the files, ready for use.
pub(super) struct Loaded {
    pub(super) identity: Identity,
    pub(super) serial: Vec<u8>,
    /// The end of the certificate's validity, in seconds since 1970.
    pub(super) expires_unix_s: i64,
    pub(super) head_keys: Vec<Vec<u8>>,
    pub(super) digest: Vec<u8>,
    http2: Arc<ServerConfig>,
    http1: Arc<ServerConfig>,
    pub(super) client: Arc<ClientConfig>,
}

impl std::fmt::Debug for Loaded {
    /// Without keys.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Loaded").field("identity", &self.identity).finish_non_exhaustive()
    }
}

impl Loaded {
    /// Checks the files: the certificate is valid now, of this fleet, and belongs to the key.
    pub(super) fn new(path: &Path, files: Files, fleet: &FleetName) -> Result<Self, CredentialsError> {
        let Files { chain, key, roots, head_keys, digest } = files;
        let invalid = |problem: String| CredentialsError::Invalid { path: path.to_owned(), problem };
        let own = read_certificate(&chain[0], fleet)
            .map_err(|problem| invalid(format!("the certificate is invalid: {problem}")))?
            .ok_or_else(|| CredentialsError::OtherFleet { path: path.to_owned(), fleet: fleet.clone() })?;

        let provider = Arc::new(ring::default_provider());
        let mut store = RootCertStore::empty();
        for root in roots {
            store.add(root).map_err(|error| invalid(format!("a CA certificate is invalid: {error}")))?;
        }
        let store = Arc::new(store);
        let tls =
            |error: rustls::Error| invalid(format!("the certificate and its key cannot be used: {error}"));
        let verifier = WebPkiClientVerifier::builder_with_provider(store.clone(), provider.clone())
            .allow_unauthenticated()
            .build()
            .map_err(|error| invalid(format!("the CA certificate cannot be used: {error}")))?;
        // A certificate that this process would refuse from another one is of no use to it.
        verifier.verify_client_cert(&chain[0], &chain[1..], UnixTime::now()).map_err(tls)?;

        let server =
            |protocol: &[u8]| server(&provider, verifier.clone(), &chain, &key, protocol).map_err(tls);
        let (http2, http1) = (server(b"h2")?, server(b"http/1.1")?);
        let mut client = ClientConfig::builder_with_provider(provider.clone())
            .with_protocol_versions(&[&TLS13])
            .map_err(tls)?
            .with_root_certificates(store)
            .with_client_auth_cert(chain.clone(), key.clone_key())
            .map_err(tls)?;
        client.alpn_protocols = vec![b"h2".to_vec()];
        Ok(Self {
            identity: own.certificate.identity,
            serial: own.certificate.serial,
            expires_unix_s: own.expires_unix_s,
            head_keys,
            digest,
            http2,
            http1,
            client: Arc::new(client),
        })
    }

    pub(super) fn server(&self, protocol: Protocol) -> Arc<ServerConfig> {
        match protocol {
            Protocol::Http2 => self.http2.clone(),
            Protocol::Http1 => self.http1.clone(),
        }
    }

    /// Returns whose certificate a verified chain is.
    ///
    /// # Errors
    /// The certificate has no name of this fleet, or has expired. A resumed session is checked like a new one.
    pub(super) fn peer(
        chain: &[CertificateDer<'_>],
        fleet: &FleetName,
    ) -> Result<Option<PeerCertificate>, &'static str> {
        let Some(leaf) = chain.first() else { return Ok(None) };
        let read = read_certificate(leaf, fleet)?.ok_or("the certificate has no name of this fleet")?;
        if read.expires_unix_s < now_unix_s() {
            return Err("the certificate has expired");
        }
        Ok(Some(read.certificate))
    }
}

pub(super) fn now_unix_s() -> i64 {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(now.as_secs()).unwrap_or(i64::MAX)
}

fn server(
    provider: &Arc<CryptoProvider>,
    verifier: Arc<dyn rustls::server::danger::ClientCertVerifier>,
    chain: &[CertificateDer<'static>],
    key: &rustls::pki_types::PrivateKeyDer<'static>,
    protocol: &[u8],
) -> Result<Arc<ServerConfig>, rustls::Error> {
    let mut config = ServerConfig::builder_with_provider(provider.clone())
        .with_protocol_versions(&[&TLS13])?
        .with_client_cert_verifier(verifier)
        .with_single_cert(chain.to_vec(), key.clone_key())?;
    config.alpn_protocols = vec![protocol.to_vec()];
    // Without it, each reconnecting worker costs two signatures.
    config.ticketer = ring::Ticketer::new()?;
    Ok(Arc::new(config))
}

struct ReadCertificate {
    certificate: PeerCertificate,
    expires_unix_s: i64,
}

/// Reads name, serial number and end of a certificate; `None` if it has no name of this fleet, or several.
fn read_certificate(der: &[u8], fleet: &FleetName) -> Result<Option<ReadCertificate>, &'static str> {
    let (_, certificate) = x509_parser::parse_x509_certificate(der).map_err(|_| "it is not X.509")?;
    let names = certificate.subject_alternative_name().map_err(|_| "its names are malformed")?;
    let names = names.map(|names| &names.value.general_names[..]).unwrap_or_default();
    let mut identities = names.iter().filter_map(|name| match name {
        GeneralName::URI(uri) => Identity::from_uri(uri, fleet),
        _ => None,
    });
    let (Some(identity), None) = (identities.next(), identities.next()) else { return Ok(None) };
    let serial = certificate.raw_serial().to_vec();
    let expires_unix_s = certificate.validity().not_after.timestamp();
    Ok(Some(ReadCertificate { certificate: PeerCertificate { identity, serial }, expires_unix_s }))
}
