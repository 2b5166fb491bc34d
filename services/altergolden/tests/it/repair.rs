//! `altergolden repair`: a fleet that cannot go on, because of what another program wrote to Redis, goes on after it.

use fleet_fixture::{Coordinator, Deployment, command, sim_config, until};

use crate::cli::Output;

/// 2^63, as a program writes that wants a number above all others.
const POISON: &str = "9223372036854775808";

fn repair(deployment: &Deployment, words: &[&str]) -> Output {
    let mut command = command("altergolden");
    // No fleet of this machine has its state there.
    command.env("XDG_STATE_HOME", "/nonexistent").env_remove("STATE_DIRECTORY");
    let output = command.arg("repair").args(words).env("REDIS_URL", deployment.redis.url()).output().unwrap();
    Output {
        code: output.status.code().unwrap(),
        out: String::from_utf8(output.stdout).unwrap(),
        err: String::from_utf8(output.stderr).unwrap(),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn poisoned_fleet_goes_on_after_a_repair_without_an_identify() {
    let deployment = Deployment::start(sim_config(20)).await;
    let mut coordinator = deployment.coordinator(4).await;
    let worker = deployment.worker("a", &coordinator).await;
    coordinator.until_balanced(&[&worker]).await;
    let identified = deployment.sim.control().identifies().items.len();

    // Beside a running fleet it finds and changes nothing.
    let beside = repair(&deployment, &["--yes"]);
    assert_eq!(beside.code, 0, "{} {}", beside.out, beside.err);
    assert!(beside.out.contains("holds term") && beside.out.contains("nothing to repair"), "{}", beside.out);
    let refused = repair(&deployment, &["--accept-unsigned", "--yes"]);
    assert!(refused.code == 1 && refused.err.contains("stop the coordinator first"), "{}", refused.err);

    let mut next = deployment.coordinator_command(4);
    next.env("COORDINATOR_LISTEN", coordinator.socket().to_string());
    coordinator.process.kill().await;
    for (key, field) in [("{altergolden}:term", "term"), ("{altergolden:shard:2}", "epoch")] {
        deployment.redis.command::<()>(&["HSET", key, field, POISON]).await;
    }
    let mut coordinator = Coordinator::start(&mut next).await;
    until("the coordinator names the record", async || {
        coordinator.health().await.1.to_string().contains("altergolden repair").then_some(())
    })
    .await;

    let found = repair(&deployment, &[]);
    assert_eq!(found.code, 1, "{} {}", found.out, found.err);
    for part in ["{altergolden}:term: ", "{altergolden:shard:2}: ", POISON, "to repair: 2; repeat with --yes"]
    {
        assert!(found.out.contains(part), "{part}: {}", found.out);
    }
    let again = repair(&deployment, &[]);
    assert_eq!(again.out, found.out, "looking changes nothing");
    let repaired = repair(&deployment, &["--yes"]);
    assert!(repaired.code == 0 && repaired.out.contains("repaired: 2"), "{} {}", repaired.out, repaired.err);

    coordinator.until_balanced(&[&worker]).await;
    assert_eq!(deployment.sim.control().identifies().items.len(), identified, "the worker's shards ran on");
    let after = repair(&deployment, &[]);
    assert!(after.code == 0 && after.out.contains("nothing to repair"), "{}", after.out);
    deployment.assert_lawful();

    // The fleet gives up its credentials.
    coordinator.process.stop().await;
    deployment.redis.command::<()>(&["HSET", "{altergolden}:fleet", "head_key_required", "1"]).await;
    let valid = repair(&deployment, &["--yes"]);
    assert!(valid.code == 0 && valid.out.contains("nothing to repair"), "{}", valid.out);
    let shown = repair(&deployment, &["--accept-unsigned"]);
    assert!(shown.code == 1 && shown.out.contains("unsigned checkpoints are refused"), "{}", shown.out);
    let accepted = repair(&deployment, &["--accept-unsigned", "--yes"]);
    assert!(accepted.code == 0 && accepted.out.contains("repaired: 1"), "{} {}", accepted.out, accepted.err);
    let again = repair(&deployment, &["--accept-unsigned"]);
    assert!(again.code == 0 && again.out.contains("nothing to repair"), "{}", again.out);
}

/// A term less than a day ahead is valid, so there is nothing to repair; and a record that is gone is written again.
#[tokio::test(flavor = "multi_thread")]
async fn fleet_goes_on_above_a_higher_term_and_writes_lost_records_again() {
    let deployment = Deployment::start(sim_config(20)).await;
    let coordinator = deployment.coordinator(4).await;
    let a = deployment.worker("a", &coordinator).await;
    coordinator.until_balanced(&[&a]).await;
    let redis = &deployment.redis;
    let ahead = |hours: u64| {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
        (now.as_millis() as u64 + hours * 3_600_000).to_string()
    };
    let mut workers = vec![a];
    for (key, hours, name) in [
        ("{altergolden}:fleet", 20, "b"),
        ("{altergolden:worker:a}", 21, "c"),
        ("{altergolden:shard:1}", 22, "d"),
    ] {
        let term = ahead(hours);
        redis.command::<()>(&["HSET", key, "term", &term]).await;
        // Its shard needs an owner's record and a permit or a copy.
        workers.push(deployment.worker(name, &coordinator).await);
        let all: Vec<_> = workers.iter().collect();
        coordinator.until_balanced(&all).await;
        until("a term above it", async || {
            let now: String = redis.command(&["HGET", "{altergolden}:term", "term"]).await;
            (now.parse::<u64>().unwrap() > term.parse().unwrap()).then_some(())
        })
        .await;
        coordinator.until_balanced(&all).await;
    }
    redis.command::<()>(&["DEL", "{altergolden}:fleet"]).await;
    until("the total to be written again", async || {
        let total: Option<String> = redis.command(&["HGET", "{altergolden}:fleet", "total"]).await;
        (total.as_deref() == Some("4")).then_some(())
    })
    .await;
    deployment.assert_lawful();
}

#[test]
fn repair_says_which_setting_is_wrong() {
    let run = |url: Option<&str>, words: &[&str]| {
        let mut command = command("altergolden");
        command.env("XDG_STATE_HOME", "/nonexistent").env_remove("STATE_DIRECTORY");
        command.arg("repair").args(words);
        url.map(|url| command.env("REDIS_URL", url));
        let output = command.output().unwrap();
        (output.status.code().unwrap(), String::from_utf8(output.stderr).unwrap())
    };
    let (code, error) = run(None, &[]);
    assert!(code == 2 && error.contains("REDIS_URL"), "{code} {error}");
    let (code, error) = run(Some("redis://127.0.0.1:1"), &[]);
    assert!(code == 3 && error.contains("cannot repair"), "{code} {error}");
    let (code, error) = run(Some("redis://127.0.0.1:1"), &["--json"]);
    assert!(code == 2 && error.contains("no effect on `repair`"), "{code} {error}");
}
