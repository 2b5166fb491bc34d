//! OpenTelemetry's environment variables, and collectors that are away, hang, or speak TLS.

use std::time::{Duration, Instant};

use fleet_fixture::{Coordinator, Deployment, Worker, sim_config};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use tokio::net::TcpListener;
use tokio_util::task::AbortOnDropHandle;
use tonic::transport::Identity;

use super::collector::{Listening, Span};

/// Any span of a worker.
async fn span_of_worker(collector: &Listening) -> Span {
    let traces = collector.collector.until_roots("shard.start", 1, |_| true).await;
    traces[0].iter().find(|span| span.name == "shard.start").unwrap().clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn operator_names_the_service_and_its_attributes() {
    let (collector, deployment) = (Listening::start().await, Deployment::start(sim_config(1)).await);
    let coordinator = deployment.coordinator(1).await;
    let mut command = deployment.worker_command("w", &coordinator.address);
    let own = collector.endpoint.clone();
    command
        .env("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1")
        .env("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", own)
        .env("OTEL_BSP_SCHEDULE_DELAY", "200")
        .env("OTEL_SERVICE_NAME", "my-bot")
        .env("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment=test,host.name=mine")
        .env("OTEL_EXPORTER_OTLP_HEADERS", "x-team=seven");
    let _worker = Worker::start("w", &mut command).await;
    let span = span_of_worker(&collector).await;
    let resource = |key: &str| span.resource.get(key).map(String::as_str);
    for (key, value) in [
        ("service.name", "my-bot"),
        ("service.instance.id", "w"),
        ("service.version", env!("CARGO_PKG_VERSION")),
        ("deployment.environment", "test"),
        ("host.name", "mine"),
        ("telemetry.sdk.language", "rust"),
    ] {
        assert_eq!(resource(key), Some(value), "{key}: {:?}", span.resource);
    }
    assert_eq!(collector.collector.header("x-team").as_deref(), Some("seven"));
}

#[tokio::test(flavor = "multi_thread")]
async fn invalid_variable_ends_the_start_and_switched_off_is_ignored() {
    let deployment = Deployment::start(sim_config(1)).await;
    let invalid = |name: &str, value: &str| {
        let mut command = deployment.coordinator_command(1);
        command.env("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:4317").env(name, value);
        let output = command.output().unwrap();
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };
    for (name, value) in [
        ("OTEL_TRACES_SAMPLER", "sometimes"),
        ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "no url"),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf"),
    ] {
        let (code, said) = invalid(name, value);
        assert_eq!(code, Some(2), "{said}");
        assert!(said.starts_with(&format!("coordinator: {name}: ")) && said.lines().count() == 1, "{said}");
    }
    let mut command = deployment.coordinator_command(1);
    command
        .env("OTEL_EXPORTER_OTLP_ENDPOINT", "https://127.0.0.1:1")
        .env("OTEL_EXPORTER_OTLP_CERTIFICATE", "/nonexistent");
    let output = command.output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("OTEL_EXPORTER_OTLP_CERTIFICATE: cannot read /nonexistent"), "{said}");

    // Nothing is exported, and so nothing is checked.
    let mut command = deployment.coordinator_command(1);
    command
        .env("OTEL_EXPORTER_OTLP_ENDPOINT", "no url")
        .env("OTEL_TRACES_SAMPLER", "sometimes")
        .env("OTEL_SDK_DISABLED", "true");
    let coordinator = Coordinator::start(&mut command).await;
    assert!(!coordinator.process.output().contains("spans are exported"), "{}", coordinator.process.output());
}

#[tokio::test(flavor = "multi_thread")]
async fn collector_that_hangs_or_is_away_costs_one_line() {
    // Accepts connections and never answers on them.
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let hangs = format!("http://{}", listener.local_addr().unwrap());
    let _accepting = AbortOnDropHandle::new(tokio::spawn(async move {
        let mut held = Vec::new();
        while let Ok((socket, _)) = listener.accept().await {
            held.push(socket);
        }
    }));
    let deployment = Deployment::start(sim_config(20)).await;
    let coordinator = deployment.coordinator(4).await;
    for (name, endpoint) in [("hangs", hangs.as_str()), ("away", "http://127.0.0.1:1")] {
        let mut command = deployment.worker_command(name, &coordinator.address);
        command
            .env("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint)
            .env("OTEL_EXPORTER_OTLP_TIMEOUT", "300")
            .env("OTEL_BSP_SCHEDULE_DELAY", "100")
            .env("OTEL_BSP_MAX_QUEUE_SIZE", "16")
            .env("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "4")
            .env("RELAY", "redis")
            .env("TRACE_EVENTS", "1");
        let mut worker = Worker::start(name, &mut command).await;
        coordinator.until_balanced(&[&worker]).await;
        worker
            .process
            .logged("span export failed; spans are dropped until the collector answers", "error")
            .await;
        // Events flow meanwhile; several more exports fail.
        let handled = worker.metric("altergolden_relay_events_total").await;
        worker.until_metric("altergolden_relay_events_total", |now| now > handled + 100).await;
        let began = Instant::now();
        assert_eq!(worker.process.stop().await, 0, "{name}");
        assert!(began.elapsed() < Duration::from_secs(20), "{name}: {:?}", began.elapsed());
        let output = worker.process.output();
        let lines =
            output.lines().filter(|line| line.contains("span export failed") || line.contains("last spans"));
        assert_eq!(lines.count(), 1, "{output}");
    }
    deployment.assert_lawful();
}

#[tokio::test(flavor = "multi_thread")]
async fn https_collector_is_trusted_by_its_own_authority() {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    let key = KeyPair::generate().unwrap();
    let certificate =
        CertificateParams::new(vec!["localhost".to_owned()]).unwrap().signed_by(&key, &authority).unwrap();
    let collector = Listening::with_tls(Identity::from_pem(certificate.pem(), key.serialize_pem())).await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("authority.pem");
    std::fs::write(&file, authority.pem()).unwrap();

    let deployment = Deployment::start(sim_config(1)).await;
    let coordinator = deployment.coordinator(1).await;
    // Public authorities do not vouch for it.
    let mut command = deployment.worker_command("public", &coordinator.address);
    let mut public = Worker::start("public", collector.trace(&mut command)).await;
    let error = public
        .process
        .logged("span export failed; spans are dropped until the collector answers", "error")
        .await;
    assert!(error.contains("UnknownIssuer") || error.contains("certificate"), "{error}");
    assert!(collector.collector.spans().is_empty());
    assert_eq!(public.process.stop().await, 0);

    let mut command = deployment.worker_command("own", &coordinator.address);
    collector.trace(&mut command).env("OTEL_EXPORTER_OTLP_CERTIFICATE", &file);
    let _own = Worker::start("own", &mut command).await;
    assert_eq!(span_of_worker(&collector).await.instance, "own");
}
