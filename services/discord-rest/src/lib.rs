//! One budget of Discord's REST limits for the whole fleet, and the HTTP proxy that keeps to it.
//!
//! Owns who may send when: the global limit of each token, the buckets of routes as Discord's headers tell them, what a 429
//! stops, and the count of invalid requests that Discord bans an address for
//! ([Discord](https://discord.com/developers/docs/topics/rate-limits)). It never makes a request of its own, adds no token,
//! and writes no token down: a caller is a hash.
//!
//! The [proxy](Rest) takes a request, [`route`] says what limits it, the gate waits for its turn at the [`Budget`], the request goes to
//! Discord as it came, and what the answer's headers say goes back into the budget. The budget is Redis for a fleet,
//! a worker's own share of it while Redis is away ([`SharedBudget`]), or memory ([`MemoryBudget`]).

pub mod budget;
mod caller;
mod class;
mod fallback;
mod gate;
mod headers;
mod limits;
mod memory;
mod metrics;
mod proxy;
mod redis;
pub mod route;
mod status;
mod upstream;

pub use budget::{
    Budget, BudgetAnswer, BudgetError, BudgetReport, BudgetRequest, BudgetState, StopReason, WaitReason,
};
pub use caller::Caller;
pub use class::{AnswerClass, RateLimit, Scope, classify, needs_body};
pub use fallback::{FleetShare, SharedBudget};
pub use gate::Gate;
pub use headers::BucketHeaders;
pub use limits::LimitRules;
pub use memory::MemoryBudget;
pub use metrics::RestMetrics;
pub use proxy::{ANSWER_429_AS, OwnGateway, Rest, RestOptions};
pub use redis::RedisBudget;
pub use status::RestStatus;
pub use upstream::Upstream;
