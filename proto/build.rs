//! Generates the contract's types into `OUT_DIR`, with a parser written in Rust: no `protoc` is needed.

use std::{env, fs, path::PathBuf};

use prost::Message as _;

const PROTOS: [&str; 11] = [
    "altergolden/v1/shard.proto",
    "altergolden/v1/tap.proto",
    "altergolden/v1/coordinator.proto",
    "altergolden/v1/gateway_worker.proto",
    "altergolden/v1/messages.proto",
    "altergolden/v1/events.proto",
    "altergolden/v1/commands.proto",
    "altergolden/v1/cached.proto",
    "altergolden/v1/shard_bridge.proto",
    "altergolden/v1/history.proto",
    "altergolden/v1/fleet.proto",
];

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo::rerun-if-changed=altergolden");
    let descriptors = protox::compile(PROTOS, ["."])?;
    let out = PathBuf::from(env::var("OUT_DIR")?);
    fs::write(out.join("descriptors.bin"), descriptors.encode_to_vec())?;
    tonic_prost_build::configure().bytes(".altergolden.v1.Directive").compile_fds(descriptors)?;
    Ok(())
}
