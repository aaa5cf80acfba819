//! Metrics that are sent, beside those that a scrape answers.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result, ensure};
use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::metrics::v1::number_data_point::Value;
use opentelemetry_proto::tonic::metrics::v1::{AggregationTemporality, Metric, NumberDataPoint};
use rehome_monitor::http;
use rehome_tests::process::wait_for;

use crate::collector::{Collector, text};
use crate::harness::{Site, address};

/// The value of each series, by its name and its labels.
type Series = BTreeMap<String, f64>;

/// The Prometheus series of a metric. Source: OpenTelemetry specification, "Prometheus and
/// OpenMetrics Compatibility".
fn series(metric: &Metric, into: &mut Series) -> Result<()> {
    let cumulative = AggregationTemporality::Cumulative as i32;
    let name = &metric.name;
    match metric.data.as_ref().context("a metric without data")? {
        Data::Gauge(gauge) => {
            for point in &gauge.data_points {
                into.insert(named(name, &point.attributes, None)?, value(point)?);
            }
        }
        Data::Sum(sum) => {
            ensure!(sum.is_monotonic && sum.aggregation_temporality == cumulative, "{name}");
            for point in &sum.data_points {
                ensure!(point.start_time_unix_nano > 0, "{name} has no beginning");
                let name = format!("{name}_total");
                into.insert(named(&name, &point.attributes, None)?, value(point)?);
            }
        }
        Data::Histogram(histogram) => {
            ensure!(histogram.aggregation_temporality == cumulative, "{name}");
            for point in &histogram.data_points {
                let of = |end: &str, bound: Option<f64>| {
                    named(&format!("{name}_{end}"), &point.attributes, bound)
                };
                let bounds = point.explicit_bounds.iter().copied().chain([f64::INFINITY]);
                let mut below = 0;
                for (bound, count) in bounds.zip(&point.bucket_counts) {
                    below += count;
                    into.insert(of("bucket", Some(bound))?, below as f64);
                }
                ensure!(below == point.count, "{name}: {below} in buckets, {}", point.count);
                into.insert(of("count", None)?, point.count as f64);
                into.insert(of("sum", None)?, point.sum.context("no sum")?);
            }
        }
        other => anyhow::bail!("{name} is {other:?}"),
    }
    Ok(())
}

fn value(point: &NumberDataPoint) -> Result<f64> {
    match point.value {
        Some(Value::AsDouble(value)) => Ok(value),
        other => anyhow::bail!("a value {other:?}"),
    }
}

fn named(name: &str, labels: &[KeyValue], bound: Option<f64>) -> Result<String> {
    let label = |one: &KeyValue| {
        let value = text(labels, &one.key).context("a label that is no text")?;
        Ok(format!("{}={value}", one.key))
    };
    let mut all: Vec<String> = labels.iter().map(label).collect::<Result<_>>()?;
    all.extend(bound.map(|bound| format!("le={}", bound.to_string().replace("inf", "+Inf"))));
    all.sort();
    Ok(format!("{name} {}", all.join(",")))
}

/// The series that a scrape answers.
fn scraped(port: u16) -> Result<Series> {
    let text = http::get(port, "/metrics", &["Accept: text/plain"])?.good()?.body;
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    let read = |line: &str| -> Result<(String, f64)> {
        let (series, value) = line.rsplit_once(' ').context("a line without a value")?;
        let (name, labels) = series.split_once('{').unwrap_or((series, ""));
        let pairs = labels.trim_end_matches('}').split("\",").filter(|pair| !pair.is_empty());
        let mut all: Vec<_> = pairs
            .map(|pair| pair.trim_end_matches('"').replacen("=\"", "=", 1))
            .map(|pair| match pair.strip_prefix("le=").map(str::parse::<f64>) {
                Some(Ok(bound)) => format!("le={}", bound.to_string().replace("inf", "+Inf")),
                _ => pair,
            })
            .collect();
        all.sort();
        Ok((format!("{name} {}", all.join(",")), value.parse()?))
    };
    lines.map(read).collect()
}

/// Series that change over time or by a scrape.
fn moves(series: &str) -> bool {
    let name = series.split(' ').next().unwrap_or_default();
    name.starts_with("process_")
        || name.starts_with("server_")
        || ["migration_last_look_timestamp_seconds", "migration_duration_seconds"].contains(&name)
        || name == "route_refreshes_total"
}

/// A tenant is moved under a server that sends. What it sends is what a scrape of it answers: the same names,
/// labels and values.
#[test]
fn what_is_sent_is_what_a_scrape_answers() -> Result<()> {
    let collector = Collector::http()?;
    let site = Site::new(&[])?.with(&[
        ("OTEL_EXPORTER_OTLP_ENDPOINT", collector.endpoint()),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf".to_owned()),
        ("OTEL_METRIC_EXPORT_INTERVAL", "300".to_owned()),
    ]);
    let mut server = site.spawn("server", "", &["serve", "--json"])?;
    let address = address(&mut server)?;
    let port = address.rsplit(':').next().unwrap_or_default().parse()?;
    let mut mover = site.start("mover", "", &["--cutover", "manual"])?;
    site.wait_for_phase("dual_write")?;
    mover.kill()?;
    let id = uuid::Uuid::from_bytes(site.last()?.context("no migration")?.id);
    site.spawn("cutover", "", &["migration", "cutover", &id.to_string()])?.succeeds()?;
    site.wait_for_phase("migrated")?;
    let mut seen = Series::new();
    let mut differs = String::new();
    let same = wait_for("the same series on both ways", || {
        seen = scraped(port)?;
        let mut sent = Series::new();
        collector.metrics_of("eventsource")?.iter().try_for_each(|one| series(one, &mut sent))?;
        let over =
            seen.iter().any(|(s, v)| s.starts_with("migration_state ") && (*v - 4.0).abs() < 0.5);
        let names = seen.keys().eq(sent.keys());
        let mut values = seen.iter().filter(|(series, _)| !moves(series));
        let first = values.find(|(series, value)| {
            sent.get(*series).is_none_or(|sent| (sent - *value).abs() > 1e-6)
        });
        differs = format!("{first:?}, {} and {} series", seen.len(), sent.len());
        Ok((over && names && first.is_none()).then_some(()))
    });
    same.with_context(|| differs.clone())?;
    for name in [
        "migration_events_copied_total",
        "cutover_pause_duration_seconds_bucket",
        "verification_events_checked_total",
        "store_up",
    ] {
        ensure!(seen.keys().any(|series| series.starts_with(name)), "no {name} was compared");
    }
    server.terminate()?;
    server.succeeds()
}
