//! What a process does that drives everything, and not one migration.

use tokio_util::sync::CancellationToken;

use crate::deployment::Deployment;
use crate::drains;

/// Works on every drain of the deployment, and on every migration without a driver, until `stop` is
/// cancelled: those that were started and left, and those of processes that died or hang.
pub async fn drive_all(deployment: &Deployment, stop: &CancellationToken) {
    let (supervisor, workers) = (deployment.supervisor(), drains::workers(deployment));
    tokio::join!(supervisor.run_all(stop), workers.run_all(stop));
}
