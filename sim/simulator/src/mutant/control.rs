//! A control plane that is broken on purpose.

use std::time::Duration;

use rehome_domain::ids::TenantId;
use rehome_domain::migration::Fact;
use rehome_domain::route::Route;
use rehome_ports::memory::MemoryControlPlane;
use rehome_ports::{Change, ControlError, ControlPlane as _, Lease, LeaseRequest, Recorded};
use tokio::time::Instant;

use super::{Broken, Mutant};

/// How long a route is remembered.
const REMEMBERED: Duration = Duration::from_millis(300);

impl Broken {
    pub(crate) async fn route(
        &self,
        plane: &MemoryControlPlane,
        process: usize,
        tenant: TenantId,
    ) -> Result<Option<Route>, ControlError> {
        if !self.is(Mutant::RouteRemembered) {
            return plane.route(tenant).await;
        }
        let remembered = self.memory().routes.get(&process).cloned();
        match remembered {
            Some((since, route)) if since.elapsed() < REMEMBERED => Ok(route),
            _ => {
                let route = plane.route(tenant).await?;
                self.memory().routes.insert(process, (Instant::now(), route.clone()));
                Ok(route)
            }
        }
    }

    pub(crate) async fn record(
        &self,
        plane: &MemoryControlPlane,
        mut change: Change,
    ) -> Result<Recorded, ControlError> {
        let tenant = change.tenant;
        if self.is(Mutant::RevisionIgnored) && change.fact.routes() {
            change.rev = plane.route(tenant).await?.map(|route| route.rev);
        }
        let begins = matches!(change.fact, Fact::CutoverStarted { .. });
        let mut recorded = plane.record(change).await?;
        if self.is(Mutant::IntentWithoutEpoch) && begins {
            plane.tamper(tenant, |route| {
                route.epoch = route.prev_epoch;
                recorded.route = route.clone();
            });
        }
        Ok(recorded)
    }

    pub(crate) async fn lease(
        &self,
        plane: &MemoryControlPlane,
        request: &LeaseRequest,
    ) -> Result<Lease, ControlError> {
        let lease = plane.lease(request).await?;
        match lease {
            Lease::HeldBy(_) if self.is(Mutant::LeaseForAll) => {
                Ok(Lease::Held { taken_over: true })
            }
            lease => Ok(lease),
        }
    }

    pub(crate) fn checkpoint(&self, seq: u64) -> u64 {
        if self.is(Mutant::CheckpointAhead) { seq + 1 } else { seq }
    }
}
