//! The folder of `credentials init`.

use std::{
    fs::{self, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

use process::credentials::{
    ACCESS_LIST, AccessList, AccessListError, FleetName, HEAD_KEY_TAG, Identity, Role, TokenHash,
};

use super::{Authority, Leaf, hex};

const CA: &str = "ca.pem";
const CA_KEY: &str = "ca.key";
const HEAD_KEYS: &str = "head.keys";

/// Bytes of a head key, and of a token.
const KEY_BYTES: usize = 32;

/// The files of a fleet's credentials.
pub(super) struct CredentialsFolder(pub(super) PathBuf);

/// Credentials cannot be made.
#[derive(Debug, thiserror::Error)]
pub(super) enum FolderError {
    #[error("cannot read or write {}: {source}", path.display())]
    File { path: PathBuf, source: io::Error },
    #[error("{0}")]
    Invalid(&'static str),
    #[error("{dir} lacks ca.pem or ca.key: use the folder in which `altergolden credentials init` made both; to make a new CA, run it with an empty folder", dir = .0.display())]
    NoAuthority(PathBuf),
    #[error("the folder has the credentials of the fleet {0}: use another folder, or --fleet {0}")]
    OtherFleet(FleetName),
    #[error("cannot make the certificate: {0}")]
    Certificate(#[from] rcgen::Error),
    #[error("{ACCESS_LIST}: {0}")]
    AccessList(#[from] AccessListError),
}

impl CredentialsFolder {
    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.path(name).exists()
    }

    /// Makes the folder, which only its owner reads.
    pub(super) fn create(&self) -> Result<(), FolderError> {
        let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(&self.0);
        made.map_err(|source| FolderError::File { path: self.0.clone(), source })
    }

    /// Returns the CA, if there is one.
    pub(super) fn authority(&self) -> Result<Option<Authority>, FolderError> {
        let Some(certificate) = self.read(CA)? else { return Ok(None) };
        let key = self.read(CA_KEY)?.ok_or_else(|| FolderError::NoAuthority(self.0.clone()))?;
        Authority::read(certificate, &key).map(Some)
    }

    /// Returns the CA.
    pub(super) fn known_authority(&self) -> Result<Authority, FolderError> {
        self.authority()?.ok_or_else(|| FolderError::NoAuthority(self.0.clone()))
    }

    pub(super) fn keep_authority(&self, authority: &Authority) -> Result<(), FolderError> {
        // The certificate last: without it there is no CA yet.
        self.write(CA_KEY, &authority.key())?;
        self.write(CA, &authority.certificate)
    }

    /// Returns the head keys, as PEM; the first call makes one.
    pub(super) fn head_keys(&self) -> Result<String, FolderError> {
        if let Some(keys) = self.read(HEAD_KEYS)? {
            return Ok(keys);
        }
        let key: [u8; KEY_BYTES] = rand::random();
        let block = pem::encode(&pem::Pem::new(HEAD_KEY_TAG, key));
        self.write(HEAD_KEYS, &block)?;
        Ok(block)
    }

    /// Writes a certificate with its key and the CA. Workers, which read and write checkpoints, get the head keys too.
    pub(super) fn write_leaf(
        &self,
        file: &str,
        leaf: &Leaf,
        authority: &Authority,
        head_keys: &str,
    ) -> Result<(), FolderError> {
        let head_keys = if file.starts_with(Role::Worker.as_str()) { head_keys } else { "" };
        self.write(file, &format!("{}{}{}{head_keys}", leaf.certificate, leaf.key, authority.certificate))
    }

    /// Adds a new token for this caller to the access list, and returns it.
    pub(super) fn add_token(&self, identity: &Identity) -> Result<String, FolderError> {
        let random: [u8; KEY_BYTES] = rand::random();
        let token = hex(&random);
        let hash = TokenHash::of(&token);
        self.add_line(&format!("token {} {} {hash}", identity.role, identity.name))?;
        Ok(token)
    }

    /// Adds a revoked certificate to the access list.
    pub(super) fn add_revoked(&self, serial: &str) -> Result<(), FolderError> {
        self.add_line(&format!("revoked {serial}"))
    }

    fn add_line(&self, line: &str) -> Result<(), FolderError> {
        let mut list = self.read(ACCESS_LIST)?.unwrap_or_default();
        if !list.is_empty() && !list.ends_with('\n') {
            list.push('\n');
        }
        list.push_str(line);
        list.push('\n');
        AccessList::parse(&list)?;
        self.write(ACCESS_LIST, &list)
    }

    fn read(&self, name: &str) -> Result<Option<String>, FolderError> {
        match fs::read_to_string(self.path(name)) {
            Ok(text) => Ok(Some(text)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(FolderError::File { path: self.path(name), source }),
        }
    }

    /// Replaces a file, which only its owner reads. Programs see the old or the new content.
    fn write(&self, name: &str, text: &str) -> Result<(), FolderError> {
        let path = self.path(name);
        replace(&path, text).map_err(|source| FolderError::File { path, source })
    }
}

fn replace(path: &Path, text: &str) -> io::Result<()> {
    let next = path.with_added_extension("new");
    match fs::remove_file(&next) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&next)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    fs::rename(&next, path)
}
