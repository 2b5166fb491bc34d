//! The whole platform: real processes, real Redis, real sockets, and discord-sim, which notes every broken rule.

#![allow(clippy::unwrap_used, reason = "a test panics on what it did not expect")]

mod alerts;
mod boards;
mod bot_gateway;
mod cli;
mod command_line;
mod credentials;
mod dev_mode;
mod doctor;
mod doctor_probe;
mod exits;
mod faults;
mod formats;
mod history;
mod hostile_gateway;
mod hostile_redis;
mod init;
mod live_screen;
mod numbers;
mod plans;
mod ports;
mod redis_users;
mod repair;
mod secrets;
mod settings;
mod shell_files;
mod tap;
mod tmux;
mod tour;
mod traces;
mod up;
mod webhook;
