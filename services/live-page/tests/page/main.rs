//! The live page over HTTP, and as a reader sees it in a browser.

#![allow(clippy::unwrap_used, reason = "a test panics on what it did not expect")]

mod browser;
mod chromium;
mod routes;
