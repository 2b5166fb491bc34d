//! The certificate of the ports for bots' own clients: the REST proxy.
//!
//! Discord libraries check the server's certificate and have none themselves, so these ports take TLS without client certificates; the
//! bot's token is the credential there. TLS 1.2 is accepted too. The certificate proves no role to members of the fleet.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use arc_swap::ArcSwap;
use fleet_model::Problem;
use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric as _},
    metrics::{MetricType, gauge::ConstGauge},
    registry::Registry,
};
use rustls::{ServerConfig, crypto::ring};
use tokio_util::sync::CancellationToken;
use x509_parser::extensions::GeneralName;

use super::{
    CredentialsError,
    files::ServerFiles,
    loaded::now_unix_s,
    reload::{Rejected, expiry_problem, read_regularly},
};

/// The certificate of client-facing ports, or none. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct ClientFacingCertificate {
    shared: Option<Arc<Shared>>,
}

#[derive(Debug)]
struct Shared {
    path: PathBuf,
    current: ArcSwap<Current>,
    rejected: Rejected,
}

/// The content of the files, ready for use.
#[derive(Debug)]
struct Current {
    server: Arc<ServerConfig>,
    expires_unix_s: i64,
    digest: Vec<u8>,
}

impl ClientFacingCertificate {
    /// No certificate: the ports take plain HTTP.
    pub fn none() -> Self {
        Self::default()
    }

    /// Reads and checks the certificate at `path`: a PEM file, or a folder with `tls.crt` and `tls.key`.
    ///
    /// # Errors
    /// It cannot be read, has expired, names no host, or does not belong to the key.
    pub fn open(path: &Path) -> Result<Self, CredentialsError> {
        let current = Current::new(path, ServerFiles::read(path)?)?;
        let shared = Shared {
            path: path.to_owned(),
            current: ArcSwap::from_pointee(current),
            rejected: Rejected::default(),
        };
        Ok(Self { shared: Some(Arc::new(shared)) })
    }

    /// Whether there is one.
    pub fn is_set(&self) -> bool {
        self.shared.is_some()
    }

    /// The scheme of the ports in URLs.
    pub fn scheme(&self) -> &'static str {
        if self.is_set() { "https" } else { "http" }
    }

    /// Registers `client_facing_certificate_expire_seconds`.
    pub fn register(&self, registry: &mut Registry) {
        registry.register_collector(Box::new(Expiry(self.clone())));
    }

    /// Reads the files every five seconds until `stop`, and takes valid new content.
    pub async fn watch(self, stop: CancellationToken) {
        let Some(shared) = self.shared else { return };
        read_regularly(move || shared.read_again(), stop).await;
    }

    /// Seconds until the certificate expires; negative afterwards.
    pub fn expire_seconds(&self) -> Option<i64> {
        self.shared.as_ref().map(|shared| shared.current.load().expires_unix_s.saturating_sub(now_unix_s()))
    }

    /// The problems of the certificate, for `/health`.
    pub fn problems(&self) -> Vec<Problem> {
        let Some(shared) = &self.shared else { return Vec::new() };
        let expires = shared.current.load().expires_unix_s;
        let remedy = "bots' clients refuse connections: replace the files of CLIENT_FACING_CERTIFICATE";
        let expiry = expiry_problem("the client-facing certificate", expires, remedy);
        shared.rejected.problem().into_iter().chain(expiry).collect()
    }

    /// How a port takes connections; `None` without a certificate.
    pub(crate) fn server(&self) -> Option<Arc<ServerConfig>> {
        self.shared.as_ref().map(|shared| shared.current.load().server.clone())
    }

    /// Reads the files now.
    #[cfg(test)]
    pub(super) fn read_again(&self) {
        if let Some(shared) = &self.shared {
            shared.read_again();
        }
    }
}

impl Shared {
    fn read_again(&self) {
        let read = ServerFiles::read(&self.path).and_then(|files| {
            if files.digest == self.current.load().digest {
                return Ok(None);
            }
            Current::new(&self.path, files).map(Some)
        });
        self.rejected.set(match read {
            Ok(None) => None,
            Ok(Some(current)) => {
                tracing::info!(path = %self.path.display(), "client-facing certificate replaced");
                self.current.store(Arc::new(current));
                None
            }
            Err(error) => Some(format!("client-facing certificate: {error}")),
        });
    }
}

impl Current {
    /// Checks what bots' clients check too, except the CA.
    fn new(path: &Path, files: ServerFiles) -> Result<Self, CredentialsError> {
        let ServerFiles { chain, key, digest } = files;
        let invalid = |problem: String| CredentialsError::Invalid { path: path.to_owned(), problem };
        let expires_unix_s = check(&chain[0]).map_err(|problem| invalid(problem.to_owned()))?;
        let unusable =
            |error: rustls::Error| invalid(format!("the certificate and its key cannot be used: {error}"));
        let mut server = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(unusable)?
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .map_err(unusable)?;
        server.alpn_protocols = vec![b"http/1.1".to_vec()];
        server.ticketer = ring::Ticketer::new().map_err(unusable)?;
        Ok(Self { server: Arc::new(server), expires_unix_s, digest })
    }
}

/// Returns the end of the certificate's validity, in seconds since 1970.
fn check(der: &[u8]) -> Result<i64, &'static str> {
    let (_, certificate) =
        x509_parser::parse_x509_certificate(der).map_err(|_| "the certificate is not X.509")?;
    let (validity, now) = (certificate.validity(), now_unix_s());
    if now > validity.not_after.timestamp() {
        return Err("the certificate has expired");
    }
    if now < validity.not_before.timestamp() {
        return Err("the certificate is not valid yet: check this host's clock");
    }
    let names = certificate.subject_alternative_name().ok().flatten();
    let names = names.map(|names| &names.value.general_names[..]).unwrap_or_default();
    if !names.iter().any(|name| matches!(name, GeneralName::DNSName(_) | GeneralName::IPAddress(_))) {
        return Err("the certificate names no host (subject alternative name), so clients would refuse it");
    }
    let usage = certificate.extended_key_usage().ok().flatten();
    if usage.is_some_and(|usage| !usage.value.server_auth && !usage.value.any) {
        return Err("the certificate is not for servers (extended key usage), so clients would refuse it");
    }
    Ok(validity.not_after.timestamp())
}

/// Shows the time until the certificate expires.
#[derive(Debug)]
struct Expiry(ClientFacingCertificate);

impl Collector for Expiry {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let help = "Seconds until the certificate of client-facing ports expires; negative afterwards";
        let name = "client_facing_certificate_expire_seconds";
        let metric = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
        match self.0.expire_seconds() {
            Some(left) => ConstGauge::new(left).encode(metric),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests;
