//! One group of appends on its way to a store: the tries, and what each append gets.

use std::sync::Arc;
use std::time::Duration;

use rehome_domain::append::Append;
use rehome_domain::ids::TenantId;
use rehome_ports::{AppendError, Class, ControlError, Fault, FaultKind, StoreError};
use tokio::time::Instant;

use super::super::cache::Seen;
use super::super::{Inner, RouteError};
use super::{Caller, Pending};
use crate::appends::Meter;
use crate::config::{Backoff, EngineConfig};

/// Reports to the tenant's meter since when the group waits.
pub(super) struct Counted<'a> {
    meter: &'a Meter,
    /// From when an append is handed in until its deadline.
    patience: Duration,
    /// When the group was taken from the queue.
    gathered: Instant,
}

impl<'a> Counted<'a> {
    pub(super) fn new(meter: &'a Meter, patience: Duration) -> Self {
        Self { meter, patience, gathered: Instant::now() }
    }

    fn since(&self, callers: &[Caller]) {
        if let Some(soonest) = callers.iter().map(|caller| caller.deadline).min() {
            self.meter.group(soonest - self.patience);
        }
    }

    fn waits(&self, cutover: Option<&Seen>) {
        let cutover = cutover.and_then(|seen| seen.route.migration).map(|(id, _)| id);
        self.meter.group_waits(cutover);
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.meter.group_is_over(self.gathered);
    }
}

/// Answers appends that are never sent because an earlier one in their chain failed.
fn skip(appends: &mut Vec<Append>, callers: &mut Vec<Caller>) {
    let mut index = 0;
    while index < callers.len() {
        if callers[index].is_skipped() {
            appends.remove(index);
            callers.remove(index).answer(Err(AppendError::Busy));
        } else {
            index += 1;
        }
    }
}

/// One group on its way to a store.
pub(super) struct Group<'a> {
    inner: &'a Inner,
    tenant: TenantId,
    counted: Counted<'a>,
    /// An append is with a store that has not answered.
    sent: bool,
    /// A reply was lost: some of the group may be committed somewhere.
    doubt: Option<Arc<StoreError>>,
}

/// What to do before the next try.
enum Next {
    Now,
    After(Duration),
    WhenRouteChanges(Seen),
}

impl Next {
    /// A changed route is followed at once, but repeated changes not in a busy loop.
    fn after_move(moves: u32, config: &EngineConfig) -> Self {
        if moves <= 3 { Self::Now } else { Self::After(config.pause_poll) }
    }
}

/// Why the group is still waiting; its members get this at their deadline.
enum Waiting {
    Paused,
    Failing(Arc<dyn std::error::Error + Send + Sync>),
}

impl<'a> Group<'a> {
    pub(super) fn new(inner: &'a Inner, tenant: TenantId, counted: Counted<'a>) -> Self {
        Self { inner, tenant, counted, sent: false, doubt: None }
    }

    /// Commits the group: retries until every member has its outcome or its time is over.
    pub(super) async fn commit(mut self, group: Vec<Pending>) {
        let (mut appends, mut callers): (Vec<_>, Vec<_>) =
            group.into_iter().map(|pending| (pending.append, pending.caller)).unzip();
        skip(&mut appends, &mut callers);
        self.counted.since(&callers);
        let chained = callers.first().is_some_and(|caller| caller.chain.is_some());
        let mut backoff = Backoff::new(&self.inner.config);
        let mut moves = 0_u32;
        while !appends.is_empty() {
            let patience = self.inner.config.write_pause_timeout;
            let attempt =
                match tokio::time::timeout(patience, self.attempt(&appends, chained)).await {
                    Ok(attempt) => attempt,
                    Err(_) => Err(self.no_answer()),
                };
            let (next, waiting) = match attempt {
                Ok(outcomes) => {
                    self.inner.mirrors.wake(self.tenant);
                    let mut outcomes = outcomes.into_iter();
                    for caller in callers {
                        // Of a chain: not written, because one before it was refused.
                        let outcome = outcomes.next().map(|one| one.map_err(AppendError::from));
                        caller.answer(outcome.unwrap_or(Err(AppendError::Busy)));
                    }
                    return;
                }
                Err(Attempt::Moved) => {
                    moves += 1;
                    (Next::after_move(moves, &self.inner.config), Waiting::Paused)
                }
                Err(Attempt::Paused(seen)) => (Next::WhenRouteChanges(seen), Waiting::Paused),
                Err(Attempt::Failed { error, retry }) => {
                    if !retry {
                        return self.give_up(callers, &Waiting::Failing(error));
                    }
                    (Next::After(backoff.next()), Waiting::Failing(error))
                }
            };
            // The queue behind this group must not wait for longer than its own members may.
            let soonest = callers.iter().map(|caller| caller.deadline).min();
            let soonest = soonest.unwrap_or_else(Instant::now);
            let paused = if let Next::WhenRouteChanges(seen) = &next { Some(seen) } else { None };
            self.counted.waits(paused);
            self.wait(next, soonest).await;
            self.expire(&mut appends, &mut callers, &waiting);
            self.counted.since(&callers);
        }
    }

    /// One try: the cached route's store at the cached epoch.
    async fn attempt(&mut self, appends: &[Append], chained: bool) -> Result<Outcomes, Attempt> {
        let inner = self.inner;
        let seen = self.route().await?;
        if seen.route.is_cutover_paused() {
            return Err(Attempt::Paused(seen));
        }
        if seen.route.removal.is_some() {
            return Err(RouteError::from(ControlError::BeingRemoved(self.tenant)).into());
        }
        if !seen.route.created {
            self.help(&seen).await?;
        }
        let store = inner.stores.get(&seen.route.store).map_err(RouteError::from)?;
        crate::failpoint::hit("router.routed");
        self.sent = true;
        let (tenant, epoch) = (self.tenant, seen.route.epoch);
        let answer = if chained {
            store.append_chain(tenant, epoch, appends).await
        } else {
            store.append(tenant, epoch, appends).await
        };
        self.sent = false;
        match answer {
            Ok(outcomes) => Ok(outcomes),
            Err(StoreError::Refused(refused)) => {
                self.counted.meter.was_fenced(appends.len() as u64);
                let Some(fresh) = inner.refresh(self.tenant).await.map_err(RouteError::from)?
                else {
                    return Err(Attempt::Moved);
                };
                let route = &fresh.route;
                if fresh.route.is_cutover_paused() {
                    return Err(Attempt::Paused(fresh));
                }
                // Read after the ledger was: no store can have seen an epoch beyond it.
                if refused.ledger.epoch > route.n {
                    return Err(Attempt::lost_time(self.tenant, refused));
                }
                // The same store under the same route refused: an unfinished activation. Anyone
                // may finish it.
                if route.rev == seen.route.rev {
                    self.help(&fresh).await?;
                }
                Err(Attempt::Moved)
            }
            Err(error) => {
                let retry = error.class() == Class::Retry;
                let error = Arc::new(error);
                if error.maybe_applied() {
                    self.doubt = Some(Arc::clone(&error));
                }
                // The route may have changed because of the failure here.
                let fresh = inner.refresh(self.tenant).await;
                let elsewhere = |fresh: Seen| fresh.route.store != seen.route.store;
                if is_not_written(&error) && fresh.is_ok_and(|fresh| fresh.is_some_and(elsewhere)) {
                    // The tenant has left a table of another library, which never accepts appends.
                    return Err(Attempt::Moved);
                }
                Err(Attempt::Failed { error, retry })
            }
        }
    }

    /// No response in time. What was sent may still be applied: a retry finds it by its ids.
    fn no_answer(&mut self) -> Attempt {
        let kind = FaultKind::Unreachable("no response in time".to_owned());
        let fault = Fault::new("store or control plane", kind);
        let sent = std::mem::take(&mut self.sent);
        let error: Arc<StoreError> =
            Arc::new(if sent { fault.maybe_applied() } else { fault }.into());
        if sent {
            self.doubt = Some(Arc::clone(&error));
        }
        Attempt::Failed { error, retry: true }
    }

    /// Helps; when that is refused, the route that was helped by is not the one that holds.
    async fn help(&self, seen: &Seen) -> Result<(), Attempt> {
        let helped = self.inner.help(seen).await;
        if helped.is_err() {
            self.inner.refresh(self.tenant).await.map_err(RouteError::from)?;
        }
        helped.map_err(Attempt::from)
    }

    async fn route(&self) -> Result<Seen, RouteError> {
        match self.inner.route(self.tenant).await? {
            // The pause is the only state in which the control plane is queried before the store.
            Some(seen) if !seen.route.is_cutover_paused() => return Ok(seen),
            Some(paused) => return Ok(self.inner.refresh(self.tenant).await?.unwrap_or(paused)),
            None => {}
        }
        if !self.inner.config.create_tenants {
            return Err(ControlError::UnknownTenant(self.tenant).into());
        }
        let store = self.inner.stores.default_id();
        let route = self.inner.control.create_route(self.tenant, store).await?;
        crate::failpoint::hit("create.routed");
        Ok(self.inner.observe(route))
    }

    async fn wait(&self, next: Next, soonest: Instant) {
        match next {
            Next::Now => {}
            Next::After(time) => {
                tokio::time::sleep_until(soonest.min(Instant::now() + time)).await;
            }
            Next::WhenRouteChanges(seen) => {
                let (cache, config) = (&self.inner.cache, &self.inner.config);
                let told = cache.is_listening();
                let poll = if told { config.pause_poll_told } else { config.pause_poll };
                let look = soonest.min(seen.next_look(Instant::now() + poll));
                let changed = cache.changed(self.tenant, seen.read());
                // Time being over is one way for it to end.
                let _ = tokio::time::timeout_at(look, changed).await;
                if seen.deadline_passed() {
                    // A failure to help is no failure of the append: it waits on.
                    let _ = self.inner.help(&seen).await;
                }
            }
        }
    }

    /// Answers the members whose time is over, and what comes after them in their chains.
    fn expire(&self, appends: &mut Vec<Append>, callers: &mut Vec<Caller>, waiting: &Waiting) {
        let now = Instant::now();
        let mut index = 0;
        while index < callers.len() {
            if callers[index].deadline > now && !callers[index].is_skipped() {
                index += 1;
                continue;
            }
            appends.remove(index);
            callers.remove(index).answer(Err(self.given_up(waiting)));
        }
    }

    fn give_up(&self, callers: Vec<Caller>, waiting: &Waiting) {
        for caller in callers {
            caller.answer(Err(self.given_up(waiting)));
        }
    }

    fn given_up(&self, waiting: &Waiting) -> AppendError {
        let tenant = self.tenant;
        match (&self.doubt, waiting) {
            (Some(doubt), _) => {
                AppendError::OutcomeUnknown { tenant, source: Box::new(Arc::clone(doubt)) }
            }
            (None, Waiting::Paused) => AppendError::WritesPaused { tenant },
            (None, Waiting::Failing(error)) => match not_written(&**error) {
                Some(why) => AppendError::NotWritten { tenant, why },
                None => AppendError::Unavailable { tenant, source: Box::new(Arc::clone(error)) },
            },
        }
    }
}

/// Why no append of the tenant is accepted here, if waiting does not help: another library writes its events, or new
/// tenants are refused.
fn not_written(error: &(dyn std::error::Error + Send + Sync + 'static)) -> Option<String> {
    let store = match error.downcast_ref::<RouteError>() {
        Some(RouteError::Control(
            error @ (ControlError::Cordoned { .. } | ControlError::BeingRemoved(_)),
        )) => {
            return Some(error.to_string());
        }
        Some(RouteError::Control(ControlError::UnknownTenant(_))) => {
            let why = "it is unknown, and new tenants are refused here \
                       (server.refuse_unknown_tenants); import its history, or allow them";
            return Some(why.to_owned());
        }
        Some(RouteError::Store(error)) => Some(error),
        _ => error.downcast_ref::<StoreError>(),
    };
    match store {
        Some(StoreError::Fault(Fault { kind: FaultKind::NotWritten(why), .. })) => {
            Some(why.clone())
        }
        _ => None,
    }
}

fn is_not_written(error: &StoreError) -> bool {
    matches!(error, StoreError::Fault(Fault { kind: FaultKind::NotWritten(_), .. }))
}

type Outcomes = Vec<rehome_ports::AppendOutcome>;

/// Why a try did not answer.
enum Attempt {
    /// The route is not what it was: try again at once.
    Moved,
    /// A cutover is on.
    Paused(Seen),
    /// A store or the control plane failed.
    Failed { error: Arc<dyn std::error::Error + Send + Sync>, retry: bool },
}

impl Attempt {
    fn lost_time(tenant: TenantId, refused: rehome_domain::ledger::Refused) -> Self {
        let error = format!(
            "the store has epoch {} of tenant {tenant}, which the control plane never issued: the control \
             plane is older than the stores (restored from a backup?); check, then run `rehome recover`",
            refused.ledger.epoch
        );
        Self::Failed { error: Arc::from(Box::from(error)), retry: false }
    }
}

impl From<RouteError> for Attempt {
    fn from(error: RouteError) -> Self {
        let class = match &error {
            RouteError::Control(error) => error.class(),
            RouteError::Store(error) => error.class(),
            RouteError::UnknownStore(_) => Class::Fatal,
        };
        // A refused activation means that another was first.
        match class {
            Class::Conflict | Class::Fenced => Self::Moved,
            Class::Retry | Class::Fatal => {
                Self::Failed { error: Arc::new(error), retry: class == Class::Retry }
            }
        }
    }
}
