//! Drains: operators' requests, the work, and documents. Cordons, pins, and the list of tenants.

mod documents;
mod requests;
mod show;

use std::sync::Arc;

use rehome_domain::ids::DrainId;
use rehome_engine::drain::{Drains, Workers};
use tokio_util::sync::CancellationToken;

use crate::deployment::Deployment;
use crate::error::AppError;

impl Deployment {
    /// The operator's side of drains, in the name of the actor.
    fn drain_operations(&self) -> Drains {
        Drains::new(self.engine(), Arc::clone(self.fleet()), self.actor())
    }

    /// Who works on drains in this process.
    pub(crate) fn workers(&self) -> Workers {
        Workers::new(self.engine(), Arc::clone(self.fleet()), self.holder())
    }

    /// Works on a drain, together with other processes, until it is over or `stop` is cancelled.
    pub async fn work_on_drain(
        &self,
        id: DrainId,
        stop: &CancellationToken,
    ) -> Result<(), AppError> {
        Ok(self.workers().run(id, stop).await?)
    }
}
