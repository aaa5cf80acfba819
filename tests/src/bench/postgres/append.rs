//! An append against a plain prepared INSERT of the same row, and what committing together gains.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Result;
use rehome_cluster::Database;
use rehome_workload::load::history::tenants;
use rehome_workload::load::observe::Latencies;
use rehome_workload::load::record::Sent;
use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, NoTls};
use tokio_util::task::AbortOnDropHandle;
use uuid::Uuid;

use crate::Sizes;
use crate::harness::{SHARED, Site};
use crate::report::{Line, median};

const ROUNDS: usize = 5;

/// p50 of one writer of that of the INSERT, and throughput of eight writers of that of one, of
/// appends of a single event; medians of five periods each, in turns.
pub(super) async fn ratios(source: &Database, folder: &Path, sizes: &Sizes) -> Result<Vec<Line>> {
    let site = Site::open(folder, &[SHARED]).await?;
    let wanted = tenants(1, sizes.large / 100, 12);
    site.fill(&wanted).await?;
    let raw = Raw::connect(source).await?;

    let (mut inserts, mut alone, mut eight) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        inserts.push(raw.period(sizes.period).await?);
        for (writers, seen) in [(1, &mut alone), (8, &mut eight)] {
            let load = site.load(wanted[0].tenant, writers, None)?;
            tokio::time::sleep(sizes.period).await;
            let record = load.stop(Duration::from_secs(10)).await;
            let singles = record.appends().filter(|sent| sent.events == 1);
            seen.push(Latencies::of(singles.filter_map(Sent::latency).collect()));
        }
    }
    site.close().await;
    let p50 = |seen: &[Latencies]| median(&seen.iter().map(|seen| seen.p50_ms).collect::<Vec<_>>());
    let rate = |seen: &[Latencies]| {
        let counts: Vec<f64> = seen.iter().map(|seen| seen.count as f64).collect();
        median(&counts) / sizes.period.as_secs_f64()
    };
    Ok(vec![
        Line::at_most(
            "append p50, one writer, of a prepared INSERT",
            p50(&alone) / p50(&inserts),
            1.5,
            "",
            format!("{:.2} of {:.2} ms", p50(&alone), p50(&inserts)),
        ),
        Line::at_least(
            "appends per second, 8 writers, of one writer's",
            rate(&eight) / rate(&alone),
            3.0,
            format!("{:.0} and {:.0} events/s", rate(&eight), rate(&alone)),
        ),
    ])
}

/// A table like a store's, and a connection that inserts into it.
struct Raw {
    client: Client,
    _connection: AbortOnDropHandle<()>,
}

impl Raw {
    async fn connect(database: &Database) -> Result<Self> {
        let (client, connection) = tokio_postgres::connect(&database.url(), NoTls).await?;
        let connection = AbortOnDropHandle::new(tokio::spawn(async move {
            // The user of the client sees its end.
            let _ = connection.await;
        }));
        client
            .batch_execute("CREATE TABLE public.plain (LIKE rehome.events INCLUDING ALL)")
            .await?;
        Ok(Self { client, _connection: connection })
    }

    /// Inserts one row after the other, as fast as they are answered.
    async fn period(&self, time: Duration) -> Result<Latencies> {
        let insert = "INSERT INTO public.plain (position, stream_no, version, occurred_at, \
                      recorded_at, tenant_no, event_id, digest, event_type, data, metadata) \
                      VALUES ($1, 1, $1, $2, $2, 1, $3, $4, 'OrderPlaced', $5, '{}')";
        let insert = self.client.prepare(insert).await?;
        let began = Instant::now();
        let mut micros = Vec::new();
        let (digest, data) = ([7_u8; 32], format!("{{\"note\":\"{}\"}}", "x".repeat(200)));
        let held = self.client.query_one("SELECT count(*) FROM public.plain", &[]).await?;
        let mut version = held.get::<_, i64>(0);
        while began.elapsed() < time {
            version += 1;
            let (id, now) = (Uuid::new_v4(), 1_735_689_600_000_000_i64 + version);
            let row: [&(dyn ToSql + Sync); 5] = [&version, &now, &id, &digest.as_slice(), &data];
            let sent = Instant::now();
            self.client.execute(&insert, &row).await?;
            micros.push(u64::try_from(sent.elapsed().as_micros())?);
        }
        Ok(Latencies::of(micros))
    }
}
