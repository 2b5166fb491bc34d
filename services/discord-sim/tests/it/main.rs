//! The simulator over real sockets: a raw client for each rule, twilight and other libraries.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod client;
mod control;
mod docs;
mod http;
mod judges;
mod oddities;
mod program;
mod requests;
mod rest;
mod resume;
mod rules;
mod schedule;
mod start;
mod switches;
mod twilight;
