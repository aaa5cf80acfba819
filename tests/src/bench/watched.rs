//! What being watched costs: a scrape of many migrations, and the appends of a tenant in dual write
//! while somebody scrapes.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Result;
use rehome_app::load::Load;
use rehome_app::load::history::tenants;
use rehome_app::load::observe::Latencies;
use rehome_app::load::record::Sent;
use rehome_domain::ids::{Epoch, MigrationId, TenantId};
use rehome_domain::ledger::Head;
use rehome_domain::migration::{Fact, Migration, OldSource, Options, State, Working};
use rehome_domain::verification::Level;
use rehome_engine::appends::{APPEND_BUCKETS, Appends};
use rehome_engine::metrics::{Format, Metrics, RETENTION, Surroundings};
use rehome_engine::verifier::Report;
use rehome_engine::{CutoverPart, Histogram, Observer, Signal, Way};
use rehome_ports::clock::{Clock, SystemClock};
use tokio::time::sleep;
use uuid::Uuid;

use super::Sizes;
use super::report::{Line, median};
use super::site::{self, DEDICATED, SHARED, Site};

/// Migrations that are over, and that are not.
const FINISHED: u128 = 1_000;
const ACTIVE: u128 = 50;
/// What a scrape of them may take.
const SCRAPE_MS: f64 = 50.0;
/// What appends may take, of what they take when nobody looks.
const WATCHED: f64 = 1.05;
/// Somebody who scrapes far more often than Prometheus does.
const SCRAPE_EVERY: Duration = Duration::from_millis(100);

/// Both.
pub(crate) async fn costs(folder: &Path, sizes: &Sizes) -> Result<Vec<Line>> {
    let mut lines = vec![scrapes(Format::OpenMetrics)?, scrapes(Format::Text)?];
    lines.extend(appends(folder, sizes).await?);
    Ok(lines)
}

/// The slowest of some scrapes.
fn scrapes(format: Format) -> Result<Line> {
    let metrics = Metrics::new(Arc::new(SystemClock), RETENTION);
    let observer = metrics.observer();
    for n in 0..FINISHED + ACTIVE {
        live(&*observer, n, n < FINISHED)?;
    }
    let (appends, around) = (Arc::new(Appends::default()), Surroundings::default());
    let mut times = Vec::new();
    let mut series = 0;
    for _ in 0..20 {
        let began = Instant::now();
        let text = metrics.render(format, &appends, &around);
        times.push(began.elapsed().as_secs_f64() * 1e3);
        series = text.lines().filter(|line| !line.starts_with('#')).count();
    }
    let slowest = times.iter().copied().fold(0.0, f64::max);
    let name = format!("scrape of 1,000 finished and 50 active, {format:?}");
    let detail = format!("{series} series; median {:.1} ms of 20", median(&times));
    Ok(Line::at_most(name, slowest, SCRAPE_MS, " ms", detail))
}

/// Tells of a migration's whole life.
fn live(observer: &dyn Observer, n: u128, finished: bool) -> Result<()> {
    let now = SystemClock.now();
    let mut migration = Migration {
        id: MigrationId::new(Uuid::from_u128(n + 1)),
        tenant: TenantId::new(Uuid::from_u128((n + 1) << 64)),
        source: site::id(SHARED)?,
        target: site::id(DEDICATED)?,
        m: Epoch(2),
        state: State::Pending,
        options: Options::default(),
        cutover_attempts: 0,
        created_at: now,
        started_at: Some(now),
        completed_at: None,
        error: None,
    };
    observer.hear(&Signal::Taken { migration: &migration, log: &[], taken_over: false });
    let record = |migration: &Migration, fact: &Fact| {
        observer.hear(&Signal::Recorded { migration, fact, actor: "bench", at: now });
    };
    migration.state = State::Working(Working::BulkCopy);
    record(&migration, &Fact::CopyStarted);
    migration.state = State::Working(Working::DualWrite { cutover_requested: false });
    record(&migration, &Fact::CopyCompleted { events: 1_000 });
    let took = Duration::from_millis(3);
    observer.hear(&Signal::Progress {
        migration: &migration,
        way: Way::There,
        source_seq: 1_000,
        target_seq: 1_000,
        read_back_seq: Some(990),
    });
    observer.hear(&Signal::Mirrored {
        migration: &migration,
        way: Way::There,
        events: 10,
        upto: 1_000,
        took,
    });
    let report = Report::new(Level::Hash, 1_000);
    observer.hear(&Signal::Verified { migration: &migration, report: &report, took });
    if finished {
        migration.state = State::CutoverPaused;
        record(&migration, &Fact::CutoverStarted { deadline_ms: 5_000 });
        let old_source = OldSource::Fenced { at: Epoch(3) };
        migration.state = State::Migrated { activated: true, old_source };
        migration.completed_at = Some(now);
        record(&migration, &Fact::Switched { head: Head::EMPTY });
        observer.hear(&Signal::Cutover {
            migration: &migration,
            part: CutoverPart::Pause,
            took,
            error: None,
        });
        observer.hear(&Signal::Left { migration: &migration, lost_to: None });
    }
    Ok(())
}

/// Eight writers in dual write, while somebody scrapes, of while nobody does.
async fn appends(folder: &Path, sizes: &Sizes) -> Result<Vec<Line>> {
    let site = Site::open(folder, &[SHARED, DEDICATED]).await?;
    let wanted = tenants(1, sizes.large / 100, 10);
    site.fill(&wanted).await?;
    let tenant = wanted[0].tenant;
    let load = site.load(tenant, 8, None)?;
    let moving = site.start(tenant, DEDICATED, site::manual(), |_| false).await?;
    site.wait_until_ready(moving.id).await?;
    let mut periods = Vec::new();
    for _ in 0..sizes.pairs * 2 {
        let alone = period(&load, sizes.period).await;
        let scraping = scrape(&site);
        let watched = period(&load, sizes.period).await;
        scraping.abort();
        periods.push((alone, watched));
    }
    site.operations.abort(moving.id, false).await?;
    moving.done().await?;
    let record = load.stop(Duration::from_secs(10)).await;
    site.close().await;

    let p50 = |(began, ended): (i64, i64)| {
        let within =
            |sent: &&Sent| sent.sent_at >= began && sent.ack().is_some_and(|ack| ack.at <= ended);
        let latencies = record.appends().filter(within).filter_map(Sent::latency).collect();
        Latencies::of(latencies).p50_ms
    };
    let alone: Vec<f64> = periods.iter().map(|(alone, _)| p50(*alone)).collect();
    let watched: Vec<f64> = periods.iter().map(|(_, watched)| p50(*watched)).collect();
    let ratios: Vec<f64> = watched.iter().zip(&alone).map(|(w, a)| w / a).collect();
    let detail = format!(
        "{:.2} of {:.2} ms; ratios {}",
        median(&watched),
        median(&alone),
        ratios.iter().map(|ratio| format!("{ratio:.2}")).collect::<Vec<_>>().join(" ")
    );
    let name = "append p50 with a scrape every 100 ms, of without";
    let scraped = Line::at_most(name, median(&ratios), WATCHED, "", detail);
    Ok(vec![scraped, counting(median(&alone))])
}

/// What counting an append takes: two looks at the clock and two additions, always done.
fn counting(append_ms: f64) -> Line {
    const TIMES: u32 = 1_000_000;
    let histogram = Histogram::new(APPEND_BUCKETS);
    let began = Instant::now();
    for _ in 0..TIMES {
        let append = Instant::now();
        histogram.observe(append.elapsed());
    }
    let each = began.elapsed().as_secs_f64() * 1e9 / f64::from(TIMES);
    let with = 1.0 + each / 1e6 / append_ms;
    let detail = format!("{each:.0} ns more, of {append_ms:.2} ms");
    Line::at_most("append p50 with counting, of without", with, WATCHED, "", detail)
}

fn scrape(site: &Site) -> tokio::task::JoinHandle<()> {
    let (metrics, appends) = (site.metrics.clone(), Arc::clone(site.engine.router().appends()));
    tokio::spawn(async move {
        loop {
            metrics.render(Format::Text, &appends, &Surroundings::default());
            sleep(SCRAPE_EVERY).await;
        }
    })
}

async fn period(load: &Load, time: Duration) -> (i64, i64) {
    sleep(Duration::from_millis(100)).await;
    let began = load.now();
    sleep(time).await;
    (began, load.now())
}
