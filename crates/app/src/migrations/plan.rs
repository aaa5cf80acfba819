//! Plans and estimates: what would happen. They change nothing.

use rehome_api as api;
use rehome_domain::estimate::{self, Inputs};
use rehome_domain::ids::{StoreId, TenantId};
use rehome_engine::migration::{OperationError, Plan, PlanRequest};

use crate::deployment::Deployment;
use crate::documents;
use crate::error::AppError;

/// Inputs of an estimate; missing ones have the default of the monitoring contract.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct EstimateRequest {
    /// Events to copy.
    pub events: u64,
    /// Copied per second.
    pub copy_rate: Option<f64>,
    /// Written by the tenant per second meanwhile.
    pub write_rate: Option<f64>,
    /// Lag, in events, when mirroring begins.
    pub lag_events: Option<u64>,
    /// Seconds of pause.
    pub pause_seconds: Option<f64>,
    /// Factor on the sum.
    pub buffer_factor: Option<f64>,
}

/// The estimated duration of a migration.
pub fn estimate(request: &EstimateRequest) -> Result<api::Estimate, AppError> {
    let defaults = Inputs::default();
    let inputs = Inputs {
        total_events: request.events,
        copy_rate_per_second: request.copy_rate.unwrap_or(defaults.copy_rate_per_second),
        dual_write_lag_events: request.lag_events.unwrap_or(defaults.dual_write_lag_events),
        cutover_pause_seconds: request.pause_seconds.unwrap_or(defaults.cutover_pause_seconds),
        buffer_factor: request.buffer_factor.unwrap_or(defaults.buffer_factor),
        write_rate_per_second: request.write_rate.unwrap_or(defaults.write_rate_per_second),
    };
    Ok(documents::estimate(&estimate::estimate(&inputs)?))
}

/// Checks everything that a migration needs, and estimates its duration.
pub async fn plan(
    deployment: &Deployment,
    tenant: TenantId,
    target: &StoreId,
) -> Result<api::Plan, AppError> {
    check_answers(deployment, tenant, target).await.map_err(|error| error.tenant(tenant))?;
    let request = PlanRequest { tenant, target: target.clone() };
    let plan = deployment.engine().plan(&request).await.map_err(OperationError::from);
    let plan = plan.map_err(|error| AppError::from(error).tenant(tenant))?;
    Ok(document(tenant, &plan))
}

/// Refuses when one of the two stores of a migration to `target` does not answer now: a plan that waits
/// for it would not come to its end.
pub(super) async fn check_answers(
    deployment: &Deployment,
    tenant: TenantId,
    target: &StoreId,
) -> Result<(), AppError> {
    let route = deployment.engine().control().route(tenant).await?;
    let source = route.map(|route| route.store);
    let stores = [Some(target.clone()), source];
    for id in stores.into_iter().flatten() {
        let unanswered = match deployment.store_watch().answers_in_time(&id).await {
            Ok(unanswered) => unanswered,
            Err(_) if id != *target => continue,
            Err(error) => return Err(error.into()),
        };
        if let Some(unanswered) = unanswered {
            if unanswered.has_error() {
                // What it answers instead has words of its own, and a code.
                deployment.reach(&id).await?;
            }
            return Err(AppError::failed("unreachable", unanswered.sentence()));
        }
    }
    deployment.reach(target).await
}

fn document(tenant: TenantId, plan: &Plan) -> api::Plan {
    let findings = plan.findings.iter().map(|finding| api::Finding {
        check: finding.check.to_owned(),
        ok: finding.ok,
        detail: finding.detail.clone(),
    });
    api::Plan {
        tenant_id: tenant.uuid(),
        source_store: plan.source.to_string(),
        target_store: plan.target.to_string(),
        possible: plan.is_possible(),
        events_to_copy: plan.events,
        findings: findings.collect(),
        read_events_per_s: plan.read_rate.map(f64::round),
        estimate: plan.estimate.as_ref().map(documents::estimate),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Kind;

    #[test]
    fn the_guides_inputs_give_the_guides_answer() {
        let request = EstimateRequest { events: 1_500_000, ..EstimateRequest::default() };
        let estimate = estimate(&request).unwrap();
        assert_eq!(estimate.bulk_copy_estimate, "2.5 minutes");
        assert_eq!(estimate.dual_write_estimate, "0.0 seconds");
        assert_eq!(estimate.cutover_estimate, "5.0 seconds");
        assert_eq!(estimate.total_estimate, "3.9 minutes");
        assert!((estimate.total_seconds - 232.515).abs() < 1e-9);
    }

    #[test]
    fn rates_that_make_no_sense_are_refused() {
        for rate in [0.0, -1.0, f64::NAN, f64::INFINITY] {
            let request = EstimateRequest { copy_rate: Some(rate), ..EstimateRequest::default() };
            assert_eq!(estimate(&request).unwrap_err().kind(), Kind::Usage);
        }
        let request = EstimateRequest {
            copy_rate: Some(100.0),
            write_rate: Some(100.0),
            ..EstimateRequest::default()
        };
        assert_eq!(estimate(&request).unwrap_err().code(), "never_catches_up");
    }
}
