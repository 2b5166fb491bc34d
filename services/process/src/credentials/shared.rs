//! The credentials of this process, which are replaced when their files change.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
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
use tokio_util::sync::CancellationToken;

use super::{
    CredentialsError, FleetName, Identity, PlainCallers, Role,
    caller::PeerCertificate,
    dns_name,
    files::Files,
    loaded::{Loaded, Protocol, now_unix_s},
};

/// How often the files are read.
const READ_EVERY: Duration = Duration::from_secs(5);

/// How long before its end a certificate is a problem: 14 days.
const EXPIRES_SOON_S: i64 = 14 * 24 * 60 * 60;

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
    /// Why the newest content of the files is not in use.
    rejected: Mutex<Option<String>>,
    counts: PlainCallers,
}

fn load(path: &Path, fleet: &FleetName) -> Result<Loaded, CredentialsError> {
    Loaded::new(path, Files::read(path)?, fleet)
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
        let loaded = load(path, &fleet)?;
        let shared = Shared {
            path: path.to_owned(),
            fleet,
            enforcement,
            current: ArcSwap::from_pointee(loaded),
            rejected: Mutex::default(),
            counts: PlainCallers::default(),
        };
        Ok(Self { shared: Some(Arc::new(shared)), open_port: None })
    }

    /// No credentials, with a port that other hosts reach.
    pub(super) fn without(open_port: SocketAddr) -> Self {
        Self { shared: None, open_port: Some(open_port) }
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

    /// Keys for the records of checkpoints, the newest first.
    pub fn record_keys(&self) -> Vec<Vec<u8>> {
        self.shared.as_ref().map(|shared| shared.current.load().record_keys.clone()).unwrap_or_default()
    }

    /// Seconds until the certificate expires; negative afterwards.
    pub fn expire_seconds(&self) -> Option<i64> {
        self.shared.as_ref().map(|shared| shared.current.load().expires_unix_s.saturating_sub(now_unix_s()))
    }

    /// The URL scheme under which this process's gRPC port is advertised.
    pub fn scheme(&self) -> &'static str {
        if self.is_set() { "https" } else { "http" }
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
        self.shared.as_ref().map_or(Ok(None), |shared| shared.current.load().peer(chain, &shared.fleet))
    }

    /// Returns the bearer of a token.
    pub(super) fn bearer(&self, token: &str) -> Option<Identity> {
        self.shared.as_ref()?.current.load().access.bearer(token).cloned()
    }

    /// Whether a certificate was revoked since its connection was made.
    pub(super) fn is_revoked(&self, certificate: &PeerCertificate) -> bool {
        self.shared
            .as_ref()
            .is_some_and(|shared| shared.current.load().access.is_revoked(&certificate.serial))
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
        let mut ticks = tokio::time::interval(READ_EVERY);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        while stop.run_until_cancelled(ticks.tick()).await.is_some() {
            let reading = shared.clone();
            if let Err(error) = tokio::task::spawn_blocking(move || reading.read_again()).await {
                tracing::error!(%error, "reading the credentials failed");
            }
        }
    }

    /// The problems of the credentials, for `/health`.
    pub fn problems(&self) -> Vec<Problem> {
        if let Some(port) = self.open_port {
            let text = format!("port {port} is open to other hosts without credentials (INSECURE_NETWORK)");
            return vec![Problem::new(ProblemCode::InsecureNetwork, text)];
        }
        let Some(shared) = &self.shared else { return Vec::new() };
        let mut problems = Vec::new();
        if let Some(why) = shared.rejected.lock().unwrap_or_else(PoisonError::into_inner).clone() {
            problems.push(Problem::new(ProblemCode::CredentialsRejected, why));
        }
        let left = shared.current.load().expires_unix_s.saturating_sub(now_unix_s());
        if left < EXPIRES_SOON_S {
            let text = if left < 0 {
                "the certificate has expired: new connections are refused".to_owned()
            } else {
                format!(
                    "the certificate expires in {}",
                    humantime::format_duration(Duration::from_secs(left.unsigned_abs() / 3600 * 3600))
                )
            };
            problems.push(Problem::new(ProblemCode::CredentialsExpire, text));
        }
        if shared.enforcement == Enforcement::Optional {
            let (calls, callers) = shared.counts.seen();
            let text = if calls == 0 {
                "callers without credentials are served (CREDENTIALS_OPTIONAL); none has called yet"
                    .to_owned()
            } else {
                format!(
                    "{calls} calls without credentials were served (CREDENTIALS_OPTIONAL), of {}",
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
    fn read_again(&self) {
        let read = Files::read(&self.path).and_then(|files| {
            if files.digest == self.current.load().digest {
                return Ok(None);
            }
            Loaded::new(&self.path, files, &self.fleet).map(Some)
        });
        let rejected = match read {
            Ok(None) => None,
            Ok(Some(loaded)) if loaded.identity.role != self.current.load().identity.role => Some(format!(
                "{}: the new certificate has the role {}",
                self.path.display(),
                loaded.identity.role
            )),
            Ok(Some(loaded)) => {
                tracing::info!(path = %self.path.display(), identity = %loaded.identity, "credentials replaced");
                self.current.store(Arc::new(loaded));
                None
            }
            Err(error) => Some(error.to_string()),
        };
        let mut known = self.rejected.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(why) = &rejected
            && known.as_ref() != Some(why)
        {
            tracing::warn!(why, "new credentials rejected; the old ones stay in use");
        }
        *known = rejected;
    }
}
