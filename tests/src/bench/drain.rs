//! How many small tenants a second one process moves out of a store, and what each leaves in the control
//! plane.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context as _, Result, ensure};
use rehome_domain::append::Append;
use rehome_domain::drain::{Limits, Settings, Target};
use rehome_domain::event::{EventType, Json, NewEvent};
use rehome_domain::ids::{DrainId, EventId, StoreId, TenantId};
use rehome_domain::stream::{ExpectedVersion, StreamName};
use rehome_engine::drain::{DrainRequest, Drains, Workers};
use rehome_engine::{Engine, EngineConfig, Stores};
use rehome_ports::clock::{Clock, SystemClock};
use rehome_ports::{ControlPlane, EventStore as _, Fleet, LedgerStore};
use rehome_sqlite::{SqliteControlPlane, SqliteStore, SqliteStoreOptions};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::Sizes;
use crate::report::Line;

/// Events of a tenant.
const EVENTS: u128 = 100;
/// Migrations at once.
const AT_ONCE: u32 = 8;

fn tenant(n: u64) -> TenantId {
    TenantId::new(Uuid::from_u128(0x7a_0000_0000 + u128::from(n)))
}

fn append(tenant: u64) -> Result<Append> {
    let event = |n: u128| -> Result<NewEvent> {
        Ok(NewEvent {
            id: EventId::new(Uuid::from_u128(u128::from(tenant) << 64 | n)),
            event_type: EventType::new("OrderChanged")?,
            occurred_at: None,
            recorded_at: None,
            data: Json::trusted(format!("{{\"n\":{n},\"note\":\"what an order has to say\"}}")),
            metadata: Json::trusted("{}"),
        })
    };
    let stream = StreamName::new("order", "o-1")?;
    let events = (1..=EVENTS).map(event).collect::<Result<_>>()?;
    Ok(Append { stream, expected: ExpectedVersion::Any, events })
}

/// Empties a store of small tenants into two.
pub(crate) async fn rate(folder: &Path, sizes: &Sizes) -> Result<Vec<Line>> {
    let tenants = (sizes.large / 300).max(40);
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let control = SqliteControlPlane::open(folder.join("control.db"), true, Arc::clone(&clock));
    let control = Arc::new(control.await?);
    let mut stores: Vec<Arc<dyn LedgerStore>> = Vec::new();
    for name in ["shared", "a", "b"] {
        let store = SqliteStore::open(SqliteStoreOptions {
            id: name.parse()?,
            path: folder.join(format!("{name}.db")),
            deployment: control.deployment().to_owned(),
            create: true,
            clock: Arc::clone(&clock),
        });
        stores.push(Arc::new(store.await?));
    }
    let shared: StoreId = "shared".parse()?;
    let stores = Stores::new(stores, shared.clone())?;
    let fleet: Arc<dyn Fleet> = control.clone();
    let engine = Engine::new(control.clone(), stores, clock, EngineConfig::default())
        .with_fleet(Arc::clone(&fleet));
    for n in 0..tenants {
        engine.router().append(tenant(n), append(n)?).await?;
    }
    let target = |name: &str| Ok::<_, anyhow::Error>(Target { store: name.parse()?, weight: 1 });
    let limits = Limits { at_once: AT_ONCE, ..Limits::default() };
    let base = Settings::new(vec![shared], vec![target("a")?, target("b")?]);
    let (only, exclude) = (BTreeSet::new(), BTreeSet::new());
    let request = DrainRequest { settings: Settings { limits, ..base }, only, exclude };
    let drains = Drains::new(&engine, Arc::clone(&fleet), "bench");
    let plan = drains.plan(request).await?;
    let (id, began) = (DrainId::new(Uuid::new_v4()), Instant::now());
    drains.start(id, plan).await?;
    Workers::new(&engine, Arc::clone(&fleet), "bench").run(id, &CancellationToken::new()).await?;
    let seconds = began.elapsed().as_secs_f64();
    let end = fleet.drain(id).await?;
    ensure!(end.counts.moved == tenants && end.left == Some(0), "all moved: {end:?}");
    let first = control.route(tenant(0)).await?.and_then(|route| route.migration);
    let (first, _) = first.context("a migration of the first tenant")?;
    let entries =
        control.log(first, 0, 1_000).await?.len() as f64 + end.entries as f64 / tenants as f64;
    let what =
        format!("{tenants} tenants of {EVENTS} events, {AT_ONCE} at once, from one store to two");
    let log = "entries of the migration's log and of the drain's";
    Ok(vec![
        Line::seen("drain, tenants per second", tenants as f64 / seconds, "/s", what),
        Line::seen("drain, log entries per tenant", entries, "", log),
    ])
}
