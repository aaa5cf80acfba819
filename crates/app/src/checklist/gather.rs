//! Where the evidence comes from.

use std::sync::Arc;
use std::time::Duration;

use rehome_domain::event::Timestamp;
use rehome_domain::ids::{MigrationId, TenantId};
use rehome_domain::ledger::{Ledger, Role};
use rehome_domain::migration::{Fact, Migration, RollBackReason, State, Working, timeline};
use rehome_domain::route::Route;
use rehome_engine::appends::Meter;
use rehome_ports::{BatchLimit, EventStore as _, LogEntry, Marks};

use super::evidence::{
    After, Before, Copying, Cutover, CutoverEnd, CuttingOver, During, Scrapes, Verified,
};
use crate::deployment::{Deployment, is_server};
use crate::error::AppError;
use crate::monitoring::{Asked, LogQuery, Sampled, Tools};
use crate::store_watch::Sight;

/// Between two looks at a copy.
const LOOK_AGAIN_AFTER: Duration = Duration::from_secs(1);
/// A process that serves looks every second; when its last look is older, it no longer does.
const LOOKS_GO_ON: Duration = Duration::from_secs(5);
/// Longest that the read of the tenant's last event may take.
const READ_WITHIN: Duration = Duration::from_secs(2);
/// How far back log lines are looked for when no migration was started.
const A_DAY_US: i64 = 86_400_000_000;
/// The window of a latency.
const LATENCY_WINDOW: Duration = Duration::from_secs(300);

impl Deployment {
    fn tools(&self) -> &Tools {
        &self.config().monitoring.tools
    }

    pub(super) async fn evidence_before(
        &self,
        id: Option<MigrationId>,
    ) -> Result<Before, AppError> {
        let control = self.engine().control();
        let (mut from, mut baseline) =
            (Timestamp::from_micros(self.now().micros() - A_DAY_US), None);
        if let Some(id) = id {
            from = control.migration(id).await?.created_at;
            baseline = self.baseline(id).await?;
        }
        let lines = LogQuery { migration: id, errors: false, from, until: self.now() };
        let tools = self.tools();
        let (scrapes, dashboards, rules, lines) = tokio::join!(
            self.scrapes(id),
            tools.missing_dashboards(),
            tools.rules(),
            tools.log_lines(&lines)
        );
        Ok(Before { scrapes, dashboards, rules, lines, line_expected: id.is_some(), baseline })
    }

    pub(super) async fn evidence_during(&self, id: MigrationId) -> Result<During, AppError> {
        let migration = self.engine().control().migration(id).await?;
        let (copying, lag, mirrored, latency, alerts) = tokio::join!(
            self.copying(&migration),
            self.behind(&migration),
            self.mirrored(&migration),
            self.latency_lately(migration.tenant, LATENCY_WINDOW),
            self.tools().alerts()
        );
        Ok(During {
            id,
            tenant: migration.tenant,
            phase: migration.state.phase(),
            violated: open(&migration),
            copying: copying?,
            lag,
            mirrored: mirrored?,
            latency,
            latency_max_ms: self.config().monitoring.latency_p99_max_ms,
            alerts,
        })
    }

    pub(super) async fn evidence_cutover(&self, id: MigrationId) -> Result<CuttingOver, AppError> {
        let migration = self.engine().control().migration(id).await?;
        let log = self.read_log(id).await?;
        let cutovers = cutovers(&log, self.now());
        let first = log.iter().find(|entry| matches!(entry.fact, Fact::CutoverStarted { .. }));
        let from = first.map_or(migration.created_at, |entry| entry.at);
        let lines = LogQuery { migration: Some(id), errors: true, from, until: self.now() };
        let blocked = async {
            match self.tools().prometheus() {
                None => Asked::NotConfigured("prometheus_url"),
                Some(prometheus) => Asked::of(prometheus.blocked_writers(id).await),
            }
        };
        let (blocked_anywhere, errors) = tokio::join!(blocked, self.tools().log_lines(&lines));
        let appends = self.engine().router().appends();
        let (meter, cutover) =
            (appends.tenant(migration.tenant), appends.cutover(migration.tenant));
        let waiting = |meter: Arc<Meter>| {
            let waiting = meter.waiting().filter(|_| cutover == Some(id));
            waiting.map_or(0, |waiting| waiting.appends)
        };
        Ok(CuttingOver {
            cutovers,
            blocked_here: meter.map(waiting),
            blocked_anywhere,
            errors,
            failures: log
                .iter()
                .filter(|entry| entry.at >= from)
                .filter_map(failure)
                .chain(open(&migration))
                .collect(),
            verified: verified(&log),
        })
    }

    pub(super) async fn evidence_after(&self, id: MigrationId) -> Result<After, AppError> {
        let migration = self.engine().control().migration(id).await?;
        let over = migration.completed_at;
        let window = over.map_or(LATENCY_WINDOW, |at| self.ago(at).min(LATENCY_WINDOW));
        let (alerts, read, writable, baseline, latency, series) = tokio::join!(
            self.tools().alerts(),
            self.read_last(&migration),
            self.writable(&migration),
            self.baseline(id),
            self.latency_lately(migration.tenant, window),
            self.youngest_sample(Sampled::Migration(id))
        );
        Ok(After {
            id,
            tenant: migration.tenant,
            phase: migration.state.phase(),
            verified: verified(&self.read_log(id).await?),
            violated: open(&migration),
            alerts,
            read,
            writable,
            baseline: baseline?,
            latency,
            over_for: over.map(|at| self.ago(at)),
            retention: self.config().metrics_retention,
            series,
        })
    }

    fn ago(&self, at: Timestamp) -> Duration {
        let micros = self.now().micros().saturating_sub(at.micros());
        Duration::from_micros(u64::try_from(micros).unwrap_or(0))
    }

    /// What Prometheus has of this process, if it is one that serves, or else of any; and of the migration.
    async fn scrapes(&self, id: Option<MigrationId>) -> Scrapes {
        let holder = self.holder();
        let process =
            if is_server(holder) { Sampled::Process(holder) } else { Sampled::AnyProcess };
        let migration = async {
            match id {
                Some(id) => Some(self.youngest_sample(Sampled::Migration(id)).await),
                None => None,
            }
        };
        let (of_process, of_migration) = tokio::join!(self.youngest_sample(process), migration);
        Scrapes {
            this_process: matches!(process, Sampled::Process(_)),
            of_process,
            of_migration,
            read: self.metrics().last_scrape().map(|at| self.ago(at)),
        }
    }

    /// How old Prometheus's youngest sample is.
    async fn youngest_sample(&self, of: Sampled<'_>) -> Asked<Option<f64>> {
        match self.tools().prometheus() {
            None => Asked::NotConfigured("prometheus_url"),
            Some(prometheus) => Asked::of(prometheus.age_of(of).await),
        }
    }

    /// Two looks at the target, while it is being copied to.
    async fn copying(&self, migration: &Migration) -> Result<Option<Copying>, AppError> {
        if migration.state != State::Working(Working::BulkCopy) {
            return Ok(None);
        }
        let marked = self.engine().control().marks(migration.id).await?.updated_at;
        let log = self.read_log(migration.id).await?;
        let stays = timeline(log.iter().map(|entry| (entry.at, &entry.fact)));
        let entered = stays.last().map_or(migration.created_at, |stay| stay.from);
        let still = self.ago(entered.max(marked));
        Ok(self.grown(migration).await.map(|grown| Copying { still, grown }))
    }

    /// Events that the target got between two looks: those that a process that serves takes every second, or
    /// two that are taken here. `None`: it does not answer.
    async fn grown(&self, migration: &Migration) -> Option<u64> {
        let samples = self.history().of(migration.id);
        if let [.., before, last] = &*samples
            && self.ago(last.at) <= LOOKS_GO_ON
        {
            return Some(last.copied.saturating_sub(before.copied));
        }
        let target = async || {
            let sight =
                self.store_watch().ledger(&migration.target, migration.tenant).await.ok()?;
            sight.unanswered.is_none().then(|| sight.value().map(|ledger| ledger.head.seq))?
        };
        let first = target().await?;
        tokio::time::sleep(LOOK_AGAIN_AFTER).await;
        Some(target().await?.saturating_sub(first))
    }

    /// By how many events the target is behind, by the ledgers.
    async fn behind(&self, migration: &Migration) -> Result<u64, String> {
        let lengths = self.lengths(migration, &Marks::default()).await;
        let lengths = lengths.map_err(|error| error.to_string())?;
        let lag = lengths.both().map(|(source, target)| source.saturating_sub(target));
        let unanswered = lengths.target.unanswered.or(lengths.source.unanswered);
        match (unanswered, lag) {
            (None, Some(lag)) => Ok(lag),
            (None, None) => Err("the two stores were not seen yet".to_owned()),
            (Some(why), None) => Err(why.sentence()),
            (Some(why), Some(lag)) => Err(format!(
                "{}; by what was last seen the target is {lag} events behind",
                why.sentence()
            )),
        }
    }

    /// A read of the tenant's last event, as an application reads.
    async fn read_last(&self, migration: &Migration) -> Result<u64, String> {
        let seq = self.routed(migration.tenant).await.map(|(_, ledger)| ledger.head.seq)?;
        let after = seq.saturating_sub(1);
        let read = self.engine().router().read_feed(migration.tenant, after, BatchLimit::events(1));
        let read = tokio::time::timeout(READ_WITHIN, read).await;
        let read = read.map_err(|_| format!("event {seq} was not read within 2 s"))?;
        let events = read.map_err(|error| error.to_string())?;
        match events.last() {
            Some(event) => Ok(event.seq),
            None if seq == 0 => Ok(0),
            None => Err(format!("event {seq} was not answered")),
        }
    }

    /// Whether the store that the route names takes the tenant's appends. None is tried: it would stay.
    async fn writable(&self, migration: &Migration) -> Result<String, String> {
        let (route, ledger) = self.routed(migration.tenant).await?;
        let store = format!("store \"{}\"", route.store);
        if ledger.role != Role::Active || ledger.epoch != route.epoch {
            return Err(format!(
                "{store} is {} at epoch {}, and the route's epoch is {}",
                ledger.role.as_str(),
                ledger.epoch,
                route.epoch
            ));
        }
        let report = self.store_watch().report(&route.store).await;
        let report = current(report.map_err(|error| error.to_string())?)?;
        for obstacle in ["read-only", "a standby"] {
            if report.durability.contains(obstacle) {
                return Err(format!("{store} is {obstacle}"));
            }
        }
        Ok(store)
    }

    /// A tenant's route, and its ledger in the store that the route names.
    async fn routed(&self, tenant: TenantId) -> Result<(Route, Ledger), String> {
        let seen = async {
            let route = self.engine().control().route(tenant).await?;
            let route = route.ok_or(rehome_ports::ControlError::UnknownTenant(tenant))?;
            let ledger = self.store_watch().ledger(&route.store, tenant).await?;
            Ok::<_, AppError>((route, ledger))
        };
        let (route, ledger) = seen.await.map_err(|error| error.to_string())?;
        Ok((route, current(ledger)?))
    }
}

/// What a store answered; why not, if it does not answer now.
fn current<T>(sight: Sight<T>) -> Result<T, String> {
    match (sight.unanswered, sight.last) {
        (None, Some((answer, _))) => Ok(answer),
        (Some(why), _) => Err(why.sentence()),
        (None, None) => Err("the store was not seen yet".to_owned()),
    }
}

/// The cutovers that a log tells of.
fn cutovers(log: &[LogEntry], now: Timestamp) -> Vec<Cutover> {
    let mut cutovers: Vec<(Timestamp, Cutover)> = Vec::new();
    let between = |from: Timestamp, to: Timestamp| {
        Duration::from_micros(u64::try_from(to.micros() - from.micros()).unwrap_or(0))
    };
    for entry in log {
        let end = match &entry.fact {
            Fact::CutoverStarted { deadline_ms } => {
                let deadline = Duration::from_millis(*deadline_ms);
                let pause = between(entry.at, now);
                let cutover = Cutover { pause, deadline, end: CutoverEnd::UnderWay };
                cutovers.push((entry.at, cutover));
                continue;
            }
            Fact::Switched { .. } => CutoverEnd::Switched,
            Fact::CutoverRolledBack { reason: RollBackReason::TimedOut } => CutoverEnd::TimedOut,
            Fact::CutoverRolledBack { .. } => CutoverEnd::RolledBack,
            _ => continue,
        };
        if let Some((from, cutover)) = cutovers.last_mut() {
            *cutover = Cutover { pause: between(*from, entry.at), end, ..*cutover };
        }
    }
    cutovers.into_iter().map(|(_, cutover)| cutover).collect()
}

/// The last verification that a log tells of.
fn verified(log: &[LogEntry]) -> Option<Verified> {
    log.iter().rev().find_map(|entry| match entry.fact {
        Fact::Verified { level, seq, violations, .. } => {
            Some(Verified { level, seq, violations, at: entry.at })
        }
        _ => None,
    })
}

/// What an entry tells of something that went wrong.
fn failure(entry: &LogEntry) -> Option<String> {
    match &entry.fact {
        Fact::Failed { error } => Some(format!("failed: {error}")),
        Fact::CutoverRolledBack { reason } => Some(format!("a cutover was rolled back: {reason}")),
        _ => None,
    }
}

/// What verifications found, as long as nothing has refuted or repaired it.
fn open(migration: &Migration) -> Option<String> {
    migration.violations.open.as_ref().map(|open| open.advice(migration.id))
}
