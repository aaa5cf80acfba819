//! Between documents of drains and the domain.

use rehome_api::drain as api;
use rehome_api::duration::Millis;
use rehome_api::{OptionsPatch, Time};
use rehome_domain::drain::{
    Limits, Order, Placement, Settings, Stay, Target, Tenant, TenantState, Window,
};
use rehome_domain::event::Timestamp;
use rehome_domain::ids::{MigrationId, StoreId, TenantId};
use rehome_domain::migration::Options;
use rehome_engine::drain::{DrainPlan, tenant_seconds};

use crate::error::{AppError, Kind};
use crate::options;

pub(super) fn usage(message: impl Into<String>) -> AppError {
    AppError::new(Kind::Usage, "bad_settings", message)
}

pub(super) fn stores(names: &[String]) -> Result<Vec<StoreId>, AppError> {
    names.iter().map(|name| Ok(name.parse()?)).collect()
}

pub(super) fn targets(targets: &[api::DrainTarget]) -> Result<Vec<Target>, AppError> {
    let target = |target: &api::DrainTarget| {
        Ok(Target { store: target.store.parse()?, weight: target.weight })
    };
    targets.iter().map(target).collect()
}

fn word<T>(
    text: Option<&str>,
    now: T,
    parse: impl Fn(&str) -> Option<T>,
    (key, must_be): (&str, &str),
) -> Result<T, AppError> {
    match text {
        None => Ok(now),
        Some(text) => parse(text).ok_or_else(|| usage(format!("{key} must be {must_be}"))),
    }
}

/// Applies the settings in the document, and the options of migrations.
pub(super) fn apply(
    settings: Settings,
    patch: &api::DrainSettings,
    of_migrations: &OptionsPatch,
) -> Result<Settings, AppError> {
    let limits = settings.limits;
    let set = |value: Option<u32>, now| value.unwrap_or(now);
    let order = ("order", "smallest, largest or idle");
    let placement = ("placement", "weights, free_space or least_loaded");
    Ok(Settings {
        order: word(patch.order.as_deref(), settings.order, Order::parse, order)?,
        placement: word(
            patch.placement.as_deref(),
            settings.placement,
            Placement::parse,
            placement,
        )?,
        limits: Limits {
            at_once: set(patch.concurrency, limits.at_once),
            per_source: set(patch.per_source, limits.per_source),
            per_target: set(patch.per_target, limits.per_target),
            cutovers_per_minute: set(patch.cutovers_per_minute, limits.cutovers_per_minute),
            copy_rate_max: set(patch.copy_rate_max, limits.copy_rate_max),
            copy_bytes_rate_max: set(patch.copy_bytes_rate_max, limits.copy_bytes_rate_max),
        },
        window: match patch.window.as_deref() {
            None => settings.window,
            Some("any") => None,
            Some(text) => Some(
                Window::parse(text)
                    .map_err(|error| AppError::new(Kind::Usage, "bad_window", error.to_string()))?,
            ),
        },
        tries_max: set(patch.tries, settings.tries_max),
        retry_after_ms: patch.retry_after.map_or(settings.retry_after_ms, |time| time.0),
        failures_max: set(patch.failures_max, settings.failures_max),
        patience_ms: patch.patience.map_or(settings.patience_ms, |time| time.0),
        cutovers_max: set(patch.cutover_tries, settings.cutovers_max),
        options: options::apply(settings.options, of_migrations)?,
        ..settings
    })
}

/// All that a drain runs with.
pub(super) fn settings(settings: &Settings) -> api::DrainSettings {
    let limits = settings.limits;
    let window = settings.window.as_ref().map_or_else(|| "any".to_owned(), Window::to_string);
    api::DrainSettings {
        order: Some(settings.order.as_str().to_owned()),
        placement: Some(settings.placement.as_str().to_owned()),
        concurrency: Some(limits.at_once),
        per_source: Some(limits.per_source),
        per_target: Some(limits.per_target),
        cutovers_per_minute: Some(limits.cutovers_per_minute),
        copy_rate_max: Some(limits.copy_rate_max),
        copy_bytes_rate_max: Some(limits.copy_bytes_rate_max),
        window: Some(window),
        tries: Some(settings.tries_max),
        retry_after: Some(Millis(settings.retry_after_ms)),
        failures_max: Some(settings.failures_max),
        patience: Some(Millis(settings.patience_ms)),
        cutover_tries: Some(settings.cutovers_max),
    }
}

pub(super) fn target(target: &Target) -> api::DrainTarget {
    api::DrainTarget { store: target.store.to_string(), weight: target.weight }
}

/// All options, as a patch that sets each of them.
fn whole(options: &Options) -> OptionsPatch {
    let all = options::document(options);
    OptionsPatch {
        batch_events: Some(all.batch_events),
        batch_bytes: Some(all.batch_bytes),
        copy_rate_max: Some(all.copy_rate_max),
        copy_bytes_rate_max: Some(all.copy_bytes_rate_max),
        lag_events_max: Some(all.lag_events_max),
        cutover: Some(all.cutover),
        cutover_timeout_ms: Some(all.cutover_timeout_ms),
        mirror_ack: Some(all.mirror_ack),
        mirror_ack_timeout_ms: Some(all.mirror_ack_timeout_ms),
        verification: Some(all.verification),
        rollback_window: Some(all.rollback_window),
    }
}

pub(super) fn time(at: Timestamp) -> Time {
    Time(at.micros())
}

pub(super) fn tenant(row: &Tenant, settings: &Settings) -> api::DrainTenant {
    let stay = match row.state {
        TenantState::Stays(stay) => Some(stay.as_str().to_owned()),
        _ => None,
    };
    let stays = stay.is_some();
    api::DrainTenant {
        tenant_id: row.tenant.uuid(),
        place: row.place,
        state: row.state.as_str().to_owned(),
        stay,
        source_store: row.source.to_string(),
        target_store: row.target.as_ref().map(ToString::to_string),
        events: row.events,
        seconds: if stays { 0.0 } else { tenant_seconds(settings, row.events) },
        tries: row.tries,
        migration_id: row.migration.map(MigrationId::uuid),
        worker: row.by.as_deref().map(str::to_owned),
        why: row.why.as_deref().map(str::to_owned),
        since: time(row.since),
    }
}

pub(super) fn plan(plan: &DrainPlan) -> api::DrainPlan {
    let moves = || plan.tenants.iter().filter(|row| row.state == TenantState::Waiting);
    api::DrainPlan {
        deployment: plan.deployment.clone(),
        at: time(plan.at),
        from: plan.settings.sources.iter().map(ToString::to_string).collect(),
        to: plan.settings.targets.iter().map(target).collect(),
        settings: settings(&plan.settings),
        options: whole(&plan.settings.options),
        moves: moves().count() as u64,
        events: moves().map(|row| row.events).sum(),
        stays: plan.tenants.iter().filter(|row| row.state != TenantState::Waiting).count() as u64,
        seconds: plan.seconds,
        opens_at: plan.opens.map(time),
        warnings: plan.warnings.clone(),
        tenants: plan.tenants.iter().map(|row| tenant(row, &plan.settings)).collect(),
    }
}

/// A plan as it was shown.
pub(super) fn read_plan(plan: &api::DrainPlan) -> Result<DrainPlan, AppError> {
    let base = Settings::new(stores(&plan.from)?, targets(&plan.to)?);
    let settings = apply(base, &plan.settings, &plan.options)?;
    let mut tenants = Vec::with_capacity(plan.tenants.len());
    for (place, row) in (1..).zip(&plan.tenants) {
        let (id, since) = (TenantId::new(row.tenant_id), Timestamp::from_micros(row.since.0));
        let read = Tenant::waiting(id, row.source_store.parse()?, row.events, since);
        let target = row.target_store.as_deref().map(str::parse).transpose()?;
        let read = Tenant { place, target, ..read };
        tenants.push(match (row.state.as_str(), row.stay.as_deref().and_then(Stay::parse)) {
            ("waiting", _) => read,
            ("stays", Some(stay)) => read.staying(stay, row.why.clone().unwrap_or_default()),
            (state, _) => {
                return Err(usage(format!(
                    "a tenant of a plan is waiting or stays, and not {state:?}"
                )));
            }
        });
    }
    Ok(DrainPlan {
        deployment: plan.deployment.clone(),
        at: Timestamp::from_micros(plan.at.0),
        settings,
        tenants,
        seconds: plan.seconds,
        opens: plan.opens_at.map(|at| Timestamp::from_micros(at.0)),
        warnings: plan.warnings.clone(),
    })
}
