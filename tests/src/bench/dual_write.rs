//! What mirroring costs the writers: append latency in dual_write, of that without.

use std::path::Path;
use std::time::Duration;

use anyhow::Result;
use rehome_domain::migration::{Phase, State};
use rehome_workload::load::history::tenants;
use rehome_workload::load::observe::Latencies;
use rehome_workload::load::record::{Record, Sent};
use tokio::time::sleep;

use super::Sizes;
use super::harness::{self, DEDICATED, SHARED, Site};
use super::report::{Line, median};

/// After each change of period, not counted.
const SETTLE: Duration = Duration::from_millis(300);

/// Bounds of the measured values.
pub(crate) struct Bounds {
    /// Events per second of all writers together; none: as fast as they are answered.
    pub(crate) rates: &'static [Option<f64>],
    /// Of the median.
    pub(crate) p50: f64,
    /// Of the slowest hundredth.
    pub(crate) p99: Option<f64>,
}

/// Ratios of neighbouring periods, of eight writers as fast as they are answered and at a rate.
pub(crate) async fn ratios(folder: &Path, sizes: &Sizes, bounds: &Bounds) -> Result<Vec<Line>> {
    let site = Site::open(folder, &[SHARED, DEDICATED]).await?;
    let wanted = tenants(u16::try_from(bounds.rates.len())?, sizes.large / 100, 10);
    site.fill(&wanted).await?;
    let mut lines = Vec::new();
    for (wanted, rate) in wanted.iter().zip(bounds.rates.iter().copied()) {
        let load = site.load(wanted.tenant, 8, rate)?;
        let moving = site.start(wanted.tenant, DEDICATED, harness::manual(), |_| false).await?;
        site.wait_until_ready(moving.id).await?;
        let mut periods = Vec::new();
        for _ in 0..sizes.pairs {
            site.operations.pause(moving.id).await?;
            site.wait(moving.id, |m| matches!(m.state, State::Paused(_))).await?;
            let normal = period(&load, sizes.period).await;
            site.operations.resume(moving.id).await?;
            site.wait(moving.id, |m| m.state.phase() == Phase::DualWrite).await?;
            periods.push((normal, period(&load, sizes.period).await));
        }
        site.operations.abort(moving.id, false).await?;
        moving.done().await?;
        let record = load.stop(Duration::from_secs(10)).await;
        lines.extend(measured(&record, &periods, rate, bounds));
    }
    site.close().await;
    Ok(lines)
}

type Period = (i64, i64);

async fn period(load: &rehome_workload::load::Load, time: Duration) -> Period {
    sleep(SETTLE).await;
    let began = load.now();
    sleep(time).await;
    (began, load.now())
}

fn measured(
    record: &Record,
    periods: &[(Period, Period)],
    rate: Option<f64>,
    bounds: &Bounds,
) -> Vec<Line> {
    let seen: Vec<(Latencies, Latencies)> = periods
        .iter()
        .map(|(normal, dual_write)| (latencies(record, *normal), latencies(record, *dual_write)))
        .collect();
    let how = rate.map_or("at full speed".to_owned(), |rate| format!("at {rate:.0} events/s"));
    let line = |what: &str, target: f64, pick: fn(&Latencies) -> f64| {
        let normal: Vec<f64> = seen.iter().map(|seen| pick(&seen.0)).collect();
        let mirrored: Vec<f64> = seen.iter().map(|seen| pick(&seen.1)).collect();
        let ratios: Vec<f64> = mirrored.iter().zip(&normal).map(|(m, n)| m / n).collect();
        let name = format!("append {what} in dual_write, of normal, 8 writers {how}");
        let detail = format!(
            "{:.2} of {:.2} ms; ratios {}",
            median(&mirrored),
            median(&normal),
            ratios.iter().map(|ratio| format!("{ratio:.2}")).collect::<Vec<_>>().join(" ")
        );
        Line::at_most(name, median(&ratios), target, "", detail)
    };
    let mut lines = vec![line("p50", bounds.p50, |seen| seen.p50_ms)];
    lines.extend(bounds.p99.map(|p99| line("p99", p99, |seen| seen.p99_ms)));
    lines
}

fn latencies(record: &Record, (began, ended): Period) -> Latencies {
    let within =
        |sent: &&Sent| sent.sent_at >= began && sent.ack().is_some_and(|ack| ack.at <= ended);
    Latencies::of(record.appends().filter(within).filter_map(Sent::latency).collect())
}
