//! Where the evidence comes from.

use std::time::Duration;

use rehome_domain::event::Timestamp;
use rehome_domain::ids::MigrationId;
use rehome_domain::ledger::Role;
use rehome_domain::migration::{Fact, Migration, RollBackReason, State, Working, timeline};
use rehome_ports::{BatchLimit, EventStore as _, LogEntry};

use super::evidence::{After, Before, Copying, Cutover, CutoverEnd, CuttingOver, During, Scrapes};
use crate::deployment::Deployment;
use crate::error::AppError;
use crate::monitoring::{Asked, LogQuery, Tools};

/// Between two looks at a copy.
const LOOK_AGAIN_AFTER: Duration = Duration::from_secs(1);
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
        let (prometheus, dashboards, rules, lines) = tokio::join!(
            self.youngest_sample(None),
            tools.missing_dashboards(),
            tools.rules(),
            tools.log_lines(&lines)
        );
        let scraped = self.metrics().last_scrape().map(|at| self.ago(at));
        let scrapes = Scrapes { this_process: scraped, prometheus };
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
        let meter = self.engine().router().appends().tenant(migration.tenant);
        let waiting = |waiting: rehome_engine::appends::Waiting| {
            if waiting.cutover { waiting.appends } else { 0 }
        };
        Ok(CuttingOver {
            cutovers,
            blocked_here: meter.map(|meter| meter.waiting().map_or(0, waiting)),
            blocked_anywhere,
            errors,
            failures: log.iter().filter(|entry| entry.at >= from).filter_map(failure).collect(),
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
            self.youngest_sample(Some(id))
        );
        Ok(After {
            id,
            tenant: migration.tenant,
            phase: migration.state.phase(),
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

    /// How old Prometheus's youngest sample of a migration is, or of any process.
    async fn youngest_sample(&self, id: Option<MigrationId>) -> Asked<Option<f64>> {
        let Some(prometheus) = self.tools().prometheus() else {
            return Asked::NotConfigured("prometheus_url");
        };
        Asked::of(match id {
            Some(id) => prometheus.age_of(id).await,
            None => prometheus.age_of_any().await,
        })
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
        let target = self.store(&migration.target)?;
        let Ok(first) = target.ledger(migration.tenant).await else { return Ok(None) };
        tokio::time::sleep(LOOK_AGAIN_AFTER).await;
        let Ok(second) = target.ledger(migration.tenant).await else { return Ok(None) };
        let grown = second.head.seq.saturating_sub(first.head.seq);
        Ok(Some(Copying { still, grown }))
    }

    /// By how many events the target is behind, by the ledgers.
    async fn behind(&self, migration: &Migration) -> Result<u64, String> {
        let seq = async |id| {
            let store = self.store(id).map_err(|error| error.to_string())?;
            let ledger = store.ledger(migration.tenant).await.map_err(|error| error.to_string())?;
            Ok::<_, String>(ledger.head.seq)
        };
        let target = seq(&migration.target).await?;
        Ok(seq(&migration.source).await?.saturating_sub(target))
    }

    /// A read of the tenant's last event, as an application reads.
    async fn read_last(&self, migration: &Migration) -> Result<u64, String> {
        let seq = self.seq(migration.tenant).await.map_err(|error| error.to_string())?;
        let after = seq.saturating_sub(1);
        let read = self.engine().router().read_feed(migration.tenant, after, BatchLimit::events(1));
        let events = read.await.map_err(|error| error.to_string())?;
        match events.last() {
            Some(event) => Ok(event.seq),
            None if seq == 0 => Ok(0),
            None => Err(format!("event {seq} was not answered")),
        }
    }

    /// Whether the store that the route names takes the tenant's appends. None is tried: it would stay.
    async fn writable(&self, migration: &Migration) -> Result<String, String> {
        let tenant = migration.tenant;
        let looked = async {
            let route = self.engine().control().route(tenant).await?;
            let route = route.ok_or(rehome_ports::ControlError::UnknownTenant(tenant))?;
            let store = self.store(&route.store)?;
            Ok::<_, AppError>((store.ledger(tenant).await?, store.check().await?, route))
        };
        let (ledger, report, route) = looked.await.map_err(|error| error.to_string())?;
        let store = format!("store \"{}\"", route.store);
        if ledger.role != Role::Active || ledger.epoch != route.epoch {
            return Err(format!(
                "{store} is {} at epoch {}, and the route's epoch is {}",
                ledger.role.as_str(),
                ledger.epoch,
                route.epoch
            ));
        }
        for obstacle in ["read-only", "a standby"] {
            if report.durability.contains(obstacle) {
                return Err(format!("{store} is {obstacle}"));
            }
        }
        Ok(store)
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

/// What an entry tells of something that went wrong.
fn failure(entry: &LogEntry) -> Option<String> {
    match &entry.fact {
        Fact::Failed { error } => Some(format!("failed: {error}")),
        Fact::CutoverRolledBack { reason } => Some(format!("a cutover was rolled back: {reason}")),
        Fact::Verified { violations, .. } if *violations > 0 => {
            Some(format!("{violations} violations were found"))
        }
        _ => None,
    }
}
