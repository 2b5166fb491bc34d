//! Reading of the credentials of one process from files.

use std::{
    fs::File,
    io::{self, Read as _},
    path::{Path, PathBuf},
};

use ring::digest::{Context, SHA256};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use super::{AccessList, AccessListError, FleetName};

/// Name of the access list, beside the credentials.
pub const ACCESS_LIST: &str = "access.list";

/// Tag of a PEM block with a head key, which signs the heads of checkpoints.
pub const HEAD_KEY_TAG: &str = "ALTERGOLDEN HEAD KEY";

/// Largest file, in bytes.
const LARGEST_FILE: u64 = 1024 * 1024;
/// Files of a folder, as cert-manager writes them.
const FOLDER_FILES: [&str; 3] = ["tls.crt", "tls.key", "ca.crt"];
/// The most head keys at once: while a key is replaced, the new one and the old one.
const MOST_HEAD_KEYS: usize = 2;
/// The fewest bytes of a head key.
const SHORTEST_HEAD_KEY: usize = 16;
/// Head keys in a folder.
const HEAD_KEYS: &str = "head.keys";

/// Credentials cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum CredentialsError {
    /// A file cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// The files lack a part, or have an invalid one.
    #[error("{}: {problem}", path.display())]
    Invalid {
        /// The file or folder.
        path: PathBuf,
        /// The problem and its remedy. Never the content of a file.
        problem: String,
    },
    /// The access list has an invalid line.
    #[error("{}: {source}", path.display())]
    AccessList {
        /// The file.
        path: PathBuf,
        /// The line.
        source: AccessListError,
    },
    /// The certificate is of another fleet.
    #[error("{}: the certificate has no name of the fleet {fleet} (FLEET, by default REDIS_PREFIX)", path.display())]
    OtherFleet {
        /// The file or folder.
        path: PathBuf,
        /// The fleet of this process.
        fleet: FleetName,
    },
}

/// The content of the files.
pub(super) struct Files {
    /// The certificate of this process, then intermediate ones.
    pub(super) chain: Vec<CertificateDer<'static>>,
    pub(super) key: PrivateKeyDer<'static>,
    /// The CAs that this process trusts.
    pub(super) roots: Vec<CertificateDer<'static>>,
    /// Head keys, the newest first.
    pub(super) head_keys: Vec<Vec<u8>>,
    /// Changes with the content.
    pub(super) digest: Vec<u8>,
}

/// Reads a file of at most [`LARGEST_FILE`] bytes.
fn read(path: &Path, digest: &mut Context) -> Result<Vec<u8>, CredentialsError> {
    let fail = |source| CredentialsError::Read { path: path.to_owned(), source };
    let mut content = Vec::new();
    let file = File::open(path).map_err(fail)?;
    file.take(LARGEST_FILE + 1).read_to_end(&mut content).map_err(fail)?;
    if content.len() as u64 > LARGEST_FILE {
        return Err(fail(io::Error::new(io::ErrorKind::FileTooLarge, "it has more than 1 MiB")));
    }
    digest.update(&(content.len() as u64).to_le_bytes());
    digest.update(&content);
    Ok(content)
}

fn read_if_there(path: &Path, digest: &mut Context) -> Result<Vec<u8>, CredentialsError> {
    match read(path, digest) {
        Err(CredentialsError::Read { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
            digest.update(b"absent");
            Ok(Vec::new())
        }
        read => read,
    }
}

/// The files of a server whose clients have no certificates.
pub(super) struct ServerFiles {
    /// The certificate of this process, then intermediate ones.
    pub(super) chain: Vec<CertificateDer<'static>>,
    pub(super) key: PrivateKeyDer<'static>,
    /// Changes with the content.
    pub(super) digest: Vec<u8>,
}

impl ServerFiles {
    /// Reads the certificate at `path`: a PEM file with the chain and the key, or a folder with `tls.crt` and `tls.key`.
    pub(super) fn read(path: &Path) -> Result<Self, CredentialsError> {
        let mut digest = Context::new(&SHA256);
        let (leaf, key) = if path.is_dir() {
            let [leaf, key, _] = FOLDER_FILES;
            (read(&path.join(leaf), &mut digest)?, read(&path.join(key), &mut digest)?)
        } else {
            let all = read(path, &mut digest)?;
            (all.clone(), all)
        };
        let mut chain = certificates(blocks(path, &leaf)?).into_iter();
        let own = chain.next().ok_or_else(|| invalid(path, "it has no certificate (PEM)"))?;
        // Clients have the CA's certificate, or do not trust it.
        let intermediate = chain.filter(|certificate| !is_own_issuer(certificate));
        let chain = std::iter::once(own).chain(intermediate).collect();
        let key = first_key(path, &key)?;
        Ok(Self { chain, key, digest: digest.finish().as_ref().to_vec() })
    }
}

fn invalid(path: &Path, problem: &str) -> CredentialsError {
    CredentialsError::Invalid { path: path.to_owned(), problem: problem.to_owned() }
}

fn blocks(path: &Path, bytes: &[u8]) -> Result<Vec<pem::Pem>, CredentialsError> {
    pem::parse_many(bytes).map_err(|_| invalid(path, "it is not a PEM file"))
}

fn first_key(path: &Path, bytes: &[u8]) -> Result<PrivateKeyDer<'static>, CredentialsError> {
    let mut keys = blocks(path, bytes)?.into_iter().filter_map(private_key);
    keys.next().ok_or_else(|| invalid(path, "it has no private key (PKCS#8, PKCS#1 or SEC1 PEM block)"))
}

impl Files {
    /// Reads the credentials at `path`: a PEM file, or a folder with `tls.crt`, `tls.key` and `ca.crt`.
    pub(super) fn read(path: &Path) -> Result<Self, CredentialsError> {
        let mut digest = Context::new(&SHA256);
        let is_folder = path.is_dir();
        let (leaf, key, roots, head_keys) = if is_folder {
            let [leaf, key, roots] = FOLDER_FILES.map(|name| read(&path.join(name), &mut digest));
            let head_keys = read_if_there(&path.join(HEAD_KEYS), &mut digest)?;
            (leaf?, key?, roots?, head_keys)
        } else {
            let all = read(path, &mut digest)?;
            (all.clone(), all.clone(), all.clone(), all)
        };
        let mut chain = certificates(blocks(path, &leaf)?);
        let mut trusted = certificates(blocks(path, &roots)?);
        if !is_folder {
            // One file has the certificate, its intermediate ones and the CA.
            chain.retain(|certificate| !is_own_issuer(certificate));
            trusted.retain(is_own_issuer);
        }
        if chain.is_empty() {
            return Err(invalid(path, "it has no certificate of this process"));
        }
        if trusted.is_empty() {
            return Err(invalid(path, "it has no CA certificate"));
        }
        let key = first_key(path, &key)?;
        let head_keys = blocks(path, &head_keys)?.into_iter().filter(|block| block.tag() == HEAD_KEY_TAG);
        let head_keys: Vec<Vec<u8>> = head_keys.map(pem::Pem::into_contents).collect();
        if head_keys.len() > MOST_HEAD_KEYS || head_keys.iter().any(|key| key.len() < SHORTEST_HEAD_KEY) {
            return Err(invalid(
                path,
                "it takes at most two head keys (ALTERGOLDEN HEAD KEY), of 16 bytes or more",
            ));
        }
        let digest = digest.finish().as_ref().to_vec();
        Ok(Self { chain, key, roots: trusted, head_keys, digest })
    }
}

/// Reads the access list of the credentials at `path`: beside the file, or in the folder. `None` if the file does not exist.
pub(super) fn read_access_list(path: &Path) -> Result<Option<AccessList>, CredentialsError> {
    let list = if path.is_dir() { path.join(ACCESS_LIST) } else { path.with_file_name(ACCESS_LIST) };
    let text = match read(&list, &mut Context::new(&SHA256)) {
        Err(CredentialsError::Read { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
            return Ok(None);
        }
        read => read?,
    };
    let text = String::from_utf8(text).map_err(|_| CredentialsError::Invalid {
        path: list.clone(),
        problem: "it is not text".to_owned(),
    })?;
    AccessList::parse(&text).map(Some).map_err(|source| CredentialsError::AccessList { path: list, source })
}

fn certificates(blocks: Vec<pem::Pem>) -> Vec<CertificateDer<'static>> {
    let certificates = blocks.into_iter().filter(|block| block.tag() == "CERTIFICATE");
    certificates.map(|block| block.into_contents().into()).collect()
}

fn private_key(block: pem::Pem) -> Option<PrivateKeyDer<'static>> {
    match block.tag() {
        "PRIVATE KEY" => Some(PrivateKeyDer::Pkcs8(block.into_contents().into())),
        "RSA PRIVATE KEY" => Some(PrivateKeyDer::Pkcs1(block.into_contents().into())),
        "EC PRIVATE KEY" => Some(PrivateKeyDer::Sec1(block.into_contents().into())),
        _ => None,
    }
}

/// Whether a certificate is its own issuer, as the certificate of a CA is.
fn is_own_issuer(certificate: &CertificateDer<'static>) -> bool {
    x509_parser::parse_x509_certificate(certificate)
        .is_ok_and(|(_, certificate)| certificate.is_ca() && certificate.subject() == certificate.issuer())
}
