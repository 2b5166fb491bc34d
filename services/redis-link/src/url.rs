//! Where Redis is, as one URL.
//!
//! Each host of the URL is parsed by the redis crate as a URL of its own, so a user name, password and IPv6 address mean
//! the same in every form. Nothing here shows the password.

use std::{fmt, path::PathBuf, str::FromStr, sync::Arc};

use redis::{ConnectionInfo, IntoConnectionInfo, TlsCertificates};
use rustls::pki_types::{CertificateDer, pem::PemObject as _};

/// Where Redis is and how to log in.
///
/// - `redis://[user:password@]host[:port][/db]`, `rediss://` for TLS
/// - `redis-sentinel://[user:password@]host:port,host:port[/db]?master=NAME`, `rediss-sentinel://` for TLS; the login is
///   for the Redis servers. A login for the Sentinels: `&sentinel_password=` and `&sentinel_user=`
/// - `redis-cluster://[user:password@]host:port,host:port`, `rediss-cluster://` for TLS
///
/// [`Debug`](fmt::Debug) and [`Display`](fmt::Display) show stars in place of what was before the `@`.
#[derive(Clone)]
pub struct RedisUrl {
    pub(crate) topology: Topology,
    shown: String,
    pub(crate) access: Access,
}

/// What a URL cannot hold.
#[derive(Clone, Default)]
pub(crate) struct Access {
    /// The root of the servers' certificates, when it is a private one.
    pub(crate) root: Option<Arc<TlsCertificates>>,
    /// The file with the password of the Redis servers.
    pub(crate) password_file: Option<Arc<PathBuf>>,
}

impl RedisUrl {
    /// It leads to a Cluster.
    pub fn is_cluster(&self) -> bool {
        matches!(self.topology, Topology::Cluster(_))
    }

    pub(crate) fn uses_tls(&self) -> bool {
        self.shown.starts_with("rediss")
    }

    /// Trusts this certificate authority, in PEM, and no other.
    ///
    /// # Errors
    /// The URL is without TLS, or the text has no certificate.
    pub fn with_root(mut self, pem: Vec<u8>) -> Result<Self, InvalidRedisUrl> {
        if !self.uses_tls() {
            return invalid(
                "a certificate authority needs TLS: rediss://, rediss-sentinel:// or rediss-cluster://",
            );
        }
        let has_certificate = CertificateDer::pem_slice_iter(&pem).all(|certificate| certificate.is_ok())
            && CertificateDer::pem_slice_iter(&pem).next().is_some();
        if !has_certificate {
            return invalid(
                "the file of the certificate authority has no certificate, or a malformed one (PEM)",
            );
        }
        self.access.root = Some(Arc::new(TlsCertificates { client_tls: None, root_cert: Some(pem) }));
        Ok(self)
    }

    /// Trusts the authority that `other` trusts, if it uses TLS.
    pub fn trusting_as(mut self, other: &Self) -> Self {
        if self.uses_tls() {
            self.access.root.clone_from(&other.access.root);
        }
        self
    }

    /// Takes the password of the Redis servers from a file, which is read at each connection.
    ///
    /// # Errors
    /// The URL has a password too.
    pub fn with_password_file(mut self, file: PathBuf) -> Result<Self, InvalidRedisUrl> {
        let has_password = match &self.topology {
            Topology::Single(info) | Topology::Sentinel { login: info, .. } => has_password(info),
            Topology::Cluster(nodes) => nodes.iter().any(has_password),
        };
        if has_password {
            return invalid("it contains a password, and REDIS_PASSWORD_FILE is set too: remove one of them");
        }
        self.access.password_file = Some(Arc::new(file));
        Ok(self)
    }
}

fn has_password(info: &ConnectionInfo) -> bool {
    info.redis_settings().password().is_some()
}

/// What kind of Redis the URL leads to.
#[derive(Clone)]
pub(crate) enum Topology {
    /// One server.
    Single(ConnectionInfo),
    /// A master that Sentinels know.
    Sentinel {
        /// The Sentinels.
        sentinels: Vec<ConnectionInfo>,
        /// The name under which they know the master.
        master: String,
        /// How to log in to the master; its address is another.
        login: ConnectionInfo,
    },
    /// A cluster, by some of its nodes.
    Cluster(Vec<ConnectionInfo>),
}

/// A text that is no Redis URL.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a redis url: {0}")]
pub struct InvalidRedisUrl(String);

fn invalid<T>(why: impl Into<String>) -> Result<T, InvalidRedisUrl> {
    Err(InvalidRedisUrl(why.into()))
}

/// The parts of a URL that may have several hosts.
struct Parts<'a> {
    login: Option<&'a str>,
    hosts: Vec<&'a str>,
    database: &'a str,
    query: &'a str,
}

impl<'a> Parts<'a> {
    fn split(rest: &'a str) -> Self {
        let (login, rest) = match rest.rsplit_once('@') {
            Some((login, rest)) => (Some(login), rest),
            None => (None, rest),
        };
        let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
        let (hosts, database) = rest.split_once('/').unwrap_or((rest, ""));
        Self { login, hosts: hosts.split(',').collect(), database, query }
    }

    /// One host of the URL as the redis crate understands it.
    fn host(
        &self,
        host: &str,
        tls: bool,
        login: Option<&str>,
        default_port: &str,
    ) -> Result<ConnectionInfo, InvalidRedisUrl> {
        if host.is_empty() {
            return invalid("a host is missing");
        }
        let has_port = host.rsplit_once(':').is_some_and(|(_, port)| !port.ends_with(']'));
        let port = if has_port { "" } else { default_port };
        let scheme = if tls { "rediss" } else { "redis" };
        let login = login.map(|login| format!("{login}@")).unwrap_or_default();
        // What can't be read is not repeated: it may be a password in the wrong place.
        format!("{scheme}://{login}{host}{port}/{}", self.database).into_connection_info().or_else(|_| {
            invalid("a host, its port, the database number or the login before the @ cannot be read")
        })
    }

    fn shown(&self, scheme: &str) -> String {
        let login = if self.login.is_some() { "***@" } else { "" };
        let database = if self.database.is_empty() { String::new() } else { format!("/{}", self.database) };
        format!("{scheme}://{login}{}{database}", self.hosts.join(","))
    }
}

/// What a Sentinel URL says after its `?`.
#[derive(Default)]
struct SentinelQuery {
    master: String,
    user: String,
    password: Option<String>,
}

impl SentinelQuery {
    fn parse(query: &str) -> Result<Self, InvalidRedisUrl> {
        let mut parsed = Self::default();
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            match pair.split_once('=') {
                Some(("master", name)) => name.clone_into(&mut parsed.master),
                Some(("sentinel_user", name)) => name.clone_into(&mut parsed.user),
                Some(("sentinel_password", word)) => parsed.password = Some(word.to_owned()),
                _ => {
                    return invalid(
                        "after the ? come master=, sentinel_user=, sentinel_password= and nothing else",
                    );
                }
            }
        }
        if parsed.master.is_empty() {
            return invalid("a sentinel url names the master: ?master=NAME");
        }
        Ok(parsed)
    }

    fn login(&self) -> Option<String> {
        self.password.as_ref().map(|password| format!("{}:{password}", self.user))
    }
}

impl FromStr for RedisUrl {
    type Err = InvalidRedisUrl;

    fn from_str(text: &str) -> Result<Self, InvalidRedisUrl> {
        let Some((scheme, rest)) = text.trim().split_once("://") else {
            return invalid("it starts with redis://, rediss://, redis-sentinel:// or redis-cluster://");
        };
        let (tls, kind) = match scheme {
            "redis" => (false, ""),
            "rediss" => (true, ""),
            "redis-sentinel" => (false, "sentinel"),
            "rediss-sentinel" => (true, "sentinel"),
            "redis-cluster" => (false, "cluster"),
            "rediss-cluster" => (true, "cluster"),
            // A password put in front of the scheme by mistake is not repeated.
            _ => return invalid("its scheme is none of redis, rediss, redis-sentinel, redis-cluster"),
        };
        let parts = Parts::split(rest);
        if rest.contains('#') || parts.login.is_some_and(|login| login.contains(['/', '?'])) {
            return invalid(
                "in user, password and after the ?, the signs / ? # @ are written %2F %3F %23 %40",
            );
        }
        let mut shown = parts.shown(scheme);
        let all = |login: Option<&str>, port| -> Result<Vec<_>, _> {
            parts.hosts.iter().map(|host| parts.host(host, tls, login, port)).collect()
        };
        if kind != "sentinel" && !parts.query.is_empty() {
            return invalid("nothing may follow a ? here");
        }
        let topology = match kind {
            "sentinel" => {
                let query = SentinelQuery::parse(parts.query)?;
                let sentinels = all(query.login().as_deref(), ":26379")?;
                let login = parts.host(parts.hosts[0], tls, parts.login, "")?;
                shown = format!("{shown}?master={}", query.master);
                Topology::Sentinel { sentinels, master: query.master, login }
            }
            "cluster" if !matches!(parts.database, "" | "0") => {
                return invalid("a cluster has no databases but 0");
            }
            "cluster" => Topology::Cluster(all(parts.login, "")?),
            _ if parts.hosts.len() > 1 => {
                return invalid("several hosts need redis-sentinel:// or redis-cluster://");
            }
            _ => Topology::Single(parts.host(parts.hosts[0], tls, parts.login, "")?),
        };
        // A server may repeat in an error what it was sent.
        if let Some((_, password)) = parts.login.and_then(|login| login.split_once(':')) {
            outside_text::hide_secret(password);
        }
        Ok(Self { topology, shown, access: Access::default() })
    }
}

impl fmt::Display for RedisUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.shown)
    }
}

impl fmt::Debug for RedisUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RedisUrl({})", self.shown)
    }
}

#[cfg(test)]
mod tests;
