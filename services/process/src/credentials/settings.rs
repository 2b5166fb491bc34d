//! Settings of credentials, which every program has.

use std::{net::SocketAddr, path::PathBuf};

use clap::builder::BoolishValueParser;

use super::{ClientFacingCertificate, Credentials, Enforcement, FleetName, Role};
use crate::settings::SettingsError;

/// Where the credentials are, and what happens without them.
#[derive(Clone, Debug, Default, clap::Args)]
#[command(next_help_heading = "Credentials")]
pub struct CredentialsArgs {
    /// Certificate, key and CA of this process: a PEM file, the folder of `altergolden credentials init`, or a folder with tls.crt, tls.key and ca.crt
    #[arg(long, env = "CREDENTIALS", value_name = "PATH")]
    pub credentials: Option<PathBuf>,

    /// Also serve callers without credentials, and count their calls; only while a running fleet is given credentials
    #[arg(long, env = "CREDENTIALS_OPTIONAL", hide_short_help = true, value_parser = BoolishValueParser::new())]
    pub credentials_optional: bool,

    /// Name of the fleet in certificates; by default REDIS_PREFIX
    #[arg(long, env = "FLEET", hide_short_help = true, value_name = "NAME")]
    pub fleet: Option<FleetName>,

    /// Listen on other addresses than loopback without credentials: every host that reaches the ports controls the fleet
    #[arg(long, env = "INSECURE_NETWORK", hide_short_help = true, value_parser = BoolishValueParser::new())]
    pub insecure_network: bool,
}

/// The certificate of ports for bots' own clients.
#[derive(Clone, Debug, Default, clap::Args)]
#[command(next_help_heading = "Credentials")]
pub struct ClientFacingArgs {
    /// Certificate and key of the REST proxy: a PEM file, or a folder with tls.crt and tls.key; clients on other hosts then need https
    #[arg(long, env = "CLIENT_FACING_CERTIFICATE", value_name = "PATH")]
    pub client_facing_certificate: Option<PathBuf>,
}

impl ClientFacingArgs {
    /// Reads the certificate.
    ///
    /// # Errors
    /// It is invalid.
    pub fn open(&self) -> Result<ClientFacingCertificate, SettingsError> {
        let Some(path) = &self.client_facing_certificate else { return Ok(ClientFacingCertificate::none()) };
        ClientFacingCertificate::open(path).map_err(|error| {
            SettingsError::new("--client-facing-certificate (CLIENT_FACING_CERTIFICATE)", error)
        })
    }
}

const SETTING: &str = "--credentials (CREDENTIALS)";

/// What a port demands of other hosts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protection {
    /// Credentials, if the program has some.
    Credentials,
    /// A certificate of its own, and the bot's token: the REST proxy, whose clients have no certificates.
    ClientFacing,
    /// The bot's token alone, unencrypted.
    None,
}

/// A port that a program binds.
#[derive(Clone, Copy, Debug)]
pub struct Listening {
    /// The flag of its address.
    pub setting: &'static str,
    /// Where it listens.
    pub address: SocketAddr,
    /// What other hosts need to use it.
    pub protection: Protection,
}

impl CredentialsArgs {
    /// Returns the name of the fleet.
    ///
    /// # Errors
    /// REDIS_PREFIX is no name for a fleet, and FLEET is not set.
    pub fn fleet(&self, prefix: &str) -> Result<FleetName, SettingsError> {
        let of_prefix = || prefix.parse();
        let fleet = self.fleet.clone().map_or_else(of_prefix, Ok);
        fleet.map_err(|why| {
            SettingsError::new(
                "--fleet (FLEET)",
                format!("must be set, because REDIS_PREFIX ({prefix}) is not a valid fleet name: {why}"),
            )
        })
    }

    /// Reads the credentials of a program with this role, which binds `ports`.
    ///
    /// # Errors
    /// They are invalid, or of another role. There are none, and a port is open to other hosts.
    pub fn open(&self, prefix: &str, role: Role, ports: &[Listening]) -> Result<Credentials, SettingsError> {
        if self.credentials.is_none() {
            return self.without(ports);
        }
        let credentials = self.load(prefix, role)?;
        if let Some(identity) = credentials.identity().filter(|identity| identity.role != role) {
            let problem =
                format!("the certificate has the role {}, and this program needs {role}", identity.role);
            return Err(SettingsError::new(SETTING, problem));
        }
        if let Some(port) = open_ports(ports).find(|port| port.protection == Protection::None) {
            if self.insecure_network {
                return Ok(credentials.with_open_port(port.address));
            }
            return Err(open_port(port));
        }
        Ok(credentials)
    }

    /// Reads the credentials of a program that binds no ports. A certificate of another role than `role` will do: servers decide.
    ///
    /// # Errors
    /// They are invalid.
    pub fn load(&self, prefix: &str, role: Role) -> Result<Credentials, SettingsError> {
        let Some(path) = &self.credentials else { return Ok(Credentials::none()) };
        // A folder of `altergolden credentials init` has a file for each role.
        let of_role = path.join(format!("{role}.pem"));
        let path = if of_role.is_file() { &of_role } else { path };
        let enforcement =
            if self.credentials_optional { Enforcement::Optional } else { Enforcement::Enforced };
        Credentials::open(path, self.fleet(prefix)?, enforcement)
            .map_err(|error| SettingsError::new(SETTING, error))
    }

    /// Returns no credentials, if other hosts reach none of the ports or INSECURE_NETWORK allows it.
    fn without(&self, ports: &[Listening]) -> Result<Credentials, SettingsError> {
        if self.credentials_optional {
            return Err(SettingsError::new(
                "--credentials-optional (CREDENTIALS_OPTIONAL)",
                "needs CREDENTIALS",
            ));
        }
        let is_open = |port: &&Listening| port.protection != Protection::ClientFacing;
        let Some(port) = open_ports(ports).find(is_open) else { return Ok(Credentials::none()) };
        if self.insecure_network {
            return Ok(Credentials::none().with_open_port(port.address));
        }
        Err(open_port(port))
    }
}

/// Says how to protect a port that other hosts reach.
fn open_port(port: &Listening) -> SettingsError {
    let address = port.address;
    let problem = match port.protection {
        Protection::Credentials | Protection::ClientFacing => format!(
            "{address} is open to other hosts, and this process has no credentials: make some with `altergolden credentials init DIR` and set \
             CREDENTIALS, or set INSECURE_NETWORK=true if only the fleet's own hosts reach this port"
        ),
        Protection::None => format!(
            "{address} is open to other hosts without encryption: make a certificate with `altergolden credentials issue client-facing` and \
             set CLIENT_FACING_CERTIFICATE, or set INSECURE_NETWORK=true if only your bots reach this port"
        ),
    };
    SettingsError::new(port.setting, problem)
}

fn open_ports(ports: &[Listening]) -> impl Iterator<Item = &Listening> {
    ports.iter().filter(|port| !port.address.ip().to_canonical().is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listening(address: &str, protection: Protection) -> Listening {
        Listening { setting: "--x", address: address.parse().unwrap(), protection }
    }

    #[test]
    fn only_ports_that_other_hosts_reach_need_credentials() {
        let mut args = CredentialsArgs::default();
        let open = |args: &CredentialsArgs, port| {
            args.open("f", Role::Worker, &[listening("127.0.0.1:1", Protection::Credentials), port])
        };
        for local in ["127.9.0.1:1", "[::1]:1", "[::ffff:127.0.0.1]:1"] {
            assert_eq!(open(&args, listening(local, Protection::Credentials)).unwrap().problems(), []);
        }
        for other in ["0.0.0.0:1", "[::]:1", "10.0.0.1:1", "[::ffff:10.0.0.1]:1"] {
            for (protection, says) in [
                (Protection::Credentials, "credentials init"),
                (Protection::None, "CLIENT_FACING_CERTIFICATE"),
            ] {
                let error = open(&args, listening(other, protection)).unwrap_err().to_string();
                assert!(error.contains("--x") && error.contains(says), "{error}");
            }
            assert_eq!(open(&args, listening(other, Protection::ClientFacing)).unwrap().problems(), []);
        }
        args.insecure_network = true;
        let problems = open(&args, listening("0.0.0.0:1", Protection::None)).unwrap().problems();
        assert_eq!(problems.len(), 1);
        args.credentials_optional = true;
        assert!(
            open(&args, listening("127.0.0.1:1", Protection::None))
                .unwrap_err()
                .to_string()
                .contains("CREDENTIALS")
        );
    }
}
