//! Counters of the gateway.

use prometheus_client::{
    metrics::{counter::Counter, gauge::Gauge},
    registry::Registry,
};

/// See the module's documentation. Clones count into the same.
#[derive(Clone, Debug, Default)]
pub struct GatewayMetrics {
    clients: Gauge,
    events: Counter,
    invalid_sessions: Counter,
    refused_tokens: Counter,
    guilds_again: Counter,
    member_answers: Counter,
}

impl GatewayMetrics {
    /// Registers all of them.
    pub fn register(&self, registry: &mut Registry) {
        registry.register(
            "gateway_clients",
            "Clients of the gateway for bots at this worker",
            self.clients.clone(),
        );
        registry.register(
            "gateway_client_events",
            "Events sent to clients of the gateway",
            self.events.clone(),
        );
        registry.register(
            "gateway_client_invalid_sessions",
            "Sessions of clients of the gateway that could not be resumed",
            self.invalid_sessions.clone(),
        );
        registry.register(
            "gateway_client_member_answers",
            "Requests for members of clients of the gateway that the cache answered",
            self.member_answers.clone(),
        );
        registry.register(
            "gateway_client_gaps",
            "Times that a client of the gateway got guilds again because events were missing",
            self.guilds_again.clone(),
        );
        registry.register(
            "gateway_client_refused_tokens",
            "Clients of the gateway with another token than the bot's",
            self.refused_tokens.clone(),
        );
    }

    pub(crate) fn clients(&self, change: i64) {
        self.clients.inc_by(change);
    }

    pub(crate) fn sent(&self) {
        self.events.inc();
    }

    pub(crate) fn invalidated(&self) {
        self.invalid_sessions.inc();
    }

    pub(crate) fn sent_again(&self) {
        self.guilds_again.inc();
    }

    pub(crate) fn answered_members(&self) {
        self.member_answers.inc();
    }

    pub(crate) fn refused_token(&self) {
        self.refused_tokens.inc();
    }
}
