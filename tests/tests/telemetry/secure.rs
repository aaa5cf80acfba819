//! OTLP over TLS, with headers, as configured by the standard variables.

use std::fs;

use anyhow::{Context as _, Result, ensure};
use rehome_tests::process::wait_for;

use crate::collector::{Certified, Collector, Speaks};
use crate::harness::{Site, address, lines};

fn certified() -> Result<Certified> {
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()])?;
    Ok(Certified { certificate: made.cert.pem(), key: made.signing_key.serialize_pem() })
}

/// A server moves a tenant; a collector that requires TLS and a password receives spans and metrics under the
/// configured name. The password is in nothing that the server writes.
#[test]
fn spans_and_metrics_go_over_tls_with_headers_that_are_never_shown() -> Result<()> {
    for (speaks, protocol) in [(Speaks::Grpc, "grpc"), (Speaks::Http, "http/protobuf")] {
        let certified = certified()?;
        let collector = Collector::start(speaks, Some(&certified))?;
        let site = Site::new(&[])?;
        let ca = site.path("ca.pem");
        fs::write(&ca, &certified.certificate)?;
        let site = site.with(&[
            ("OTEL_EXPORTER_OTLP_ENDPOINT", collector.endpoint()),
            ("OTEL_EXPORTER_OTLP_PROTOCOL", protocol.to_owned()),
            ("OTEL_EXPORTER_OTLP_CERTIFICATE", ca.display().to_string()),
            ("OTEL_EXPORTER_OTLP_HEADERS", "authorization=Bearer%20hunter2".to_owned()),
            ("OTEL_EXPORTER_OTLP_COMPRESSION", "gzip".to_owned()),
            ("OTEL_METRIC_EXPORT_INTERVAL", "300".to_owned()),
            ("OTEL_SERVICE_NAME", "shop".to_owned()),
        ]);
        let mut server = site.spawn("server", "", &["serve", "--json"])?;
        address(&mut server)?;
        let mut mover = site.start("mover", "", &[])?;
        mover.succeeds()?;
        wait_for("the root of the trace", || {
            let spans = collector.spans_of("shop")?;
            let is_there = spans.iter().any(|span| span.name == "eventsource.migration.start");
            Ok(is_there.then_some(()))
        })?;
        wait_for("the migration's state in the metrics", || {
            let metrics = collector.metrics_of("shop")?;
            Ok(metrics.iter().any(|metric| metric.name == "migration_state").then_some(()))
        })?;
        for headers in collector.headers() {
            let shown = headers.get("authorization").context("a request without a password")?;
            ensure!(shown == "Bearer hunter2", "{protocol}: {shown:?}");
        }
        server.terminate()?;
        server.succeeds()?;
        for process in [&server, &mover] {
            let written = process.complained()?;
            ensure!(!written.contains("hunter2"), "{written}");
            ensure!(lines(process)?.iter().all(|line| line["service"] == "shop"), "{written}");
        }
        ensure!(!lines(&mover)?.is_empty(), "{protocol}: it wrote nothing");
    }
    Ok(())
}

/// The certificate is not trusted, so nothing is sent, and the log line says why.
#[test]
fn a_collector_whose_certificate_nobody_believes_gets_nothing() -> Result<()> {
    for (speaks, protocol) in [(Speaks::Grpc, "grpc"), (Speaks::Http, "http/protobuf")] {
        let collector = Collector::start(speaks, Some(&certified()?))?;
        let site = Site::new(&[])?.with(&[
            ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", format!("{}/v1/traces", collector.endpoint())),
            ("OTEL_EXPORTER_OTLP_PROTOCOL", protocol.to_owned()),
            ("OTEL_EXPORTER_OTLP_TIMEOUT", "400".to_owned()),
        ]);
        let mut driver = site.start("driver", "", &[])?;
        driver.succeeds()?;
        ensure!(collector.headers().is_empty(), "{protocol}: it was sent something");
        let written = driver.complained()?;
        ensure!(written.contains("the collector did not accept spans"), "{protocol}: {written}");
        ensure!(written.contains("certificate"), "{protocol}: {written}");
    }
    Ok(())
}

#[test]
fn what_the_standards_variables_ask_for_and_nobody_does_is_refused_at_start() -> Result<()> {
    let site = Site::new(&[])?.with(&[
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9".to_owned()),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/json".to_owned()),
    ]);
    let mut server = site.spawn("server", "", &["serve"])?;
    ensure!(!server.end()?.success(), "it serves");
    let written = server.complained()?;
    ensure!(written.contains("OTEL_EXPORTER_OTLP_PROTOCOL"), "{written}");
    ensure!(written.contains("http/protobuf"), "{written}");
    Ok(())
}

#[test]
fn a_sampler_that_takes_nothing_and_a_disabled_sdk_send_nothing() -> Result<()> {
    for off in [("OTEL_TRACES_SAMPLER", "always_off"), ("OTEL_SDK_DISABLED", "true")] {
        let collector = Collector::grpc()?;
        let endpoint = ("OTEL_EXPORTER_OTLP_ENDPOINT", collector.endpoint());
        let site = Site::new(&[])?.with(&[endpoint, (off.0, off.1.to_owned())]);
        site.start("driver", "", &[])?.succeeds()?;
        ensure!(collector.spans()?.is_empty(), "{off:?}: spans came");
    }
    Ok(())
}
