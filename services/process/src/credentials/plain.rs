//! Counts of calls that credentials would refuse, and of those that they did.

use std::{
    collections::BTreeSet,
    net::IpAddr,
    sync::{Arc, Mutex, PoisonError},
};

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family},
    registry::Registry,
};

/// Most callers that are remembered.
const MOST_CALLERS: usize = 16;

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Reason {
    reason: &'static str,
}

/// Callers without credentials, while these are optional; and refused calls. Clones share the counts.
#[derive(Clone, Debug, Default)]
pub struct PlainCallers {
    plain: Counter,
    refused: Family<Reason, Counter>,
    callers: Arc<Mutex<BTreeSet<(IpAddr, String)>>>,
}

impl PlainCallers {
    /// Registers `calls_without_credentials_total` and `calls_refused_total{reason}`.
    pub fn register(&self, registry: &mut Registry) {
        registry.register(
            "calls_without_credentials",
            "Calls that were served without credentials because CREDENTIALS_OPTIONAL is set",
            self.plain.clone(),
        );
        // Exported from the start, so that an alert on growth sees the first one.
        for reason in ["role", "no_credentials", "not_encrypted", "token", "revoked"] {
            drop(self.refused.get_or_create(&Reason { reason }));
        }
        registry.register(
            "calls_refused",
            "Calls that credentials did not allow, by reason",
            self.refused.clone(),
        );
    }

    /// Counts a call that was served without credentials. Returns whether its caller is new.
    pub(super) fn served(&self, caller: Option<IpAddr>, path: &str) -> bool {
        self.plain.inc();
        let Some(caller) = caller else { return false };
        let service = path.trim_start_matches('/').split('/').next().unwrap_or_default();
        let service = service.rsplit('.').next().unwrap_or_default();
        let mut callers = self.callers.lock().unwrap_or_else(PoisonError::into_inner);
        callers.len() < MOST_CALLERS && callers.insert((caller, service.chars().take(64).collect()))
    }

    pub(super) fn refused(&self, reason: &'static str) {
        self.refused.get_or_create(&Reason { reason }).inc();
    }

    /// The number of calls that were served without credentials, and their callers: address and service.
    pub(super) fn seen(&self) -> (u64, Vec<String>) {
        let callers = self.callers.lock().unwrap_or_else(PoisonError::into_inner);
        let callers = callers.iter().map(|(address, service)| format!("{address} ({service})")).collect();
        (self.plain.get(), callers)
    }
}
