//! How long the target's file is locked while a history is copied into it and others write to it.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use rehome_domain::ids::TenantId;
use rehome_domain::migration::Phase;
use rehome_workload::load::history::{Wanted, tenants};
use rehome_workload::load::observe::Latencies;
use rehome_workload::load::record::Sent;
use rusqlite::{Connection, ErrorCode};
use tokio::io::AsyncReadExt as _;

use super::Sizes;
use super::child::{self, Working};
use super::harness::{self, DEDICATED, SHARED, Site};
use super::held::Watch;
use super::report::Line;

/// Between two tries to get the lock.
const LOOK_EVERY: Duration = Duration::from_micros(50);
/// Between two small writes.
const PROBE_EVERY: Duration = Duration::from_millis(2);
/// What the writers on the target's file append together, in events per second.
const RATE: f64 = 400.0;

/// The longest that the copying process held the lock while eight writers of another process and
/// small writes of a third wanted it too; beside it, how long those waited.
pub(crate) async fn longest(folder: &Path, sizes: &Sizes) -> Result<Vec<Line>> {
    let site = Site::open(folder, &[SHARED, DEDICATED]).await?;
    let wanted: Vec<Wanted> = tenants(1, sizes.large, 5);
    site.fill(&wanted).await?;
    // A tenant that lives in the target's file, and writers in a process of their own.
    let other = tenants(1, 1, 6)[0].tenant;
    site.engine.router().ensure_tenant(other, &harness::id(DEDICATED)?).await?;
    site.fill(&[Wanted { tenant: other, events: 100 }]).await?;

    let writers = Working::start(&mut child::command(
        "write",
        &[folder.as_os_str(), other.to_string().as_ref()],
    )?)
    .await?;
    let file = site.file(DEDICATED);
    let probe = || child::command("probe", &[file.as_os_str()]);
    let quiet = Working::start(&mut probe()?).await?;
    tokio::time::sleep(Duration::from_secs(2)).await;
    let quiet = Waits::read(&quiet.end().await?)?;

    let probe = Working::start(&mut probe()?).await?;
    let me = std::process::id().to_string();
    let watch = child::command("watch", &[file.as_os_str(), me.as_ref()]);
    let watch = Working::start(&mut watch?).await?;
    let began = Instant::now();
    let moving = site
        .start(wanted[0].tenant, DEDICATED, harness::manual(), |migration| {
            migration.state.phase() != Phase::Pending && migration.state.phase() != Phase::BulkCopy
        })
        .await?;
    moving.done().await?;
    let seconds = began.elapsed().as_secs_f64();
    let held = Waits::read(&watch.end().await?)?;
    let waited = Waits::read(&probe.end().await?)?;
    let appends = writers.end().await?;
    site.close().await;
    let detail = format!(
        "held {} times, p99 {:.1} ms, in {seconds:.1} s ({:.0} events/s); small writes of a third \
         process waited p99 {:.1} ms, max {:.1} ms ({:.1} ms without a copy); the eight writers' \
         appends: {}",
        held.count,
        held.p99_ms,
        sizes.large as f64 / seconds,
        waited.p99_ms,
        waited.max_ms,
        quiet.max_ms,
        appends.trim()
    );
    let name = "longest write lock on the target's file during the copy";
    Ok(vec![Line::at_most(name, held.max_ms, 20.0, " ms", detail)])
}

struct Waits {
    count: u64,
    p99_ms: f64,
    max_ms: f64,
}

impl Waits {
    fn read(text: &str) -> Result<Self> {
        let mut fields = text.split_whitespace();
        let mut next = || fields.next().context("the probe's answer is cut short");
        Ok(Self { count: next()?.parse()?, p99_ms: next()?.parse()?, max_ms: next()?.parse()? })
    }
}

/// In a process of its own: eight writers, until the standard input is closed.
pub(crate) async fn write(folder: &Path, tenant: TenantId) -> Result<()> {
    let site = Site::open(folder, &[SHARED, DEDICATED]).await?;
    let load = site.load(tenant, 8, Some(RATE))?;
    println!("writing");
    tokio::io::stdin().read_to_end(&mut Vec::new()).await?;
    let record = load.stop(Duration::from_secs(10)).await;
    let seen = Latencies::of(record.appends().filter_map(Sent::latency).collect());
    println!("p50 {:.1} ms, p99 {:.1} ms, max {:.1} ms", seen.p50_ms, seen.p99_ms, seen.max_ms);
    Ok(())
}

/// In a process of its own: small writes with waits, until the standard input is closed.
pub(crate) async fn probe(file: &Path) -> Result<()> {
    let conn = Connection::open(file)?;
    conn.busy_timeout(Duration::ZERO)?;
    conn.pragma_update(None, "synchronous", "FULL")?;
    conn.pragma_update_and_check(None, "wal_autocheckpoint", 0, |_| Ok(()))?;
    println!("probing");
    until_closed(move |over| {
        let mut waits = Vec::new();
        while !over() {
            waits.push(small_write(&conn)?);
            std::thread::sleep(PROBE_EVERY);
        }
        Ok(waits)
    })
    .await
}

/// Runs in a separate process: samples the lock's holder until stdin is closed.
pub(crate) async fn watch(file: &Path, pid: u32) -> Result<()> {
    let mut watch = Watch::new(file, pid)?;
    println!("watching");
    until_closed(move |over| watch.times(over)).await
}

/// Measures on a thread until the standard input is closed; prints what it came to.
async fn until_closed(
    measure: impl FnOnce(&dyn Fn() -> bool) -> Result<Vec<u64>> + Send + 'static,
) -> Result<()> {
    let over = Arc::new(AtomicBool::new(false));
    let told = Arc::clone(&over);
    let measuring = std::thread::spawn(move || measure(&|| told.load(Ordering::Relaxed)));
    tokio::io::stdin().read_to_end(&mut Vec::new()).await?;
    over.store(true, Ordering::Relaxed);
    let times = measuring.join().map_err(|_| anyhow::anyhow!("the measurement panicked"))??;
    let seen = Latencies::of(times);
    println!("{} {} {}", seen.count, seen.p99_ms, seen.max_ms);
    Ok(())
}

/// Writes an existing value; returns how many microseconds it waited for the lock.
fn small_write(conn: &Connection) -> Result<u64> {
    let began = Instant::now();
    while let Err(error) = conn.execute_batch("BEGIN IMMEDIATE") {
        if error.sqlite_error_code() != Some(ErrorCode::DatabaseBusy) {
            return Err(error.into());
        }
        std::thread::sleep(LOOK_EVERY);
    }
    let waited = began.elapsed();
    conn.execute_batch("UPDATE meta SET created_at = created_at; COMMIT")?;
    Ok(u64::try_from(waited.as_micros())?)
}
