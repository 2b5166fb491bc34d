//! Credentials as an operator makes them.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Output,
};

use process::credentials::{Credentials, Enforcement, Role};
use tempfile::TempDir;

use crate::command;

/// A folder of `altergolden credentials init`. Removed when dropped.
pub struct CredentialsFolder(TempDir);

impl CredentialsFolder {
    /// Makes a CA and a file for each role.
    ///
    /// # Panics
    /// The program `altergolden` is not built, or fails.
    #[allow(clippy::new_without_default, reason = "it runs a program")]
    pub fn new() -> Self {
        let folder = Self(tempfile::tempdir().unwrap());
        let made = folder.run(&["init"]);
        assert!(made.status.success(), "{made:?}");
        folder
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        self.0.path()
    }

    /// The file of a role.
    pub fn file(&self, role: Role) -> PathBuf {
        self.path().join(format!("{role}.pem"))
    }

    /// The content of a file.
    pub fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path().join(name)).unwrap()
    }

    /// Gives a file another content at once, as Kubernetes does.
    pub fn replace(&self, name: &str, content: &str) {
        let next = self.path().join("next");
        fs::write(&next, content).unwrap();
        fs::rename(next, self.path().join(name)).unwrap();
    }

    /// Runs `altergolden credentials COMMAND` on the folder.
    pub fn run(&self, words: &[&str]) -> Output {
        let mut run = command("altergolden");
        run.arg("credentials").args(words);
        match words[0] {
            "init" => run.arg(self.path()),
            _ => run.arg("--dir").arg(self.path()),
        };
        run.output().unwrap()
    }

    /// A new bearer token.
    pub fn token(&self, role: Role, name: &str) -> String {
        let made = self.run(&["token", &role.to_string(), name]);
        assert!(made.status.success(), "{made:?}");
        String::from_utf8(made.stdout).unwrap().trim().to_owned()
    }

    /// The credentials of a role.
    pub fn of(&self, role: Role) -> Credentials {
        open_credentials(&self.file(role))
    }
}

/// Reads a file of credentials of the fleet of the tests.
pub fn open_credentials(file: &Path) -> Credentials {
    Credentials::open(file, "altergolden".parse().unwrap(), Enforcement::Enforced).unwrap()
}
