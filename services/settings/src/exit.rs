//! How a process ends when it can't start.

use std::fmt;

/// The exit codes that mean something to a supervisor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// A setting is wrong: the same command fails again.
    Settings = 2,
    /// Discord refused the token: trying again would be a login storm. (`EX_CONFIG` of sysexits.h.)
    Token = 78,
}

/// A setting that is wrong, in one line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SettingsError {
    /// The flag or variable.
    pub setting: &'static str,
    /// What is wrong with it, and what it takes. Never the value of a secret.
    pub problem: String,
}

impl SettingsError {
    /// Names a setting and its problem.
    pub fn new(setting: &'static str, problem: impl fmt::Display) -> Self {
        Self { setting, problem: problem.to_string() }
    }
}

impl fmt::Display for SettingsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.setting, self.problem)
    }
}

impl std::error::Error for SettingsError {}
