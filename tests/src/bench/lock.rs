//! How long the target's file is locked while a history is copied into it and others write to it.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use rehome_app::load::history::{Wanted, tenants};
use rehome_domain::ids::TenantId;
use rehome_domain::migration::Phase;
use rehome_ports::EventStore as _;
use rusqlite::{Connection, ErrorCode};
use tokio::io::AsyncReadExt as _;

use super::Sizes;
use super::child::{self, Working};
use super::report::Line;
use super::site::{self, DEDICATED, SHARED, Site};

/// Between two tries to get the lock.
const LOOK_EVERY: Duration = Duration::from_micros(50);
/// Between two small writes.
const PROBE_EVERY: Duration = Duration::from_millis(2);
/// What the writers on the target's file append together, in events per second.
const RATE: f64 = 400.0;

/// The longest that a small write of another process had to wait for the lock, from the first try
/// to the lock, which is at least as long as any lock that was held meanwhile.
pub(crate) async fn longest(folder: &Path, sizes: &Sizes) -> Result<Vec<Line>> {
    let site = Site::open(folder, &[SHARED, DEDICATED]).await?;
    let wanted: Vec<Wanted> = tenants(1, sizes.large, 5);
    site.fill(&wanted).await?;
    // A tenant that lives in the target's file, and writers in a process of their own.
    let other = tenants(1, 1, 6)[0].tenant;
    site.engine.router().ensure_tenant(other, &site::id(DEDICATED)?).await?;
    site.fill(&[Wanted { tenant: other, events: 100 }]).await?;
    anyhow::ensure!(
        site.engine.router().read_feed(other, 0, rehome_ports::BatchLimit::PAGE).await?.len()
            == 100
    );

    let writers = Working::start(&mut child::command(
        "write",
        &[folder.as_os_str(), other.to_string().as_ref()],
    )?)
    .await?;
    let file = site.file(DEDICATED);
    let probe = || child::command("probe", &[file.as_os_str()]);
    let idle = Working::start(&mut probe()?).await?;
    tokio::time::sleep(Duration::from_secs(2)).await;
    let idle = Waits::read(&idle.end().await?)?;

    let probe = Working::start(&mut probe()?).await?;
    let began = Instant::now();
    let moving = site
        .start(wanted[0].tenant, DEDICATED, site::manual(), |migration| {
            migration.state.phase() != Phase::Pending && migration.state.phase() != Phase::BulkCopy
        })
        .await?;
    moving.done().await?;
    let seconds = began.elapsed().as_secs_f64();
    let copying = Waits::read(&probe.end().await?)?;
    let appends = writers.end().await?;
    site.close().await;
    let detail = format!(
        "p99 {:.1} ms of {} waits in {seconds:.1} s ({:.0} events/s); without a copy max {:.1} ms; \
         the writers there: {}",
        copying.p99_ms,
        copying.count,
        sizes.large as f64 / seconds,
        idle.max_ms,
        appends.trim()
    );
    Ok(vec![Line::at_most(
        "longest wait for the target's lock during the copy",
        copying.max_ms,
        20.0,
        " ms",
        detail,
    )])
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
    let latencies = record.appends().filter_map(rehome_app::load::record::Sent::latency).collect();
    let seen = rehome_app::load::observe::Latencies::of(latencies);
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
    let (stop, stopped) = std::sync::mpsc::channel::<()>();
    let probing = std::thread::spawn(move || {
        let mut waits = Vec::new();
        while stopped.try_recv() == Err(std::sync::mpsc::TryRecvError::Empty) {
            waits.push(small_write(&conn)?);
            std::thread::sleep(PROBE_EVERY);
        }
        anyhow::Ok(waits)
    });
    tokio::io::stdin().read_to_end(&mut Vec::new()).await?;
    drop(stop);
    let waits = probing.join().map_err(|_| anyhow::anyhow!("the probe panicked"))??;
    let seen = rehome_app::load::observe::Latencies::of(waits);
    println!("{} {} {}", seen.count, seen.p99_ms, seen.max_ms);
    Ok(())
}

/// Writes what is there already; answers how many microseconds it waited for the lock.
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
