//! To which store a tenant goes.

use std::collections::BTreeMap;

use super::{Placement, Settings};
use crate::ids::StoreId;

/// The report of a target.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Why it accepts no tenant now: it is cordoned, full or unreachable. `None`: it accepts tenants.
    pub closed: Option<String>,
    /// Bytes that it has left, where it reports them.
    pub free_bytes: Option<u64>,
    /// Tenants that it has.
    pub tenants: u64,
    /// Events that the drain has brought it or is bringing it.
    pub events: u64,
    /// Moves at work towards it.
    pub moving: u32,
}

/// No target accepts the tenant now.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no target accepts the tenant: {0}")]
pub struct Unplaced(pub String);

/// The target of a tenant with this number of events: the planned one if it accepts tenants, else the best of the
/// others. Never a source of the drain, nor a closed target. `None`: all open targets have reached their maximum
/// number of moves.
pub fn place(
    settings: &Settings,
    reports: &BTreeMap<StoreId, Report>,
    events: u64,
    planned: Option<&StoreId>,
) -> Result<Option<StoreId>, Unplaced> {
    let unknown =
        Report { closed: Some("it has not been read yet".to_owned()), ..Report::default() };
    let of = |store: &StoreId| reports.get(store).unwrap_or(&unknown);
    let (open, closed): (Vec<_>, Vec<_>) =
        settings.targets.iter().partition(|target| of(&target.store).closed.is_none());
    if open.is_empty() {
        let why = closed.iter().map(|target| {
            format!("{}: {}", target.store, of(&target.store).closed.as_deref().unwrap_or_default())
        });
        return Err(Unplaced(why.collect::<Vec<_>>().join("; ")));
    }
    let to_one = settings.limits.to_one();
    let has_room = |store: &StoreId| of(store).moving < to_one;
    if let Some(planned) = planned
        && open.iter().any(|target| target.store == *planned)
    {
        return Ok(has_room(planned).then(|| planned.clone()));
    }
    // What it would have then, for each part of its weight: the least is the best. In u128 nothing is lost.
    let weighed = |value: u128, weight: u32| value * 1_000_000 / u128::from(weight.max(1));
    let best = open.into_iter().filter(|target| has_room(&target.store)).min_by_key(|target| {
        let report = of(&target.store);
        let load = weighed(u128::from(report.events) + u128::from(events), target.weight);
        let first = match settings.placement {
            Placement::Weights => load,
            Placement::FreeSpace => u128::from(u64::MAX - report.free_bytes.unwrap_or(0)),
            Placement::LeastLoaded => weighed(u128::from(report.tenants) + 1, target.weight),
        };
        (first, load, target.store.clone())
    });
    Ok(best.map(|target| target.store.clone()))
}
