//! The removal of a tenant: an operator's request that any process can continue. The order of the steps, and what
//! each crash leaves behind, is in `docs/protocol.md`.

use rehome_domain::ids::{StoreId, TenantId};
use rehome_domain::ledger::{Ledger, Role};
use rehome_domain::removal::{self, Removal, Step, Turn};
use rehome_domain::route::Route;
use rehome_ports::ControlError;

use super::operations::{OperationError, Operations};
use super::steps;

/// What was removed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Removed {
    /// Where the tenant was.
    pub store: StoreId,
    /// How many events the history had.
    pub events: u64,
}

/// The route and the ledger of a tenant that can be removed, of one moment.
#[derive(Clone, Debug)]
pub struct Removable {
    /// Its row, which nothing may change until the removal begins.
    pub route: Route,
    /// What its store holds.
    pub ledger: Ledger,
}

impl Operations {
    /// Whether the tenant can be removed, and its history as it is now. A removal that is under way is found as
    /// the operator requested it.
    pub async fn removable(&self, tenant: TenantId) -> Result<Removable, OperationError> {
        let engine = self.engine();
        let seen = engine.router.refresh(tenant).await?;
        let seen = seen.ok_or(ControlError::UnknownTenant(tenant))?;
        let store = engine.stores.get(&seen.route.store)?;
        if seen.route.removal.is_some() {
            let ledger = store.ledger(tenant).await?;
            return Ok(Removable { route: (*seen.route).clone(), ledger });
        }
        if store.layout().await?.is_some() {
            return Err(OperationError::NotRemovable(format!(
                "the events of tenant {tenant} are in a table of another library; its own programs remove them"
            )));
        }
        // An unfinished creation or switch is finished first.
        engine.router.help(&seen).await?;
        let seen = engine.router.refresh(tenant).await?;
        let route = seen.ok_or(ControlError::UnknownTenant(tenant))?.route;
        // What forbids it in the row.
        removal::apply(&route, Turn::Begin { events: 0 }).map_err(ControlError::from)?;
        if let Some((id, _)) = route.migration
            && !engine.control.migration(id).await?.state.is_settled()
        {
            return Err(OperationError::NotRemovable(format!(
                "migration {id} has not been cleaned up; `rehome migration drive` does it"
            )));
        }
        for other in engine.stores.iter().filter(|other| *other.id() != route.store) {
            if other.ledger(tenant).await?.head.seq > 0 {
                return Err(OperationError::NotRemovable(format!(
                    "store \"{0}\" has an old copy of tenant {tenant}; purge it first: `rehome tenant purge \
                     {tenant} --store {0}`",
                    other.id()
                )));
            }
        }
        let ledger = store.ledger(tenant).await?;
        if ledger.role != Role::Active || ledger.epoch != route.epoch {
            return Err(ControlError::Stale(Box::new((*route).clone())).into());
        }
        Ok(Removable { route: (*route).clone(), ledger })
    }

    /// Removes a tenant whose history has exactly this many events, or continues its removal. If events are
    /// appended meanwhile, nothing is removed.
    pub async fn remove(&self, tenant: TenantId, events: u64) -> Result<Removed, OperationError> {
        if let Some(route) = self.engine().control.route(tenant).await?
            && route.is_removed()
        {
            // Nothing is left to remove.
            return Ok(Removed { store: route.store, events: 0 });
        }
        let found = self.removable(tenant).await?;
        let route = match found.route.removal {
            Some(Removal::Running { events: asked, .. }) if asked == events => found.route,
            Some(Removal::Running { events: asked, .. }) => {
                return Err(OperationError::NotRemovable(format!(
                    "the removal of tenant {tenant} was requested for {asked} events, not {events}"
                )));
            }
            _ if found.ledger.head.seq != events => {
                let seq = found.ledger.head.seq;
                return Err(OperationError::NotRemovable(format!(
                    "tenant {tenant} has {seq} events, not {events}; nothing was removed"
                )));
            }
            _ => {
                let route = self.seen(found.route)?;
                let begun = self.turn(&route, Turn::Begin { events }).await?;
                crate::failpoint::hit("remove.begun");
                begun
            }
        };
        self.finish_removal(route, events).await
    }

    async fn finish_removal(
        &self,
        mut route: Route,
        events: u64,
    ) -> Result<Removed, OperationError> {
        let tenant = route.tenant;
        let store = self.engine().stores.get(&route.store)?;
        let removed = Removed { store: route.store.clone(), events };
        loop {
            let ledger = store.ledger(tenant).await?;
            let turn = match removal::next(&route, &ledger) {
                // Others finished it.
                None if route.is_removed() => return Ok(removed),
                None => {
                    return Err(OperationError::NotRemovable(format!(
                        "another process ended the removal of tenant {tenant}; see `rehome tenant show {tenant}`"
                    )));
                }
                Some(Step::Activate(activation)) => {
                    store.activate(tenant, activation).await?;
                    continue;
                }
                Some(Step::Fence { from, to }) => {
                    store.fence(tenant, from, to).await?;
                    crate::failpoint::hit("remove.fenced");
                    continue;
                }
                Some(Step::Purge(k)) => {
                    steps::purge(&**store, tenant, k).await?;
                    crate::failpoint::hit("remove.purged");
                    continue;
                }
                Some(Step::Contradiction) => {
                    return Err(OperationError::NotRemovable(format!(
                        "store \"{}\" has epoch {} of tenant {tenant}, which is not of its removal; check, then \
                         run `rehome recover`",
                        route.store, ledger.epoch
                    )));
                }
                Some(Step::Record(turn)) => turn,
            };
            match self.turn(&route, turn).await {
                Ok(after) => route = after,
                Err(ControlError::Stale(now)) => route = *now,
                Err(error) => return Err(error.into()),
            }
            if turn == Turn::Cancel
                && let Some(seen) = self.engine().router.refresh(tenant).await?
            {
                crate::failpoint::hit("remove.cancelled");
                self.engine().router.help(&seen).await?;
                return Err(grown(tenant, events));
            }
        }
    }

    /// Records a turn, and stores the row for this process's writers.
    async fn turn(&self, route: &Route, turn: Turn) -> Result<Route, ControlError> {
        let after = self.engine().control.remove(route.tenant, route.rev, turn).await?;
        self.engine().router.observe(after.clone());
        Ok(after)
    }
}

fn grown(tenant: TenantId, events: u64) -> OperationError {
    OperationError::NotRemovable(format!(
        "events of tenant {tenant} were appended after the {events} that the removal was requested for; nothing \
         was removed, and the tenant accepts writes. Stop its writers, and remove it again"
    ))
}
