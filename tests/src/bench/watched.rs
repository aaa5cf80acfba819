//! What being watched costs: a scrape of many migrations, and the appends of a tenant in dual write.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Result;
use rehome_domain::ids::{Epoch, MigrationId, TenantId};
use rehome_domain::ledger::Head;
use rehome_domain::migration::{Fact, Migration, OldSource, Options, State, Working};
use rehome_domain::verification::Level;
use rehome_engine::appends::{APPEND_BUCKETS, Appends};
use rehome_engine::metrics::{Format, Metrics, RETENTION, Surroundings};
use rehome_engine::verifier::Report;
use rehome_engine::{CutoverPart, Histogram, Observer, Signal, Way};
use rehome_ports::clock::{Clock, SystemClock};
use uuid::Uuid;

use super::Sizes;
use super::harness::{self, DEDICATED, SHARED};
use super::observed;
use super::report::{Line, median};

/// Migrations that are over, and that are not.
const FINISHED: u128 = 1_000;
const ACTIVE: u128 = 50;
/// Longest duration of a scrape of them.
const SCRAPE_MS: f64 = 50.0;

/// Both.
pub(crate) async fn costs(folder: &Path, sizes: &Sizes) -> Result<Vec<Line>> {
    let mut lines = vec![scrapes(Format::OpenMetrics)?, scrapes(Format::Text)?];
    let (appends, alone_ms) = observed::appends(folder, sizes).await?;
    lines.extend([appends, counting(alone_ms)]);
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

/// Observes a migration's whole life.
fn live(observer: &dyn Observer, n: u128, finished: bool) -> Result<()> {
    let now = SystemClock.now();
    let mut migration = Migration {
        id: MigrationId::new(Uuid::from_u128(n + 1)),
        tenant: TenantId::new(Uuid::from_u128((n + 1) << 64)),
        source: harness::id(SHARED)?,
        target: harness::id(DEDICATED)?,
        m: Epoch(2),
        state: State::Pending,
        options: Options::default(),
        cutover_attempts: 0,
        created_at: now,
        started_at: Some(now),
        completed_at: None,
        error: None,
        violations: rehome_domain::migration::Violations::default(),
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
        written: 10,
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

/// The cost of counting an append: two reads of the clock and two additions, on every append.
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
    Line::at_most("append p50 with counting, of without", with, observed::OBSERVED, "", detail)
}
