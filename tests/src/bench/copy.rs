//! The copy against the fastest that SQLite itself can do between two files.

use std::path::Path;
use std::time::Instant;

use anyhow::{Context as _, Result};
use rehome_domain::ids::TenantId;
use rehome_domain::migration::{Options, Phase};
use rehome_workload::load::history::{Wanted, tenants};
use rusqlite::Connection;

use super::Sizes;
use super::harness::{self, SHARED, Site};
use super::report::{Line, median};

const ROUNDS: usize = 5;

/// Ratio of raw `INSERT ... SELECT` to the engine's copy, median of five each, in turns.
pub(crate) async fn ratio(folder: &Path, sizes: &Sizes) -> Result<Vec<Line>> {
    let names: Vec<String> = (0..ROUNDS).map(|round| format!("copy-{round}")).collect();
    let mut stores = vec![SHARED];
    stores.extend(names.iter().map(String::as_str));
    let site = Site::open(folder, &stores).await?;
    let wanted: Vec<Wanted> = tenants(3, sizes.large, 3);
    site.fill(&wanted).await?;
    let tenant = wanted[0].tenant;

    let (mut raw, mut ours) = (Vec::new(), Vec::new());
    for name in &names {
        raw.push(raw_copy(&site, tenant, name).await?);
        ours.push(engine_copy(&site, tenant, name).await?);
    }
    site.close().await;
    let rounds: Vec<String> =
        raw.iter().zip(&ours).map(|(raw, ours)| format!("{:.2}", raw / ours)).collect();
    let rounds = rounds.join(" ");
    let (raw, ours) = (median(&raw), median(&ours));
    let per_second = |seconds: f64| format!("{:.0} events/s", sizes.large as f64 / seconds);
    let detail = format!("raw {}, rehome {}; rounds {rounds}", per_second(raw), per_second(ours));
    Ok(vec![Line::at_least("copy speed, of raw INSERT ... SELECT", raw / ours, 0.6, detail)])
}

/// Copies the whole tenant, then aborts.
pub(crate) async fn engine_copy(site: &Site, tenant: TenantId, target: &str) -> Result<f64> {
    let options = Options { lag_events_max: 1, ..harness::manual() };
    let moving = site
        .start(tenant, target, options, |migration| {
            migration.state.phase() != Phase::Pending && migration.state.phase() != Phase::BulkCopy
        })
        .await?;
    let id = moving.id;
    moving.done().await?;
    let seconds = site.copy_seconds(id).await?;
    site.operations.abort(id, false).await?;
    site.drive(id, |_| false).done().await?;
    Ok(seconds)
}

/// Copies between the files with one statement per table, in one transaction.
pub(crate) async fn raw_copy(site: &Site, tenant: TenantId, name: &str) -> Result<f64> {
    let target = site.file(&format!("raw-{name}"));
    // The schema and the indexes are those of a store that rehome made.
    drop(site.sibling(&target).await?);
    let source = site.file(SHARED);
    tokio::task::spawn_blocking(move || raw(&source, &target, tenant)).await?
}

fn raw(source: &Path, target: &Path, tenant: TenantId) -> Result<f64> {
    let mut target = Connection::open(target)?;
    let mode: String = target.query_row("PRAGMA journal_mode", [], |row| row.get(0))?;
    anyhow::ensure!(mode == "wal", "the target's journal mode is {mode}");
    target.pragma_update(None, "synchronous", "FULL")?;
    target.pragma_update(None, "cache_size", -8192)?;
    let source = source.to_str().context("the folder's name is not UTF-8")?;
    target.execute("ATTACH ? AS source", [source])?;

    let began = Instant::now();
    let tx = target.transaction()?;
    let number: i64 = tx.query_row(
        "SELECT tenant_no FROM source.ledger WHERE tenant = ?",
        [tenant.as_bytes().as_slice()],
        |row| row.get(0),
    )?;
    tx.execute("INSERT INTO ledger SELECT * FROM source.ledger WHERE tenant_no = ?", [number])?;
    tx.execute("INSERT INTO streams SELECT * FROM source.streams WHERE tenant_no = ?", [number])?;
    tx.execute(
        "INSERT INTO events SELECT position, stream_no, version, event_id, event_type, \
         occurred_at, recorded_at, data, metadata, digest FROM source.events \
         WHERE position BETWEEN ?1 << 40 AND (?1 << 40) + 1099511627775",
        [number],
    )?;
    // The target's positions are those of the source.
    tx.execute(
        "INSERT INTO event_ids SELECT tenant_no, event_id, position FROM source.event_ids \
         WHERE tenant_no = ? ORDER BY event_id",
        [number],
    )?;
    tx.commit()?;
    Ok(began.elapsed().as_secs_f64())
}
