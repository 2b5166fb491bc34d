//! The programs of the platform in this one: a process whose name is `coordinator`, `gateway-worker` or `discord-sim` is that program.

use std::{ffi::CStr, path::PathBuf, process::ExitCode};

use discord_sim::{Sim, SimArgs};
use gateway_worker::NoHandler;
use process::{ExitError, supervised::report_serving};

/// Runs the program that the process is named after. `None`: it is `altergolden`.
pub(crate) fn run_named() -> Option<ExitCode> {
    let path = std::env::args_os().next().map(PathBuf::from)?;
    match path.file_name()?.to_str()? {
        "coordinator" => {
            set_name(c"coordinator");
            Some(process::block_on(coordinator::run()))
        }
        "gateway-worker" => {
            set_name(c"gateway-worker");
            Some(process::block_on(gateway_worker::run(NoHandler)))
        }
        "discord-sim" => {
            set_name(c"discord-sim");
            Some(process::block_on(process::run_main("discord-sim", |_: &SimArgs| "warn", simulate)))
        }
        _ => None,
    }
}

/// Names the process for `ps -o comm` and `top`; otherwise it would have the name of the program file.
fn set_name(name: &CStr) {
    // Only a name.
    let _ = rustix::thread::set_name(name);
}

/// Runs the simulated Discord until the process is told to stop.
async fn simulate(args: SimArgs) -> ExitCode {
    let run = async {
        let token = std::env::var("SIM_TOKEN").ok();
        let config = args.into_config(token).map_err(|error| {
            ExitError::new(
                process::settings::Exit::Settings,
                format!("--{} must be {}", error.setting.replace('_', "-"), error.needs),
            )
        })?;
        let stop = process::stop_on_signal();
        let sim = Sim::start(config).await?;
        report_serving(None);
        stop.cancelled().await;
        sim.shutdown().await;
        Ok(())
    };
    match run.await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => ExitError::report(&error, "discord-sim"),
    }
}
