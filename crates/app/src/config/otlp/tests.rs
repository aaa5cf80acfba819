use std::time::Duration;

use super::super::tests::{GOOD, load_with, refused};
use super::*;

fn config_of(text: &str, variables: &[(&str, &str)]) -> OtlpConfig {
    load_with(&format!("{GOOD}{text}\n"), variables).unwrap().otlp
}

fn refusal(text: &str, variables: &[(&str, &str)]) -> String {
    load_with(&format!("{GOOD}{text}\n"), variables).unwrap_err()
}

fn urls(config: &OtlpConfig) -> [Option<&str>; 2] {
    [&config.traces, &config.metrics].map(|to| to.as_ref().map(|to| &*to.url))
}

#[test]
fn without_a_word_nothing_is_sent() {
    let default = config_of("", &[]);
    assert_eq!((urls(&default), default.service.as_str()), ([None, None], "eventsource"));
}

#[test]
fn the_section_says_where_and_goes_before_the_standards_variables() {
    let text = "otlp_endpoint = \"https://collector:4318/otlp/spans\"\notlp_protocol = \"http\"\n\
                otlp_headers = \"x-key=hunter2\"\nservice_name = \"shop\"\n\
                otlp_metrics_endpoint = \"http://m:9090/api/v1/otlp/v1/metrics\"\n\
                span_sample_ratio = 0.25";
    let set = [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://elsewhere:4317"),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "x-other=1"),
        ("OTEL_SERVICE_NAME", "other"),
        ("OTEL_EXPORTER_OTLP_TIMEOUT", "1500"),
    ];
    let config = config_of(text, &set);
    let wanted = ["https://collector:4318/otlp/spans", "http://m:9090/api/v1/otlp/v1/metrics"];
    assert_eq!(urls(&config), wanted.map(Some));
    assert_eq!((config.service.as_str(), config.sample_ratio), ("shop", 0.25));
    let traces = config.traces.unwrap();
    assert_eq!((traces.protocol, traces.headers.0.len()), (OtlpProtocol::Http, 1));
    assert_eq!(traces.timeout, Duration::from_millis(1_500));
    assert!(!format!("{traces:?}").contains("hunter2"), "{traces:?}");
    assert_eq!(format!("{:?}", traces.headers), "[\"x-key\"]");

    let set = [("REHOME_TELEMETRY_OTLP_PROTOCOL", "grpc")];
    let config = config_of(text, &set);
    assert_eq!(config.traces.unwrap().protocol, OtlpProtocol::Grpc);
}

#[test]
fn metrics_go_where_spans_go_if_that_is_a_base_or_the_standards_path() {
    let http =
        |url: &str| config_of(&format!("otlp_endpoint = \"{url}\"\notlp_protocol = \"http\""), &[]);
    for url in ["http://c:4318", "http://c:4318/", "http://c:4318/v1/traces"] {
        let wanted = ["http://c:4318/v1/traces", "http://c:4318/v1/metrics"];
        assert_eq!(urls(&http(url)), wanted.map(Some), "{url}");
    }
    assert_eq!(urls(&http("http://c/otlp/traces")), [Some("http://c/otlp/traces"), None]);
}

#[test]
fn the_standards_endpoints_are_a_base_or_whole() {
    let set = [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "https://c:4318/base/"),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf"),
        ("OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", "https://m/take"),
    ];
    let wanted = ["https://c:4318/base/v1/traces", "https://m/take"];
    assert_eq!(urls(&config_of("", &set)), wanted.map(Some));

    let grpc = |more: &[(&str, &str)]| {
        let one = [("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "collector:4317")];
        config_of("", &[&one, more].concat())
    };
    assert_eq!(urls(&grpc(&[])), [Some("https://collector:4317"), None]);
    let insecure = [("OTEL_EXPORTER_OTLP_INSECURE", "true")];
    assert_eq!(urls(&grpc(&insecure)), [Some("http://collector:4317"), None]);

    let asked = [("OTEL_METRICS_EXPORTER", "otlp")];
    assert_eq!(urls(&config_of("", &asked)), [None, Some("http://localhost:4317")]);
}

#[test]
fn a_signal_is_sent_or_not_as_the_standard_says() {
    let base = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://c:4317");
    let sent = |name, value| urls(&config_of("", &[base, (name, value)])).map(|url| url.is_some());
    assert_eq!(sent("OTEL_SDK_DISABLED", "false"), [true, true]);
    assert_eq!(sent("OTEL_SDK_DISABLED", "TRUE"), [false, false]);
    assert_eq!(sent("OTEL_TRACES_EXPORTER", "none"), [false, true]);
    assert_eq!(sent("OTEL_METRICS_EXPORTER", "none"), [true, false]);
    assert_eq!(sent("OTEL_METRICS_EXPORTER", "prometheus"), [true, false]);
    assert_eq!(sent("OTEL_METRICS_EXPORTER", "prometheus,otlp"), [true, true]);
    assert_eq!(sent("OTEL_TRACES_EXPORTER", ""), [true, true]);
}

#[test]
fn samplers_choose_among_migrations() {
    let ratios = |set: &[(&str, &str)]| {
        let config = config_of("", set);
        (config.trace_ratio, config.sample_ratio)
    };
    let name = "OTEL_TRACES_SAMPLER";
    assert_eq!(ratios(&[(name, "always_on")]), (1.0, 1.0));
    assert_eq!(ratios(&[(name, "parentbased_always_off")]), (0.0, 1.0));
    let arg = ("OTEL_TRACES_SAMPLER_ARG", "0.25");
    assert_eq!(ratios(&[(name, "parentbased_traceidratio"), arg]), (0.25, 1.0));
    let own = ("REHOME_TELEMETRY_SPAN_SAMPLE_RATIO", "0.5");
    assert_eq!(ratios(&[(name, "always_on"), own]), (1.0, 0.5));
    assert_eq!(ratios(&[]), (1.0, 0.1));
}

#[test]
fn who_sends_is_named_as_the_standard_has_it() {
    let attributes =
        ("OTEL_RESOURCE_ATTRIBUTES", "service.name=a,deployment=b%20c,service.version=9");
    let config = config_of("", &[attributes]);
    assert_eq!(config.service, "a");
    assert_eq!(config.attributes, [("deployment".to_owned(), "b c".to_owned())]);
    assert_eq!(config_of("", &[attributes, ("OTEL_SERVICE_NAME", "n")]).service, "n");
}

#[test]
fn what_is_not_done_is_refused_at_start_and_no_secret_is_repeated() {
    let base = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://c:4317");
    for (name, value, why) in [
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/json", "rehome sends no JSON"),
        ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "http/json", "rehome sends no JSON"),
        ("OTEL_TRACES_EXPORTER", "zipkin", "must be otlp or none"),
        ("OTEL_METRICS_EXPORTER", "console", "must be otlp, prometheus or none"),
        ("OTEL_TRACES_SAMPLER", "jaeger_remote", "no other samplers"),
        ("OTEL_SDK_DISABLED", "1", "true or false"),
        ("OTEL_EXPORTER_OTLP_TIMEOUT", "10s", "milliseconds"),
        ("OTEL_EXPORTER_OTLP_COMPRESSION", "zstd", "gzip or none"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "authorization hunter2", "name=value"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "a=1,b c=hunter2", "header 2"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "a=hunter2%0d%0ax: y", "header 1"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "host=hunter2", "sets itself"),
        ("OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", "http://u:hunter2@c", "without a user"),
        ("OTEL_EXPORTER_OTLP_CERTIFICATE", "/nowhere/ca.pem", "/nowhere/ca.pem"),
        ("OTEL_EXPORTER_OTLP_CLIENT_KEY", "/nowhere/key.pem", "CLIENT_CERTIFICATE"),
        ("OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE", "delta", "cumulative"),
    ] {
        let found = refusal("", &[base, (name, value)]);
        assert!(found.contains(why) && found.contains(name), "{name}={value}: {found}");
        assert!(!found.contains("hunter2"), "{found}");
    }
    let argument =
        [base, ("OTEL_TRACES_SAMPLER", "traceidratio"), ("OTEL_TRACES_SAMPLER_ARG", "2")];
    assert!(refusal("", &argument).contains("OTEL_TRACES_SAMPLER_ARG"));
}

#[test]
fn a_key_of_the_section_that_is_wrong_is_refused() {
    for bad in [
        "otlp_endpoint = \"localhost:4317\"",
        "otlp_endpoint = \"http://\"",
        "otlp_endpoint = \"http://user:hunter2@localhost\"",
        "otlp_protocol = \"http/json\"",
        "service_name = \" \"",
        "span_sample_ratio = 1.5",
        "span_sample_ratio = nan",
        "span_sample_ratio = \"0.5\"",
    ] {
        let found = refused(&format!("{GOOD}{bad}\n"));
        let key = bad.split(' ').next().unwrap();
        assert!(found.contains(&format!("telemetry.{key} must be")), "{found}");
        assert!(!found.contains("hunter2"), "{found}");
    }
    let folder = tempfile::tempdir().unwrap();
    let ca = folder.path().join("ca.pem");
    std::fs::write(&ca, "hunter2").unwrap();
    let text = format!("otlp_endpoint = \"https://c:4317\"\notlp_ca_file = {ca:?}");
    let found = refusal(&text, &[]);
    assert!(found.contains("no certificate in PEM") && !found.contains("hunter2"), "{found}");
}
