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
//!
//! `routes` has the rules above; `writer` commits the concurrent appends of a tenant together.

mod cache;
mod invalidation;
mod routes;
mod writer;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use rehome_domain::append::{Append, Appended};
use rehome_domain::event::Event;
use rehome_domain::ids::TenantId;
use rehome_domain::route::Route;
use rehome_domain::stream::StreamName;
use rehome_ports::clock::Clock;
use rehome_ports::{
    AppendError, BatchLimit, BeyondEnd, Change, ControlError, ControlPlane, EventStore, ReadError,
    Recorded,
};
use tokio::time::Instant;

use crate::appends::Appends;
use crate::config::EngineConfig;
use crate::follow::Tails;
use crate::mirror::Mirrors;
use crate::signal::Observers;
use crate::stores::Stores;
pub(crate) use cache::{Moment, RouteCache, Seen};
use invalidation::Listening;
use routes::Inner;
pub(crate) use routes::RouteError;
use writer::{Chain, Writers};

/// An [`EventStore`] over all stores of the deployment. Cheap to clone.
#[derive(Clone)]
pub struct TenantRouter(Arc<Inner>);

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
