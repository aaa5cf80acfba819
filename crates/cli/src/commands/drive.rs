//! Commands that work on a migration: with progress, and with an end that can be asked for.

use std::time::Duration;

use rehome_api::Migration;
use rehome_app::migrations::{Goal, Worked};
use rehome_app::{AppError, CancellationToken, Deployment};
use rehome_domain::ids::MigrationId;
use tokio::task::JoinHandle;

use crate::output::{Out, View};

/// How often progress is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// Works on a migration until the goal is reached; answers how it is then.
pub(super) async fn drive(
    out: Out,
    deployment: &Deployment,
    id: MigrationId,
    goal: Goal,
) -> Result<Migration, AppError> {
    let worked = watched(out, deployment, id, |deployment, stop| async move {
        deployment.work(id, goal, &stop).await
    });
    let worked = worked.await?;
    worked.verdict(goal)?;
    deployment.migration(id).await
}

/// Works on whatever nobody works on, until Ctrl-C.
pub(super) async fn drive_all(out: Out, deployment: &Deployment) {
    let stop = CancellationToken::new();
    let signals = Task(tokio::spawn(stop_on_signal(out, stop.clone())));
    out.remark("working on every migration that nobody works on; Ctrl-C ends it");
    deployment.work_on_all(&stop).await;
    drop(signals);
}

/// Runs `work` with progress beside it, and a stop on Ctrl-C.
pub(super) async fn watched<F>(
    out: Out,
    deployment: &Deployment,
    id: MigrationId,
    work: impl FnOnce(Deployment, CancellationToken) -> F,
) -> Result<Worked, AppError>
where
    F: Future<Output = Result<Worked, AppError>>,
{
    let stop = CancellationToken::new();
    let signals = Task(tokio::spawn(stop_on_signal(out, stop.clone())));
    let view = Task(tokio::spawn(view(out, deployment.clone(), id)));
    let worked = work(deployment.clone(), stop).await;
    drop((signals, view));
    worked
}

/// A task that ends with its owner.
pub(super) struct Task(pub(super) JoinHandle<()>);

impl Drop for Task {
    fn drop(&mut self) {
        self.0.abort();
    }
}

async fn view(out: Out, deployment: Deployment, id: MigrationId) {
    let mut view = View::new(out);
    loop {
        // A look that fails is no failure of the work; the next one may do better.
        if let Ok(migration) = deployment.migration(id).await {
            view.show(&migration);
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// The first signal asks the work to stop, the second ends the process.
pub(super) async fn stop_on_signal(out: Out, stop: CancellationToken) {
    asked_to_end().await;
    out.remark("stopping; again to leave at once (which is safe too)");
    stop.cancel();
    asked_to_end().await;
    std::process::exit(1);
}

#[cfg(unix)]
async fn asked_to_end() {
    use tokio::signal::unix::{SignalKind, signal};
    match signal(SignalKind::terminate()) {
        Ok(mut terminate) => {
            tokio::select! {
                _ = tokio::signal::ctrl_c() => {}
                _ = terminate.recv() => {}
            }
        }
        Err(_) => only_ctrl_c().await,
    }
}

#[cfg(not(unix))]
async fn asked_to_end() {
    only_ctrl_c().await;
}

async fn only_ctrl_c() {
    if tokio::signal::ctrl_c().await.is_err() {
        std::future::pending::<()>().await;
    }
}
