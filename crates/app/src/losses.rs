//! Stores that have lost events: restored from a backup, or replaced. Detected by records of the control
//! plane and by replicas, before an append is refused or a subscriber misses an event.
//!
//! ```text
//! routes, furthest checkpoints ──┐
//! ledgers, page by page ─────────┴──▶ suspects ──▶ each checked again, in the order that proves it
//! ```

use std::collections::HashMap;
use std::time::Duration;

use rehome_api as api;
use rehome_domain::ids::{StoreId, TenantId};
use rehome_domain::ledger::{Head, Ledger, Role};
use rehome_domain::loss::{Loss, behind_replica, behind_route};
use rehome_domain::route::Route;
use rehome_ports::{Checkpoint, LedgerStore, ReadError, StoreError};
use tokio::time::Instant;

use crate::deployment::Deployment;
use crate::error::AppError;

/// Routes read in one step.
const PAGE: usize = 1_000;
/// Maximum number of stored findings; all are counted.
const KEPT: usize = 100;
/// Checkpoints of one tenant that are listed.
const NAMES: usize = 100;
/// Maximum time for a store to list a page.
const STORE_WITHIN: Duration = Duration::from_secs(2);
/// A pass that has come to its end is good for so long.
const FRESH: Duration = Duration::from_secs(30);

/// One finding.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// Whose history.
    pub tenant: TenantId,
    /// The store that has lost it.
    pub store: StoreId,
    /// What shows it.
    pub loss: Loss,
}

impl Found {
    /// As a sentence of its own, with what to do.
    pub fn sentence(&self) -> String {
        let Self { tenant, store, loss } = self;
        let next = match loss {
            Loss::BehindCheckpoint { name, .. } => format!(
                "compare what it has read with the stored events, then set it back: PUT \
                 /v1/tenants/{tenant}/subscriptions/{name}"
            ),
            _ => format!(
                "stop its writers, and restore the missing events; if they are gone, `rehome recover --tenant \
                 {tenant}` shows what each store has, and with --store, --accept-loss and --yes the tenant \
                 continues from that store"
            ),
        };
        format!(
            "tenant {tenant}: store \"{store}\" has lost events (restored from a backup, or a failover lost them?): {loss}; {next}"
        )
    }

    /// The checkpoint, if that is what shows the loss.
    pub fn checkpoint(&self) -> Option<api::CheckpointBeyondEnd> {
        match &self.loss {
            Loss::BehindCheckpoint { seq, name, checkpoint } => Some(api::CheckpointBeyondEnd {
                name: name.clone(),
                checkpoint: *checkpoint,
                end: *seq,
            }),
            _ => None,
        }
    }
}

/// A pass over all tenants, a page at a time, so that it can be interrupted and continued.
#[derive(Clone, Debug, Default)]
pub struct Pass {
    after: Option<TenantId>,
    found: Vec<Found>,
    total: usize,
    /// The last pass that came to its end.
    last: Option<(Instant, Vec<Found>, usize)>,
}

impl Pass {
    /// Continues until the pass is complete; does nothing while the last one is fresh. Cancel-safe.
    pub async fn go_on(&mut self, deployment: &Deployment) -> Result<(), AppError> {
        if self.last.as_ref().is_some_and(|(at, ..)| at.elapsed() < FRESH) {
            return Ok(());
        }
        while !self.step(deployment).await? {}
        Ok(())
    }

    /// The findings of this pass and of the one before.
    pub fn findings(&self) -> (Vec<Found>, usize) {
        let (mut found, mut total) = (self.found.clone(), self.total);
        if let Some((_, before, counted)) = &self.last {
            if self.after.is_none() && self.found.is_empty() {
                return (before.clone(), *counted);
            }
            // What the pass under way has not come to yet.
            let rest = before.iter().filter(|one| Some(one.tenant) > self.after);
            found.extend(rest.cloned());
            total = total.max(found.len());
        }
        (found, total)
    }

    /// One page; whether it was the last.
    async fn step(&mut self, deployment: &Deployment) -> Result<bool, AppError> {
        let control = deployment.engine().control();
        let routes = control.routes(self.after, PAGE).await?;
        let over = routes.len() < PAGE;
        let Some(upto) = routes.last().map(|route| route.tenant) else {
            self.end();
            return Ok(true);
        };
        let furthest = furthest(deployment, self.after, upto).await?;
        let mut ledgers = HashMap::new();
        for store in deployment.engine().stores().iter() {
            // A store that does not answer is reported as such, and its tenants are not suspected.
            if deployment.store_watch().answers(store.id()).await?.is_some() {
                continue;
            }
            let rows = ledgers_of(&**store, self.after, upto);
            if let Ok(Ok(rows)) = tokio::time::timeout(STORE_WITHIN, rows).await {
                ledgers.insert(store.id().clone(), rows);
            }
        }
        for route in routes {
            if is_suspect(&route, &ledgers, furthest.get(&route.tenant)) {
                let found = of(deployment, route.tenant).await?;
                self.total += found.len();
                let room = KEPT.saturating_sub(self.found.len());
                self.found.extend(found.into_iter().take(room));
            }
        }
        self.after = Some(upto);
        if over {
            self.end();
        }
        Ok(over)
    }

    fn end(&mut self) {
        let found = std::mem::take(&mut self.found);
        let total = std::mem::take(&mut self.total);
        self.last = Some((Instant::now(), found, total));
        self.after = None;
    }
}

type Ledgers = HashMap<TenantId, Ledger>;

async fn furthest(
    deployment: &Deployment,
    mut after: Option<TenantId>,
    upto: TenantId,
) -> Result<HashMap<TenantId, Checkpoint>, AppError> {
    let mut found = HashMap::new();
    loop {
        let page = deployment.engine().control().furthest_checkpoints(after, PAGE).await?;
        let over = page.len() < PAGE || page.last().is_some_and(|last| last.tenant >= upto);
        after = page.last().map(|last| last.tenant).or(after);
        found.extend(page.into_iter().map(|one| (one.tenant, one)));
        if over {
            return Ok(found);
        }
    }
}

async fn ledgers_of(
    store: &dyn LedgerStore,
    mut after: Option<TenantId>,
    upto: TenantId,
) -> Result<Ledgers, StoreError> {
    let mut found = Ledgers::new();
    loop {
        let page = store.tenants(after, PAGE).await?;
        let over = page.len() < PAGE || page.last().is_some_and(|last| last.tenant >= upto);
        after = page.last().map(|last| last.tenant).or(after);
        found.extend(page.into_iter().map(|row| (row.tenant, row.ledger)));
        if over {
            return Ok(found);
        }
    }
}

/// By rows that were read one after the other: it may be nothing.
fn is_suspect(
    route: &Route,
    ledgers: &HashMap<StoreId, Ledgers>,
    furthest: Option<&Checkpoint>,
) -> bool {
    let Some(here) = ledgers.get(&route.store) else { return false };
    let ledger = here.get(&route.tenant).copied().unwrap_or(Ledger::ABSENT);
    let seq = ledger.head.seq;
    let longer = |(store, rows): (&StoreId, &Ledgers)| {
        let copy = rows.get(&route.tenant).filter(|_| *store != route.store);
        copy.is_some_and(|copy| behind_replica(route, copy, seq).is_some())
    };
    behind_route(route, None, &ledger).is_some()
        // Only the migration's row can confirm it.
        || ledger.epoch < route.epoch && route.migration.is_some()
        || furthest.is_some_and(|one| one.seq > seq)
        || ledgers.iter().any(longer)
}

/// The ledger; for an unguarded tenant of another library, as many events as the table has rows.
async fn kept_or_counted(store: &dyn LedgerStore, route: &Route) -> Result<Ledger, StoreError> {
    let ledger = store.ledger(route.tenant).await?;
    if ledger != Ledger::ABSENT {
        return Ok(ledger);
    }
    let seq = store.unguarded(route.tenant).await?;
    if seq == 0 {
        return Ok(ledger);
    }
    let head = Head { seq, ..ledger.head };
    Ok(Ledger { role: Role::Active, epoch: route.epoch, head })
}

/// Evidence that a tenant's store has lost history. Everything that must not exceed the history is
/// read before the history, so that concurrent writes raise no alarm.
pub async fn of(deployment: &Deployment, tenant: TenantId) -> Result<Vec<Found>, AppError> {
    let (engine, control) = (deployment.engine(), deployment.engine().control());
    let route = control.route(tenant).await?.filter(|route| route.removal.is_none());
    let Some(route) = route else { return Ok(Vec::new()) };
    let migration = match route.migration {
        Some((id, _)) => Some(control.migration(id).await?),
        None => None,
    };
    let read_back = match route.migration {
        Some((id, _)) => control.marks(id).await?.read_back,
        None => None,
    };
    let checkpoints = control.checkpoints(tenant, NAMES).await?;
    let mut copies = Vec::new();
    for store in engine.stores().iter().filter(|store| *store.id() != route.store) {
        copies.extend(store.ledger(tenant).await.ok());
    }
    let Ok(store) = deployment.store(&route.store) else { return Ok(Vec::new()) };
    let Ok(ledger) = kept_or_counted(&**store, &route).await else { return Ok(Vec::new()) };
    // Everything is of one authority only if the route has not moved.
    if control.route(tenant).await?.is_none_or(|now| now.rev != route.rev) {
        return Ok(Vec::new());
    }
    let seq = match engine.router().head(tenant).await {
        Ok(seq) => seq.max(ledger.head.seq),
        // The router refuses to answer from a store that has lost its history.
        Err(ReadError::Store(error)) if error.refused().is_some() => ledger.head.seq,
        Err(_) => return Ok(Vec::new()),
    };
    let mut losses: Vec<Loss> =
        behind_route(&route, migration.as_ref(), &ledger).into_iter().collect();
    losses.extend(copies.iter().filter_map(|copy| behind_replica(&route, copy, seq)));
    let read_back = read_back.filter(|mark| mark.m == route.m && mark.head.seq > seq);
    losses.extend(read_back.map(|mark| Loss::BehindReadBack { seq, read_back: mark.head.seq }));
    let beyond = checkpoints.into_iter().filter(|one| one.seq > seq);
    losses.extend(beyond.map(|one| Loss::BehindCheckpoint {
        seq,
        name: one.name,
        checkpoint: one.seq,
    }));
    let found = |loss| Found { tenant, store: route.store.clone(), loss };
    Ok(losses.into_iter().map(found).collect())
}

/// All tenants whose store has lost history: the first findings, and their total number.
pub async fn all(deployment: &Deployment) -> Result<(Vec<Found>, usize), AppError> {
    let mut pass = Pass::default();
    pass.go_on(deployment).await?;
    Ok(pass.findings())
}
