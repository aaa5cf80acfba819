//! What a router does about routes: reads, caches and records them, helps an unfinished step, and decides which
//! responses of a store count.

use std::sync::Arc;

use rehome_domain::append::Append;
use rehome_domain::ids::TenantId;
use rehome_domain::ledger::{Ledger, Refusal, Refused, Role};
use rehome_domain::loss::{Loss, behind_route};
use rehome_domain::migration::{Fact, Phase, RollBackReason};
use rehome_domain::route::Route;
use rehome_ports::clock::Clock;
use rehome_ports::{
    AppendError, Change, ControlError, ControlPlane, Fault, FaultKind, LedgerStore, ReadError,
    Recorded, StoreError, json,
};

use super::cache::{RouteCache, Seen};
use super::invalidation::Listening;
use super::writer::Writers;
use crate::appends::Appends;
use crate::config::EngineConfig;
use crate::follow::Tails;
use crate::mirror::Mirrors;
use crate::signal::{Observers, Signal};
use crate::stores::Stores;

/// What the handles of a router share.
pub(super) struct Inner {
    pub(super) control: Arc<dyn ControlPlane>,
    pub(super) stores: Stores,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) config: EngineConfig,
    pub(super) observers: Observers,
    pub(super) appends: Arc<Appends>,
    pub(super) cache: Arc<RouteCache>,
    pub(super) listening: Listening,
    pub(super) writers: Writers,
    pub(super) mirrors: Mirrors,
    pub(super) tails: Tails,
}

/// What a route could not be helped by.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RouteError {
    /// The control plane did not answer, or refused.
    #[error(transparent)]
    Control(#[from] ControlError),
    /// The store that the route names did not answer, or refused.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The route names a store that this process does not know.
    #[error(transparent)]
    UnknownStore(#[from] crate::UnknownStore),
}

impl Inner {
    pub(super) fn check_limits(&self, append: &Append) -> Result<(), AppendError> {
        for (index, event) in append.events.iter().enumerate() {
            for text in [&event.data, &event.metadata] {
                json::check_limits(text.as_str(), self.config.json_limits)
                    .map_err(|reason| AppendError::Invalid { index, reason })?;
            }
        }
        Ok(())
    }

    pub(super) async fn refresh(&self, tenant: TenantId) -> Result<Option<Seen>, ControlError> {
        let moment = self.cache.moment();
        self.appends.refreshed();
        let route = self.control.route(tenant).await?;
        let seen = route.map(|route| self.cache.put(route, moment));
        // One that was removed is not known, until it is created again.
        Ok(seen.filter(|seen| !seen.route.is_removed()))
    }

    pub(super) async fn record(&self, change: Change) -> Result<Recorded, ControlError> {
        let (fact, actor) = (change.fact.clone(), change.actor.clone());
        let recorded = self.control.record(change).await?;
        let tenant = recorded.route.tenant;
        self.observe(recorded.route.clone());
        if !fact.routes() {
            self.cache.touch(tenant);
        }
        self.observers.tell(&Signal::Recorded {
            migration: &recorded.migration,
            fact: &fact,
            actor: &actor,
            at: self.clock.now(),
        });
        Ok(recorded)
    }

    /// Stores a row that was just read or written.
    pub(super) fn observe(&self, route: Route) -> Seen {
        self.cache.put(route, self.cache.moment())
    }

    pub(super) async fn route(&self, tenant: TenantId) -> Result<Option<Seen>, ControlError> {
        self.listening.start(&self.control, &self.cache);
        match self.cache.get(tenant) {
            Some(seen) if seen.route.removal.is_none() => Ok(Some(seen)),
            _ => self.refresh(tenant).await,
        }
    }

    /// Refuses to read a tenant whose events are in its own library's table without a ledger.
    async fn refuse_unguarded(&self, route: &Route) -> Result<(), ReadError> {
        let Ok(store) = self.stores.get(&route.store) else { return Ok(()) };
        if store.unguarded(route.tenant).await? == 0 {
            return Ok(());
        }
        let why = format!(
            "tenant {} is no longer guarded, so its events have no numbers; the start of a migration guards \
             it again",
            route.tenant
        );
        let what = format!("store \"{}\"", route.store);
        Err(StoreError::from(Fault::new(what, FaultKind::NotSetUp(why))).into())
    }

    pub(super) async fn help(&self, seen: &Seen) -> Result<(), RouteError> {
        let route = &seen.route;
        let Some(activation) = route.activation() else {
            if seen.deadline_passed() {
                self.roll_back(route).await?;
            }
            return Ok(());
        };
        let store = self.stores.get(&route.store)?;
        if let Some(ledger) = Box::pin(self.behind_activation(route)).await? {
            return Err(StoreError::from(Refused { why: Refusal::HistoryMissing, ledger }).into());
        }
        store.activate(route.tenant, activation).await?;
        if !route.created {
            crate::failpoint::hit("create.activated");
            let route = self.control.mark_created(route.tenant, route.epoch).await?;
            crate::failpoint::hit("create.completed");
            self.observe(route);
        }
        Ok(())
    }

    /// The ledger of the routed store, if it is from before an activation that is recorded: a failover lost what the
    /// store did since then, and an activation now would make it look complete.
    async fn behind_activation(&self, route: &Route) -> Result<Option<Ledger>, RouteError> {
        let Some((id, Phase::Migrated)) = route.migration else { return Ok(None) };
        let migration = self.control.migration(id).await?;
        // Read after the migration was: it is the later of the two if it is complete.
        let ledger = self.stores.get(&route.store)?.ledger(route.tenant).await?;
        let behind = behind_route(route, Some(&migration), &ledger);
        Ok(matches!(behind, Some(Loss::BehindEpoch { .. })).then_some(ledger))
    }

    /// Rolls back a cutover that did not finish in time. The first process wins: step 6 and this
    /// exclude each other by the revision.
    async fn roll_back(&self, route: &Route) -> Result<(), ControlError> {
        let Some((migration, _)) = route.migration else { return Ok(()) };
        let change = Change {
            tenant: route.tenant,
            migration,
            rev: Some(route.rev),
            fact: Fact::CutoverRolledBack { reason: RollBackReason::TimedOut },
            actor: "router".to_owned(),
        };
        match self.record(change).await {
            Ok(_) => Ok(()),
            Err(ControlError::Stale(now)) => {
                self.observe(*now);
                Ok(())
            }
            Err(error) => Err(error),
        }
    }

    /// Reads by the rule that no response may come from a store that has lost the authority: accepted
    /// at once only from `active` at the cached epoch; otherwise the route is read again *after*
    /// the store answered, and the response accepted if the route is unchanged.
    pub(super) async fn read<T, F>(
        &self,
        tenant: TenantId,
        ask: impl Fn(Arc<dyn LedgerStore>) -> F,
    ) -> Result<T, ReadError>
    where
        F: Future<Output = Result<(Ledger, T), StoreError>>,
    {
        let unknown = || ReadError::UnknownTenant(tenant);
        let mut seen = self.route(tenant).await?.ok_or_else(unknown)?;
        loop {
            if seen.route.removal.is_some() {
                return Err(ControlError::BeingRemoved(tenant).into());
            }
            let store = self.stores.get(&seen.route.store).map_err(misconfigured)?;
            let (ledger, answer) = match ask(Arc::clone(store)).await {
                Ok(answered) => answered,
                Err(error) => match self.refresh(tenant).await {
                    // The store that failed may be one that the tenant has left.
                    Ok(Some(fresh)) if fresh.route.rev != seen.route.rev => {
                        seen = fresh;
                        continue;
                    }
                    _ => return Err(error.into()),
                },
            };
            if ledger.role == Role::Active && ledger.epoch == seen.route.epoch {
                return Ok(answer);
            }
            let fresh = self.refresh(tenant).await?.ok_or_else(unknown)?;
            if ledger.epoch > fresh.route.n {
                // Read after the ledger was: no store can have seen an epoch beyond it.
                return Err(lost_time(tenant, ledger));
            }
            // The end of a creation does not change `rev`: the tenant may exist by now.
            let row = |route: &Route| (route.rev, route.created);
            if row(&fresh.route) == row(&seen.route) {
                let behind = Box::pin(self.behind_activation(&fresh.route)).await;
                let lost = ledger.role == Role::Absent && fresh.route.created
                    || ledger.head.seq < fresh.route.base
                    || behind.map_err(unread)?.is_some();
                if lost && ledger == Ledger::ABSENT {
                    self.refuse_unguarded(&fresh.route).await?;
                }
                return if lost {
                    let refused = Refused { why: Refusal::HistoryMissing, ledger };
                    Err(StoreError::from(refused).into())
                } else {
                    Ok(answer)
                };
            }
            seen = fresh;
        }
    }
}

fn lost_time(tenant: TenantId, ledger: Ledger) -> ReadError {
    let kind = rehome_ports::FaultKind::Corrupt(format!(
        "a store has epoch {} of tenant {tenant}, which the control plane never issued: it is older than the \
         stores (restored from a backup?); check, then run `rehome recover`",
        ledger.epoch
    ));
    ReadError::Control(rehome_ports::Fault::new("control plane", kind).into())
}

fn unread(error: RouteError) -> ReadError {
    match error {
        RouteError::Control(error) => error.into(),
        RouteError::Store(error) => error.into(),
        RouteError::UnknownStore(error) => misconfigured(error),
    }
}

fn misconfigured(error: crate::UnknownStore) -> ReadError {
    let kind = rehome_ports::FaultKind::Missing("this process's configuration".to_owned());
    let fault = rehome_ports::Fault::new(format!("store {:?}", error.id.as_str()), kind);
    ReadError::Store(fault.caused_by(error).into())
}
