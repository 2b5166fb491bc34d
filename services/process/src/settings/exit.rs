//! Exit codes of a process that cannot start.

use std::fmt;

/// Exit codes with a meaning for a supervisor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// Invalid setting: the same command fails again.
    Settings = 2,
    /// Discord refused the token: retries would be a login storm. (`EX_CONFIG` of sysexits.h.)
    Token = 78,
}

/// An invalid setting, in one line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SettingsError {
    /// The flag or variable.
    pub setting: &'static str,
    /// The problem and the values that it accepts. Never the value of a secret.
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
