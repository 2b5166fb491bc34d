//! The credentials of this process, which are replaced when their files change.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
};

use arc_swap::ArcSwap;
use fleet_model::{Problem, ProblemCode};
use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric as _},
    metrics::{MetricType, gauge::ConstGauge},
    registry::Registry,
};
use rustls::{
    ClientConfig, ServerConfig,
    pki_types::{CertificateDer, ServerName},
};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::{
    ACCESS_LIST, AccessList, CredentialsError, FleetName, Identity, PlainCallers, Role, TokenHash,
    caller::PeerCertificate,
    dns_name,
    files::{Files, read_access_list},
    loaded::{Loaded, Protocol, now_unix_s},
    reload::{Rejected, expiry_problem, read_regularly},
};

/// What happens to callers without credentials.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Enforcement {
    /// They are served and counted, while a fleet changes over.
    Optional,
    /// They are refused.
    Enforced,
}

/// The credentials of this process, or none. Clones share them.
#[derive(Clone, Debug, Default)]
pub struct Credentials {
    shared: Option<Arc<Shared>>,
    /// A port that is open to other hosts although there are no credentials.
    open_port: Option<SocketAddr>,
}

#[derive(Debug)]
struct Shared {
    path: PathBuf,
    fleet: FleetName,
    enforcement: Enforcement,
    current: ArcSwap<Loaded>,
    /// Read apart from the certificate: a new revocation counts even while this process's own certificate is invalid.
    access: ArcSwap<AccessList>,
    /// Sent after each new list.
    access_replaced: watch::Sender<()>,
    rejected: Rejected,
    /// Changes when `current` does.
    replaced: watch::Sender<()>,
    counts: PlainCallers,
}

impl Credentials {
    /// No credentials: every caller is served.
    pub fn none() -> Self {
        Self::default()
    }

    /// Reads and checks the credentials at `path`, a PEM file or a folder.
    ///
    /// # Errors
    /// They cannot be read, or are invalid, expired, revoked or of another fleet.
    pub fn open(path: &Path, fleet: FleetName, enforcement: Enforcement) -> Result<Self, CredentialsError> {
        let loaded = Loaded::new(path, Files::read(path)?, &fleet)?;
        let access = read_access_list(path)?.unwrap_or_default();
        if access.is_revoked(&loaded.serial) {
            let problem = "the certificate was revoked: issue a new one".to_owned();
            return Err(CredentialsError::Invalid { path: path.to_owned(), problem });
        }
        let shared = Shared {
            path: path.to_owned(),
            fleet,
            enforcement,
            current: ArcSwap::from_pointee(loaded),
            access: ArcSwap::from_pointee(access),
            access_replaced: watch::Sender::default(),
            rejected: Rejected::default(),
            replaced: watch::Sender::default(),
            counts: PlainCallers::default(),
        };
        Ok(Self { shared: Some(Arc::new(shared)), open_port: None })
    }

    /// The same, with a port that other hosts reach without credentials.
    pub(super) fn with_open_port(self, port: SocketAddr) -> Self {
        Self { open_port: Some(port), ..self }
    }

    /// Whether this process has credentials.
    pub fn is_set(&self) -> bool {
        self.shared.is_some()
    }

    /// Whether callers without credentials are refused.
    pub fn is_enforced(&self) -> bool {
        self.enforcement() == Some(Enforcement::Enforced)
    }

    /// What this process's certificate says.
    pub fn identity(&self) -> Option<Identity> {
        self.shared.as_ref().map(|shared| shared.current.load().identity.clone())
    }

    /// What happens to callers without credentials, if this process has some itself.
    pub(super) fn enforcement(&self) -> Option<Enforcement> {
        self.shared.as_ref().map(|shared| shared.enforcement)
    }

    /// Registers `credentials_expire_seconds` and the counts of calls.
    pub fn register(&self, registry: &mut Registry) {
        self.counts().cloned().unwrap_or_default().register(registry);
        registry.register_collector(Box::new(Expiry(self.clone())));
    }

    /// Counts of callers.
    pub(super) fn counts(&self) -> Option<&PlainCallers> {
        self.shared.as_ref().map(|shared| &shared.counts)
    }

    /// Changes each time that the process takes new credentials; `None` without any.
    pub fn replaced(&self) -> Option<watch::Receiver<()>> {
        self.shared.as_ref().map(|shared| shared.replaced.subscribe())
    }

    /// The head keys, which sign the heads of checkpoints, the newest first.
    pub fn head_keys(&self) -> Vec<Vec<u8>> {
        self.shared.as_ref().map(|shared| shared.current.load().head_keys.clone()).unwrap_or_default()
    }

    /// Seconds until the certificate expires; negative afterwards.
    pub fn expire_seconds(&self) -> Option<i64> {
        self.shared.as_ref().map(|shared| shared.current.load().expires_unix_s.saturating_sub(now_unix_s()))
    }

    /// The scheme of this process's own gRPC port in URLs: `https` once callers need TLS. Before, callers without credentials must reach it.
    pub fn scheme(&self) -> &'static str {
        if self.is_enforced() { "https" } else { "http" }
    }

    /// How a port of this process takes connections; `None` without credentials.
    pub(crate) fn server(&self, protocol: Protocol) -> Option<Arc<ServerConfig>> {
        self.shared.as_ref().map(|shared| shared.current.load().server(protocol))
    }

    /// How this process connects to a server with a role, and the name that it expects there.
    pub(crate) fn client(&self, role: Role) -> Option<(Arc<ClientConfig>, ServerName<'static>)> {
        let shared = self.shared.as_ref()?;
        let name = ServerName::try_from(dns_name(&shared.fleet, role)).ok()?;
        Some((shared.current.load().client.clone(), name))
    }

    /// Returns whose certificate a verified chain is.
    pub(crate) fn peer(&self, chain: &[CertificateDer<'_>]) -> Result<Option<PeerCertificate>, &'static str> {
        let Some(shared) = &self.shared else { return Ok(None) };
        let peer = Loaded::peer(chain, &shared.fleet)?;
        if peer.as_ref().is_some_and(|peer| self.is_revoked(peer)) {
            return Err("the certificate was revoked");
        }
        Ok(peer)
    }

    /// Returns the bearer of a token.
    pub(crate) fn bearer(&self, token: &TokenHash) -> Option<Identity> {
        self.shared.as_ref()?.access.load().bearer(token).cloned()
    }

    /// Waits until a token no longer belongs to this bearer.
    pub(super) async fn wait_removed(self, token: TokenHash, bearer: Identity) {
        let Some(shared) = self.shared else { return std::future::pending().await };
        let mut replaced = shared.access_replaced.subscribe();
        while shared.access.load().bearer(&token) == Some(&bearer) {
            if replaced.changed().await.is_err() {
                return;
            }
        }
    }

    /// Whether a certificate was revoked since its connection was made.
    pub(crate) fn is_revoked(&self, certificate: &PeerCertificate) -> bool {
        self.shared.as_ref().is_some_and(|shared| shared.access.load().is_revoked(&certificate.serial))
    }

    /// Reads the files now.
    #[cfg(test)]
    pub(super) fn read_again(&self) {
        if let Some(shared) = &self.shared {
            shared.read_again();
        }
    }

    /// Reads the files every five seconds until `stop`, and takes valid new content. Kubernetes replaces links, so content is compared.
    pub async fn watch(self, stop: CancellationToken) {
        let Some(shared) = self.shared else { return };
        read_regularly(move || shared.read_again(), stop).await;
    }

    /// The problems of the credentials, for `/health`.
    pub fn problems(&self) -> Vec<Problem> {
        let mut problems = Vec::new();
        if let Some(port) = self.open_port {
            let text = format!("port {port} is open to other hosts without credentials (INSECURE_NETWORK)");
            problems.push(Problem::new(ProblemCode::InsecureNetwork, text));
        }
        let Some(shared) = &self.shared else { return problems };
        problems.extend(shared.rejected.problem());
        let remedy =
            "other programs refuse new connections: issue a new one (`altergolden credentials issue`)";
        problems.extend(expiry_problem("the certificate", shared.current.load().expires_unix_s, remedy));
        if shared.enforcement == Enforcement::Optional {
            let (calls, callers) = shared.counts.seen();
            let text = if calls == 0 {
                "callers without credentials are served (CREDENTIALS_OPTIONAL); none has called yet"
                    .to_owned()
            } else {
                format!(
                    "calls served without credentials (CREDENTIALS_OPTIONAL): {calls}, from {}",
                    callers.join(", ")
                )
            };
            problems.push(Problem::new(ProblemCode::CredentialsOptional, text));
        }
        problems
    }
}

/// Shows the time until the certificate expires.
#[derive(Debug)]
struct Expiry(Credentials);

impl Collector for Expiry {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let help = "Seconds until the certificate of this process expires; negative afterwards";
        let metric =
            encoder.encode_descriptor("credentials_expire_seconds", help, None, MetricType::Gauge)?;
        match self.0.expire_seconds() {
            Some(left) => ConstGauge::new(left).encode(metric),
            None => Ok(()),
        }
    }
}

impl Shared {
    /// A list that is gone is not an empty one: that would admit what was revoked.
    fn read_access_list_again(&self) -> Result<(), CredentialsError> {
        let known = self.access.load_full();
        match read_access_list(&self.path)? {
            Some(list) if list != *known => {
                tracing::info!(path = %self.path.display(), "access list replaced");
                self.access.store(Arc::new(list));
                self.access_replaced.send_replace(());
            }
            None if *known != AccessList::default() => {
                let problem = format!("{ACCESS_LIST} beside it is gone: put it back, or an empty one");
                return Err(CredentialsError::Invalid { path: self.path.clone(), problem });
            }
            _ => {}
        }
        Ok(())
    }

    fn read_again(&self) {
        let access = self.read_access_list_again();
        let read = Files::read(&self.path).and_then(|files| {
            if files.digest == self.current.load().digest {
                return Ok(None);
            }
            Loaded::new(&self.path, files, &self.fleet).map(Some)
        });
        let rejected = access.err().map(|error| error.to_string());
        let rejected = match read {
            Ok(None) => rejected,
            Ok(Some(loaded)) if loaded.identity.role != self.current.load().identity.role => Some(format!(
                "{}: the new certificate has the role {}, which is not the role of this process; restore the right file",
                self.path.display(),
                loaded.identity.role
            )),
            Ok(Some(loaded)) => {
                tracing::info!(path = %self.path.display(), identity = %loaded.identity, "credentials replaced");
                self.current.store(Arc::new(loaded));
                self.replaced.send_replace(());
                rejected
            }
            Err(error) => Some(error.to_string()),
        };
        self.rejected.set(rejected);
    }
}
