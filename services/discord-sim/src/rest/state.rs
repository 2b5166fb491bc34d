//! State and reports of the REST API.
//!
//! One lock guards it. It is held for bookkeeping only, and never while taking the hub's lock.

use super::{
    commands::Commands,
    interactions::table::{InteractionTable, InteractionTimeouts},
    limits::{LimitSettings, Limits},
    messages::store::MessageStore,
    requests::Requests,
    route::Route,
};
use crate::{
    config::SimConfig,
    faults::LimitScope,
    hub::Hub,
    report::{CallerReport, CommandReport, InteractionReport, MessageReport, RequestsReport},
    rest::Rest,
    world::{Draw, GuildIndex, Snowflake},
};
use std::time::Duration;

/// Limits, commands, interactions and messages.
#[derive(Debug)]
pub(crate) struct RestState {
    pub(super) limits: Limits,
    pub(super) requests: Requests,
    pub(super) commands: Commands,
    pub(super) interactions: InteractionTable,
    pub(super) messages: MessageStore,
    /// Delay of every answer.
    pub(crate) delay: Duration,
    /// Injected 429s: number of calls, scope and wait.
    injected: (u32, LimitScope, Duration),
}

impl RestState {
    pub(crate) fn new(config: &SimConfig) -> Self {
        Self {
            limits: Limits::new(LimitSettings {
                global: config.rest_global_limit,
                invalid: config.invalid_request_limit,
                ban: config.invalid_request_ban,
                speed: config.rest_limit_speed,
            }),
            requests: Requests::default(),
            commands: Commands::default(),
            interactions: InteractionTable::new(InteractionTimeouts {
                deadline: config.interaction_deadline,
                life: config.interaction_life,
            }),
            messages: MessageStore::default(),
            delay: Duration::ZERO,
            injected: (0, LimitScope::User, Duration::ZERO),
        }
    }

    /// Answers the next `count` calls with 429.
    pub(crate) fn inject_limits(&mut self, count: u32, scope: LimitScope, retry_after: Duration) {
        self.injected = (count, scope, retry_after);
    }

    /// Returns and counts the injected 429 of a call, if any.
    pub(super) fn take_injected_limit(&mut self, route: &Route) -> Option<(LimitScope, Duration)> {
        let (left, scope, retry_after) = &mut self.injected;
        if route.exempt || (*scope == LimitScope::Global && !route.global) {
            return None;
        }
        *left = left.checked_sub(1)?;
        Some((*scope, *retry_after))
    }
}

/// Returns the value of X-RateLimit-Bucket, which hides the route.
pub(super) fn bucket_hash(hub: &Hub, name: &str) -> String {
    let path: Vec<u64> = name.bytes().map(u64::from).collect();
    Draw::new(hub.config.seed, &path).hex()
}

impl Rest {
    fn guild_id(&self) -> impl Fn(GuildIndex) -> Snowflake {
        |guild| self.hub.world.head(guild).id
    }

    pub(crate) fn interactions(&self) -> Vec<InteractionReport> {
        let state = self.state();
        state.interactions.reports(self.hub.now(), &state.messages, self.guild_id())
    }

    pub(crate) fn messages(&self) -> Vec<MessageReport> {
        self.state().messages.reports(self.guild_id())
    }

    pub(crate) fn commands(&self) -> Vec<CommandReport> {
        self.state().commands.reports()
    }

    pub(crate) fn requests(&self) -> RequestsReport {
        let state = self.state();
        let callers = state.limits.callers(self.hub.now()).into_iter();
        RequestsReport {
            counts: state.requests.reports(),
            callers: callers
                .map(|(address, invalid_requests, until)| CallerReport {
                    address,
                    invalid_requests,
                    banned_until_ms: until.map(|until| until.as_millis().try_into().unwrap_or(u64::MAX)),
                })
                .collect(),
        }
    }
}
