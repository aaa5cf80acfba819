//! Where the evidence comes from.

use std::sync::Arc;
use std::time::Duration;

use rehome_app::deployment::{Deployment, is_server};
use rehome_app::store_watch::Sight;
use rehome_app::{AppError, migrations};
use rehome_domain::event::Timestamp;
use rehome_domain::ids::{MigrationId, TenantId};
use rehome_domain::ledger::{Ledger, Role};
use rehome_domain::migration::{Fact, Migration, State, Tally, Working, timeline};
use rehome_domain::route::Route;
use rehome_engine::appends::Meter;
use rehome_engine::metrics::Metrics;
use rehome_ports::{BatchLimit, EventStore as _, LogEntry, Marks};

use super::evidence::{After, Before, Copying, Cutover, CuttingOver, During, Scrapes, Verified};
use crate::baseline::Baselines;
use crate::history::History;
use crate::stats::Stats;
use crate::tools::{Asked, LogQuery, Sampled, Tools};

/// Time between two reads of a copy.
const LOOK_AGAIN_AFTER: Duration = Duration::from_secs(1);
/// A server samples every second; when its last sample is older, it no longer does.
const LOOKS_GO_ON: Duration = Duration::from_secs(5);
/// Maximum time for the read of the tenant's last event.
const READ_WITHIN: Duration = Duration::from_secs(2);
/// The age of log lines to search for when no migration was started.
const A_DAY_US: i64 = 86_400_000_000;
/// The window of a latency.
const LATENCY_WINDOW: Duration = Duration::from_secs(300);

/// Where the evidence comes from.
#[derive(Clone, Copy)]
pub(crate) struct Sources<'a> {
    pub(crate) deployment: &'a Deployment,
    pub(crate) stats: &'a Stats,
    pub(crate) history: &'a History,
    pub(crate) metrics: &'a Metrics,
}

impl<'a> Sources<'a> {
    fn tools(self) -> Tools<'a> {
        Tools(&self.deployment.config().monitoring.tools)
    }

    fn baselines(self) -> Baselines<'a> {
        Baselines { deployment: self.deployment, stats: self.stats }
    }

    pub(super) async fn evidence_before(self, id: Option<MigrationId>) -> Result<Before, AppError> {
        let control = self.deployment.engine().control();
        let (mut from, mut baseline) =
            (Timestamp::from_micros(self.deployment.now().micros() - A_DAY_US), None);
        if let Some(id) = id {
            from = control.migration(id).await?.created_at;
            baseline = self.baselines().of(id).await?;
        }
        let lines = LogQuery { migration: id, errors: false, from, until: self.deployment.now() };
        let tools = self.tools();
        let (scrapes, dashboards, rules, lines) = tokio::join!(
            self.scrapes(id),
            tools.missing_dashboards(),
            tools.rules(),
            tools.log_lines(&lines)
        );
        Ok(Before { scrapes, dashboards, rules, lines, line_expected: id.is_some(), baseline })
    }

    pub(super) async fn evidence_during(self, id: MigrationId) -> Result<During, AppError> {
        let migration = self.deployment.engine().control().migration(id).await?;
        let (copying, lag, mirrored, latency, alerts) = tokio::join!(
            self.copying(&migration),
            self.behind(&migration),
            self.stats.mirrored(self.deployment, &migration),
            self.baselines().latency_lately(migration.tenant, LATENCY_WINDOW),
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
            latency_max_ms: self.deployment.config().monitoring.latency_p99_max_ms,
            alerts,
        })
    }

    pub(super) async fn evidence_cutover(self, id: MigrationId) -> Result<CuttingOver, AppError> {
        let migration = self.deployment.engine().control().migration(id).await?;
        let log = migrations::read_log(self.deployment, id).await?;
        let cutovers = cutovers(&log, self.deployment.now());
        let first = log.iter().find(|entry| matches!(entry.fact, Fact::CutoverStarted { .. }));
        let from = first.map_or(migration.created_at, |entry| entry.at);
        let lines =
            LogQuery { migration: Some(id), errors: true, from, until: self.deployment.now() };
        let blocked = async {
            match self.tools().prometheus() {
                None => Asked::NotConfigured("prometheus_url"),
                Some(prometheus) => Asked::of(prometheus.blocked_writers(id).await),
            }
        };
        let (blocked_anywhere, errors) = tokio::join!(blocked, self.tools().log_lines(&lines));
        let appends = self.deployment.engine().router().appends();
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

    pub(super) async fn evidence_after(self, id: MigrationId) -> Result<After, AppError> {
        let migration = self.deployment.engine().control().migration(id).await?;
        let over = migration.completed_at;
        let window = over.map_or(LATENCY_WINDOW, |at| self.ago(at).min(LATENCY_WINDOW));
        let (alerts, read, writable, baseline, latency, series) = tokio::join!(
            self.tools().alerts(),
            self.read_last(&migration),
            self.writable(&migration),
            self.baselines().of(id),
            self.baselines().latency_lately(migration.tenant, window),
            self.youngest_sample(Sampled::Migration(id))
        );
        Ok(After {
            id,
            tenant: migration.tenant,
            phase: migration.state.phase(),
            verified: verified(&migrations::read_log(self.deployment, id).await?),
            violated: open(&migration),
            alerts,
            read,
            writable,
            baseline: baseline?,
            latency,
            over_for: over.map(|at| self.ago(at)),
            retention: self.deployment.config().metrics_retention,
            series,
        })
    }

    fn ago(self, at: Timestamp) -> Duration {
        let micros = self.deployment.now().micros().saturating_sub(at.micros());
        Duration::from_micros(u64::try_from(micros).unwrap_or(0))
    }

    /// What Prometheus has of this process, if it is one that serves, or else of any; and of the migration.
    async fn scrapes(self, id: Option<MigrationId>) -> Scrapes {
        let holder = self.deployment.holder();
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
            read: self.metrics.last_scrape().map(|at| self.ago(at)),
        }
    }

    /// How old Prometheus's youngest sample is.
    async fn youngest_sample(self, of: Sampled<'_>) -> Asked<Option<f64>> {
        match self.tools().prometheus() {
            None => Asked::NotConfigured("prometheus_url"),
            Some(prometheus) => Asked::of(prometheus.age_of(of).await),
        }
    }

    /// Two reads of the target, while it is being copied to.
    async fn copying(self, migration: &Migration) -> Result<Option<Copying>, AppError> {
        if migration.state != State::Working(Working::BulkCopy) {
            return Ok(None);
        }
        let marked = self.deployment.engine().control().marks(migration.id).await?.updated_at;
        let log = migrations::read_log(self.deployment, migration.id).await?;
        let stays = timeline(log.iter().map(|entry| (entry.at, &entry.fact)));
        let entered = stays.last().map_or(migration.created_at, |stay| stay.from);
        let still = self.ago(entered.max(marked));
        Ok(self.grown(migration).await.map(|grown| Copying { still, grown }))
    }

    /// Events that the target received between two reads: a server's samples, or
    /// two reads here. `None`: it does not answer.
    async fn grown(self, migration: &Migration) -> Option<u64> {
        let samples = self.history.of(migration.id);
        if let [.., before, last] = &*samples
            && self.ago(last.at) <= LOOKS_GO_ON
        {
            return Some(last.copied.saturating_sub(before.copied));
        }
        let target = async || {
            let sight = self
                .deployment
                .store_watch()
                .ledger(&migration.target, migration.tenant)
                .await
                .ok()?;
            sight.unanswered.is_none().then(|| sight.value().map(|ledger| ledger.head.seq))?
        };
        let first = target().await?;
        tokio::time::sleep(LOOK_AGAIN_AFTER).await;
        Some(target().await?.saturating_sub(first))
    }

    /// By how many events the target is behind, by the ledgers.
    async fn behind(self, migration: &Migration) -> Result<u64, String> {
        let lengths = migrations::lengths(self.deployment, migration, &Marks::default()).await;
        let lengths = lengths.map_err(|error| error.to_string())?;
        let lag = lengths.both().map(|(source, target)| source.saturating_sub(target));
        let unanswered = lengths.target.unanswered.or(lengths.source.unanswered);
        match (unanswered, lag) {
            (None, Some(lag)) => Ok(lag),
            (None, None) => Err("the two stores have not answered yet".to_owned()),
            (Some(why), None) => Err(why.sentence()),
            (Some(why), Some(lag)) => Err(format!(
                "{}; by the last known numbers the target is {lag} events behind",
                why.sentence()
            )),
        }
    }

    /// A read of the tenant's last event, as an application reads.
    async fn read_last(self, migration: &Migration) -> Result<u64, String> {
        let seq = self.routed(migration.tenant).await.map(|(_, ledger)| ledger.head.seq)?;
        let after = seq.saturating_sub(1);
        let read = self.deployment.engine().router().read_feed(
            migration.tenant,
            after,
            BatchLimit::events(1),
        );
        let read = tokio::time::timeout(READ_WITHIN, read).await;
        let read = read.map_err(|_| format!("event {seq} was not read within 2 s"))?;
        let events = read.map_err(|error| error.to_string())?;
        match events.last() {
            Some(event) => Ok(event.seq),
            None if seq == 0 => Ok(0),
            None => Err(format!("event {seq} was not returned")),
        }
    }

    /// Whether the store that the route names accepts the tenant's appends. No append is tried, because it would stay.
    async fn writable(self, migration: &Migration) -> Result<String, String> {
        let (route, ledger) = self.routed(migration.tenant).await?;
        let store = format!("store \"{}\"", route.store);
        if ledger.role != Role::Active || ledger.epoch != route.epoch {
            return Err(format!(
                "{store} does not accept its appends: it is {} with epoch {}, and the control plane has epoch {}; \
                 `rehome recover` compares them",
                ledger.role.as_str(),
                ledger.epoch,
                route.epoch
            ));
        }
        let report = self.deployment.store_watch().report(&route.store).await;
        let report = current(report.map_err(|error| error.to_string())?)?;
        for obstacle in ["read-only", "a standby"] {
            if report.durability.contains(obstacle) {
                return Err(format!("{store} is {obstacle}"));
            }
        }
        Ok(store)
    }

    /// A tenant's route, and its ledger in the store that the route names.
    async fn routed(self, tenant: TenantId) -> Result<(Route, Ledger), String> {
        let seen = async {
            let route = self.deployment.engine().control().known_route(tenant).await?;
            let ledger = self.deployment.store_watch().ledger(&route.store, tenant).await?;
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
        (None, None) => Err("the store has not answered yet".to_owned()),
    }
}

/// The cutovers in a log.
fn cutovers(log: &[LogEntry], now: Timestamp) -> Vec<Cutover> {
    let tally = Tally::of(log.iter().map(|entry| (entry.at, &entry.fact)));
    let seen = tally.cutovers.iter().map(|cutover| Cutover {
        pause: cutover.pause(now),
        deadline: Duration::from_millis(cutover.deadline_ms),
        end: cutover.ended(),
    });
    seen.collect()
}

/// The last verification in a log.
fn verified(log: &[LogEntry]) -> Option<Verified> {
    log.iter().rev().find_map(|entry| match entry.fact {
        Fact::Verified { level, seq, violations, .. } => {
            Some(Verified { level, seq, violations, at: entry.at })
        }
        _ => None,
    })
}

/// The failure in an entry, if any.
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
