//! The cost of observation for the appends of a tenant in dual write: with metrics, log lines and
//! scrapes, compared with none of them.
//!
//! Runs in a separate process, because log lines belong to a process; they go to a file.

use std::fs::File;
use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use rehome_app::config::LogFormat;
use rehome_domain::ids::TenantId;
use rehome_engine::metrics::{Format, Surroundings};
use rehome_engine::telemetry::names::message;
use rehome_observe::telemetry::{LineLevel, SERVICE, begin_lines};
use rehome_workload::load::history::tenants;
use tokio::time::sleep;
use tokio_util::task::AbortOnDropHandle;

use super::Sizes;
use super::child;
use super::harness::{self, DEDICATED, Moving, Observed, SHARED, Site};
use super::report::{Line, median};

/// Upper bound of the ratio between observed and unobserved appends.
pub(crate) const OBSERVED: f64 = 1.05;
/// Scrapes far more often than Prometheus does.
const SCRAPE_EVERY: Duration = Duration::from_millis(100);

/// The ratio, and the median of an unobserved append, in milliseconds.
pub(crate) async fn appends(folder: &Path, sizes: &Sizes) -> Result<(Line, f64)> {
    let lines = folder.join("lines.ndjson");
    let events = (sizes.large / 100).to_string();
    let (pairs, period) = ((sizes.pairs * 2).to_string(), sizes.period.as_millis().to_string());
    let args = [folder.as_os_str(), events.as_ref(), pairs.as_ref(), period.as_ref()];
    let mut command = child::command("observe", &args)?;
    let command = command.stdout(Stdio::piped()).stderr(File::create(&lines)?).kill_on_drop(true);
    let output = command.spawn()?.wait_with_output().await?;
    let written = std::fs::read_to_string(&lines)?;
    ensure!(output.status.success(), "the child did not succeed: {written}");
    ensure!(written.contains(message::COPY_COMPLETE), "no log lines were written: {written}");

    let pair = |line: &str| {
        let (alone, observed) = line.split_once(' ').context("two times")?;
        Ok((alone.parse()?, observed.parse()?))
    };
    let printed = String::from_utf8(output.stdout)?;
    let times = printed.lines().map(pair).collect::<Result<Vec<(f64, f64)>>>()?;
    let (alone, observed): (Vec<f64>, Vec<f64>) = times.iter().copied().unzip();
    let ratios: Vec<f64> = times.iter().map(|(alone, observed)| observed / alone).collect();
    let detail = format!(
        "{:.2} of {:.2} ms; ratios {}",
        median(&observed),
        median(&alone),
        ratios.iter().map(|ratio| format!("{ratio:.2}")).collect::<Vec<_>>().join(" ")
    );
    let name = "append p50 with metrics, log lines and a scrape every 100 ms, of with none";
    Ok((Line::at_most(name, median(&ratios), OBSERVED, "", detail), median(&alone)))
}

/// In a process of its own: prints for each pair of periods the median of an append without and
/// with, in milliseconds. Every other pair begins with the other one.
pub(crate) async fn child(folder: &Path, events: u64, pairs: usize, time: Duration) -> Result<()> {
    begin_lines(LineLevel::Info, LogFormat::Json, SERVICE);
    let alone = Side::open(&folder.join("alone"), events, Observed::No).await?;
    let observed = Side::open(&folder.join("observed"), events, Observed::WithLines).await?;
    for pair in 0..pairs {
        let (alone, observed) = if pair % 2 == 0 {
            let first = alone.period(time).await?;
            (first, observed.period(time).await?)
        } else {
            let first = observed.period(time).await?;
            (alone.period(time).await?, first)
        };
        println!("{alone} {observed}");
    }
    alone.close().await?;
    observed.close().await
}

/// A deployment with a tenant in dual write.
struct Side {
    site: Site,
    tenant: TenantId,
    moving: Moving,
    _scraping: Option<AbortOnDropHandle<()>>,
}

impl Side {
    async fn open(folder: &Path, events: u64, observed: Observed) -> Result<Self> {
        std::fs::create_dir_all(folder)?;
        let site = Site::open_observed(folder, &[SHARED, DEDICATED], observed).await?;
        let wanted = tenants(1, events, 10);
        site.fill(&wanted).await?;
        let tenant = wanted[0].tenant;
        let moving = site.start(tenant, DEDICATED, harness::manual(), |_| false).await?;
        site.wait_until_ready(moving.id).await?;
        let scraping = (observed == Observed::WithLines).then(|| scrape(&site));
        Ok(Self { site, tenant, moving, _scraping: scraping })
    }

    /// The median of the appends of eight writers for some time, in milliseconds. They begin anew
    /// each time, and what they do first does not count.
    async fn period(&self, time: Duration) -> Result<f64> {
        let load = self.site.load(self.tenant, 8, None)?;
        sleep(Duration::from_millis(100) + time).await;
        let p50 = load.latency_lately(time).p50_ms;
        load.stop(Duration::from_secs(10)).await;
        ensure!(p50 > 0.0, "nothing was appended");
        Ok(p50)
    }

    async fn close(self) -> Result<()> {
        self.site.operations.abort(self.moving.id, false).await?;
        self.moving.done().await?;
        self.site.close().await;
        Ok(())
    }
}

fn scrape(site: &Site) -> AbortOnDropHandle<()> {
    let (metrics, appends) = (site.metrics.clone(), Arc::clone(site.engine.router().appends()));
    AbortOnDropHandle::new(tokio::spawn(async move {
        loop {
            metrics.render(Format::Text, &appends, &Surroundings::default());
            sleep(SCRAPE_EVERY).await;
        }
    }))
}
