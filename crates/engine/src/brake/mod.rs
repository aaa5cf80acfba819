//! The brake: copying, reading back and verifying give way to what writers feel.
//!
//! ```text
//! appends of this process, by store ─┐
//! reads of the source's batches ─────┼─▶ pressure ─▶ factor ─▶ a pause after each piece of work
//! writes of the target's batches ────┤   (rules)     0.05 to 1
//! lag of the mirror ─────────────────┤
//! replicas and disk, by store ───────┘
//! ```
//!
//! The limits in events and bytes ([`crate::throttle`]) are caps beside it.

mod conditions;
mod pressure;

use std::collections::HashMap;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use rehome_domain::ids::{MigrationId, StoreId};
use rehome_domain::migration::Migration;
use rehome_ports::Memo;
use tokio::time::Instant;

use crate::Engine;
use crate::appends::Outcome;
use crate::signal::Signal;
use crate::telemetry::names::message;
pub(crate) use conditions::Conditions;
use conditions::Polled;
pub use pressure::Slowed;
use pressure::{FACTOR_MIN, Governor, Seen};

/// How long is measured before the next decision.
const WINDOW: Duration = Duration::from_millis(250);
/// A window that was longer had times without work.
const WINDOW_MAX: Duration = Duration::from_secs(10);
/// Longest pause in one piece, so that the factor is looked at again soon.
const PAUSE_MAX: Duration = Duration::from_secs(1);
/// Fewer appends in a window say nothing.
const APPENDS_MIN: u64 = 5;
/// What is written down for others is written no more often.
const TELL_EVERY: Duration = Duration::from_secs(1);

/// How hard a migration works, and what slows it: what the memo says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Braked {
    /// Percent of what it could do: 5 to 100.
    pub percent: u32,
    /// Why it is not 100.
    pub why: Option<Slowed>,
}

impl Braked {
    /// The name of the memo.
    pub const MEMO: &str = "brake";

    /// What a memo of that name says: `PERCENT WHY`.
    pub fn of_memo(memo: &Memo) -> Option<Self> {
        let (percent, why) = memo.text.split_once(' ').unwrap_or((&memo.text, ""));
        Some(Self { percent: percent.parse().ok()?, why: Slowed::parse(why) })
    }

    fn write(self) -> String {
        format!("{} {}", self.percent, self.why.map_or("", Slowed::as_str)).trim().to_owned()
    }
}

/// A piece of work on a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Work {
    /// Reading so many events of the source.
    Read(usize),
    /// Reading so many back from the target, and comparing them.
    ReadBack(usize),
    /// Writing so many to the target.
    Write(usize),
}

/// The brakes of the migrations that this process works on. Nothing of the protocol is decided on them.
#[derive(Clone, Default)]
pub(crate) struct Brakes(Arc<Mutex<HashMap<MigrationId, Weak<Brake>>>>);

impl Brakes {
    /// The brake of this migration, for as long as a task holds it.
    pub(crate) fn of(&self, id: MigrationId, goal: Option<f64>) -> Arc<Brake> {
        let mut brakes = lock(&self.0);
        if let Some(brake) = brakes.get(&id).and_then(Weak::upgrade) {
            return brake;
        }
        brakes.retain(|_, brake| brake.strong_count() > 0);
        let brake = Arc::new(Brake(Mutex::new(State::new(goal))));
        brakes.insert(id, Arc::downgrade(&brake));
        brake
    }
}

/// One migration's brake.
pub(crate) struct Brake(Mutex<State>);

struct State {
    governor: Option<Governor>,
    since: Instant,
    read: Measured,
    read_back: Measured,
    written: Measured,
    /// Appends and seconds, at the source and at the target, as they were when the window began.
    appends: Option<[(u64, f64); 2]>,
    /// Of the source and the target.
    conditions: Option<[Arc<Polled>; 2]>,
    told: Option<Braked>,
    told_at: Option<Instant>,
}

/// Work of one kind in one window.
#[derive(Clone, Copy, Debug, Default)]
struct Measured {
    /// Batches count too: each has a cost of its own.
    units: f64,
    took: Duration,
}

impl Measured {
    fn add(&mut self, events: usize, took: Duration) {
        self.units += 1.0 + events as f64 / 100.0;
        self.took += took;
    }

    fn mean(self) -> Option<f64> {
        (self.units > 0.0).then(|| self.took.as_secs_f64() / self.units)
    }
}

impl State {
    fn new(goal: Option<f64>) -> Self {
        Self {
            governor: goal.map(Governor::new),
            since: Instant::now(),
            read: Measured::default(),
            read_back: Measured::default(),
            written: Measured::default(),
            appends: None,
            conditions: None,
            told: None,
            told_at: None,
        }
    }

    fn braked(&self) -> Braked {
        let Some(governor) = &self.governor else { return Braked { percent: 100, why: None } };
        // Whole numbers from 5 to 100.
        let percent = (governor.factor() * 100.0).round().clamp(FACTOR_MIN * 100.0, 100.0);
        #[allow(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "clamped to 5 to 100"
        )]
        let percent = percent as u32;
        Braked { percent, why: governor.slowed() }
    }
}

impl Brake {
    /// A piece of work was done; answers how long to pause after it.
    pub(crate) fn worked(
        &self,
        engine: &Engine,
        migration: &Migration,
        work: &[(Work, Duration)],
        lag: Option<u64>,
    ) -> Duration {
        let mut state = lock(&self.0);
        for (work, took) in work {
            match *work {
                Work::Read(events) => state.read.add(events, *took),
                Work::ReadBack(events) => state.read_back.add(events, *took),
                Work::Write(events) => state.written.add(events, *took),
            }
        }
        if state.since.elapsed() >= WINDOW {
            state.look(engine, migration, lag);
        }
        let took = work.iter().map(|(_, took)| *took).sum();
        state
            .governor
            .as_ref()
            .map_or(Duration::ZERO, |governor| governor.pause(took))
            .min(PAUSE_MAX)
    }

    /// Does what only reads, with pauses in between.
    pub(crate) async fn pace<T>(
        &self,
        engine: &Engine,
        migration: &Migration,
        work: impl Future<Output = T>,
    ) -> T {
        let mut work = pin!(work);
        loop {
            let began = Instant::now();
            tokio::select! {
                biased;
                done = &mut work => return done,
                () = tokio::time::sleep(WINDOW) => {}
            }
            let mut pause = {
                let mut state = lock(&self.0);
                state.look(engine, migration, None);
                let worked = began.elapsed();
                state.governor.as_ref().map_or(Duration::ZERO, |governor| governor.pause(worked))
            };
            while pause > Duration::ZERO {
                let piece = pause.min(PAUSE_MAX);
                tokio::time::sleep(piece).await;
                pause = pause.saturating_sub(piece);
            }
            self.tell(engine, migration).await;
        }
    }

    /// Writes down for others how hard the migration works, when that has changed.
    pub(crate) async fn tell(&self, engine: &Engine, migration: &Migration) {
        let now = {
            let mut state = lock(&self.0);
            let now = state.braked();
            let young = state.told_at.is_some_and(|at| at.elapsed() < TELL_EVERY);
            let quiet = state.told.is_none() && now.percent == 100;
            if young || quiet || state.told == Some(now) {
                return;
            }
            let reason = |braked: Option<Braked>| braked.and_then(|braked| braked.why);
            if reason(state.told) != now.why {
                log(migration, now);
            }
            (state.told, state.told_at) = (Some(now), Some(Instant::now()));
            now
        };
        let memo = Memo { at: engine.clock.now(), text: now.write() };
        if engine.control.set_memo(migration.id, Braked::MEMO, &memo).await.is_err() {
            // Written at the next change, or in a moment.
            lock(&self.0).told = None;
        }
    }
}

impl State {
    /// The end of a window.
    fn look(&mut self, engine: &Engine, migration: &Migration, lag: Option<u64>) {
        self.judge(engine, migration, lag);
        let took = self.since.elapsed().min(WINDOW_MAX);
        self.since = Instant::now();
        (self.read, self.read_back, self.written) = Default::default();
        engine.tell(&Signal::Braked { migration, braked: self.braked(), took });
    }

    fn judge(&mut self, engine: &Engine, migration: &Migration, lag: Option<u64>) {
        let Some(governor) = &mut self.governor else { return };
        let stores = [&migration.source, &migration.target];
        let conditions = self
            .conditions
            .get_or_insert_with(|| stores.map(|store| engine.conditions.of(&engine.stores, store)));
        let [source, target] = [conditions[0].latest(), conditions[1].latest()];
        let now = stores.map(|store| appends_at(engine, store));
        let before = self.appends.replace(now);
        let mean = |at: usize| {
            let (count, seconds) = before?[at];
            let (now_count, now_seconds) = now[at];
            let new = now_count.checked_sub(count).filter(|new| *new >= APPENDS_MIN)?;
            Some((now_seconds - seconds).max(0.0) / new as f64)
        };
        let seen = Seen {
            source_appends: mean(0),
            target_appends: mean(1),
            source_reads: self.read.mean(),
            read_back: self.read_back.mean(),
            target_writes: self.written.mean(),
            lag: lag.map(|lag| (lag, u64::from(migration.options.lag_events_max))),
            replica_lag: source
                .replica_lag
                .max(target.replica_lag)
                .zip(engine.config.replica_lag_max),
            target_disk: target.free_bytes.zip(target.size_bytes),
        };
        governor.see(&seen);
    }
}

/// Acknowledged appends through this process at a store, and the seconds that they took together.
fn appends_at(engine: &Engine, store: &StoreId) -> (u64, f64) {
    let appends = engine.router().appends();
    let mut sum = (0, 0.0);
    for (tenant, meter) in appends.tenants() {
        if appends.store(tenant).as_ref() == Some(store) {
            let durations = meter.durations(Outcome::Ok).snapshot();
            sum = (sum.0 + durations.count(), sum.1 + durations.sum);
        }
    }
    sum
}

fn log(migration: &Migration, now: Braked) {
    let message = if now.why.is_some() { message::SLOWED } else { message::NO_LONGER_SLOWED };
    tracing::info!(
        target: "eventsource.migration",
        migration_id = %migration.id,
        tenant_id = %migration.tenant,
        phase = migration.state.phase().as_str(),
        operation = "throttle",
        percent = now.percent,
        error = now.why.map(Slowed::sentence),
        "{message}"
    );
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
