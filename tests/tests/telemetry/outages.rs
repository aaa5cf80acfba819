//! Collectors that have too much to do, hang, are down, or ask who is there.

use std::fs;
use std::net::TcpListener;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use rehome_tests::history::TENANT;
use rehome_tests::process::wait_for;

use crate::collector::{Certified, Collector, Refusal, Speaks};
use crate::harness::{Site, address, lines};

const BOTH: [(Speaks, &str); 2] = [(Speaks::Grpc, "grpc"), (Speaks::Http, "http/protobuf")];

fn root_is_there(collector: &Collector) -> Result<()> {
    wait_for("the root of the trace", || {
        let spans = collector.spans()?;
        let is_there = spans.iter().any(|span| span.name == "eventsource.migration.start");
        Ok(is_there.then_some(()))
    })
}

/// It says when to come again, and nobody comes before; the spans arrive, and none is lost.
#[test]
fn a_collector_that_has_too_much_to_do_gets_the_spans_later() -> Result<()> {
    for (speaks, protocol) in BOTH {
        for status in [429, 503] {
            let collector = Collector::start(speaks, None)?;
            collector.refuses([Refusal::Busy(status, 1), Refusal::Busy(status, 1)]);
            let site = Site::new(&[])?.with(&[
                (
                    "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
                    format!("{}/v1/traces", collector.endpoint()),
                ),
                ("OTEL_EXPORTER_OTLP_PROTOCOL", protocol.to_owned()),
            ]);
            let mut server = site.spawn("server", "", &["serve", "--json"])?;
            let at = format!("http://{}", address(&mut server)?);
            site.start("mover", "", &["--server", &at])?.succeeds()?;
            root_is_there(&collector)?;
            let asked = collector.asked();
            let least = if speaks == Speaks::Http { 1_000 } else { 500 };
            for pair in asked.windows(2).take(2) {
                let between = pair[1].duration_since(pair[0]);
                ensure!(between >= Duration::from_millis(least), "{protocol}: after {between:?}");
            }
            server.terminate()?;
            server.succeeds()?;
            let written = server.complained()?;
            ensure!(
                !written.contains("accept spans") && !written.contains("spans were lost"),
                "{protocol}: {written}"
            );
        }
    }
    Ok(())
}

/// Nothing waits for it: the tenant is moved as fast as ever, the process ends in time, and the line counts the loss.
#[test]
fn a_collector_that_hangs_holds_up_nobody_and_the_loss_is_counted() -> Result<()> {
    for (speaks, protocol) in BOTH {
        let collector = Collector::start(speaks, None)?;
        collector.refuses(std::iter::repeat_n(Refusal::Hangs, 10_000));
        let site = Site::new(&[])?.with(&[
            ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", format!("{}/v1/traces", collector.endpoint())),
            ("OTEL_EXPORTER_OTLP_PROTOCOL", protocol.to_owned()),
            ("OTEL_EXPORTER_OTLP_TIMEOUT", "300".to_owned()),
        ]);
        let began = Instant::now();
        let mut mover = site.start("mover", "", &[])?;
        mover.succeeds()?;
        ensure!(site.last()?.context("no migration")?.phase == "migrated", "not migrated");
        ensure!(began.elapsed() < Duration::from_secs(30), "it took {:?}", began.elapsed());
        ensure!(!collector.asked().is_empty(), "{protocol}: nobody came");
        let lost: u64 = lines(&mover)?.iter().filter_map(|line| line["spans_count"].as_u64()).sum();
        ensure!(lost > 0, "{protocol}: {}", mover.complained()?);
    }
    Ok(())
}

/// One that was down is used when it is up: spans of then arrive, and so do all metrics, which are sums.
#[test]
fn a_collector_that_was_down_gets_what_comes_then() -> Result<()> {
    for (speaks, protocol) in BOTH {
        let place = TcpListener::bind("127.0.0.1:0")?.local_addr()?.to_string();
        let site = Site::new(&[])?.with(&[
            ("OTEL_EXPORTER_OTLP_ENDPOINT", format!("http://{place}")),
            ("OTEL_EXPORTER_OTLP_PROTOCOL", protocol.to_owned()),
            ("OTEL_EXPORTER_OTLP_TIMEOUT", "400".to_owned()),
            ("OTEL_METRIC_EXPORT_INTERVAL", "200".to_owned()),
        ]);
        let mut server = site.spawn("server", "", &["serve", "--json"])?;
        let at = format!("http://{}", address(&mut server)?);
        site.start("mover", "", &["--server", &at])?.succeeds()?;
        site.wait_for_phase("migrated")?;
        for what in ["the collector did not accept spans", "the collector did not accept metrics"] {
            wait_for(what, || Ok(server.complained()?.contains(what).then_some(())))?;
        }
        let collector = Collector::on(&place, speaks, None, None)?;
        let back = ["migration", "start", "--tenant", TENANT, "--to", "shared", "--server", &at];
        site.spawn("back", "", &back)?.succeeds()?;
        root_is_there(&collector)?;
        wait_for("the migration's state in the metrics", || {
            let metrics = collector.metrics_of("eventsource")?;
            Ok(metrics.iter().any(|metric| metric.name == "migration_state").then_some(()))
        })?;
        for what in [
            "the collector accepts spans again",
            "spans were lost",
            "the collector accepts metrics again",
        ] {
            wait_for(what, || Ok(server.complained()?.contains(what).then_some(())))?;
        }
        server.terminate()?;
        server.succeeds()?;
    }
    Ok(())
}

/// A certificate of an authority, for `localhost` and for clients.
fn signed(by: &Issuer<'_, KeyPair>, name: &str) -> Result<Certified> {
    let key = KeyPair::generate()?;
    let certificate = CertificateParams::new(vec![name.to_owned()])?.signed_by(&key, by)?;
    Ok(Certified { certificate: certificate.pem(), key: key.serialize_pem() })
}

#[test]
fn a_collector_that_asks_for_a_certificate_gets_the_configured_one() -> Result<()> {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, "collectors");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = KeyPair::generate()?;
    let known = params.self_signed(&key)?.pem();
    let authority = Issuer::new(params, key);
    for (speaks, protocol) in BOTH {
        let (own, client) = (signed(&authority, "localhost")?, signed(&authority, "rehome")?);
        let collector = Collector::on("127.0.0.1:0", speaks, Some(&own), Some(&known))?;
        let site = Site::new(&[])?;
        let files =
            [("ca.pem", &known), ("client.pem", &client.certificate), ("client.key", &client.key)];
        for (name, pem) in files {
            fs::write(site.path(name), pem)?;
        }
        let key = std::os::unix::fs::PermissionsExt::from_mode(0o600);
        fs::set_permissions(site.path("client.key"), key)?;
        let path = |name: &str| site.path(name).display().to_string();
        let (ca, certificate, key) = (path("ca.pem"), path("client.pem"), path("client.key"));
        let without = [
            ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", format!("{}/v1/traces", collector.endpoint())),
            ("OTEL_EXPORTER_OTLP_PROTOCOL", protocol.to_owned()),
            ("OTEL_EXPORTER_OTLP_CERTIFICATE", ca),
            ("OTEL_EXPORTER_OTLP_TIMEOUT", "1500".to_owned()),
        ];
        let site = site.with(&without);
        let mut nobody = site.start("nobody", "", &[])?;
        nobody.succeeds()?;
        ensure!(collector.spans()?.is_empty(), "{protocol}: it took spans of whoever came");
        ensure!(
            nobody.complained()?.contains("the collector did not accept spans"),
            "{}",
            nobody.complained()?
        );
        let [endpoint, protocols, ca, _] = without;
        let site = site.with(&[
            endpoint,
            protocols,
            ca,
            ("OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE", certificate),
            ("OTEL_EXPORTER_OTLP_CLIENT_KEY", key),
        ]);
        let back = ["migration", "start", "--tenant", TENANT, "--to", "shared"];
        let mut back = site.spawn("back", "", &back)?;
        back.succeeds()?;
        root_is_there(&collector)?;
        ensure!(
            !back.complained()?.contains("the collector did not accept spans"),
            "{}",
            back.complained()?
        );
    }
    Ok(())
}
