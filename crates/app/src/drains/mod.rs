//! Drains: operators' requests, the work, and documents. Cordons, pins, and the list of tenants.

mod documents;
mod requests;
mod show;

pub use requests::{
    cancel, cordon, cordon_of, pause, pin, pin_of, plan, resume, retry, start, tune,
};
pub use show::{list, show, tenants, watch};

use std::sync::Arc;

use rehome_domain::ids::DrainId;
use rehome_engine::drain::{Drains, Workers};
use tokio_util::sync::CancellationToken;

use crate::deployment::Deployment;
use crate::error::AppError;

/// The operator's side of drains, in the name of the actor.
fn operations(deployment: &Deployment) -> Drains {
    Drains::new(deployment.engine(), Arc::clone(deployment.fleet()), deployment.actor())
}

/// Who works on drains in this process.
pub(crate) fn workers(deployment: &Deployment) -> Workers {
    Workers::new(deployment.engine(), Arc::clone(deployment.fleet()), deployment.holder())
}

/// Works on a drain, together with other processes, until it is over or `stop` is cancelled.
pub async fn work_on(
    deployment: &Deployment,
    id: DrainId,
    stop: &CancellationToken,
) -> Result<(), AppError> {
    Ok(workers(deployment).run(id, stop).await?)
}
