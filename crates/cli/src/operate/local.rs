//! Operators' wishes done by this process.

mod fleet;

use std::time::Duration;

use async_trait::async_trait;
use rehome_api::duration::Millis;
use rehome_api::{
    Baseline, Checklist, ChecklistPhase, HealthReport, LogEntry, Migration, MovedCheckpoints,
    Options, OptionsPatch, Plan, Probe, Recovery, StoreCheckReport, Tenant, TenantPurge,
    TenantRemoval, TenantUnguarded, Token, Tokens, TranslatedPosition, Verification,
};
use rehome_app::migrations::{
    self, EstimateRequest, Goal, Resumed, StartRequest, VerifyRequest, Worked,
};
use rehome_app::token_registry::{self, NewToken};
use rehome_app::tokens::TokenHash;
use rehome_app::{
    Access, AppError, CancellationToken, Config, Deployment, MigrationsWanted, RecoverRequest,
    adoption, driving, recover, stores, tenants,
};
use rehome_domain::ids::{MigrationId, StoreId, TenantId};
use rehome_observe::{Observed, baseline_missing};
use tokio::task::JoinHandle;

use super::{Operate, Seen, Why};
use crate::output::{Out, View};

/// The polling interval of a migration.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// Opens an existing deployment.
pub(crate) async fn open(config: &Config) -> Result<Observed, AppError> {
    Observed::open(config, Access::Existing).await
}

/// The deployment itself.
pub(super) struct Local {
    out: Out,
    deployment: Observed,
}

impl Local {
    pub(super) fn new(out: Out, deployment: Observed) -> Self {
        Self { out, deployment }
    }

    /// The deployment, in the name of the user who runs the command.
    fn because(&self, why: Why<'_>) -> Result<Deployment, AppError> {
        Deployment::because(&self.deployment, why)
    }
}

#[async_trait]
impl Operate for Local {
    fn is_remote(&self) -> bool {
        false
    }

    async fn start(&self, request: &StartRequest, why: Why<'_>) -> Result<Migration, AppError> {
        let started = self.deployment.because(why)?.start(request, None).await?;
        self.migration(started.id).await
    }

    async fn start_return(
        &self,
        id: MigrationId,
        options: &OptionsPatch,
        why: Why<'_>,
    ) -> Result<Migration, AppError> {
        let back = self.deployment.because(why)?.start_return(id, options, None).await?;
        self.migration(back.id).await
    }

    async fn migrations(&self, wanted: &MigrationsWanted) -> Result<Vec<Migration>, AppError> {
        migrations::list(&self.deployment, wanted).await
    }

    async fn migration(&self, id: MigrationId) -> Result<Migration, AppError> {
        migrations::show(&self.deployment, id).await
    }

    async fn options(&self, id: MigrationId) -> Result<Options, AppError> {
        migrations::options_of(&self.deployment, id).await
    }

    async fn worker(&self, id: MigrationId) -> Result<Option<String>, AppError> {
        migrations::lease(&self.deployment, id).await
    }

    async fn log(&self, id: MigrationId, after: u64) -> Result<Vec<LogEntry>, AppError> {
        migrations::log(&self.deployment, id, after).await
    }

    async fn watch(&self, id: MigrationId, seen: Seen<'_>) -> Result<Migration, AppError> {
        migrations::watch(&self.deployment, id, LOOK_EVERY, seen).await
    }

    async fn reach(&self, id: MigrationId, goal: Goal) -> Result<Migration, AppError> {
        let worked = watched(self.out, &self.deployment, id, |deployment, stop| async move {
            migrations::work(&deployment, id, goal, &stop).await
        });
        worked.await?.verdict(goal)?;
        self.migration(id).await
    }

    async fn clean_up(&self, id: MigrationId) -> Result<Migration, AppError> {
        let worked = watched(self.out, &self.deployment, id, |deployment, stop| async move {
            migrations::clean_up(&deployment, id, &stop).await
        });
        worked.await?.verdict(Goal::NothingLeft)?;
        self.migration(id).await
    }

    async fn pause(&self, id: MigrationId, why: Why<'_>) -> Result<(), AppError> {
        migrations::pause(&self.because(why)?, id).await.map(drop)
    }

    async fn resume(
        &self,
        id: MigrationId,
        keep_window: bool,
        why: Why<'_>,
    ) -> Result<Resumed, AppError> {
        migrations::resume(&self.because(why)?, id, keep_window).await
    }

    async fn cutover(&self, id: MigrationId, why: Why<'_>) -> Result<Goal, AppError> {
        let asked = migrations::request_cutover(&self.because(why)?, id).await?;
        Ok(Goal::CutOver { attempts: asked.cutover_attempts })
    }

    async fn withdraw(&self, id: MigrationId, why: Why<'_>) -> Result<(), AppError> {
        migrations::withdraw_cutover(&self.because(why)?, id).await.map(drop)
    }

    async fn abort(&self, id: MigrationId, purge: bool, why: Why<'_>) -> Result<(), AppError> {
        migrations::abort(&self.because(why)?, id, purge).await.map(drop)
    }

    async fn repair(&self, id: MigrationId, why: Why<'_>) -> Result<(), AppError> {
        migrations::repair(&self.because(why)?, id).await.map(drop)
    }

    async fn acknowledge(&self, id: MigrationId, why: Why<'_>) -> Result<(), AppError> {
        migrations::acknowledge(&self.because(why)?, id).await.map(drop)
    }

    async fn tune(
        &self,
        id: MigrationId,
        patch: &OptionsPatch,
        why: Why<'_>,
    ) -> Result<Options, AppError> {
        migrations::tune(&self.because(why)?, id, patch).await
    }

    async fn verify(
        &self,
        id: MigrationId,
        request: VerifyRequest,
        why: Why<'_>,
    ) -> Result<Verification, AppError> {
        migrations::verify(&self.because(why)?, id, request).await
    }

    async fn take_baseline(&self, id: MigrationId, window: Duration) -> Result<Baseline, AppError> {
        self.deployment.take_baseline(id, window).await
    }

    async fn baseline(&self, id: MigrationId) -> Result<Baseline, AppError> {
        // For an unknown migration, this returns the error.
        migrations::options_of(&self.deployment, id).await?;
        self.deployment.baseline(id).await?.ok_or_else(|| baseline_missing(id))
    }

    async fn plan(&self, tenant: TenantId, target: &StoreId) -> Result<Plan, AppError> {
        migrations::plan(&self.deployment, tenant, target).await
    }

    async fn probe(
        &self,
        tenant: TenantId,
        target: &StoreId,
        told: &EstimateRequest,
    ) -> Result<Probe, AppError> {
        migrations::probe(&self.deployment, tenant, target, told).await
    }

    async fn health(&self) -> Result<HealthReport, AppError> {
        Ok(self.deployment.health().await)
    }

    async fn checklist(
        &self,
        phase: ChecklistPhase,
        id: Option<MigrationId>,
    ) -> Result<Checklist, AppError> {
        Box::pin(self.deployment.checklist(phase, id)).await
    }

    async fn check_stores(&self, id: Option<&StoreId>) -> Result<StoreCheckReport, AppError> {
        stores::check(&self.deployment, id).await
    }

    async fn tenant(&self, tenant: TenantId) -> Result<Tenant, AppError> {
        tenants::show(&self.deployment, tenant).await
    }

    async fn purge(
        &self,
        tenant: TenantId,
        store: &StoreId,
        close_window: bool,
        why: Why<'_>,
    ) -> Result<TenantPurge, AppError> {
        tenants::purge(&self.because(why)?, tenant, store, close_window).await
    }

    async fn remove(
        &self,
        tenant: TenantId,
        events: Option<u64>,
        why: Why<'_>,
    ) -> Result<TenantRemoval, AppError> {
        tenants::remove(&self.because(why)?, tenant, events).await
    }

    async fn unguard(&self, tenant: TenantId, why: Why<'_>) -> Result<TenantUnguarded, AppError> {
        adoption::unguard(&self.because(why)?, tenant).await
    }

    async fn move_checkpoints(
        &self,
        tenant: TenantId,
        from: &StoreId,
        to: &StoreId,
        why: Why<'_>,
    ) -> Result<MovedCheckpoints, AppError> {
        adoption::move_checkpoints(&self.because(why)?, tenant, from, to).await
    }

    async fn position(
        &self,
        tenant: TenantId,
        position: i64,
        from: &StoreId,
        to: &StoreId,
    ) -> Result<TranslatedPosition, AppError> {
        adoption::translate_position(&self.deployment, tenant, position, from, to).await
    }

    async fn recover(
        &self,
        request: &RecoverRequest,
        why: Why<'_>,
    ) -> Result<Vec<Recovery>, AppError> {
        recover::recover(&self.because(why)?, request).await
    }

    async fn tokens(&self) -> Result<Tokens, AppError> {
        token_registry::list(&self.deployment).await
    }

    async fn create_token(&self, new: &NewToken, why: Why<'_>) -> Result<Token, AppError> {
        token_registry::create(&self.because(why)?, new).await
    }

    async fn rotate_token(
        &self,
        name: &str,
        hash: TokenHash,
        (keep_old_for, expires_in): (Option<Millis>, Option<Millis>),
        why: Why<'_>,
    ) -> Result<Token, AppError> {
        token_registry::rotate(&self.because(why)?, name, hash, keep_old_for, expires_in).await
    }

    async fn revoke_token(&self, name: &str, why: Why<'_>) -> Result<Vec<Token>, AppError> {
        token_registry::revoke(&self.because(why)?, name).await
    }

    async fn close(self: Box<Self>) {
        self.deployment.close().await;
    }
}

/// Drives every migration without a driver, until Ctrl-C.
pub(crate) async fn drive_all(out: Out, deployment: &Observed) {
    let stop = CancellationToken::new();
    let signals = Task(tokio::spawn(stop_on_signal(out, stop.clone(), Signals::listen())));
    out.remark("driving every migration without a driver; press Ctrl-C to stop");
    driving::drive_all(deployment, &stop).await;
    drop(signals);
}

/// Runs `work` with progress beside it, and a stop on Ctrl-C.
async fn watched<F>(
    out: Out,
    deployment: &Observed,
    id: MigrationId,
    work: impl FnOnce(Observed, CancellationToken) -> F,
) -> Result<Worked, AppError>
where
    F: Future<Output = Result<Worked, AppError>>,
{
    let stop = CancellationToken::new();
    let signals = Task(tokio::spawn(stop_on_signal(out, stop.clone(), Signals::listen())));
    let view = Task(tokio::spawn(view(out, deployment.clone(), id)));
    let worked = work(deployment.clone(), stop).await;
    drop((signals, view));
    worked
}

/// A task that ends with its owner.
pub(crate) struct Task(pub(crate) JoinHandle<()>);

impl Drop for Task {
    fn drop(&mut self) {
        self.0.abort();
    }
}

async fn view(out: Out, deployment: Observed, id: MigrationId) {
    let mut view = View::new(out);
    let mut waits_for = None;
    loop {
        if let Ok(lease) = migrations::lease_of_another(&deployment, id).await
            && lease.as_ref().map(|lease| &lease.holder) != waits_for.as_ref()
        {
            if let Some(lease) = &lease {
                let seconds = lease.remaining_ms.div_ceil(1_000);
                out.remark(format!(
                    "waiting for the lease of {}, at most {seconds} s unless it is renewed: that process \
                     drives the migration, or has died",
                    lease.holder
                ));
            }
            waits_for = lease.map(|lease| lease.holder);
        }
        // A failed read is not a failure of the work; the next one may succeed.
        if let Ok(migration) = migrations::show(&deployment, id).await {
            view.show(&migration);
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// The first signal stops the work, the second ends the process.
pub(crate) async fn stop_on_signal(out: Out, stop: CancellationToken, mut signals: Signals) {
    signals.next().await;
    out.remark("stopping; press Ctrl-C again to exit at once (which is safe too)");
    stop.cancel();
    signals.next().await;
    std::process::exit(1);
}

/// Ctrl-C, and SIGTERM where it exists: registered at construction, not at the first
/// wait, so that an early signal interrupts nothing.
pub(crate) struct Signals {
    #[cfg(unix)]
    unix: Option<[tokio::signal::unix::Signal; 2]>,
}

impl Signals {
    #[cfg(unix)]
    /// Registers the signals.
    pub(crate) fn listen() -> Self {
        use tokio::signal::unix::{SignalKind, signal};
        let interrupt = signal(SignalKind::interrupt()).ok();
        let terminate = signal(SignalKind::terminate()).ok();
        Self { unix: interrupt.zip(terminate).map(Into::into) }
    }

    #[cfg(not(unix))]
    pub(crate) fn listen() -> Self {
        Self {}
    }

    /// Waits for the next one.
    pub(crate) async fn next(&mut self) {
        #[cfg(unix)]
        if let Some([interrupt, terminate]) = &mut self.unix {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
            return;
        }
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}
