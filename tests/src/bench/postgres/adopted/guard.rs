//! What the guard costs those who write: inserts into a table with a guard against the same without one.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Result;
use rehome_cluster::Database;
use rehome_domain::ids::{Epoch, TenantId};
use rehome_domain::ledger::Activation;
use rehome_ports::LedgerStore;
use rehome_postgres::PgAdopted;
use rehome_workload::load::observe::Latencies;
use tokio::task::JoinSet;
use tokio_util::task::AbortOnDropHandle;
use uuid::Uuid;

use super::super::Servers;
use super::adoption;
use super::table::{self, Inserter, Rows};
use crate::Sizes;
use crate::report::{Line, median};

const WRITERS: usize = 8;
/// Inserts that are explained.
const EXPLAINED: usize = 200;
/// How often rows are numbered beside the writers.
const NUMBER_EVERY: Duration = Duration::from_millis(20);

/// Ratios of periods in turns, medians over the rounds.
pub(in super::super) async fn costs(servers: &Servers, sizes: &Sizes) -> Result<Vec<Line>> {
    // The tenant that is guarded, and as many others as there are writers.
    let tenants: Vec<Uuid> = (0..=WRITERS).map(|_| Uuid::new_v4()).collect();
    let (tenant, others) = (tenants[0], &tenants[1..]);
    let rows = sizes.large / 100;
    let (plain, guarded) = (servers.source.database()?, servers.source.database()?);
    for database in [&plain, &guarded] {
        table::make(database, &tenants, rows).await?;
    }
    let store = guard(&guarded, tenant).await?;
    let (plain, guarded) = (sessions(&plain).await?, sessions(&guarded).await?);
    let site = Sides { plain, guarded, store, tenant, sizes };

    let one = site.rounds(&[tenant], false).await?;
    let all = site.rounds(&[tenant; WRITERS], false).await?;
    let numbered = site.rounds(&[tenant; WRITERS], true).await?;
    let of_others = site.rounds(others, false).await?;
    Ok(vec![
        Line::at_most(
            "insert p50, one writer of a guarded tenant, of no guard",
            one.ratio(|seen| seen.p50_ms),
            1.25,
            "",
            format!("{}; {}", one.p50s(), site.explained(tenant).await?),
        ),
        Line::at_least(
            "inserts per second, 8 writers of it, of no guard",
            all.ratio(|seen| seen.count as f64),
            0.8,
            format!("{}; {}", all.rates(sizes), all.p50s()),
        ),
        Line::seen(
            "the same, while a driver numbers what they write",
            numbered.ratio(|seen| seen.count as f64),
            "",
            format!("{}; {}", numbered.rates(sizes), numbered.p50s()),
        ),
        Line::at_least(
            "inserts per second, 8 writers of others, of no guard",
            of_others.ratio(|seen| seen.count as f64),
            0.95,
            format!("{}; {}", of_others.rates(sizes), site.explained(others[0]).await?),
        ),
    ])
}

/// Adopts the table, and has the tenant guarded as a migration's start does it.
async fn guard(database: &Database, tenant: Uuid) -> Result<Arc<PgAdopted>> {
    let adoption = adoption(database)?;
    adoption.adopt().await?;
    let store = PgAdopted::open(adoption).await?;
    let route = Activation { epoch: Epoch(1), base: 0, created: false };
    store.activate(TenantId::new(tenant), route).await?;
    Ok(Arc::new(store))
}

async fn sessions(database: &Database) -> Result<Vec<Arc<Inserter>>> {
    let mut sessions = Vec::new();
    for _ in 0..WRITERS {
        sessions.push(Arc::new(Inserter::open(&database.url()).await?));
    }
    Ok(sessions)
}

/// The two tables, with open sessions.
struct Sides<'a> {
    plain: Vec<Arc<Inserter>>,
    guarded: Vec<Arc<Inserter>>,
    store: Arc<PgAdopted>,
    tenant: Uuid,
    sizes: &'a Sizes,
}

impl Sides<'_> {
    /// A writer for each of `tenants`; the order alternates between rounds.
    async fn rounds(&self, tenants: &[Uuid], numbered: bool) -> Result<Pairs> {
        let mut pairs = Pairs::default();
        for round in 0..2 * self.sizes.pairs {
            for side in [round % 2, (round + 1) % 2] {
                if side == 0 {
                    pairs.plain.push(self.period(&self.plain, tenants).await?);
                    continue;
                }
                let numbering = numbered.then(|| self.numbering());
                pairs.guarded.push(self.period(&self.guarded, tenants).await?);
                drop(numbering);
                // Otherwise what waits for a number would be more in each round.
                self.store.ledger(TenantId::new(self.tenant)).await?;
            }
        }
        Ok(pairs)
    }

    /// Writers that write one row after the other, as fast as they are answered.
    async fn period(&self, sessions: &[Arc<Inserter>], tenants: &[Uuid]) -> Result<Latencies> {
        let (began, time) = (Instant::now(), self.sizes.period / 2);
        let mut writers = JoinSet::new();
        for (session, tenant) in sessions.iter().zip(tenants) {
            let (session, mut rows) = (Arc::clone(session), Rows::of(*tenant));
            writers.spawn(async move {
                let mut micros = Vec::new();
                while began.elapsed() < time {
                    let (row, sent) = (rows.next(), Instant::now());
                    session.write(&row).await?;
                    micros.push(u64::try_from(sent.elapsed().as_micros())?);
                }
                anyhow::Ok(micros)
            });
        }
        let mut micros = Vec::new();
        while let Some(written) = writers.join_next().await {
            micros.extend(written??);
        }
        Ok(Latencies::of(micros))
    }

    /// Numbers rows until it is dropped, as the driver of a migration does.
    fn numbering(&self) -> AbortOnDropHandle<()> {
        let (store, tenant) = (Arc::clone(&self.store), TenantId::new(self.tenant));
        AbortOnDropHandle::new(tokio::spawn(async move {
            // The call after the period reports an error that prevents numbering.
            while store.ledger(tenant).await.is_ok() {
                tokio::time::sleep(NUMBER_EVERY).await;
            }
        }))
    }

    /// How much of an insert the triggers are, by the server.
    async fn explained(&self, tenant: Uuid) -> Result<String> {
        let mut rows = Rows::of(tenant);
        let (mut called, mut of_triggers, mut whole) = (0, Vec::new(), Vec::new());
        for _ in 0..EXPLAINED {
            let (triggers, all) = self.guarded[0].triggers(&rows.next()).await?;
            called = triggers.len();
            of_triggers.push(triggers.iter().sum::<f64>());
            whole.push(all);
        }
        let (of_triggers, whole) = (median(&of_triggers), median(&whole));
        Ok(format!("of {whole:.3} ms before the commit, {called} triggers take {of_triggers:.3}"))
    }
}

/// The measurements without and with the guard, by round.
#[derive(Default)]
struct Pairs {
    plain: Vec<Latencies>,
    guarded: Vec<Latencies>,
}

impl Pairs {
    fn ratio(&self, number: impl Fn(&Latencies) -> f64) -> f64 {
        let pairs = self.plain.iter().zip(&self.guarded);
        median(&pairs.map(|(plain, guarded)| number(guarded) / number(plain)).collect::<Vec<_>>())
    }

    /// Guarded of plain.
    fn medians(&self, number: impl Fn(&Latencies) -> f64) -> (f64, f64) {
        let of = |side: &[Latencies]| median(&side.iter().map(&number).collect::<Vec<_>>());
        (of(&self.guarded), of(&self.plain))
    }

    fn p50s(&self) -> String {
        let (guarded, plain) = self.medians(|seen| seen.p50_ms);
        format!("p50 {guarded:.2} of {plain:.2} ms")
    }

    fn rates(&self, sizes: &Sizes) -> String {
        let seconds = sizes.period.as_secs_f64() / 2.0;
        let (guarded, plain) = self.medians(|seen| seen.count as f64 / seconds);
        format!("{guarded:.0} of {plain:.0} rows/s")
    }
}
