//! Both expositions of a process, read by others than us.

use std::collections::BTreeSet;

use anyhow::{Result, ensure};
use rehome_engine::metrics::FAMILIES;
use rehome_monitor::programs;
use rehome_monitor::python::{Format, parse};

use crate::harness::Site;

const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0";

/// The official Python client reads both formats, finds the same samples in them and no family that we
/// do not document; promtool has no complaint but the one that the monitoring guide's own name makes.
pub(crate) fn check(site: &Site) -> Result<()> {
    let open_metrics = site.scrape(OPEN_METRICS)?;
    ensure!(open_metrics.ends_with("# EOF\n"), "no end mark");
    let text = site.scrape("text/plain;version=0.0.4")?;
    ensure!(!text.contains("# EOF"), "an end mark in the text format");

    let (in_open_metrics, in_text) =
        (parse(Format::OpenMetrics, &open_metrics)?, parse(Format::Text, &text)?);
    let documented: BTreeSet<&str> = FAMILIES.iter().map(|family| family.name).collect();
    let told: BTreeSet<&str> = in_open_metrics.keys().map(String::as_str).collect();
    ensure!(told == documented, "not as documented: {:?}", told.symmetric_difference(&documented));
    for family in FAMILIES {
        let kind = &in_open_metrics[family.name].kind;
        ensure!(kind == family.kind.as_str(), "{} is a {kind}", family.name);
    }
    // The names of the samples are the same, whatever each format calls a family.
    let samples = |families: &std::collections::BTreeMap<_, rehome_monitor::python::Family>| {
        let samples = families.values().flat_map(|family| family.samples.keys().cloned());
        samples.collect::<BTreeSet<String>>()
    };
    let (first, second) = (samples(&in_open_metrics), samples(&in_text));
    let differ: Vec<_> = first.symmetric_difference(&second).collect();
    ensure!(differ.is_empty(), "only in one format: {differ:?}");

    let complaints = programs::lint(&text)?;
    let others: Vec<_> = complaints
        .iter()
        .filter(|complaint| !complaint.starts_with("migration_events_total "))
        .collect();
    ensure!(others.is_empty(), "promtool complains: {others:?}");
    Ok(())
}
