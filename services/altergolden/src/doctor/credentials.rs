//! Checks of the credentials that the settings name. They read files, and ask no process.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use process::credentials::{
    ACCESS_LIST, ClientFacingArgs, Credentials, EXPIRES_SOON_S, Enforcement, FleetName, Role,
};
use x509_parser::extensions::GeneralName;

use super::{
    ports::{NamedPort, Service},
    report::Finding,
};
use crate::ask::ServerArgs;

const CHECK: &str = "credentials";
const DAY_S: i64 = 24 * 60 * 60;

/// Judges the files of the fleet's credentials and of the client-facing certificate.
pub(super) fn judge(
    server: &ServerArgs,
    client_facing: &ClientFacingArgs,
    ports: &[NamedPort],
) -> Vec<Finding> {
    let has_certificate = client_facing.client_facing_certificate.is_some();
    let mut findings = match server.credentials_of_fleet() {
        Ok(Some((path, fleet))) => {
            let mut findings = files(path, &fleet, &server.full_url());
            findings.extend(open_port(ports, true, has_certificate));
            findings
        }
        Ok(None) => {
            let open = open_port(ports, false, has_certificate);
            let none = "none, and none are needed: every port is on the loopback";
            vec![open.unwrap_or_else(|| Finding::not_needed(CHECK, none, ""))]
        }
        Err(error) => vec![Finding::fail(CHECK, error.to_string(), "set FLEET")],
    };
    findings.extend(certificate_of_clients(client_facing));
    findings
}

/// The first port that is open to other hosts and has nothing that protects it: the REST proxy's needs the client-facing certificate, others
/// the credentials.
fn open_port(ports: &[NamedPort], has_credentials: bool, has_certificate: bool) -> Option<Finding> {
    let is_rest = |port: &NamedPort| matches!(port.service, Service::RestProxy);
    let is_open = |port: &&NamedPort| {
        let is_protected = if is_rest(port) { has_certificate } else { has_credentials };
        !is_protected && !port.address.ip().to_canonical().is_loopback()
    };
    let port = ports.iter().find(is_open)?;
    let (lacks, remedy) = if is_rest(port) {
        let remedy = "altergolden credentials issue client-facing NAME --dir DIR --host HOST, and set CLIENT_FACING_CERTIFICATE \
            (docs/security.md)";
        ("no client-facing certificate", remedy)
    } else {
        ("none", "altergolden credentials init DIR, and set CREDENTIALS (docs/security.md)")
    };
    let text = format!(
        "{lacks}, and {} ({}) is open to other hosts: programs start only with INSECURE_NETWORK=true",
        port.address, port.setting
    );
    Some(Finding::warn(CHECK, text, remedy))
}

/// Judges a PEM file, a folder with one set of files, or the folder of `credentials init` with a file for each role.
fn files(path: &Path, fleet: &FleetName, coordinator_url: &str) -> Vec<Finding> {
    let of_role = |role: Role| (path.join(format!("{role}.pem")), Some(role));
    let mut files: Vec<(PathBuf, Option<Role>)> =
        Role::ALL.map(of_role).into_iter().filter(|(file, _)| file.is_file()).collect();
    if files.is_empty() {
        files.push((path.to_owned(), None));
    }
    let mut findings: Vec<Finding> =
        files.iter().flat_map(|(file, role)| one(file, *role, fleet, coordinator_url)).collect();
    findings.extend(private(&path.join("ca.key")));
    findings
}

/// Judges the credentials of one role.
fn one(file: &Path, expected: Option<Role>, fleet: &FleetName, coordinator_url: &str) -> Vec<Finding> {
    let shown = file.display();
    let credentials = match Credentials::open(file, fleet.clone(), Enforcement::Enforced) {
        Ok(credentials) => credentials,
        Err(error) => {
            let remedy = "altergolden credentials issue ROLE NAME --dir DIR; or run this as the user that the programs have";
            return vec![Finding::fail(CHECK, error.to_string(), remedy)];
        }
    };
    let Some(identity) = credentials.identity() else { return Vec::new() };
    if let Some(expected) = expected.filter(|expected| *expected != identity.role) {
        let text = format!("{shown}: the certificate has the role {}, not {expected}", identity.role);
        return vec![Finding::fail(CHECK, text, format!("put the file of the role {expected} there"))];
    }
    let text = format!("{shown}: {identity} of the fleet {fleet}");
    let mut findings = vec![expiry(text, credentials.expire_seconds().unwrap_or_default())];
    let key = if file.is_dir() { file.join("tls.key") } else { file.to_owned() };
    findings.extend(private(&key));
    if identity.role == Role::Coordinator {
        findings.extend(names(file, coordinator_url));
        findings.push(access_list(file));
    }
    findings
}

fn expiry(text: String, left_s: i64) -> Finding {
    let text = format!("{text}, valid for {} days", left_s / DAY_S);
    if left_s < EXPIRES_SOON_S {
        return Finding::warn(CHECK, text, "replace it (docs/security.md#replace-certificates)");
    }
    Finding::ok(CHECK, text)
}

/// Whether others can read a file with a key.
fn private(key: &Path) -> Option<Finding> {
    let mode = fs::metadata(key).ok()?.permissions().mode();
    (mode & 0o077 != 0).then(|| {
        let text =
            format!("{}: other users may read or write this key (mode {:o})", key.display(), mode & 0o777);
        Finding::warn(CHECK, text, format!("chmod 600 {}", key.display()))
    })
}

/// Whether the coordinator's certificate names the host of COORDINATOR_URL, which gRPC clients of other makers check.
fn names(file: &Path, coordinator_url: &str) -> Option<Finding> {
    let uri: http::Uri = coordinator_url.parse().ok()?;
    let host = uri.host()?.trim_start_matches('[').trim_end_matches(']').to_owned();
    let certificate = if file.is_dir() { file.join("tls.crt") } else { file.to_owned() };
    let block = pem::parse_many(fs::read(certificate).ok()?).ok()?.into_iter().next()?;
    let (_, certificate) = x509_parser::parse_x509_certificate(block.contents()).ok()?;
    let names = certificate.subject_alternative_name().ok().flatten()?;
    let is_host = |name: &GeneralName<'_>| match name {
        GeneralName::DNSName(name) => name.eq_ignore_ascii_case(&host),
        GeneralName::IPAddress(bytes) => match host.parse() {
            Ok(std::net::IpAddr::V4(ip)) => ip.octets() == *bytes,
            Ok(std::net::IpAddr::V6(ip)) => ip.octets() == *bytes,
            Err(_) => false,
        },
        _ => false,
    };
    (!names.value.general_names.iter().any(is_host)).then(|| {
        Finding::warn(
            CHECK,
            format!("{}: does not name {host} (COORDINATOR_URL), which grpcurl and the like check", file.display()),
            format!("altergolden credentials issue coordinator coordinator --dir DIR --host {host} --host localhost"),
        )
    })
}

/// Says whether there are tokens. `Credentials::open` has checked the list.
fn access_list(file: &Path) -> Finding {
    let list = if file.is_dir() { file.join(ACCESS_LIST) } else { file.with_file_name(ACCESS_LIST) };
    let text = match fs::read_to_string(&list) {
        Ok(text) => {
            let count = |word: &str| text.lines().filter(|line| line.trim().starts_with(word)).count();
            format!(
                "{}: tokens: {}, revoked certificates: {}",
                list.display(),
                count("token "),
                count("revoked ")
            )
        }
        Err(_) => format!("no {}: no tokens, and no certificate is revoked", list.display()),
    };
    Finding::ok(CHECK, text)
}

/// Judges the certificate of the REST proxy.
fn certificate_of_clients(args: &ClientFacingArgs) -> Vec<Finding> {
    let Some(path) = &args.client_facing_certificate else { return Vec::new() };
    let certificate = match args.open() {
        Ok(certificate) => certificate,
        Err(error) => {
            let remedy = "altergolden credentials issue client-facing NAME --dir DIR --host HOST";
            return vec![Finding::fail(CHECK, error.to_string(), remedy)];
        }
    };
    let text = format!("{}: client-facing", path.display());
    let key = if path.is_dir() { path.join("tls.key") } else { path.clone() };
    let expiry = expiry(text, certificate.expire_seconds().unwrap_or_default());
    [Some(expiry), private(&key)].into_iter().flatten().collect()
}
