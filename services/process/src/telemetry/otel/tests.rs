use super::*;

const COLLECTOR: (&str, &str) = (ENDPOINT, "http://127.0.0.1:4317");

fn export(variables: &[(&str, &str)]) -> Result<Option<Export>, InvalidVariable> {
    read(&|name| variables.iter().find(|(key, _)| *key == name).map(|(_, text)| (*text).to_owned()))
}

#[test]
fn nothing_is_exported_without_a_collector_or_when_switched_off() {
    for variables in [
        &[][..],
        &[(ENDPOINT, "")],
        &[COLLECTOR, (DISABLED, "true")],
        &[COLLECTOR, (DISABLED, "TRUE"), (SAMPLER, "invalid")],
        &[COLLECTOR, (EXPORTER, "none")],
        &[(SAMPLER, "invalid")],
    ] {
        assert_eq!(export(variables), Ok(None), "{variables:?}");
    }
}

#[test]
fn collector_of_traces_wins() {
    let both = [COLLECTOR, (TRACES_ENDPOINT, "https://traces.example:4317")];
    let found = export(&both).unwrap().unwrap();
    assert_eq!((found.endpoint.as_str(), found.named_by), ("https://traces.example:4317", TRACES_ENDPOINT));
    let found = export(&[COLLECTOR, (TRACES_ENDPOINT, ""), (DISABLED, "false"), (EXPORTER, "otlp")]);
    assert_eq!(found.unwrap().unwrap().named_by, ENDPOINT);
}

#[test]
fn address_without_a_scheme_is_https_unless_insecure() {
    let endpoint = |variables: &[(&str, &str)]| export(variables).unwrap().unwrap().endpoint;
    assert_eq!(endpoint(&[(ENDPOINT, "collector:4317")]), "https://collector:4317");
    let insecure = [(ENDPOINT, "collector:4317"), ("OTEL_EXPORTER_OTLP_INSECURE", "true")];
    assert_eq!(endpoint(&insecure), "http://collector:4317");
}

#[test]
fn headers_are_secrets_and_files_come_in_pairs() {
    let headers = ("OTEL_EXPORTER_OTLP_HEADERS", "authorization=Basic abc, x-team = 7");
    let found = export(&[COLLECTOR, headers]).unwrap().unwrap();
    assert_eq!(found.secrets, ["Basic abc", "7"]);
    let https = (ENDPOINT, "https://collector:4317");
    let authority = ("OTEL_EXPORTER_OTLP_CERTIFICATE", "/ca.pem");
    let found = export(&[https, authority]).unwrap().unwrap();
    assert_eq!(found.files.authority, Some((authority.0.to_owned(), authority.1.into())));
    let error = export(&[https, ("OTEL_EXPORTER_OTLP_CLIENT_KEY", "/key.pem")]).unwrap_err().to_string();
    assert!(error.contains("OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE"), "{error}");
}

#[test]
fn invalid_value_is_an_error_that_names_its_variable() {
    for (variable, text) in [
        (TRACES_ENDPOINT, "not a url"),
        (TRACES_ENDPOINT, "ftp://127.0.0.1:4317"),
        (TRACES_ENDPOINT, "http://user:password@127.0.0.1:4317"),
        (DISABLED, "yes"),
        (EXPORTER, "jaeger"),
        (SAMPLER, "sometimes"),
        (RESOURCE_ATTRIBUTES, "no-value"),
        (QUEUE, "0"),
        (BATCH, "4096"),
        ("OTEL_BSP_SCHEDULE_DELAY", "5s"),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf"),
        ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "http/json"),
        ("OTEL_EXPORTER_OTLP_COMPRESSION", "gzip"),
        ("OTEL_EXPORTER_OTLP_TIMEOUT", "10s"),
        ("OTEL_EXPORTER_OTLP_TRACES_TIMEOUT", "3600000"),
        ("OTEL_EXPORTER_OTLP_INSECURE", "1"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "secret"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "a b=secret"),
    ] {
        let error = export(&[COLLECTOR, (variable, text)]).unwrap_err().to_string();
        assert!(error.starts_with(&format!("{variable}: ")), "{error}");
        assert!(!error.contains("secret") && !error.contains("password"), "{error}");
    }
}

#[test]
fn sampler_with_a_ratio_needs_one() {
    for (sampler, ratio, fits) in [
        ("always_on", "", true),
        ("parentbased_traceidratio", "0.25", true),
        ("traceidratio", "0", true),
        ("traceidratio", "", false),
        ("traceidratio", "1.5", false),
        ("parentbased_traceidratio", "NaN", false),
    ] {
        let found = export(&[COLLECTOR, (SAMPLER, sampler), (SAMPLER_ARG, ratio)]);
        assert_eq!(found.is_ok(), fits, "{sampler} {ratio}: {found:?}");
    }
}
