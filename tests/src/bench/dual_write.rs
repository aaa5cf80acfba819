//! What mirroring costs the writers: append latency in dual_write, of that without.

use std::path::Path;
use std::time::Duration;

use anyhow::Result;
use rehome_app::load::history::tenants;
use rehome_app::load::observe::Latencies;
use rehome_app::load::record::{Record, Sent};
use rehome_domain::migration::{Phase, State};
use tokio::time::sleep;

use super::Sizes;
use super::report::{Line, median};
use super::site::{self, DEDICATED, SHARED, Site};

/// After each change of period, not counted.
const SETTLE: Duration = Duration::from_millis(300);
const TARGET: f64 = 1.2;

/// Ratios of neighbouring periods, of eight writers as fast as they are answered and at a rate.
pub(crate) async fn ratios(folder: &Path, sizes: &Sizes) -> Result<Vec<Line>> {
    let site = Site::open(folder, &[SHARED, DEDICATED]).await?;
    let wanted = tenants(2, sizes.large / 100, 10);
    site.fill(&wanted).await?;
    let mut lines = Vec::new();
    for (wanted, rate) in wanted.iter().zip([None, Some(800.0)]) {
        let load = site.load(wanted.tenant, 8, rate)?;
        let moving = site.start(wanted.tenant, DEDICATED, site::manual(), |_| false).await?;
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
        lines.push(line(&record, &periods, rate));
    }
    site.close().await;
    Ok(lines)
}

type Period = (i64, i64);

async fn period(load: &rehome_app::load::Load, time: Duration) -> Period {
    sleep(SETTLE).await;
    let began = load.now();
    sleep(time).await;
    (began, load.now())
}

fn line(record: &Record, periods: &[(Period, Period)], rate: Option<f64>) -> Line {
    let seen: Vec<(Latencies, Latencies)> = periods
        .iter()
        .map(|(normal, dual_write)| (latencies(record, *normal), latencies(record, *dual_write)))
        .collect();
    let ratios: Vec<f64> =
        seen.iter().map(|(normal, dual_write)| dual_write.p50_ms / normal.p50_ms).collect();
    let of = |pick: fn(&(Latencies, Latencies)) -> f64| {
        median(&seen.iter().map(pick).collect::<Vec<_>>())
    };
    let how = rate.map_or("at full speed".to_owned(), |rate| format!("at {rate:.0} events/s"));
    let name = format!("append p50 in dual_write, of normal, 8 writers {how}");
    let detail = format!(
        "p50 {:.2} of {:.2} ms, p99 {:.2} of {:.2} ms; ratios {}",
        of(|seen| seen.1.p50_ms),
        of(|seen| seen.0.p50_ms),
        of(|seen| seen.1.p99_ms),
        of(|seen| seen.0.p99_ms),
        ratios.iter().map(|ratio| format!("{ratio:.2}")).collect::<Vec<_>>().join(" ")
    );
    Line::at_most(name, median(&ratios), TARGET, "", detail)
}

fn latencies(record: &Record, (began, ended): Period) -> Latencies {
    let within =
        |sent: &&Sent| sent.sent_at >= began && sent.ack().is_some_and(|ack| ack.at <= ended);
    Latencies::of(record.appends().filter(within).filter_map(Sent::latency).collect())
}
