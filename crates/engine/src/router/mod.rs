//! The router: tenant -> store; the only reader of routes on behalf of applications.
//!
//! ```text
//! append ─▶ cached route ─▶ store.append(epoch) ─▶ Ok: acknowledged
//!              ▲                    │ refused: stale epoch, fenced, ...
//!              │                    ▼
//!              └── help, if due ◀─ refresh ─▶ cutover_paused: wait, bounded
//! ```
//!
//! The hot path never queries the control plane: the store itself refuses a stale epoch. A router
//! that finds a ledger behind the route activates it, in every state but `cutover_paused`; there
//! it waits, and past the deadline it rolls the cutover back itself. A ledger behind an activation that is
//! already recorded has lost events, and is not activated.
//!
//! Notifications of changed routes shorten the wait; nothing depends on them.

mod cache;
mod invalidation;
mod writer;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use rehome_domain::append::{Append, Appended};
use rehome_domain::event::Event;
use rehome_domain::ids::TenantId;
use rehome_domain::ledger::{Ledger, Refusal, Refused, Role};
use rehome_domain::loss::{Loss, behind_route};
use rehome_domain::migration::{Fact, Phase, RollBackReason};
use rehome_domain::route::Route;
use rehome_domain::stream::StreamName;
use rehome_ports::clock::Clock;
use rehome_ports::{
    AppendError, BatchLimit, BeyondEnd, Change, ControlError, ControlPlane, EventStore, Fault,
    FaultKind, LedgerStore, ReadError, Recorded, StoreError, json,
};

use tokio::time::Instant;

use crate::appends::Appends;
use crate::config::EngineConfig;
use crate::follow::Tails;
use crate::mirror::Mirrors;
use crate::signal::{Observers, Signal};
use crate::stores::Stores;
pub(crate) use cache::{Moment, RouteCache, Seen};
use invalidation::Listening;
use writer::{Chain, Writers};

/// An [`EventStore`] over all stores of the deployment. Cheap to clone.
#[derive(Clone)]
pub struct TenantRouter(Arc<Inner>);

struct Inner {
    control: Arc<dyn ControlPlane>,
    stores: Stores,
    clock: Arc<dyn Clock>,
    config: EngineConfig,
    observers: Observers,
    appends: Arc<Appends>,
    cache: Arc<RouteCache>,
    listening: Listening,
    writers: Writers,
    mirrors: Mirrors,
    tails: Tails,
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

impl TenantRouter {
    pub(crate) fn new(
        control: Arc<dyn ControlPlane>,
        stores: Stores,
        clock: Arc<dyn Clock>,
        config: &EngineConfig,
        observers: Observers,
    ) -> Self {
        let cache = Arc::new(RouteCache::new());
        Self(Arc::new(Inner {
            control,
            stores,
            clock,
            config: *config,
            observers,
            appends: Arc::new(Appends::over(Arc::clone(&cache))),
            cache,
            listening: Listening::default(),
            writers: Writers::default(),
            mirrors: Mirrors::default(),
            tails: Tails::default(),
        }))
    }

    /// The appends through this process, counted.
    pub fn appends(&self) -> &Arc<Appends> {
        &self.0.appends
    }

    pub(crate) fn mirrors(&self) -> &Mirrors {
        &self.0.mirrors
    }

    pub(crate) fn tails(&self) -> &Tails {
        &self.0.tails
    }

    /// How many events the tenant's history has, read as events are.
    pub async fn head(&self, tenant: TenantId) -> Result<u64, ReadError> {
        self.0
            .read(tenant, |store| async move {
                let ledger = store.ledger(tenant).await?;
                Ok((ledger, ledger.head.seq))
            })
            .await
    }

    /// A part of the history, as [`EventStore::read_feed`] reads it, and whether there is more.
    pub async fn feed_part(
        &self,
        tenant: TenantId,
        after_seq: u64,
        limit: BatchLimit,
    ) -> Result<(Vec<Event>, bool), ReadError> {
        let (end, events) = self
            .0
            .read(tenant, |store| async move {
                let feed = store.read_feed(tenant, after_seq, limit).await?;
                Ok((feed.ledger, (feed.ledger.head.seq, feed.events)))
            })
            .await?;
        // The answer is the authority's by now; of any other store its end would prove nothing.
        BeyondEnd::check(tenant, after_seq, end)?;
        let more = events.last().is_some_and(|event| event.seq < end);
        Ok((events, more))
    }

    /// A part of a stream, as [`EventStore::read_stream`] reads it, and whether there is more.
    pub async fn stream_part(
        &self,
        tenant: TenantId,
        stream: &StreamName,
        from_version: u64,
        limit: BatchLimit,
    ) -> Result<(Vec<Event>, bool), ReadError> {
        let (version, events) = self
            .0
            .read(tenant, |store| async move {
                let slice = store.read_stream(tenant, stream, from_version, limit).await?;
                Ok((slice.ledger, (slice.version, slice.events)))
            })
            .await?;
        let position = from_version.saturating_sub(1);
        if position > version {
            let stream = Some(stream.clone());
            return Err(BeyondEnd { tenant, stream, position, end: version }.into());
        }
        let more = events.last().is_some_and(|event| event.version < version);
        Ok((events, more))
    }

    /// Moves a subscription's checkpoint; one beyond the end of the history is refused.
    ///
    /// # Errors
    ///
    /// [`ReadError::BeyondEnd`] if the history does not reach that position.
    pub async fn set_checkpoint(
        &self,
        tenant: TenantId,
        name: &str,
        seq: u64,
    ) -> Result<(), ReadError> {
        BeyondEnd::check(tenant, seq, self.head(tenant).await?)?;
        Ok(self.0.control.set_checkpoint(tenant, name, seq).await?)
    }

    /// Stores a route row that this process has just read or written, so that writers
    /// waiting here continue at once; returns since when its `rev` is known here.
    pub(crate) fn observe(&self, route: Route) -> Seen {
        self.0.observe(route)
    }

    /// Records a fact, stores the resulting rows, and reports it. All records of this
    /// process about a migration pass through here.
    pub(crate) async fn record(&self, change: Change) -> Result<Recorded, ControlError> {
        self.0.record(change).await
    }

    /// The current moment in the history of the cache, taken before a row is read from which
    /// [`TenantRouter::idle`] is to be woken.
    pub(crate) fn moment(&self) -> Moment {
        self.0.listening.start(&self.0.control, &self.0.cache);
        self.0.cache.moment()
    }

    /// Waits for this long, or until the tenant's route was changed since that moment, if
    /// notified.
    pub(crate) async fn idle(&self, tenant: TenantId, since: Moment, at_most: Duration) {
        // Time being over is one way for it to end.
        let _ = tokio::time::timeout(at_most, self.0.cache.changed(tenant, since)).await;
    }

    /// Whether this process receives notifications of changed routes.
    pub(crate) fn is_told(&self) -> bool {
        self.0.cache.is_listening()
    }

    /// Resolves when a writer of this process has appended to the tenant.
    pub(crate) fn appended(&self, tenant: TenantId) -> impl Future<Output = ()> + use<> {
        self.0.writers.appended(tenant)
    }

    /// Reads the tenant's route again.
    pub(crate) async fn refresh(&self, tenant: TenantId) -> Result<Option<Seen>, ControlError> {
        self.0.refresh(tenant).await
    }

    /// Brings the store that the route names to the route's epoch, or ends a cutover whose
    /// deadline has passed.
    pub(crate) async fn help(&self, seen: &Seen) -> Result<(), RouteError> {
        self.0.help(seen).await
    }

    /// The tenant's route as the control plane has it, created at the default store if the tenant
    /// is new.
    pub async fn ensure_tenant(
        &self,
        tenant: TenantId,
        store: &rehome_domain::ids::StoreId,
    ) -> Result<Route, ControlError> {
        self.0.control.create_route(tenant, store).await
    }

    /// Appends many times, in this order, without waiting for one before submitting the next: for
    /// bulk loads. Each has its own outcome. After one fails, nothing that comes after it is
    /// written; it returns [`AppendError::Busy`]. So the stored events are always a prefix of the
    /// submitted ones.
    pub async fn append_all(
        &self,
        tenant: TenantId,
        appends: Vec<Append>,
    ) -> Vec<Result<Appended, AppendError>> {
        let (chain, began) = (Chain::default(), Instant::now());
        let mut submitted: Vec<Result<_, AppendError>> = Vec::with_capacity(appends.len());
        for append in appends {
            submitted.push(match (submitted.last(), self.0.check_limits(&append)) {
                (Some(Err(_)), _) => Err(AppendError::Busy),
                (_, Err(error)) => Err(error),
                _ => writer::submit(&self.0, tenant, append, Some(chain.clone())).await,
            });
        }
        let mut outcomes = Vec::with_capacity(submitted.len());
        let mut last = None;
        for one in submitted {
            let (outcome, waiting) = match one {
                Ok(mut submitted) => (submitted.outcome().await, Some(submitted.waiting)),
                Err(error) => (Err(error), None),
            };
            if let (Ok(appended), Some(waiting)) = (&outcome, waiting) {
                last = Some((appended.last_seq, waiting));
            }
            outcomes.push(outcome);
        }
        if let Some((last_seq, waiting)) = &last {
            self.0.mirrors.hold_writer(tenant, *last_seq, waiting).await;
        }
        let meter = self.0.appends.meter(tenant);
        for outcome in &outcomes {
            meter.ended(outcome, began.elapsed());
        }
        outcomes
    }

    /// Accepts no more appends and waits for the accepted ones.
    pub async fn shutdown(&self) {
        self.0.tails.close().await;
        self.0.writers.close().await;
        self.0.listening.close().await;
    }
}

impl Inner {
    fn check_limits(&self, append: &Append) -> Result<(), AppendError> {
        for (index, event) in append.events.iter().enumerate() {
            for text in [&event.data, &event.metadata] {
                json::check_limits(text.as_str(), self.config.json_limits)
                    .map_err(|reason| AppendError::Invalid { index, reason })?;
            }
        }
        Ok(())
    }

    async fn refresh(&self, tenant: TenantId) -> Result<Option<Seen>, ControlError> {
        let moment = self.cache.moment();
        self.appends.refreshed();
        let route = self.control.route(tenant).await?;
        let seen = route.map(|route| self.cache.put(route, moment));
        // One that was removed is not known, until it is created again.
        Ok(seen.filter(|seen| !seen.route.is_removed()))
    }

    async fn record(&self, change: Change) -> Result<Recorded, ControlError> {
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
    fn observe(&self, route: Route) -> Seen {
        self.cache.put(route, self.cache.moment())
    }

    async fn route(&self, tenant: TenantId) -> Result<Option<Seen>, ControlError> {
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

    async fn help(&self, seen: &Seen) -> Result<(), RouteError> {
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
    async fn read<T, F>(
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

#[async_trait]
impl EventStore for TenantRouter {
    async fn append(&self, tenant: TenantId, append: Append) -> Result<Appended, AppendError> {
        let began = Instant::now();
        let submitted = match self.0.check_limits(&append) {
            Ok(()) => writer::submit(&self.0, tenant, append, None).await,
            Err(error) => Err(error),
        };
        let mut submitted = match submitted {
            Ok(submitted) => submitted,
            Err(error) => {
                let refused = Err(error);
                self.0.appends.meter(tenant).ended(&refused, began.elapsed());
                return refused;
            }
        };
        let ended = submitted.outcome().await;
        if let Ok(appended) = &ended {
            self.0.mirrors.hold_writer(tenant, appended.last_seq, &submitted.waiting).await;
        }
        submitted.waiting.meter.ended(&ended, began.elapsed());
        ended
    }

    async fn read_stream(
        &self,
        tenant: TenantId,
        stream: &StreamName,
        from_version: u64,
        limit: BatchLimit,
    ) -> Result<Vec<Event>, ReadError> {
        Ok(self.stream_part(tenant, stream, from_version, limit).await?.0)
    }

    async fn read_feed(
        &self,
        tenant: TenantId,
        after_seq: u64,
        limit: BatchLimit,
    ) -> Result<Vec<Event>, ReadError> {
        Ok(self.feed_part(tenant, after_seq, limit).await?.0)
    }
}
