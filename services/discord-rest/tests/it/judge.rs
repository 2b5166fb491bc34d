//! discord.js's own REST client through the proxy. It is red where it can't run.

use std::{
    fs::{self, File},
    path::Path,
    time::Duration,
};

use discord_sim::{Sim, SimConfig};
use process::credentials::ClientFacingCertificate;
use rcgen::{BasicConstraints, CertificateParams, DistinguishedName, DnType, IsCa, Issuer, KeyPair};
use tokio::{process::Command, time::timeout};

use crate::bench::{Bench, Setting};

/// For a whole judge, on a busy machine.
const DEADLINE: Duration = Duration::from_mins(1);

const JUDGES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../discord-sim/judges");

/// Runs the judge against the proxy at `url`.
async fn judge(sim: &Sim, url: &str, name: &str, settings: &[(&str, &Path)]) {
    // What is asked for must be what was installed.
    let read = |path: &str| fs::read(Path::new(JUDGES).join(path)).ok();
    assert!(
        read("node/node_modules/.installed")
            .is_some_and(|present| Some(present) == read("node/package-lock.json")),
        "the judges' libraries are not installed as node/package-lock.json says: run services/discord-sim/judges/install"
    );
    let log = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}.log"));
    let output = File::create(&log).unwrap();
    let mut child = Command::new("node")
        .arg(format!("{JUDGES}/node/rest/proxy.mjs"))
        .arg(sim.http_origin())
        .arg(format!("{url}/api"))
        .envs(settings.iter().copied())
        .stdout(output.try_clone().unwrap())
        .stderr(output)
        .kill_on_drop(true)
        .spawn()
        .unwrap_or_else(|error| panic!("node does not start ({error}): .ci/test installs it"));
    let ended = timeout(DEADLINE, child.wait()).await;
    let output = fs::read_to_string(&log).unwrap();
    let status = ended.unwrap_or_else(|_| panic!("not done in {DEADLINE:?}:\n{output}")).unwrap();
    assert!(status.success(), "the judge is not satisfied:\n{output}");
}

#[tokio::test]
async fn discordjs_rest_works_through_the_proxy() {
    let sim = Sim::start(SimConfig { guilds: 4, ..SimConfig::default() }).await.unwrap();
    let bench = Bench::to(sim.addr()).await;
    judge(&sim, &format!("http://{}", bench.address), "discordjs-rest", &[]).await;
    assert!(bench.metric("rest_retries_total") >= 3, "the proxy waited its 429s out");
    bench.finish().await;
    sim.shutdown().await;
}

/// As a bot on another host has it: the URL is https, and Node is given the CA.
#[tokio::test]
async fn discordjs_rest_works_through_the_proxy_over_tls() {
    let folder = tempfile::tempdir().unwrap();
    let (ca, pem) = (folder.path().join("ca.pem"), folder.path().join("rest.pem"));
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    fs::write(&ca, params.self_signed(&key).unwrap().pem()).unwrap();
    let issuer = Issuer::new(params, key);
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(["localhost".to_owned()]).unwrap();
    // OpenSSL takes a certificate with the CA's name for a self-signed one.
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, "rest");
    let leaf = params.signed_by(&key, &issuer).unwrap();
    fs::write(&pem, format!("{}{}", leaf.pem(), key.serialize_pem())).unwrap();

    let sim = Sim::start(SimConfig { guilds: 4, ..SimConfig::default() }).await.unwrap();
    let certificate = ClientFacingCertificate::open(&pem).unwrap();
    let bench = Bench::start(sim.addr(), Setting { certificate, ..Setting::default() }).await;
    let url = format!("https://localhost:{}", bench.address.port());
    judge(&sim, &url, "discordjs-rest-tls", &[("NODE_EXTRA_CA_CERTS", &ca)]).await;
    assert!(bench.metric("rest_retries_total") >= 3, "the proxy waited its 429s out");
    bench.finish().await;
    sim.shutdown().await;
}
