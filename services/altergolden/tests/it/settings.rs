//! Wrong settings end a process with one line and an exit code before it binds a port.

use std::process::Command;

use fleet_fixture::{Deployment, Process, command, http, sim_config, until};
use redis_fixture::RedisServer;

fn run(command: &mut Command) -> (i32, String) {
    let output = command.output().unwrap();
    (output.status.code().unwrap(), String::from_utf8(output.stderr).unwrap())
}

#[test]
fn missing_settings_end_the_process_in_one_line() {
    for name in ["coordinator", "gateway-worker"] {
        let (code, said) = run(&mut command(name));
        assert_eq!(code, 2, "{said}");
        assert_eq!(said.lines().count(), 1, "{said}");
        assert!(said.contains("DISCORD_TOKEN: is not set"), "{said}");
        let (code, said) = run(command(name).env("DISCORD_TOKEN", "secret"));
        assert_eq!(code, 2, "{said}");
        assert!(said.contains("REDIS_URL"), "{said}");
        let (code, said) = run(command(name).env("DISCORD_TOKEN", "a").env("BOT_TOKEN", "b"));
        assert_eq!(code, 2, "{said}");
        assert!(said.contains("BOT_TOKEN"), "{said}");
        let (code, said) = run(command(name).env("DISCORD_TOKEN_FILE", "/nonexistent"));
        assert_eq!(code, 2, "{said}");
        assert!(said.contains("/nonexistent"), "{said}");
        for (url, file, problem) in [
            ("redis://:hunter2@127.0.0.1:1", "/dev/null", "remove one of them"),
            ("redis://127.0.0.1:1", "/nonexistent", "cannot read /nonexistent"),
        ] {
            let variables = [("DISCORD_TOKEN", "a"), ("REDIS_URL", url), ("REDIS_PASSWORD_FILE", file)];
            let (code, said) = run(command(name).envs(variables));
            assert_eq!(code, 2, "{said}");
            assert!(said.contains("REDIS_PASSWORD_FILE") && said.contains(problem), "{said}");
            assert!(!said.contains("hunter2"), "{said}");
        }
    }
}

#[test]
fn help_shows_no_secret() {
    for name in ["coordinator", "gateway-worker", "discord-sim", "altergolden"] {
        let output = command(name)
            .arg("--help")
            .env("DISCORD_TOKEN", "hunter2")
            .env("REDIS_URL", "redis://:hunter2@127.0.0.1:1")
            .output()
            .unwrap();
        let help = String::from_utf8(output.stdout).unwrap();
        assert!(output.status.success());
        assert!(help.contains("Usage:"), "{help}");
        assert!(!help.contains("hunter2"), "{help}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn errors_name_the_port_in_use() {
    let deployment = Deployment::start(sim_config(1)).await;
    let coordinator = deployment.coordinator(1).await;
    let address = coordinator.socket().to_string();
    let (code, said) = run(deployment.coordinator_command(1).env("COORDINATOR_LISTEN", &address));
    assert_eq!(code, 2, "{said}");
    assert!(said.contains(&address) && said.contains("--coordinator-listen"), "{said}");
    let port = coordinator.health.rsplit(':').next().unwrap();
    let (code, said) = run(deployment.worker_command("w", "http://127.0.0.1:1").env("HEALTH_PORT", port));
    assert_eq!(code, 2, "{said}");
    assert!(said.contains(port) && said.contains("--health-port"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_token_ends_the_process_without_identify() {
    let mut config = sim_config(1);
    config.token = Some("the-right-one".to_owned());
    let deployment = Deployment::start(config).await;
    for mut command in
        [deployment.coordinator_command(1), deployment.worker_command("w", "http://127.0.0.1:1")]
    {
        let (code, said) = run(command.env("DISCORD_TOKEN", "hunter2"));
        assert_eq!(code, 78, "{said}");
        assert!(said.lines().last().unwrap().contains("refused the token"), "{said}");
        assert!(!said.contains("hunter2"), "{said}");
    }
    assert!(deployment.sim.control().identifies().items.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn workers_wait_until_the_name_of_the_coordinator_resolves() {
    let deployment = Deployment::start(sim_config(1)).await;
    let mut command = deployment.worker_command("w", "http://coordinator.invalid:50051");
    // With a wildcard address the worker has to find its own address through the name.
    let mut worker =
        Process::start("w", command.env("WORKER_LISTEN", "0.0.0.0:0").env("INSECURE_NETWORK", "true"));
    let health = format!("http://{}", worker.logged("health endpoints listening", "address").await);
    until("its health to name what is missing", async || {
        let (_, said) = http::request(&format!("{health}/health"), None).await.ok()?;
        said.contains("cannot resolve coordinator.invalid: ").then_some(())
    })
    .await;
    assert_eq!(http::request(&format!("{health}/live"), None).await.unwrap().0, 200);
    assert_eq!(worker.stop().await, 0);
}

#[tokio::test]
async fn a_wrong_redis_url_does_not_show_its_password() {
    // Started so that this test has the same requirements as the others; the URL below is another.
    let _redis = RedisServer::start().await;
    let (code, said) =
        run(command("coordinator").env("DISCORD_TOKEN", "t").env("REDIS_URL", "redsi://:hunter2@127.0.0.1"));
    assert_eq!(code, 2, "{said}");
    assert!(said.contains("--redis-url") && !said.contains("hunter2"), "{said}");
}
