//! A deployment with everything that watches it from inside this process.

use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

use rehome_api::audit::{AuditRecord, AuditReport};
use rehome_api::{Baseline, Checklist, ChecklistPhase, HealthReport, OptionsPatch};
use rehome_app::idempotency::IdempotencyKey;
use rehome_app::key::Key;
use rehome_app::migrations::{self, StartRequest, Started};
use rehome_app::{Access, AppError, Config, Deployment, Kind, TenantsWanted, lists};
use rehome_domain::ids::{DrainId, MigrationId, StoreId, TenantId};
use rehome_domain::migration::Migration;
use rehome_engine::Observer;
use rehome_engine::metrics::{Format, Front, Metrics};
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use crate::audit::{self, AuditExport, Exported, Findings};
use crate::baseline::Baselines;
use crate::checklist;
use crate::drains::{self, DrainWatch};
use crate::health::{self, Health};
use crate::history::{History, Looks};
use crate::removals::Removals;
use crate::scrape::{Reachable, Sources};
use crate::stats::Stats;
use crate::store_checks::StoreChecks;
use crate::telemetry::{Push, Traces};
use crate::tools::{Firing, LastFiring, Tools};

/// A deployment and its observers. Cheap to clone. It derefs to its [`Deployment`]; methods that involve
/// an observer are its own.
#[derive(Clone)]
pub struct Observed {
    deployment: Deployment,
    watch: Arc<Watch>,
}

/// The observers: one of each in a process.
struct Watch {
    metrics: Metrics,
    reachable: Reachable,
    checks: Arc<StoreChecks>,
    removals: Arc<Removals>,
    drains: Arc<DrainWatch>,
    history: History,
    stats: Stats,
    health: Health,
    findings: Arc<Findings>,
    firing: LastFiring,
    traces: Option<Traces>,
    /// Writes down what `stats` counts.
    keeping: AbortOnDropHandle<()>,
}

impl Deref for Observed {
    type Target = Deployment;

    fn deref(&self) -> &Deployment {
        &self.deployment
    }
}

impl Observed {
    /// Opens the deployment, as [`Deployment::open`] does, with all observers.
    pub async fn open(config: &Config, access: Access) -> Result<Self, AppError> {
        let history = History::default();
        let drains: Arc<DrainWatch> = Arc::default();
        let collector = Traces::collector(&config.otlp)
            .map_err(|why| AppError::refused(format!("spans cannot be sent: {why}")))?;
        let mut opened = None;
        let deployment = Deployment::open_observed(config, access, |opening| {
            let metrics = Metrics::new(Arc::clone(opening.clock), config.metrics_retention);
            let stats = Stats::new(opening.clock);
            let traces = collector.map(|collector| {
                let (control, clock) = (opening.control, opening.clock);
                Traces::begin(collector, &config.otlp, control, clock, opening.holder)
            });
            let mirror = Arc::clone(stats.mirror()) as Arc<dyn Observer>;
            let of_drains = Arc::clone(&drains) as Arc<dyn Observer>;
            let mut observers = vec![metrics.observer(), history.observer(), mirror, of_drains];
            observers.extend(traces.as_ref().map(Traces::observer));
            opened = Some((metrics, stats, traces));
            observers
        });
        let deployment = deployment.await?;
        let (metrics, stats, traces) = opened.ok_or_else(|| {
            AppError::failed("not_observed", "the deployment was opened without observers")
        })?;
        let keeping = {
            let (stats, deployment) = (stats.clone(), deployment.clone());
            AbortOnDropHandle::new(tokio::spawn(async move { stats.keep(&deployment).await }))
        };
        let watch = Watch {
            metrics,
            reachable: Reachable::default(),
            checks: Arc::default(),
            removals: Arc::default(),
            drains,
            history,
            stats,
            health: Health::default(),
            findings: Arc::default(),
            firing: LastFiring::default(),
            traces,
            keeping,
        };
        Ok(Self { deployment, watch: Arc::new(watch) })
    }

    /// Makes a store that holds nothing yet according to the control plane, as
    /// [`rehome_app::stores::create`] does, and opens the deployment.
    pub async fn create_store(config: &Config, id: &StoreId) -> Result<Self, AppError> {
        rehome_app::stores::create(config, id).await?.close().await;
        Self::open(config, Access::Existing).await
    }

    fn with(&self, deployment: Deployment) -> Self {
        Self { deployment, watch: Arc::clone(&self.watch) }
    }

    /// As [`Deployment::serving`].
    #[must_use]
    pub fn serving(self) -> Self {
        Self { deployment: self.deployment.serving(), watch: self.watch }
    }

    /// As [`Deployment::acting_as`].
    #[must_use]
    pub fn acting_as(&self, who: &str, why: Option<&str>) -> Self {
        self.with(self.deployment.acting_as(who, why))
    }

    /// As [`Deployment::because`].
    pub fn because(&self, why: Option<&str>) -> Result<Self, AppError> {
        self.deployment.because(why).map(|deployment| self.with(deployment))
    }

    /// As [`Deployment::only_at`].
    #[must_use]
    pub fn only_at(self, rev: Option<u64>) -> Self {
        Self { deployment: self.deployment.only_at(rev), watch: self.watch }
    }

    /// Finishes accepted operations. Handles that are still held keep the files open.
    pub async fn close(self) {
        self.watch.keeping.abort();
        self.deployment.close().await;
    }

    /// As [`rehome_app::migrations::start`]; records the baseline of a new migration.
    pub async fn start(
        &self,
        request: &StartRequest,
        key: Option<&IdempotencyKey>,
    ) -> Result<Migration, AppError> {
        let started = migrations::start(&self.deployment, request, key).await?;
        Ok(self.with_baseline(started).await)
    }

    /// As [`rehome_app::migrations::start_return`]; records the baseline of a new migration.
    pub async fn start_return(
        &self,
        id: MigrationId,
        options: &OptionsPatch,
        key: Option<&IdempotencyKey>,
    ) -> Result<Migration, AppError> {
        let started = migrations::start_return(&self.deployment, id, options, key).await?;
        Ok(self.with_baseline(started).await)
    }

    async fn with_baseline(&self, started: Started) -> Migration {
        if started.is_new {
            self.baselines().take_at_start(&started.migration).await;
        }
        started.migration
    }

    fn baselines(&self) -> Baselines<'_> {
        Baselines { deployment: &self.deployment, stats: &self.watch.stats }
    }

    /// Measures the load of a migration's tenant for `window` and records it as the baseline. Refused
    /// once the migration has ended, because the load is then no longer that before the migration.
    pub async fn take_baseline(
        &self,
        id: MigrationId,
        window: Duration,
    ) -> Result<Baseline, AppError> {
        self.baselines().take(id, window).await
    }

    /// The baseline of a migration, if one was recorded.
    pub async fn baseline(&self, id: MigrationId) -> Result<Option<Baseline>, AppError> {
        self.baselines().of(id).await
    }

    /// The health of the deployment's migrations: an answer that is at most a second old, or at most five
    /// while a check takes long. One check runs at a time; concurrent callers wait for it, and one that hangs
    /// is not started again.
    pub async fn health(&self) -> HealthReport {
        let sources = health::Sources {
            deployment: self.deployment.clone(),
            stats: self.watch.stats.clone(),
            findings: Arc::clone(&self.watch.findings),
            checks: Arc::clone(&self.watch.checks),
            removals: Arc::clone(&self.watch.removals),
        };
        self.watch.health.check(&sources).await
    }

    /// Evaluates a checklist for a migration; before one was started, for none.
    pub async fn checklist(
        &self,
        phase: ChecklistPhase,
        id: Option<MigrationId>,
    ) -> Result<Checklist, AppError> {
        let sources = checklist::Sources {
            deployment: &self.deployment,
            stats: &self.watch.stats,
            history: &self.watch.history,
            metrics: &self.watch.metrics,
        };
        sources.checklist(phase, id).await
    }

    /// Checks every log of the control plane; `progress` gets the number of logs read.
    pub async fn verify_audit(&self, progress: impl FnMut(u64)) -> Result<AuditReport, AppError> {
        let findings = &*self.watch.findings;
        audit::Verification { deployment: &self.deployment, findings }.run(progress).await
    }

    /// Hands every entry of every log to `write`, a log's in their order, older migrations' first; with
    /// `follow`, until `stop` or until `write` fails. Lines are signed where `[audit]` names a key.
    pub async fn export_audit(
        &self,
        what: AuditExport,
        stop: &CancellationToken,
        write: impl FnMut(&AuditRecord) -> Result<(), AppError>,
    ) -> Result<Exported, AppError> {
        let key = self.config().audit_key.as_deref();
        let key = key.map(|file| Key::read("audit.key_file", file)).transpose()?;
        audit::export(&self.deployment, &self.watch.findings, key, what, stop, write).await
    }

    /// Which of our alerts fire, by the tools of `[monitoring]`; some seconds old at most.
    pub async fn firing(&self) -> Firing {
        self.watch.firing.now(Tools(&self.config().monitoring.tools)).await
    }

    /// Samples the unfinished migrations until `stop` is cancelled, for charts and for the metrics
    /// of those that no server drives.
    pub async fn watch_migrations(&self, stop: &CancellationToken) {
        let Watch { history, metrics, .. } = &*self.watch;
        Looks { deployment: &self.deployment, history, metrics }.run(stop).await;
    }

    /// The recent samples of migrations.
    pub fn history(&self) -> &History {
        &self.watch.history
    }

    /// What this process has counted.
    pub fn metrics(&self) -> &Metrics {
        &self.watch.metrics
    }

    fn sources(&self) -> Sources<'_> {
        let Watch { metrics, checks, removals, drains, .. } = &*self.watch;
        Sources { deployment: &self.deployment, metrics, checks, removals, drains }
    }

    /// The metrics of this process, in the format asked for. `front`: what it does for those who
    /// connect to it.
    pub fn scrape(&self, format: Format, front: Front) -> String {
        self.watch.reachable.render(self.sources(), format, front)
    }

    /// Sends the metrics of this process to the configured collector, until `stop` is cancelled and once
    /// more then. `front`: the counts of the server's front end.
    pub async fn push_metrics(&self, front: impl Fn() -> Front, stop: &CancellationToken) {
        let reachable = &self.watch.reachable;
        Push { reachable, sources: self.sources() }.run(front, stop).await;
    }

    /// As [`rehome_app::drains::show`], at once: while the control plane does not answer, as it was seen last by this
    /// process, if it serves.
    pub async fn drain(&self, id: DrainId) -> Result<rehome_api::drain::Drain, AppError> {
        match drains::at_once(rehome_app::drains::show(&self.deployment, id)).await {
            Err(error) if error.kind() == Kind::Failed => self.watch.drains.last(id).ok_or(error),
            answered => answered,
        }
    }

    /// As [`rehome_app::drains::list`], at once: while the control plane does not answer, those that were seen last.
    pub async fn drains(
        &self,
        open: bool,
        before: Option<DrainId>,
        limit: usize,
    ) -> Result<Vec<rehome_api::drain::Drain>, AppError> {
        match drains::at_once(rehome_app::drains::list(&self.deployment, open, before, limit)).await
        {
            Err(error) if error.kind() == Kind::Failed && before.is_none() => {
                let known = self.watch.drains.all(open, limit);
                if known.is_empty() { Err(error) } else { Ok(known) }
            }
            answered => answered,
        }
    }

    /// As [`rehome_app::drains::tenants`], or an error at once.
    pub async fn drain_tenants(
        &self,
        id: DrainId,
        state: Option<&str>,
        after: u64,
        limit: usize,
    ) -> Result<rehome_api::drain::DrainTenantPage, AppError> {
        drains::at_once(rehome_app::drains::tenants(&self.deployment, id, state, after, limit))
            .await
    }

    /// As [`rehome_app::lists::tenants`], or an error at once.
    pub async fn tenants(
        &self,
        wanted: &TenantsWanted,
    ) -> Result<rehome_api::drain::TenantPage, AppError> {
        drains::at_once(lists::tenants(&self.deployment, wanted)).await
    }

    /// Looks at the drains of the deployment until `stop` is cancelled, for their metrics and for those who
    /// look at one while the control plane does not answer.
    pub async fn watch_drains(&self, stop: &CancellationToken) {
        self.watch.drains.run(&self.deployment, stop).await;
    }

    /// Verifies the stores at the configured interval, until `stop` is cancelled.
    pub async fn verify_stores(&self, stop: &CancellationToken) {
        self.watch.checks.run(&self.deployment, stop).await;
    }

    /// Checks every few seconds whether the stores and the control plane answer, and which removals stand still,
    /// until `stop` is cancelled.
    pub async fn watch_reachable(&self, stop: &CancellationToken) {
        let Watch { reachable, removals, .. } = &*self.watch;
        tokio::join!(
            reachable.watch(&self.deployment, stop),
            removals.watch(&self.deployment, stop)
        );
    }

    /// Which stores answered the last check, and whether the control plane did.
    pub fn reachable(&self) -> &Reachable {
        &self.watch.reachable
    }

    /// Remembers that an append, whose last event got this position, came with a W3C `traceparent`:
    /// the mirror's span is linked to it.
    pub fn came_with(&self, tenant: TenantId, last_seq: u64, traceparent: &str) {
        if let Some(traces) = &self.watch.traces {
            traces.appended(tenant, last_seq, traceparent);
        }
    }
}
