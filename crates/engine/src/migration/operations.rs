//! Operators' requests. Each is one fact, recorded by a compare-and-set; the driver acts on it.

use rehome_domain::ids::{MigrationId, StoreId, TenantId};
use rehome_domain::ledger::Role;
use rehome_domain::migration::{
    Fact, InvalidOption, Migration, OldSource, Options, Phase, Refusal, State,
};
use rehome_domain::route::Route;
use rehome_ports::{Change, Class, ControlError, Recorded, StoreError};
use tokio::time::Instant;
use uuid::Uuid;

use super::plan::{Plan, PlanError, PlanRequest};
use super::steps::{self, Context, StepError};
use super::tables;
use crate::hooks::{Occasion, On, Veto};
use crate::progress::{Progress, Status};
use crate::router::RouteError;
use crate::{Engine, UnknownStore};

/// How often a retuning is made anew because others retune it at the same time.
const TUNE_TRIES: u32 = 16;

/// Why an operation was not done.
#[derive(Debug, thiserror::Error)]
pub enum OperationError {
    /// The preflight found something in the way; nothing was changed.
    #[error("the migration cannot start: {}", problems(.0))]
    NotPossible(Box<Plan>),
    /// An option is out of range.
    #[error(transparent)]
    Option(#[from] InvalidOption),
    /// The migration is not one whose tenant can return.
    #[error("{0}")]
    NoReturn(&'static str),
    /// The two stores cannot be compared, or were changed meanwhile.
    #[error("{0}")]
    NotVerifiable(String),
    /// The store still matters to the tenant.
    #[error("{0}")]
    NotPurgeable(String),
    /// The tenant cannot be removed, or was not.
    #[error("{0}")]
    NotRemovable(String),
    /// The control plane failed or refused.
    #[error(transparent)]
    Control(#[from] ControlError),
    /// A store failed or refused.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A store is not configured.
    #[error(transparent)]
    UnknownStore(#[from] UnknownStore),
    /// A hook has something against it; nothing was changed.
    #[error("the migration was {0}")]
    Vetoed(#[from] Veto),
    /// The target is not what it must be.
    #[error("{0}")]
    Violated(String),
    /// The tenant's store cannot be determined.
    #[error("{0}")]
    InTwoStores(String),
}

fn problems(plan: &Plan) -> String {
    let bad = plan.findings.iter().filter(|finding| !finding.ok);
    bad.map(|finding| finding.detail.as_str()).collect::<Vec<_>>().join("; ")
}

impl From<PlanError> for OperationError {
    fn from(error: PlanError) -> Self {
        match error {
            PlanError::Control(error) => Self::Control(error),
            PlanError::Store(error) => Self::Store(error),
            PlanError::UnknownStore(error) => Self::UnknownStore(error),
            error @ PlanError::InTwoStores { .. } => Self::InTwoStores(error.to_string()),
        }
    }
}

impl From<StepError> for OperationError {
    fn from(error: StepError) -> Self {
        match error {
            StepError::Store(error) => Self::Store(error),
            StepError::Control(error) => Self::Control(error),
            StepError::UnknownStore(error) => Self::UnknownStore(error),
            StepError::Violated(why) | StepError::Found(why) | StepError::Unpublished(why) => {
                Self::Violated(why)
            }
        }
    }
}

impl From<RouteError> for OperationError {
    fn from(error: RouteError) -> Self {
        match error {
            RouteError::Control(error) => Self::Control(error),
            RouteError::Store(error) => Self::Store(error),
            RouteError::UnknownStore(error) => Self::UnknownStore(error),
        }
    }
}

/// The operator's side of migrations, in the name of one actor.
#[derive(Clone)]
pub struct Operations {
    engine: Engine,
    actor: String,
    only_at: Option<u64>,
}

/// How often an operation is tried on a route that others are changing.
const TRIES: usize = 16;

impl Operations {
    /// Operations recorded as done by `actor`.
    pub fn new(engine: &Engine, actor: impl Into<String>) -> Self {
        Self { engine: engine.clone(), actor: actor.into(), only_at: None }
    }

    /// The same, done only if the route has this revision: for operators who act on what they have
    /// seen. A fact that moves the route compares it in the same transaction; one that is noted
    /// beside it is compared just before.
    #[must_use]
    pub fn only_at(mut self, rev: Option<u64>) -> Self {
        self.only_at = rev;
        self
    }

    /// Starts a migration. The preflight passes first; an open rollback window of the tenant's last
    /// migration is closed first.
    pub async fn start(
        &self,
        tenant: TenantId,
        target: &StoreId,
        options: Options,
    ) -> Result<Migration, OperationError> {
        self.start_as(MigrationId::new(Uuid::now_v7()), tenant, target, options).await
    }

    /// The same under an id that the caller made, so that a start whose reply was lost is found
    /// again. The id must never have been used.
    pub async fn start_as(
        &self,
        id: MigrationId,
        tenant: TenantId,
        target: &StoreId,
        options: Options,
    ) -> Result<Migration, OperationError> {
        let options = options.check()?;
        self.engine.stores.get(target)?;
        if options.rollback_window_ms > 0 && self.engine.is_one_way(tenant, target).await? {
            return Err(OperationError::NoReturn(tables::ONE_WAY));
        }
        if self.engine.router.refresh(tenant).await?.is_none() {
            self.register(tenant, target).await?;
        }
        let seen = self.engine.router.refresh(tenant).await?;
        let seen = seen.ok_or(ControlError::UnknownTenant(tenant))?;
        if seen.route.phase().is_none_or(Phase::is_terminal) {
            // An unfinished creation or switch is finished first.
            self.engine.router.help(&seen).await?;
            self.guard_again(&seen.route).await?;
        }
        let plan = self.engine.plan(&PlanRequest { tenant, target: target.clone() }).await?;
        if !plan.is_possible() {
            return Err(OperationError::NotPossible(Box::new(plan)));
        }
        if let Some(hooks) = &self.engine.hooks {
            hooks.ask(&self.before_start(id, &seen.route, target)).await?;
        }
        if seen.route.window {
            self.close_window(&seen.route).await?;
        }
        let fact = Fact::Started { migration: id, target: target.clone(), options };
        let started = self.decide(tenant, id, fact).await?.migration;
        crate::failpoint::hit("start.recorded");
        Ok(started)
    }

    fn before_start(&self, id: MigrationId, route: &Route, target: &StoreId) -> Occasion {
        Occasion {
            on: On::BeforeStart,
            tenant: route.tenant,
            from: route.store.clone(),
            to: target.clone(),
            migration: id,
            epoch: route.n,
            entry: 0,
            at: self.engine.clock.now(),
            actor: self.actor.clone(),
            why: None,
        }
    }

    /// A store that was released and adopted again has the tenant's rows, and guards them again.
    async fn guard_again(&self, route: &Route) -> Result<(), OperationError> {
        let store = self.engine.stores.get(&route.store)?;
        let Some(activation) = route.activation() else { return Ok(()) };
        if store.unguarded(route.tenant).await? > 0 {
            store.activate(route.tenant, activation).await?;
        }
        Ok(())
    }

    /// A tenant that its own library writes gets a route to the store that has its rows, if a move to
    /// `target` is possible.
    async fn register(&self, tenant: TenantId, target: &StoreId) -> Result<(), OperationError> {
        let plan = self.engine.plan(&PlanRequest { tenant, target: target.clone() }).await?;
        if !plan.is_possible() {
            return Err(OperationError::NotPossible(Box::new(plan)));
        }
        self.engine.router.ensure_tenant(tenant, &plan.source).await?;
        Ok(())
    }

    /// Stops the work; writes go to the source.
    pub async fn pause(&self, id: MigrationId) -> Result<Migration, OperationError> {
        self.fact(id, Fact::Paused).await
    }

    /// Resumes the work.
    pub async fn resume(&self, id: MigrationId) -> Result<Migration, OperationError> {
        self.fact(id, Fact::Resumed).await
    }

    /// Requests the cutover; the holder of the lease carries it out.
    pub async fn request_cutover(&self, id: MigrationId) -> Result<Migration, OperationError> {
        let migration = self.engine.control.migration(id).await?;
        Ok(self.note(&migration, Fact::CutoverRequested).await?.migration)
    }

    /// Withdraws a requested or automatic cutover: none begins before a new request. Refused once it has
    /// begun.
    pub async fn withdraw_cutover(&self, id: MigrationId) -> Result<Migration, OperationError> {
        let migration = self.engine.control.migration(id).await?;
        Ok(self.note(&migration, Fact::CutoverWithdrawn).await?.migration)
    }

    /// Waits until no cutover of the migration is under way. Its driver finishes it or rolls it back
    /// within its deadline; past that it is rolled back here, which a driver that died leaves to
    /// others.
    pub async fn end_cutover(&self, id: MigrationId) -> Result<Migration, OperationError> {
        let router = &self.engine.router;
        loop {
            let moment = router.moment();
            let migration = self.engine.control.migration(id).await?;
            if migration.state.phase() != Phase::CutoverPaused {
                return Ok(migration);
            }
            let tenant = migration.tenant;
            let seen = router.refresh(tenant).await?;
            let seen = seen.ok_or(ControlError::UnknownTenant(tenant))?;
            if seen.deadline_passed() {
                router.help(&seen).await?;
                if let Some(now) = router.refresh(tenant).await? {
                    // The source accepts writes again.
                    router.help(&now).await?;
                }
            } else {
                let poll = self.engine.config.driver_poll;
                let wait = poll.min(seen.deadline() - Instant::now());
                router.idle(tenant, moment, wait).await;
            }
        }
    }

    /// Gives the migration up. The clean-up of the target is the driver's. Refused in a cutover:
    /// see [`Operations::end_cutover`].
    pub async fn abort(&self, id: MigrationId, purge: bool) -> Result<Migration, OperationError> {
        let aborted = self.fact(id, Fact::Aborted { purge }).await?;
        crate::failpoint::hit("abort.recorded");
        Ok(aborted)
    }

    /// Requests the repair of open violations: the copy is cut back to before the damage, copied again and
    /// verified. Refused if the damage is in the source itself.
    pub async fn request_repair(&self, id: MigrationId) -> Result<Migration, OperationError> {
        let requested = self.fact(id, Fact::RepairRequested).await?;
        crate::failpoint::hit("repair.requested");
        Ok(requested)
    }

    /// Records that an operator has acknowledged the migration's failure. A repeat changes nothing.
    pub async fn acknowledge(&self, id: MigrationId) -> Result<Migration, OperationError> {
        let migration = self.engine.control.migration(id).await?;
        if migration.state == (State::Failed { acknowledged: true }) {
            return Ok(migration);
        }
        Ok(self.note(&migration, Fact::Acknowledged).await?.migration)
    }

    /// Changes the options of a migration that is not over.
    pub async fn tune(
        &self,
        id: MigrationId,
        change: impl Fn(Options) -> Options,
    ) -> Result<Migration, OperationError> {
        let mut tries = TUNE_TRIES;
        loop {
            let migration = self.engine.control.migration(id).await?;
            let was = Some(migration.options);
            let options = change(migration.options).check()?;
            if options.rollback_window_ms > 0 && self.is_one_way(&migration).await? {
                return Err(OperationError::NoReturn(tables::ONE_WAY));
            }
            match self.note(&migration, Fact::Tuned { was, options }).await {
                Err(ControlError::Refused(Refusal::OptionsChanged)) if tries > 1 => tries -= 1,
                recorded => return Ok(recorded?.migration),
            }
        }
    }

    /// Whether the tenant could not return from the migration's target.
    async fn is_one_way(&self, migration: &Migration) -> Result<bool, OperationError> {
        let stores = &self.engine.stores;
        let target = stores.get(&migration.target)?.layout().await?;
        Ok(target.is_none() && stores.get(&migration.source)?.layout().await?.is_some())
    }

    /// Moves the tenant back to where it came from, within the rollback window: a migration in the
    /// other direction that starts level.
    pub async fn start_return(
        &self,
        id: MigrationId,
        options: Options,
    ) -> Result<Migration, OperationError> {
        self.start_return_as(MigrationId::new(Uuid::now_v7()), id, options).await
    }

    /// The same under an id that the caller made: see [`Operations::start_as`].
    pub async fn start_return_as(
        &self,
        new: MigrationId,
        id: MigrationId,
        options: Options,
    ) -> Result<Migration, OperationError> {
        let migration = self.engine.control.migration(id).await?;
        let State::Migrated { old_source: OldSource::Window { .. }, .. } = migration.state else {
            return Err(OperationError::NoReturn(
                "the migration has no open rollback window; start a migration back instead",
            ));
        };
        self.start_as(new, migration.tenant, &migration.source, options).await
    }

    /// Closes a rollback window before its time; the old source is then fenced for good.
    pub async fn close_window(&self, route: &Route) -> Result<(), OperationError> {
        let Some((id, _)) = route.migration.filter(|_| route.window) else { return Ok(()) };
        self.fact(id, Fact::WindowClosed).await?;
        let migration = self.engine.control.migration(id).await?;
        Context::new(&self.engine, migration, &self.actor)?.drop_old_replica().await?;
        Ok(())
    }

    /// Removes the copy that a tenant left behind in `store`. Answers how many events went.
    pub async fn purge(&self, tenant: TenantId, store: &StoreId) -> Result<u64, OperationError> {
        let handle = self.engine.stores.get(store)?;
        // The ledger first: whatever is done to it after the route was read raises its epoch.
        let ledger = handle.ledger(tenant).await?;
        let route = self.engine.control.route(tenant).await?;
        let route = route.ok_or(ControlError::UnknownTenant(tenant))?;
        if route.store == *store {
            return Err(OperationError::NotPurgeable(format!(
                "store {:?} has the authority for tenant {tenant}; it is never purged",
                store.as_str()
            )));
        }
        if route.phase().is_some_and(|phase| !phase.is_terminal()) || route.window {
            return Err(OperationError::NotPurgeable(format!(
                "tenant {tenant} has a migration or a rollback window that may need this copy; \
                 finish or abort it first"
            )));
        }
        if ledger.role == Role::Absent {
            return Ok(0);
        }
        // Fenced at an epoch that the tenant has left: a sleeper with that epoch is refused,
        // and any later activation or adoption makes the store refuse this purge.
        let events = steps::purge(&**handle, tenant, ledger.epoch).await?;
        if let Some((id, _)) = route.migration {
            let migration = self.engine.control.migration(id).await?;
            let left = matches!(migration.state, State::Migrated { old_source: OldSource::Fenced { at }, .. } if at == ledger.epoch);
            if left && migration.source == *store {
                self.note(&migration, Fact::Purged { events }).await?;
            }
        }
        Ok(events)
    }

    /// A migration and how far it is.
    pub async fn status(&self, id: MigrationId) -> Result<Status, OperationError> {
        let migration = self.engine.control.migration(id).await?;
        let marks = self.engine.control.marks(id).await?;
        let lease = self.engine.control.lease_holder(id).await?;
        let lengths = self.engine.lengths(&migration).await?;
        let now = self.engine.clock.now();
        let progress = lengths.map(|lengths| Progress::of(&migration, lengths, &marks, now));
        Ok(Status { migration, progress, lease })
    }

    async fn fact(&self, id: MigrationId, fact: Fact) -> Result<Migration, OperationError> {
        let tenant = self.engine.control.migration(id).await?.tenant;
        Ok(self.decide(tenant, id, fact).await?.migration)
    }

    /// Records a fact on the route as it is; when others change it meanwhile, decides anew.
    async fn decide(
        &self,
        tenant: TenantId,
        migration: MigrationId,
        fact: Fact,
    ) -> Result<Recorded, ControlError> {
        let mut last = None;
        for _ in 0..TRIES {
            let route = self.engine.control.route(tenant).await?;
            let route = self.seen(route.ok_or(ControlError::UnknownTenant(tenant))?)?;
            let change = Change {
                tenant,
                migration,
                rev: Some(route.rev),
                fact: fact.clone(),
                actor: self.actor.clone(),
            };
            match self.engine.router.record(change).await {
                Ok(recorded) => {
                    self.engine.asked.notify_one();
                    return Ok(recorded);
                }
                Err(error) if error.class() == Class::Conflict => last = Some(error),
                Err(error) => return Err(error),
            }
        }
        Err(last.expect("at least one try"))
    }

    /// The route, if it is the one that the operator has seen.
    pub(super) fn seen(&self, route: Route) -> Result<Route, ControlError> {
        match self.only_at {
            Some(rev) if rev != route.rev => Err(ControlError::Stale(Box::new(route))),
            _ => Ok(route),
        }
    }

    pub(super) fn engine(&self) -> &Engine {
        &self.engine
    }

    pub(super) async fn note(
        &self,
        migration: &Migration,
        fact: Fact,
    ) -> Result<Recorded, ControlError> {
        if self.only_at.is_some() {
            let tenant = migration.tenant;
            let route = self.engine.control.route(tenant).await?;
            self.seen(route.ok_or(ControlError::UnknownTenant(tenant))?)?;
        }
        let change = Change {
            tenant: migration.tenant,
            migration: migration.id,
            rev: None,
            fact,
            actor: self.actor.clone(),
        };
        let recorded = self.engine.router.record(change).await?;
        self.engine.asked.notify_one();
        Ok(recorded)
    }
}
