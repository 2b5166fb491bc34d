//! The `gateway-worker` binary: a worker without bot code.

use std::process::ExitCode;

use gateway_worker::NoHandler;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    process::block_on(gateway_worker::run(NoHandler))
}
