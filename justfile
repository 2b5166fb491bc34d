# Short names for daily commands. You can do without just: each recipe is one command.

# List the recipes
default:
    @just --list

# Everything in one process, with a simulated Discord: `just dev --guilds 1000`
dev *args:
    cargo run --release --locked -p altergolden -- dev {{ args }}

# Ask a running fleet: `just ask status`
ask *args:
    cargo run --release --locked -p altergolden -- {{ args }}

# A simulated Discord on its own
sim *args:
    cargo run --release --locked -p discord-sim -- {{ args }}

# All tests, or some: `just test -p coordinator`
test *args:
    .ci/test {{ args }}

# Tests, format, lints, documentation, dependencies
ci:
    .ci/run

# Images and compose.yaml: scaling, traces, a refused token
compose-test:
    .ci/compose

# Run each grpcurl line of the README and the long tour against `altergolden dev` or the fleet at an address
readme-grpcurl *address:
    .ci/readme-grpcurl {{ address }}

# Format
fmt:
    cargo fmt --all

# Lints
lint:
    cargo clippy --workspace --all-targets --locked -- -D warnings

# The documentation of the code
doc:
    cargo doc --workspace --no-deps --locked --open

# Licenses, bans, sources, advisories: needs cargo-deny
deny:
    cargo deny check
