//! What a drain would do, tenant by tenant, and whether a plan is still true.

use std::collections::{BTreeMap, BTreeSet};

use rehome_domain::drain::{self, Order, Report, Settings, Stay, Tenant, TenantState, Unplaced};
use rehome_domain::estimate;
use rehome_domain::event::Timestamp;
use rehome_domain::ids::{StoreId, TenantId};
use rehome_domain::migration::CutoverPolicy;
use rehome_ports::{BatchLimit, ControlError, DrainTenants, LedgerStore};

use super::operations::{DrainError, Drains};
use super::{Calendar, targets};
use crate::Engine;
use crate::migration::tables::{self, Adopted};

/// Rows that are read at once.
const PAGE: usize = 1_000;

/// What to plan.
#[derive(Clone, Debug)]
pub struct DrainRequest {
    /// What the drain runs with.
    pub settings: Settings,
    /// Only these tenants; empty: all that the sources have.
    pub only: BTreeSet<TenantId>,
    /// None of these.
    pub exclude: BTreeSet<TenantId>,
}

/// What a drain would do.
#[derive(Clone, Debug, PartialEq)]
pub struct DrainPlan {
    /// The deployment that it is for.
    pub deployment: String,
    /// When it was made.
    pub at: Timestamp,
    /// What the drain runs with.
    pub settings: Settings,
    /// Its tenants in their order, those that stay last.
    pub tenants: Vec<Tenant>,
    /// The estimated duration, in seconds, without waiting for windows.
    pub seconds: f64,
    /// When its window opens next, if it is closed now.
    pub opens: Option<Timestamp>,
    /// What an operator should know before it starts.
    pub warnings: Vec<String>,
}

/// The estimated duration of one tenant's move, in seconds.
pub fn tenant_seconds(settings: &Settings, events: u64) -> f64 {
    let copy_rate_per_second = match settings.limits.copy_rate_max {
        0 => estimate::Inputs::default().copy_rate_per_second,
        rate => (f64::from(rate) / f64::from(settings.limits.at_once.max(1))).max(1.0),
    };
    let inputs = estimate::Inputs {
        total_events: events,
        copy_rate_per_second,
        dual_write_lag_events: 0,
        cutover_pause_seconds: 0.05,
        ..estimate::Inputs::default()
    };
    estimate::estimate(&inputs).map_or(0.0, |estimate| estimate.total_seconds)
}

/// Plans a drain.
pub(super) async fn plan(drains: &Drains, request: DrainRequest) -> Result<DrainPlan, DrainError> {
    let (engine, fleet) = (&drains.engine, &drains.fleet);
    let settings = request.settings.check()?;
    let at = engine.control.now().await?;
    let opens = match &settings.window {
        None => None,
        Some(window) => {
            let calendar = Calendar::still_to_come(window, at)?;
            calendar.next_opening(at).filter(|_| !calendar.is_open(at))
        }
    };
    let mut reports = look_at_targets(drains, &settings).await?;
    let mut tenants = found(engine, &settings, at).await?;
    let known: BTreeSet<_> = tenants.iter().map(|row| row.tenant).collect();
    if !request.only.is_empty() {
        tenants.retain(|row| request.only.contains(&row.tenant));
    }
    let mut stays = Vec::new();
    for tenant in request.only.difference(&known) {
        let row = Tenant::waiting(*tenant, settings.sources[0].clone(), 0, at);
        stays.push(row.staying(Stay::Gone, "it is in none of the sources"));
    }
    let others = moved_by_others(drains).await?;
    let ids: Vec<_> = tenants.iter().map(|row| row.tenant).collect();
    let pins = fleet.pins_of(&ids).await?;
    let mut moves = Vec::new();
    for row in tenants {
        if request.exclude.contains(&row.tenant) {
            stays.push(row.staying(Stay::Excluded, "it was excluded"));
        } else if let Some(pin) = pins.get(&row.tenant) {
            let why = format!("it was pinned by {}: {}", pin.by, pin.why);
            stays.push(row.staying(Stay::Pinned, why));
        } else if let Some(other) = others.get(&row.tenant) {
            stays.push(row.staying(Stay::OtherDrain, format!("drain {other} moves it")));
        } else {
            moves.push(row);
        }
    }
    sort(engine, &settings, &mut moves).await?;
    for row in &mut moves {
        row.target = aim(&settings, &mut reports, row.events);
    }
    let seconds: f64 = moves.iter().map(|row| tenant_seconds(&settings, row.events)).sum();
    let mut warnings = warnings(drains, &settings).await?;
    if moves.is_empty() {
        warnings.push("no tenant would move".to_owned());
    }
    let mut tenants = moves;
    tenants.append(&mut stays);
    for (place, row) in (1..).zip(&mut tenants) {
        row.place = place;
    }
    let seconds = seconds / f64::from(settings.limits.at_once);
    let deployment = engine.control.deployment().to_owned();
    Ok(DrainPlan { deployment, at, settings, tenants, seconds, opens, warnings })
}

/// The target of a row in a plan, where limits of moves at once do not matter.
fn aim(
    settings: &Settings,
    reports: &mut BTreeMap<StoreId, Report>,
    events: u64,
) -> Option<StoreId> {
    let placed: Result<_, Unplaced> = drain::place(settings, reports, events, None);
    let target = placed.ok().flatten()?;
    let report = reports.get_mut(&target)?;
    report.events += events;
    report.tenants += 1;
    report.free_bytes = report.free_bytes.map(|free| free.saturating_sub(events * EVENT_BYTES));
    Some(target)
}

/// Approximate size of an event: only for a forecast of free space.
const EVENT_BYTES: u64 = 512;

/// The reports of the targets; refuses targets that accept no tenant.
async fn look_at_targets(
    drains: &Drains,
    settings: &Settings,
) -> Result<BTreeMap<StoreId, Report>, DrainError> {
    let engine = &drains.engine;
    let mut sources = Vec::new();
    for source in &settings.sources {
        sources.push(Adopted::of(&**engine.stores.get(source)?).await?);
    }
    let reports = targets::ask(engine, &*drains.fleet, settings).await?;
    for target in &settings.targets {
        let store = target.store.clone();
        let handle = engine.stores.get(&store)?;
        if let Some(why) = reports.get(&store).and_then(|report| report.closed.clone()) {
            return Err(DrainError::Target { store, why });
        }
        let target = Adopted::of(&**handle).await?;
        for source in &sources {
            if let Some(Err(why)) = tables::named(source.as_ref(), target.as_ref()) {
                return Err(DrainError::Target { store, why });
            }
            let one_way = tables::is_one_way(source.as_ref(), target.as_ref());
            if one_way && settings.options.rollback_window_ms > 0 {
                return Err(DrainError::Target { store, why: tables::ONE_WAY.to_owned() });
            }
            let (Some(source), Some(target)) = (source, &target) else { continue };
            let lost = source.losses(target);
            if !lost.is_empty() {
                return Err(DrainError::Target { store, why: lost.join("; ") });
            }
        }
    }
    Ok(reports)
}

/// The tenants that the sources have the authority for, with their sizes.
async fn found(
    engine: &Engine,
    settings: &Settings,
    at: Timestamp,
) -> Result<Vec<Tenant>, DrainError> {
    let mut sizes = BTreeMap::new();
    for source in &settings.sources {
        let store = engine.stores.get(source)?;
        let mut after = None;
        loop {
            let page = store.tenants(after, PAGE).await?;
            sizes.extend(page.iter().map(|one| ((source, one.tenant), one.ledger.head.seq)));
            match page.last() {
                Some(last) if page.len() == PAGE => after = Some(last.tenant),
                _ => break,
            }
        }
    }
    let mut found = Vec::new();
    each_route(engine, |tenant, store| {
        if let Some(source) = settings.sources.iter().find(|source| *source == store) {
            let events = sizes.get(&(source, tenant)).copied().unwrap_or_default();
            found.push(Tenant::waiting(tenant, source.clone(), events, at));
        }
    })
    .await?;
    Ok(found)
}

async fn each_route(
    engine: &Engine,
    mut see: impl FnMut(TenantId, &StoreId),
) -> Result<(), ControlError> {
    let mut after = None;
    loop {
        let page = engine.control.routes(after, PAGE).await?;
        for route in page.iter().filter(|route| !route.is_removed()) {
            see(route.tenant, &route.store);
        }
        match page.last() {
            Some(last) if page.len() == PAGE => after = Some(last.tenant),
            _ => return Ok(()),
        }
    }
}

/// The tenants that drains which are not over have still to move.
async fn moved_by_others(
    drains: &Drains,
) -> Result<BTreeMap<TenantId, rehome_domain::ids::DrainId>, ControlError> {
    let which = rehome_ports::Drains { open: true, before: None, limit: PAGE };
    let mut others = BTreeMap::new();
    for drain in drains.fleet.drains(which).await? {
        for state in [TenantState::Waiting, TenantState::Again, TenantState::Moving] {
            let state = Some(state.as_str());
            let mut which = DrainTenants { drain: drain.id, state, after: 0, limit: PAGE };
            loop {
                let page = drains.fleet.drain_tenants(which).await?;
                others.extend(page.iter().map(|row| (row.tenant, drain.id)));
                match page.last() {
                    Some(last) if page.len() == PAGE => which.after = last.place,
                    _ => break,
                }
            }
        }
    }
    Ok(others)
}

/// Brings the tenants into the drain's order.
async fn sort(
    engine: &Engine,
    settings: &Settings,
    tenants: &mut [Tenant],
) -> Result<(), DrainError> {
    match settings.order {
        Order::Smallest => tenants.sort_by_key(|row| (row.events, row.tenant)),
        Order::Largest => {
            tenants.sort_by_key(|row| (std::cmp::Reverse(row.events), row.tenant));
        }
        Order::Idle => {
            let mut last = BTreeMap::new();
            for row in &*tenants {
                let store = engine.stores.get(&row.source)?;
                last.insert(row.tenant, last_event(&**store, row).await?);
            }
            tenants.sort_by_key(|row| (last.get(&row.tenant).copied(), row.tenant));
        }
    }
    Ok(())
}

/// When the tenant's last event was recorded, in microseconds; 0 where it has none.
async fn last_event(store: &dyn LedgerStore, row: &Tenant) -> Result<i64, DrainError> {
    let before = row.events.saturating_sub(1);
    let feed = store.read_feed(row.tenant, before, BatchLimit::events(1)).await?;
    Ok(feed.events.last().map_or(0, |event| event.recorded_at.micros()))
}

async fn warnings(drains: &Drains, settings: &Settings) -> Result<Vec<String>, DrainError> {
    let cordons = drains.fleet.cordons().await?;
    let mut warnings = Vec::new();
    if settings.options.rollback_window_ms == 0 {
        warnings.push(
            "a tenant that has moved cannot return: `--rollback-window 1h` keeps its old copy in step for an hour"
                .to_owned(),
        );
    }
    if settings.options.cutover == CutoverPolicy::Manual && !settings.bounds_cutovers() {
        warnings.push(
            "the cutover is manual: each move waits for `rehome migration cutover`; `--cutover auto` needs no operator"
                .to_owned(),
        );
    }
    for source in &settings.sources {
        if !cordons.contains_key(source) {
            warnings.push(format!(
                "store {source} is not cordoned: new tenants that arrive during the drain are not moved; \
                 `rehome store cordon {source}` refuses them"
            ));
        }
        if drains.engine.stores.default_id() == source {
            warnings.push(format!(
                "store {source} is the default store, where new tenants are created; make another store the default"
            ));
        }
    }
    Ok(warnings)
}

/// Refuses a plan that is not true any more.
pub(super) async fn check(drains: &Drains, plan: &DrainPlan) -> Result<(), DrainError> {
    let engine = &drains.engine;
    let old = |why: String| Err(DrainError::OldPlan(why));
    if plan.deployment != engine.control.deployment() {
        return old(format!("it was made for deployment {}", plan.deployment));
    }
    let settings = plan.settings.clone().check()?;
    if let Some(window) = &settings.window {
        Calendar::still_to_come(window, engine.control.now().await?)?;
    }
    look_at_targets(drains, &settings).await?;
    let planned: BTreeMap<_, _> = plan.tenants.iter().map(|row| (row.tenant, row)).collect();
    if planned.len() != plan.tenants.len() {
        return old("it names a tenant twice".to_owned());
    }
    let mut at: BTreeMap<TenantId, StoreId> = BTreeMap::new();
    each_route(engine, |tenant, store| {
        if planned.contains_key(&tenant) {
            at.insert(tenant, store.clone());
        }
    })
    .await?;
    let to_move = || plan.tenants.iter().filter(|row| row.state == TenantState::Waiting);
    let gone = to_move().filter(|row| at.get(&row.tenant) != Some(&row.source));
    let gone: Vec<_> = gone.map(|row| row.tenant.to_string()).collect();
    if let Some(first) = gone.first() {
        let others = gone.len() - 1;
        return old(format!("tenant {first} (and {others} others) is not where the plan has it"));
    }
    let others = moved_by_others(drains).await?;
    if let Some(row) = to_move().find(|row| others.contains_key(&row.tenant)) {
        let (tenant, other) = (row.tenant, &others[&row.tenant]);
        return old(format!("drain {other} moves tenant {tenant}"));
    }
    let ids: Vec<_> = to_move().map(|row| row.tenant).collect();
    if let Some((tenant, pin)) = drains.fleet.pins_of(&ids).await?.into_iter().next() {
        let why = if pin.why.is_empty() { String::new() } else { format!(": {}", pin.why) };
        return old(format!("tenant {tenant} was pinned by {}{why}", pin.by));
    }
    if to_move().next().is_none() {
        let none = "no tenant of the plan moves; see why each of them stays";
        return Err(DrainError::Nothing(none.to_owned()));
    }
    Ok(())
}
