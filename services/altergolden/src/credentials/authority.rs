//! The CA of a fleet: makes certificates.

use std::time::SystemTime;

use process::credentials::{FleetName, Identity, Role, dns_name, uri};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, SanType, SerialNumber,
};
use time::{Duration, OffsetDateTime};

use super::{FolderError, hex};

/// How long a certificate is valid. Programs report a problem in its last 14 days.
const LEAF: Duration = Duration::days(90);
/// How long the CA is valid.
const CA: Duration = Duration::days(3650);
/// How far a host's clock may be behind.
const CLOCK_BEHIND: Duration = Duration::hours(1);

/// A CA with its key.
pub(super) struct Authority {
    pub(super) fleet: FleetName,
    /// The certificate, as PEM.
    pub(super) certificate: String,
    key: KeyPair,
}

/// A certificate of a process, with its key.
pub(super) struct Leaf {
    pub(super) certificate: String,
    pub(super) key: String,
    /// In hexadecimal digits.
    pub(super) serial: String,
}

/// The text before the fleet's name in the subject of the CA.
const SUBJECT: &str = "altergolden CA of ";

fn validity(params: &mut CertificateParams, lasts: Duration) {
    let now = OffsetDateTime::from(SystemTime::now());
    params.not_before = now - CLOCK_BEHIND;
    params.not_after = now + lasts;
    // 16 random bytes; the first bit of a serial number is its sign (RFC 5280, 4.1.2.2).
    let mut serial: [u8; 16] = rand::random();
    serial[0] = serial[0] & 0x7f | 0x40;
    params.serial_number = Some(SerialNumber::from_slice(&serial));
}

impl Authority {
    /// Makes a CA.
    pub(super) fn make(fleet: FleetName) -> Result<Self, FolderError> {
        let key = KeyPair::generate()?;
        let mut params = CertificateParams::default();
        validity(&mut params, CA);
        params.distinguished_name.push(DnType::CommonName, format!("{SUBJECT}{fleet}"));
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::DigitalSignature];
        let certificate = params.self_signed(&key)?.pem();
        Ok(Self { fleet, certificate, key })
    }

    /// Reads a CA that was made here.
    pub(super) fn read(certificate: String, key: &str) -> Result<Self, FolderError> {
        let not_ours = || FolderError::Invalid("ca.pem was not made by `altergolden credentials init`");
        let block = pem::parse(&certificate).map_err(|_| not_ours())?;
        let (_, parsed) = x509_parser::parse_x509_certificate(block.contents()).map_err(|_| not_ours())?;
        let name = parsed.subject().iter_common_name().next().and_then(|name| name.as_str().ok());
        let fleet = name.and_then(|name| name.strip_prefix(SUBJECT)).and_then(|name| name.parse().ok());
        let fleet = fleet.ok_or_else(not_ours)?;
        Ok(Self { fleet, key: KeyPair::from_pem(key)?, certificate })
    }

    /// The key, as PEM.
    pub(super) fn key(&self) -> String {
        self.key.serialize_pem()
    }

    /// Makes a certificate. `hosts` are names and addresses for clients that check them; clients of this platform check the role's name.
    pub(super) fn issue(&self, identity: &Identity, hosts: &[String]) -> Result<Leaf, FolderError> {
        let mut params = params(hosts)?;
        params.distinguished_name.push(DnType::CommonName, identity.to_string());
        params.subject_alt_names.push(SanType::URI(uri(&self.fleet, identity).try_into()?));
        params.subject_alt_names.push(SanType::DnsName(dns_name(&self.fleet, identity.role).try_into()?));
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        if matches!(identity.role, Role::Coordinator | Role::Worker) {
            params.extended_key_usages.push(ExtendedKeyUsagePurpose::ServerAuth);
        }
        self.sign(params)
    }

    /// Makes a certificate for a port whose clients are Discord libraries. It proves no role: it lacks the names of the platform and the
    /// usage of clients.
    pub(super) fn issue_client_facing(&self, name: &str, hosts: &[String]) -> Result<Leaf, FolderError> {
        let mut params = params(hosts)?;
        params.distinguished_name.push(DnType::CommonName, format!("client-facing {name}"));
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        self.sign(params)
    }

    fn sign(&self, mut params: CertificateParams) -> Result<Leaf, FolderError> {
        let key = KeyPair::generate()?;
        validity(&mut params, LEAF);
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        let serial = params.serial_number.as_ref().map(SerialNumber::to_bytes).unwrap_or_default();
        let issuer = Issuer::from_ca_cert_pem(&self.certificate, &self.key)?;
        let certificate = params.signed_by(&key, &issuer)?.pem();
        Ok(Leaf { certificate, key: key.serialize_pem(), serial: hex(&serial) })
    }
}

/// A certificate for these hosts, which must not be names by which members of the fleet know each other.
fn params(hosts: &[String]) -> Result<CertificateParams, FolderError> {
    if hosts.iter().any(|host| host.trim_end_matches('.').to_ascii_lowercase().ends_with(".altergolden")) {
        return Err(FolderError::Invalid("--host: names that end in .altergolden stand for roles"));
    }
    Ok(CertificateParams::new(hosts.to_vec())?)
}
