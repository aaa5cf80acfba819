//! The copy against `psql` piped into `psql`.

use std::path::Path;
use std::time::Instant;

use anyhow::{Result, ensure};
use rehome_cluster::{Cluster, Database};
use rehome_domain::ids::TenantId;
use rehome_workload::load::history::{Wanted, tenants};
use tokio::process::Command;

use super::Servers;
use crate::Sizes;
use crate::copy::engine_copy;
use crate::harness::{SHARED, Site};
use crate::report::{Line, median};

const ROUNDS: usize = 3;

/// Ratio of the pipe to the engine's copy, median of three each, in turns.
pub(super) async fn ratio(servers: &Servers, folder: &Path, sizes: &Sizes) -> Result<Vec<Line>> {
    let names: Vec<String> = (0..ROUNDS).map(|round| format!("copy-{round}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let (source, _) = servers.name(folder, &names)?;
    let mut stores = vec![SHARED];
    stores.extend(&names);
    let site = Site::open(folder, &stores).await?;
    // One tenant among as many events of others.
    let mut wanted = tenants(1, sizes.large, 3);
    let tenant = wanted[0].tenant;
    for other in tenants(3, 1, 4) {
        wanted.push(Wanted { events: sizes.large / 3, ..other });
    }
    site.fill(&wanted).await?;
    servers.source.sql(source.name(), "VACUUM ANALYZE")?;

    let (mut raw, mut ours) = (Vec::new(), Vec::new());
    for name in &names {
        let target = servers.target.database()?;
        site.sibling_at(&target.url()).await?;
        raw.push(raw_copy(servers, &source, &target, tenant).await?);
        ours.push(engine_copy(&site, tenant, name).await?);
    }
    site.close().await;
    let rounds: Vec<String> =
        raw.iter().zip(&ours).map(|(raw, ours)| format!("{:.2}", raw / ours)).collect();
    let (raw, ours) = (median(&raw), median(&ours));
    let per_second = |seconds: f64| format!("{:.0} events/s", sizes.large as f64 / seconds);
    let detail = format!(
        "psql {}, rehome {}; rounds {}",
        per_second(raw),
        per_second(ours),
        rounds.join(" ")
    );
    Ok(vec![Line::at_least("copy speed, of psql COPY | psql COPY", raw / ours, 0.7, detail)])
}

/// The tenant's rows into the tables and indexes of an empty store; seconds.
async fn raw_copy(
    servers: &Servers,
    source: &Database,
    target: &Database,
    tenant: TenantId,
) -> Result<f64> {
    let number = "(SELECT tenant_no FROM rehome.ledger WHERE tenant = '{tenant}')"
        .replace("{tenant}", &tenant.to_string());
    let columns = "position, stream_no, version, occurred_at, recorded_at, tenant_no, event_id, \
                   digest, event_type, data, metadata";
    let events = format!(
        "(SELECT {columns} FROM rehome.events WHERE position BETWEEN {number}::bigint << 40 AND \
         ({number}::bigint << 40) + 1099511627775 ORDER BY position)"
    );
    let streams = format!("(SELECT * FROM rehome.streams WHERE tenant_no = {number})");
    let began = Instant::now();
    for (from, into) in
        [(streams, "rehome.streams".to_owned()), (events, format!("rehome.events ({columns})"))]
    {
        pipe(
            &psql(&servers.source, source.name(), &format!("COPY {from} TO STDOUT")),
            &psql(&servers.target, target.name(), &format!("COPY {into} FROM STDIN")),
        )
        .await?;
    }
    Ok(began.elapsed().as_secs_f64())
}

pub(super) fn psql(cluster: &Cluster, database: &str, statement: &str) -> String {
    let program = cluster.programs().join("psql");
    let url = cluster.administrator_url(database);
    format!("'{}' -qX -v ON_ERROR_STOP=1 -d '{url}' -c \"{statement}\"", program.display())
}

pub(super) async fn pipe(from: &str, into: &str) -> Result<()> {
    let pipe = Command::new("sh").arg("-c").arg(format!("{from} | {into}")).output().await?;
    let said = String::from_utf8_lossy(&pipe.stderr);
    ensure!(pipe.status.success() && said.is_empty(), "psql did not succeed: {said}");
    Ok(())
}
