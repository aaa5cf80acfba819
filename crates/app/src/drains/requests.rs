//! Operators' requests about drains, stores and tenants.

use std::collections::BTreeSet;

use rehome_api::drain as api;
use rehome_domain::drain::Settings;
use rehome_domain::ids::{DrainId, StoreId, TenantId};
use rehome_engine::drain::{DrainPlan, DrainRequest};
use uuid::Uuid;

use super::documents;
use crate::deployment::{Deployment, check_reason};
use crate::error::AppError;
use crate::idempotency::{IdempotencyKey, reused};
use crate::migrations;

/// What a drain would do.
pub async fn plan(
    deployment: &Deployment,
    request: &api::DrainRequest,
) -> Result<api::DrainPlan, AppError> {
    Ok(documents::plan(&engine_plan(deployment, request).await?))
}

async fn engine_plan(
    deployment: &Deployment,
    request: &api::DrainRequest,
) -> Result<DrainPlan, AppError> {
    let (from, to) = (documents::stores(&request.from)?, documents::targets(&request.to)?);
    let mut options = migrations::options(deployment, &rehome_api::OptionsPatch::default())?;
    if deployment.config().migration.options.rollback_window.is_none() {
        // An open window is a mirror that runs: one for each of thousands of tenants is opened on request only.
        options.rollback_window_ms = 0;
    }
    let base = Settings { options, ..Settings::new(from, to) };
    let settings = documents::apply(base, &request.settings, &request.options)?;
    let ids = |ids: &[Uuid]| ids.iter().copied().map(TenantId::new).collect();
    let (only, exclude) = (ids(&request.tenants), ids(&request.exclude));
    Ok(super::operations(deployment).plan(DrainRequest { settings, only, exclude }).await?)
}

/// Starts a drain, from a request or from a plan, without working on it. With a key, or an id of the caller's choice,
/// the same start can be repeated, and returns the drain that it started the first time.
pub async fn start(
    deployment: &Deployment,
    start: &api::DrainStart,
    key: Option<&IdempotencyKey>,
) -> Result<DrainId, AppError> {
    let by_key = || key.map(|key| key.id(deployment.engine().control().deployment()));
    let chosen = start.id.or_else(by_key);
    let id = DrainId::new(chosen.unwrap_or_else(Uuid::now_v7));
    // The same request may have been made before.
    if chosen.is_some()
        && let Ok(begun) = deployment.fleet().drain(id).await
    {
        let from = start.plan.as_ref().map(|plan| &plan.from);
        let from = start.request.as_ref().map(|request| &request.from).or(from);
        let from: BTreeSet<_> = from.into_iter().flatten().map(String::as_str).collect();
        let sources = begun.settings.sources.iter().map(StoreId::as_str).collect();
        return if from == sources { Ok(id) } else { Err(reused()) };
    }
    let plan = match (&start.request, &start.plan) {
        (Some(request), None) => engine_plan(deployment, request).await?,
        (None, Some(plan)) => documents::read_plan(plan)?,
        _ => return Err(documents::usage("a drain starts from a request or from a plan")),
    };
    Ok(super::operations(deployment).start(id, plan).await?.id)
}

/// Begins nothing more until it is resumed.
pub async fn pause(deployment: &Deployment, id: DrainId) -> Result<(), AppError> {
    super::operations(deployment).pause(id).await?;
    Ok(())
}

/// Resumes a paused drain.
pub async fn resume(deployment: &Deployment, id: DrainId) -> Result<(), AppError> {
    super::operations(deployment).resume(id).await?;
    Ok(())
}

/// Cancels a drain: starts no further move, and aborts running ones.
pub async fn cancel(deployment: &Deployment, id: DrainId) -> Result<(), AppError> {
    super::operations(deployment).cancel(id).await?;
    Ok(())
}

/// Changes what a drain runs with.
pub async fn tune(
    deployment: &Deployment,
    id: DrainId,
    tuning: &api::DrainTuning,
) -> Result<(), AppError> {
    let targets = tuning.to.as_deref().map(documents::targets).transpose()?;
    let now = deployment.fleet().drain(id).await?.settings;
    documents::apply(now, &tuning.settings, &tuning.options)?;
    let change = |settings: Settings| {
        let targets = targets.clone().unwrap_or_else(|| settings.targets.clone());
        let settings = Settings { targets, ..settings };
        documents::apply(settings.clone(), &tuning.settings, &tuning.options).unwrap_or(settings)
    };
    super::operations(deployment).tune(id, change).await?;
    Ok(())
}

/// Tries tenants again that were set aside; answers how many.
pub async fn retry(
    deployment: &Deployment,
    id: DrainId,
    tenants: &[Uuid],
) -> Result<u64, AppError> {
    let tenants: Vec<_> = tenants.iter().copied().map(TenantId::new).collect();
    Ok(super::operations(deployment).retry(id, &tenants).await?)
}

/// Keeps new tenants and arrivals out of a store (`why`), or removes the cordon.
pub async fn cordon(
    deployment: &Deployment,
    store: &StoreId,
    why: Option<&str>,
) -> Result<api::Notice, AppError> {
    check_reason(why)?;
    super::operations(deployment).cordon(store, why).await?;
    let found = deployment.fleet().cordons().await?.remove(store);
    Ok(notice(store.to_string(), found))
}

/// The cordon around a store.
pub async fn cordon_of(deployment: &Deployment, store: &StoreId) -> Result<api::Notice, AppError> {
    deployment.store(store)?;
    let found = deployment.fleet().cordons().await?.remove(store);
    Ok(notice(store.to_string(), found))
}

/// Keeps a tenant where it is (`why`), or removes the pin.
pub async fn pin(
    deployment: &Deployment,
    tenant: TenantId,
    why: Option<&str>,
) -> Result<api::Notice, AppError> {
    check_reason(why)?;
    super::operations(deployment).pin(tenant, why).await?;
    pin_of(deployment, tenant).await
}

/// The pin of a tenant.
pub async fn pin_of(deployment: &Deployment, tenant: TenantId) -> Result<api::Notice, AppError> {
    let found = deployment.fleet().pins_of(&[tenant]).await?.remove(&tenant);
    Ok(notice(tenant.to_string(), found))
}

fn notice(what: String, found: Option<rehome_domain::drain::Notice>) -> api::Notice {
    let there = found.is_some();
    let (by, why, since) = match found {
        Some(found) => (Some(found.by), Some(found.why), Some(documents::time(found.at))),
        None => (None, None, None),
    };
    api::Notice { what, there, by, why, since }
}
