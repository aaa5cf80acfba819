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
    let signals = Task(tokio::spawn(stop_on_signal(out, stop.clone(), Signals::listen())));
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
    let signals = Task(tokio::spawn(stop_on_signal(out, stop.clone(), Signals::listen())));
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
pub(super) async fn stop_on_signal(out: Out, stop: CancellationToken, mut signals: Signals) {
    signals.next().await;
    out.remark("stopping; again to leave at once (which is safe too)");
    stop.cancel();
    signals.next().await;
    std::process::exit(1);
}

/// Ctrl-C, and SIGTERM where there is one: heard from when this is made, not from when it is first
/// waited on, so that a signal that comes early ends nothing in the middle.
pub(super) struct Signals {
    #[cfg(unix)]
    unix: Option<[tokio::signal::unix::Signal; 2]>,
}

impl Signals {
    #[cfg(unix)]
    pub(super) fn listen() -> Self {
        use tokio::signal::unix::{SignalKind, signal};
        let interrupt = signal(SignalKind::interrupt()).ok();
        let terminate = signal(SignalKind::terminate()).ok();
        Self { unix: interrupt.zip(terminate).map(Into::into) }
    }

    #[cfg(not(unix))]
    pub(super) fn listen() -> Self {
        Self {}
    }

    async fn next(&mut self) {
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
