//! discord.js's own REST client through the proxy. It is red where it can't run.

use std::{
    fs::{self, File},
    path::Path,
    time::Duration,
};

use discord_sim::{Sim, SimConfig};
use tokio::{process::Command, time::timeout};

use crate::bench::Bench;

/// For a whole judge, on a busy machine.
const DEADLINE: Duration = Duration::from_mins(1);

const JUDGES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../discord-sim/judges");

#[tokio::test]
async fn discordjs_rest_works_through_the_proxy() {
    // What is asked for must be what was installed.
    let read = |path: &str| fs::read(Path::new(JUDGES).join(path)).ok();
    assert!(
        read("node/node_modules/.installed")
            .is_some_and(|present| Some(present) == read("node/package-lock.json")),
        "the judges' libraries are not installed as node/package-lock.json says: run services/discord-sim/judges/install"
    );
    let sim = Sim::start(SimConfig { guilds: 4, ..SimConfig::default() }).await.unwrap();
    let bench = Bench::to(sim.addr()).await;
    let log = Path::new(env!("CARGO_TARGET_TMPDIR")).join("discordjs-rest.log");
    let output = File::create(&log).unwrap();
    let mut child = Command::new("node")
        .arg(format!("{JUDGES}/node/rest/proxy.mjs"))
        .arg(sim.http_origin())
        .arg(format!("http://{}/api", bench.address))
        .stdout(output.try_clone().unwrap())
        .stderr(output)
        .kill_on_drop(true)
        .spawn()
        .unwrap_or_else(|error| panic!("node does not start ({error}): .ci/test installs it"));
    let ended = timeout(DEADLINE, child.wait()).await;
    let output = fs::read_to_string(&log).unwrap();
    let status = ended.unwrap_or_else(|_| panic!("not done in {DEADLINE:?}:\n{output}")).unwrap();
    assert!(status.success(), "the judge is not satisfied:\n{output}");
    assert!(bench.metric("rest_retries_total") >= 3, "the proxy waited its 429s out");
    bench.finish().await;
    sim.shutdown().await;
}
