//! Spans, received over OTLP.

use std::net::TcpListener;

use anyhow::{Context as _, Result, ensure};
use rehome_tests::process::wait_for;

use crate::collector::Collector;
use crate::harness::{Site, address, append, lines};
use crate::logs::{check_heirs_lines, check_killed_lines, check_queries};
use crate::tree::{TABLE, check, events, failure};

/// A caller's span.
const TRACEPARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
const CALLER: &[u8] = &[0x00, 0xf0, 0x67, 0xaa, 0x0b, 0xa9, 0x02, 0xb7];

/// The command starts a migration and is killed after its first batch; a server takes it over, and
/// handles a traced append during the dual write; an operator requests the cutover.
#[test]
fn a_migration_that_outlives_its_process_is_one_trace_and_its_lines_are_the_guides() -> Result<()> {
    let collector = Collector::grpc()?;
    let endpoint = collector.endpoint();
    let site = Site::new(&[("otlp_endpoint", &endpoint), ("otlp_protocol", "grpc")])?;
    let mut killed = site.start("killed", "copy.extended=kill", &["--cutover", "manual"])?;
    killed.dies()?;
    let mut server = site.spawn("server", "", &["serve", "--json"])?;
    let address = address(&mut server)?;
    site.wait_for_phase("dual_write")?;
    append(&address, TRACEPARENT)?;
    wait_for("the span of the traced append", || {
        let spans = collector.spans()?;
        let linked = spans.iter().any(|span| {
            span.name.ends_with(".append") && span.links.iter().any(|link| link.span_id == CALLER)
        });
        Ok(linked.then_some(()))
    })?;
    let id = site.last()?.context("no migration")?.id;
    let shown = uuid::Uuid::from_bytes(id).to_string();
    site.spawn("cutover", "", &["migration", "cutover", &shown])?.succeeds()?;
    site.wait_for_phase("migrated")?;
    wait_for("the last line", || {
        Ok(server.complained()?.contains("Migration completed").then_some(()))
    })?;
    server.terminate()?;
    server.succeeds()?;

    let spans = check(collector.spans()?, id)?;
    for (name, ..) in TABLE {
        let found = spans.get(name).with_context(|| format!("no {name}"))?;
        let many = ["bulk_copy.batch", "dual_write.append"].contains(&name);
        ensure!(many || found.len() == 1, "{} spans {name}", found.len());
        let failed = found.iter().find_map(failure);
        ensure!(name == "dual_write.append" || failed.is_none(), "{name}: {failed:?}");
    }
    let copied = events(&spans["bulk_copy"][0]);
    ensure!(copied.contains("lease_taken"), "the takeover is not in it: {copied:?}");
    let asked = events(&spans["dual_write"][0]);
    ensure!(asked.contains("cutover_requested"), "the request is not in it: {asked:?}");

    let (killed, server) = (lines(&killed)?, lines(&server)?);
    check_killed_lines(&killed, &shown)?;
    check_heirs_lines(&server, &shown)?;
    check_queries(&[killed, server].concat())
}

/// The driver is stopped in the pause; writers wait no longer than the deadline and roll back. Their
/// process records that, and so sends the span.
#[test]
fn a_cutover_that_times_out_is_a_failed_span_whoever_ends_it() -> Result<()> {
    let collector = Collector::http()?;
    let endpoint = collector.endpoint();
    let site = Site::new(&[("otlp_endpoint", &endpoint), ("otlp_protocol", "http")])?;
    let load = site.load()?;
    let timeout = ["--cutover-timeout-ms", "300"];
    let mut driver = site.start("driver", "cutover.fenced=stop", &timeout)?;
    driver.sleeps()?;
    let failed = wait_for("the cutover that failed", || {
        let spans = collector.spans()?;
        Ok(spans
            .into_iter()
            .find(|span| span.name == "eventsource.migration.cutover" && failure(span).is_some()))
    })?;
    ensure!(failure(&failed) == Some("the cutover's deadline passed"), "{failed:?}");
    ensure!(events(&failed).contains("cutover_rolled_back"), "{failed:?}");
    driver.kill()?;
    load.ends_well()
}

#[test]
fn a_collector_that_is_not_there_costs_spans_and_nothing_else() -> Result<()> {
    for protocol in ["grpc", "http"] {
        let nobody = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
        let endpoint = format!("http://{nobody}");
        let site = Site::new(&[("otlp_endpoint", &endpoint), ("otlp_protocol", protocol)])?;
        let mut driver = site.start("driver", "", &[])?;
        driver.succeeds()?;
        ensure!(site.last()?.context("no migration")?.phase == "migrated", "not migrated");
        let written = driver.complained()?;
        ensure!(written.contains("spans were"), "nobody says so: {written}");
    }
    Ok(())
}
