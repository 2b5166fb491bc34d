//! The `gateway-worker` binary: a worker without bot code.

use std::process::ExitCode;

use gateway_worker::NoHandler;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[tokio::main]
async fn main() -> ExitCode {
    gateway_worker::run(NoHandler).await
}
