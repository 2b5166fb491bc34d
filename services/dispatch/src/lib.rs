//! A shard's events on their way to handlers.
//!
//! It owns what is between the task that reads a shard's socket and the bot's own code: a bounded queue, the rule which
//! event may start next, the tasks in which handlers run, and what is counted about them. It never reads a socket, parses
//! nothing, knows no Discord library, and never makes the reader wait. Events come in by [`Dispatcher::push`] and leave
//! through [`Handler::handle`].
//!
//! - [`queue`]: what waits and what runs, in order in each guild. Pure.
//! - [`pressure`]: what the shard does when the queue is full. Pure.
//! - [`dispatcher`]: runs handlers on a runtime of their own.
//! - [`panics`]: what a handler's panic said, and where.
//! - [`metrics`]: what is counted.
//!
//! # Bounds
//!
//! | what | bound | when full |
//! |---|---|---|
//! | events of a shard, queued and running together | [`Limits::items`], 4,096 | the event is given back; see [`pressure`] |
//! | their bytes | [`Limits::bytes`], 16 MiB; one larger event is let in alone | the same |
//! | events restored by [`Dispatcher::push_over_bound`] | the bounds of the queue they were pending in | let in; others wait |
//! | running handlers of a shard | [`Limits::at_once`], 64 | the others wait in the queue |
//! | running handlers of one guild | 1 | the same |
//! | running handlers of a shard that is careful | 1, and those that have run for a minute | the same |
//! | overflows remembered | 3 | the third makes the shard shed |
//! | kinds of events with metrics of their own | 128 names of at most 64 characters | further ones count as `OTHER` |
//! | a panic's message, its backtrace | 4 KiB, 32 KiB | cut off |

pub mod dispatcher;
pub mod item;
pub mod metrics;
pub mod panics;
pub mod pressure;
pub mod queue;

pub use dispatcher::{Admission, Closed, Delivery, DispatchClock, Dispatcher, Handler, Refused, Setup};
pub use item::Item;
pub use metrics::DispatchMetrics;
pub use pressure::{Decision, InvalidOrder, Pressure, ShedOrder};
pub use queue::{Full, Limits, Pending, Queue, QueueFigures, Started, Ticket};
