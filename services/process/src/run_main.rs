//! The frame of a `main` function: threads, command line, TLS, telemetry, exit code.

use std::{fmt, io::Write as _, num::NonZero, process::ExitCode};

use outside_text::printable_lines;

use crate::{
    settings::{self, Exit},
    telemetry,
};

/// Why a program ended: the line for standard error, and the exit code.
///
/// An error that is converted with `?` ends the program with [`Exit::Settings`].
#[derive(Debug)]
pub struct ExitError {
    exit: Exit,
    message: String,
}

impl ExitError {
    /// Ends the program with `exit`, after `error` on standard error.
    pub fn new(exit: Exit, error: impl fmt::Display) -> Self {
        Self { exit, message: error.to_string() }
    }

    /// Writes the line and returns the code. `name` is the program's.
    pub fn report(&self, name: &str) -> ExitCode {
        // Fails only when the reader has closed the pipe; the exit code tells the reason too.
        let _ = writeln!(std::io::stderr(), "{name}: {}", printable_lines(&self.message));
        ExitCode::from(self.exit as u8)
    }
}

impl<E: std::error::Error> From<E> for ExitError {
    fn from(error: E) -> Self {
        Self::new(Exit::Settings, error)
    }
}

/// The most threads of a service's main runtime, besides the one of `main`.
const MOST_THREADS: usize = 4;

/// Runs `main` to its end on a runtime for tasks that wait for the network. It has half as many threads as there are cores, and at most
/// four: a call passes through several short tasks, and waking another thread takes longer than such a task.
///
/// # Panics
/// The system cannot start the threads.
pub fn block_on<F: Future>(main: F) -> F::Output {
    let cores = std::thread::available_parallelism().map_or(1, NonZero::get);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads((cores / 2).clamp(1, MOST_THREADS))
        .enable_all()
        .build();
    runtime.expect("the system has threads for the main runtime").block_on(main)
}

/// Runs a service: [`run_main`] with [`telemetry::SERVICE_FILTER`], and the error of `run` as one line on standard error.
/// `instance` names this process in its spans; without a name it gets a random one.
pub async fn run_service<A: clap::Parser>(
    name: &'static str,
    instance: impl FnOnce(&mut A) -> Option<String>,
    run: impl AsyncFnOnce(A) -> Result<(), ExitError>,
) -> ExitCode {
    let run = async |args| run(args).await.map_or_else(|error| error.report(name), |()| ExitCode::SUCCESS);
    run_named(name, |_| telemetry::SERVICE_FILTER, instance, run).await
}

/// Runs a program: parses its command line, installs the TLS provider, sets up telemetry, calls `run`, writes and exports
/// what telemetry has buffered. `filter` says what to log when `RUST_LOG` does not.
pub async fn run_main<A: clap::Parser>(
    name: &'static str,
    filter: impl FnOnce(&A) -> &'static str,
    run: impl AsyncFnOnce(A) -> ExitCode,
) -> ExitCode {
    run_named(name, filter, |_| None, run).await
}

async fn run_named<A: clap::Parser>(
    name: &'static str,
    filter: impl FnOnce(&A) -> &'static str,
    instance: impl FnOnce(&mut A) -> Option<String>,
    run: impl AsyncFnOnce(A) -> ExitCode,
) -> ExitCode {
    let mut args = match settings::parse::<A>() {
        Ok(args) => args,
        Err(code) => return code,
    };
    // Fails if the program has installed one already, which serves as well.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let instance = instance(&mut args).unwrap_or_else(|| format!("{:016x}", rand::random::<u64>()));
    let telemetry = match telemetry::init(&telemetry::Service { name, instance }, filter(&args)) {
        Ok(telemetry) => telemetry,
        Err(error) => return ExitError::from(error).report(name),
    };
    let code = run(args).await;
    telemetry.shutdown().await;
    code
}
