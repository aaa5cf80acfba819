//! The work of one process on one drain: observe, decide, record; movers carry it out.

mod moves;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use rehome_domain::drain::{self, Drain, Fact, Settings, State, Step, Tenant, TenantState};
use rehome_domain::ids::{DrainId, MigrationId, TenantId};
use rehome_ports::{AttendRequest, ControlError, DrainChange, DrainTenants, Fleet};
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use self::moves::Moving;
use super::Calendar;
use super::mover::{Orders, Outcome};
use super::targets::Targets;
use super::workers::{STOP_WITHIN, Workers};
use crate::Engine;

/// How often a worker reads its drain when nothing happens.
const LOOK_EVERY: Duration = Duration::from_secs(1);

pub(super) struct Worker {
    engine: Engine,
    fleet: Arc<dyn Fleet>,
    holder: Arc<str>,
    id: DrainId,
    moves: BTreeMap<TenantId, Moving>,
    /// What movers have ended, and is not recorded yet.
    ended: Vec<(TenantId, MigrationId, Outcome)>,
    ends: mpsc::UnboundedReceiver<(TenantId, MigrationId, Outcome)>,
    end: mpsc::UnboundedSender<(TenantId, MigrationId, Outcome)>,
    orders: watch::Sender<Orders>,
    settings: watch::Sender<Settings>,
    targets: Targets,
    calendar: Option<Calendar>,
    attended: Option<(Instant, Vec<String>)>,
    stop: CancellationToken,
}

impl Worker {
    pub(super) fn new(workers: &Workers, drain: &Drain, stop: &CancellationToken) -> Self {
        let (settings, watched) = watch::channel(drain.settings.clone());
        let (end, ends) = mpsc::unbounded_channel();
        let orders = watch::Sender::new(Orders {
            settings: Arc::new(drain.settings.clone()),
            rates: rates(drain),
            may_cut_over: false,
            cancelled: drain.state == State::Cancelling,
        });
        Self {
            engine: workers.engine.clone(),
            fleet: Arc::clone(&workers.fleet),
            holder: Arc::clone(&workers.holder),
            id: drain.id,
            moves: BTreeMap::new(),
            ended: Vec::new(),
            ends,
            end,
            orders,
            settings,
            targets: Targets::of(&workers.engine, &workers.fleet, watched),
            calendar: calendar(drain),
            attended: None,
            stop: stop.clone(),
        }
    }

    /// Waits until something happens, or the next poll is due.
    pub(super) async fn wait(&mut self) {
        if !self.ended.is_empty() {
            return;
        }
        tokio::select! {
            biased;
            () = self.stop.cancelled() => {}
            Some(ended) = self.ends.recv() => self.ended.push(ended),
            () = self.engine.drains_asked.notified() => {}
            () = self.targets.changed() => {}
            // Not so late that others take the process for gone.
            () = tokio::time::sleep(LOOK_EVERY.min(self.engine.config.lease_ttl / 3)) => {}
        }
        while let Ok(ended) = self.ends.try_recv() {
            self.ended.push(ended);
        }
    }

    /// One poll, and its consequences. Returns whether the drain has ended.
    pub(super) async fn step(&mut self) -> Result<bool, ControlError> {
        let workers = self.attend().await?;
        let mut drain = self.fleet.drain(self.id).await?;
        if drain.state.is_over() {
            return Ok(true);
        }
        if !self.ended.is_empty() {
            drain = self.record_ends(drain).await?;
        }
        let now = self.engine.control.now().await?;
        if *self.settings.borrow() != drain.settings {
            self.settings.send_replace(drain.settings.clone());
            self.calendar = calendar(&drain);
        }
        let is_open = match (&drain.settings.window, &self.calendar) {
            (None, _) => true,
            (Some(_), calendar) => calendar.as_ref().is_some_and(|calendar| calendar.is_open(now)),
        };
        self.order(&drain, is_open);
        let moving = self.rows(TenantState::Moving, MOVES_MAX).await?;
        self.adjust(&moving);
        let next = self.next(&drain).await?;
        let ids: Vec<_> = next.iter().map(|row| row.tenant).collect();
        let pinned =
            if ids.is_empty() { BTreeMap::new() } else { self.fleet.pins_of(&ids).await? };
        let pinned = pinned.into_iter().map(|(id, pin)| (id, format!("pinned: {}", pin.why)));
        let (pinned, targets) = (pinned.collect(), self.targets.latest());
        let steps = drain::decide(&drain::Seen {
            drain: &drain,
            workers: u32::try_from(workers.len()).unwrap_or(u32::MAX),
            moves: moving.iter().map(|row| self.seen(row, &workers)).collect(),
            next: &next,
            pinned: &pinned,
            targets: &targets,
            window_open: is_open,
            now,
        });
        if steps.is_empty() {
            return Ok(false);
        }
        self.carry_out(steps, &moving, next).await
    }

    /// Registers this process's work on the drain, if the last registration is old.
    async fn attend(&mut self) -> Result<Vec<String>, ControlError> {
        let ttl = self.engine.config.lease_ttl;
        if let Some((at, workers)) = &self.attended
            && at.elapsed() < ttl / 3
        {
            return Ok(workers.clone());
        }
        let request = AttendRequest {
            drain: self.id,
            holder: self.holder.to_string(),
            ttl_ms: u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX),
        };
        let at = Instant::now();
        let workers = self.fleet.attend(&request).await?;
        self.attended = Some((at, workers.clone()));
        Ok(workers)
    }

    /// Records what movers have ended: all together, or, where others changed something, what still follows.
    async fn record_ends(&mut self, drain: Drain) -> Result<Drain, ControlError> {
        let fact = |tenant: TenantId, outcome: Outcome| match outcome {
            Outcome::Moved => Fact::TenantMoved { tenant },
            Outcome::SetAside(why) => Fact::TenantSetAside { tenant, why: why.into() },
            Outcome::PutBack => Fact::TenantPutBack { tenant },
            Outcome::Stays(stay, why) => Fact::TenantStays { tenant, stay, why: why.into() },
        };
        let facts: Vec<_> =
            self.ended.iter().map(|(tenant, _, outcome)| fact(*tenant, outcome.clone())).collect();
        let drain = match self.record(facts.clone()).await {
            Ok(drain) => drain,
            Err(ControlError::Drain(_)) => {
                let mut drain = drain;
                for fact in facts {
                    match self.record(vec![fact]).await {
                        Ok(after) => drain = after,
                        // Another process was first; the row has its result.
                        Err(ControlError::Drain(_)) => {}
                        Err(error) => return Err(error),
                    }
                }
                drain
            }
            Err(error) => return Err(error),
        };
        for (tenant, migration, _) in std::mem::take(&mut self.ended) {
            if self.moves.get(&tenant).is_some_and(|moving| moving.migration == migration) {
                self.moves.remove(&tenant);
            }
        }
        Ok(drain)
    }

    async fn record(&self, facts: Vec<Fact>) -> Result<Drain, ControlError> {
        let change = DrainChange { drain: self.id, facts, actor: self.holder.to_string() };
        self.fleet.record_drain(&change).await
    }

    /// Passes on to the movers what the drain wants now.
    fn order(&self, drain: &Drain, is_open: bool) {
        let (rates, running) = (rates(drain), drain.state == State::Running);
        let (may_cut_over, cancelled) = (is_open && running, drain.state == State::Cancelling);
        self.orders.send_if_modified(|orders| {
            let same = orders.rates == rates
                && (orders.may_cut_over, orders.cancelled) == (may_cut_over, cancelled)
                && *orders.settings == drain.settings;
            if !same {
                let settings = Arc::new(drain.settings.clone());
                *orders = Orders { settings, rates, may_cut_over, cancelled };
            }
            !same
        });
    }

    /// The next tenants: as many as may start, and some more for those that cannot.
    async fn next(&self, drain: &Drain) -> Result<Vec<Tenant>, ControlError> {
        if drain.state != State::Running {
            return Ok(Vec::new());
        }
        let limit = 2 * drain.settings.limits.at_once as usize;
        let mut next = Vec::new();
        if drain.counts.waiting > 0 {
            next = self.rows(TenantState::Waiting, limit).await?;
        }
        if next.len() < limit && drain.counts.again > 0 {
            next.extend(self.rows(TenantState::Again, MOVES_MAX).await?);
        }
        Ok(next)
    }

    async fn rows(&self, state: TenantState, limit: usize) -> Result<Vec<Tenant>, ControlError> {
        let (drain, state) = (self.id, Some(state.as_str()));
        self.fleet.drain_tenants(DrainTenants { drain, state, after: 0, limit }).await
    }

    /// Records the steps, and releases the movers. Returns whether the drain has ended.
    async fn carry_out(
        &mut self,
        steps: Vec<Step>,
        moving: &[Tenant],
        next: Vec<Tenant>,
    ) -> Result<bool, ControlError> {
        let mut facts = Vec::with_capacity(steps.len());
        for step in &steps {
            facts.push(match step {
                Step::Take { tenant } => {
                    Fact::TenantTaken { tenant: *tenant, by: Box::from(&*self.holder) }
                }
                Step::Start { tenant, target } => Fact::TenantStarted {
                    tenant: *tenant,
                    migration: MigrationId::new(Uuid::now_v7()),
                    target: target.clone(),
                    by: Box::from(&*self.holder),
                },
                Step::Leave { tenant, stay, why } => {
                    Fact::TenantStays { tenant: *tenant, stay: *stay, why: why.as_str().into() }
                }
                Step::Release { tenant } => Fact::TenantReleased { tenant: *tenant },
                Step::Finish => Fact::Finished { left: self.left().await? },
            });
        }
        let drain = self.record(facts.clone()).await?;
        crate::failpoint::hit("drain.recorded");
        let by: Option<Box<str>> = Some(Box::from(&*self.holder));
        for fact in facts {
            match fact {
                Fact::TenantStarted { tenant, migration, target, .. } => {
                    if let Some(row) = next.iter().find(|row| row.tenant == tenant) {
                        let (target, by) = (Some(target), by.clone());
                        self.begin(
                            &Tenant { target, by, released: false, ..row.clone() },
                            migration,
                        );
                    }
                }
                Fact::TenantTaken { tenant, .. } => {
                    let row = moving.iter().find(|row| row.tenant == tenant);
                    if let Some((row, migration)) = row.and_then(|row| Some((row, row.migration?)))
                    {
                        self.begin(row, migration);
                    }
                }
                Fact::TenantReleased { tenant } => {
                    if let Some(moving) = self.moves.get(&tenant) {
                        moving.release.send_replace(true);
                    }
                }
                _ => {}
            }
        }
        Ok(drain.state.is_over())
    }

    /// Tenants that the sources still have.
    async fn left(&self) -> Result<u64, ControlError> {
        let by_store = self.engine.tenants_by_store().await?;
        let sources = self.settings.borrow().sources.clone();
        Ok(sources.iter().filter_map(|source| by_store.get(source)).sum())
    }

    pub(super) async fn leave(mut self) {
        let moves = std::mem::take(&mut self.moves);
        if self.stop.is_cancelled() {
            let all = async {
                for moving in moves.into_values() {
                    // A panic was already logged.
                    let _ = moving.task.await;
                }
            };
            let _ = tokio::time::timeout(STOP_WITHIN, all).await;
        }
        // If it is not removed, it expires.
        let _ = self.fleet.leave(self.id, &self.holder).await;
    }
}

/// Most moves of a drain, twice the largest limit.
const MOVES_MAX: usize = 512;

/// A window that is unusable here counts as closed: the start has refused such ones.
fn calendar(drain: &Drain) -> Option<Calendar> {
    drain.settings.window.as_ref().and_then(|window| Calendar::of(window).ok())
}

/// The copy rates of one move: its shares, or its options if the drain has no limit.
fn rates(drain: &Drain) -> (u32, u32) {
    let (limits, options) = (drain.settings.limits, drain.settings.options);
    let of = |all, own| if all == 0 { own } else { drain::share(drain, all) };
    (
        of(limits.copy_rate_max, options.copy_rate_max),
        of(limits.copy_bytes_rate_max, options.copy_bytes_rate_max),
    )
}
