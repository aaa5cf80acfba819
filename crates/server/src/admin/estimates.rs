//! What would happen. Changes nothing.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use rehome_api::admin::{EstimateRequest, PlanRequest, ProbeRequest};
use rehome_api::{Estimate, Plan, Probe};
use rehome_app::migrations;
use rehome_domain::ids::TenantId;

use super::{store_id, within};
use crate::auth::Caller;
use crate::extract::JsonBody;
use crate::response::{Answer, Problems, json};
use crate::state::State as Shared;

/// Plan a migration
///
/// Checks whether it is possible, and estimates its duration. A failed check is not an error.
#[utoipa::path(post, path = "/v1/plans", tag = "migrations", request_body = PlanRequest,
    responses((status = 200, description = "The result.", body = Plan), Problems))]
pub(crate) async fn plan(
    State(state): State<Arc<Shared>>,
    caller: Caller,
    body: JsonBody,
) -> Answer {
    let permit = caller.may_view_some()?;
    let PlanRequest { tenant_id, target_store } = body.document(permit).await?;
    let (tenant, target) = (TenantId::new(tenant_id), store_id(&target_store)?);
    within(&state, &caller, tenant, &target).await?;
    json(StatusCode::OK, &migrations::plan(&state.deployment, tenant, &target).await?)
}

/// Estimate a migration from numbers
///
/// By the formula of the monitoring contract.
#[utoipa::path(post, path = "/v1/estimates", tag = "migrations", request_body = EstimateRequest,
    responses((status = 200, description = "So long.", body = Estimate), Problems))]
pub(crate) async fn estimate(caller: Caller, body: JsonBody) -> Answer {
    let permit = caller.may_view_some()?;
    let said: EstimateRequest = body.document(permit).await?;
    let request = migrations::EstimateRequest {
        events: said.total_events,
        copy_rate: said.copy_rate_per_second,
        write_rate: said.write_rate_per_second,
        lag_events: said.dual_write_lag_events,
        pause_seconds: said.cutover_pause_seconds,
        buffer_factor: said.buffer_factor,
    };
    json(StatusCode::OK, &migrations::estimate(&request)?)
}

/// Estimate a migration by a probe
///
/// Reads a sample of the tenant's history, its growth rate, and the rates of earlier migrations into
/// that store. Writes nothing.
#[utoipa::path(post, path = "/v1/probes", tag = "migrations", request_body = ProbeRequest,
    responses((status = 200, description = "The measurements and the estimate.", body = Probe), Problems))]
pub(crate) async fn probe(
    State(state): State<Arc<Shared>>,
    caller: Caller,
    body: JsonBody,
) -> Answer {
    let permit = caller.may_view_some()?;
    let said: ProbeRequest = body.document(permit).await?;
    let (tenant, target) = (TenantId::new(said.tenant_id), store_id(&said.target_store)?);
    within(&state, &caller, tenant, &target).await?;
    let request = migrations::EstimateRequest {
        events: 0,
        copy_rate: said.copy_rate_per_second,
        write_rate: said.write_rate_per_second,
        lag_events: said.dual_write_lag_events,
        pause_seconds: said.cutover_pause_seconds,
        buffer_factor: said.buffer_factor,
    };
    json(StatusCode::OK, &migrations::probe(&state.deployment, tenant, &target, &request).await?)
}
