//! A migration's copy against `COPY (SELECT ...) | COPY` between the same tables.

use std::path::Path;
use std::time::Instant;

use anyhow::{Result, ensure};
use rehome_cluster::Database;
use rehome_domain::ids::TenantId;
use rehome_ports::BatchLimit;
use uuid::Uuid;

use super::super::Servers;
use super::super::copy::{pipe, psql};
use super::{adoption, table};
use crate::Sizes;
use crate::copy::engine_copy;
use crate::harness::{SHARED, Site, id};
use crate::report::{Line, median};

const ROUNDS: usize = 3;
/// The columns that travel: all but those that the target gives anew.
const COLUMNS: &str = "event_id, aggregate_id, aggregate_type, event_type, tenant_id, actor_id, version, \
                       timestamp, payload, created_at";

/// Ratio of the pipe to the engine's copy, median of three each, in turns. Each round moves another tenant of
/// the same table, so that each has to be guarded and numbered first.
pub(in super::super) async fn ratio(
    servers: &Servers,
    folder: &Path,
    sizes: &Sizes,
) -> Result<Vec<Line>> {
    let rows = sizes.large / 3;
    let tenants: Vec<Uuid> = (0..ROUNDS).map(|_| Uuid::new_v4()).collect();
    let source = servers.source.database()?;
    table::make(&source, &tenants, rows).await?;
    let names: Vec<String> = (0..ROUNDS).map(|round| format!("copy-{round}")).collect();
    let mut targets = Vec::new();
    for _ in &names {
        let target = servers.target.database()?;
        table::make(&target, &[], 0).await?;
        targets.push(target);
    }
    let mut stores = vec![(SHARED, &source)];
    stores.extend(names.iter().map(String::as_str).zip(&targets));
    let site = super::open(servers, folder, &stores, None).await?;

    let (mut raw, mut ours, mut whole) = (Vec::new(), Vec::new(), Vec::new());
    let (mut reading, mut triggered) = (Vec::new(), Vec::new());
    for (tenant, name) in tenants.iter().zip(&names) {
        let plain = servers.target.database()?;
        table::make(&plain, &[], 0).await?;
        raw.push(raw_copy(servers, &source, &plain, *tenant).await?);
        // The same with triggers that check each row, for a tenant that they do not guard.
        let guarded = servers.target.database()?;
        table::make(&guarded, &[], 0).await?;
        adoption(&guarded)?.adopt().await?;
        triggered.push(raw_copy(servers, &source, &guarded, *tenant).await?);
        let began = Instant::now();
        let copied = engine_copy(&site, TenantId::new(*tenant), name).await?;
        whole.push(began.elapsed().as_secs_f64());
        ours.push(copied);
        reading.push(read(&site, *tenant, rows).await?);
    }
    site.close().await;
    let rounds: Vec<String> =
        raw.iter().zip(&ours).map(|(raw, ours)| format!("{:.2}", raw / ours)).collect();
    let (raw, ours) = (median(&raw), median(&ours));
    let (whole, reading, triggered) = (median(&whole), median(&reading), median(&triggered));
    let per_second = |seconds: f64| format!("{:.0} rows/s", rows as f64 / seconds);
    let detail = format!(
        "psql {}, rehome {}, its reading alone {}, psql into a table with a guard {}; rounds {}",
        per_second(raw),
        per_second(ours),
        per_second(reading),
        per_second(triggered),
        rounds.join(" ")
    );
    let name = "copy speed, of psql COPY | psql COPY";
    let around = format!("{:.1} s beside the copy's {ours:.1} s, of {rows} rows", whole - ours);
    Ok(vec![
        Line::at_least(name, raw / ours, 0.6, detail),
        Line::seen("with guarding, numbering and the end of it", raw / whole, "", around),
    ])
}

/// The tenant's rows into the table of an empty database; seconds.
async fn raw_copy(
    servers: &Servers,
    source: &Database,
    target: &Database,
    tenant: Uuid,
) -> Result<f64> {
    let rows = format!(
        "(SELECT {COLUMNS} FROM events WHERE tenant_id = '{tenant}' ORDER BY global_position)"
    );
    let began = Instant::now();
    pipe(
        &psql(&servers.source, source.name(), &format!("COPY {rows} TO STDOUT")),
        &psql(&servers.target, target.name(), &format!("COPY events ({COLUMNS}) FROM STDIN")),
    )
    .await?;
    Ok(began.elapsed().as_secs_f64())
}

/// Reads the tenant's history as the copy does; seconds.
async fn read(site: &Site, tenant: Uuid, rows: u64) -> Result<f64> {
    let store = site.engine.stores().get(&id(SHARED)?)?;
    let limit = BatchLimit { events: 8_000, bytes: 8 << 20 };
    let (began, mut seq) = (Instant::now(), 0);
    while seq < rows {
        let feed = store.read_feed(TenantId::new(tenant), seq, limit).await?;
        let Some(last) = feed.events.last() else { break };
        seq = last.seq;
    }
    ensure!(seq == rows, "of {rows} rows {seq} have numbers");
    Ok(began.elapsed().as_secs_f64())
}
