//! Documents of drains, for pages and commands.

use std::collections::BTreeSet;

use rehome_api::drain as api;
use rehome_domain::drain::{Drain, State, TenantState};
use rehome_domain::event::Timestamp;
use rehome_domain::ids::{DrainId, StoreId};
use rehome_domain::migration::Phase;
use rehome_engine::drain::Calendar;
use rehome_ports::{ControlError, DrainTenants, Drains, Migrations};
use tokio_util::sync::CancellationToken;

use super::documents;
use crate::deployment::Deployment;
use crate::error::{AppError, Kind};
use crate::options;

/// Routes that are read at once.
const PAGE: usize = 1_000;

/// Drains, newest first.
pub async fn list(
    deployment: &Deployment,
    open: bool,
    before: Option<DrainId>,
    limit: usize,
) -> Result<Vec<api::Drain>, AppError> {
    let which = Drains { open, before, limit };
    if let Some(before) = before {
        // A list after a drain that is not there would be empty.
        deployment.fleet().drain(before).await?;
    }
    let now = deployment.engine().control().now().await?;
    let mut found = Vec::new();
    for drain in deployment.fleet().drains(which).await? {
        let workers = if drain.state.is_over() {
            Vec::new()
        } else {
            deployment.fleet().attending(drain.id).await?
        };
        found.push(document(&drain, workers, now));
    }
    Ok(found)
}

/// A drain and how far it is; of one that is over also what it came to.
pub async fn show(deployment: &Deployment, id: DrainId) -> Result<api::Drain, AppError> {
    let drain = deployment.fleet().drain(id).await?;
    let now = deployment.engine().control().now().await?;
    if drain.state.is_over() {
        let statement = Some(statement(deployment, &drain).await?);
        return Ok(api::Drain { statement, ..document(&drain, Vec::new(), now) });
    }
    Ok(document(&drain, deployment.fleet().attending(id).await?, now))
}

/// Tenants of a drain in their order, those in one state or all.
pub async fn tenants(
    deployment: &Deployment,
    id: DrainId,
    state: Option<&str>,
    after: u64,
    limit: usize,
) -> Result<api::DrainTenantPage, AppError> {
    let known = [
        TenantState::Waiting,
        TenantState::Again,
        TenantState::Moving,
        TenantState::Moved,
        TenantState::SetAside,
    ];
    let words = known.map(TenantState::as_str).into_iter().chain(["stays"]);
    let state = match state {
        None => None,
        Some(state) => Some(words.into_iter().find(|word| *word == state).ok_or_else(|| {
            documents::usage(format!(
                "unknown state {state:?}; the states are waiting, again, moving, moved, set_aside \
                     and stays"
            ))
        })?),
    };
    let settings = deployment.fleet().drain(id).await?.settings;
    let rows =
        deployment.fleet().drain_tenants(DrainTenants { drain: id, state, after, limit }).await?;
    if rows.is_empty() && after > 0 {
        let place = DrainTenants { drain: id, state: None, after: after - 1, limit: 1 };
        if deployment.fleet().drain_tenants(place).await?.iter().all(|row| row.place != after) {
            let message = format!(
                "place {after} is beyond the end of the list: it is none of this drain, or the control plane \
                     has lost entries (restored from a backup?); read on from 0"
            );
            return Err(AppError::new(Kind::Refused, "position_beyond_end", message));
        }
    }
    let next_after = rows.last().filter(|_| rows.len() == limit).map(|row| row.place);
    let tenants = rows.iter().map(|row| documents::tenant(row, &settings)).collect();
    Ok(api::DrainTenantPage { tenants, next_after })
}

/// Shows a drain repeatedly until it ends or `stop` is cancelled.
pub async fn watch(
    deployment: &Deployment,
    id: DrainId,
    every: std::time::Duration,
    stop: &CancellationToken,
    mut seen: impl FnMut(&api::Drain),
) -> Result<api::Drain, AppError> {
    loop {
        let drain = show(deployment, id).await?;
        seen(&drain);
        if drain.ended_at.is_some() || stop.is_cancelled() {
            return Ok(drain);
        }
        tokio::select! {
            () = stop.cancelled() => {}
            () = tokio::time::sleep(every) => {}
        }
    }
}

/// What a drain came to, and whether its sources can be switched off, as of now.
async fn statement(
    deployment: &Deployment,
    drain: &Drain,
) -> Result<api::DrainStatement, AppError> {
    let sources = &drain.settings.sources;
    let (tenants_left, windows_open) = left_at(deployment, sources).await?;
    let counts = drain.counts;
    let named: Vec<_> = sources.iter().map(StoreId::as_str).collect();
    let named = named.join(", ");
    let mut why_not = Vec::new();
    if tenants_left > 0 {
        let are = if tenants_left == 1 { "tenant is" } else { "tenants are" };
        why_not.push(format!("{tenants_left} {are} still in {named}"));
    }
    if windows_open > 0 {
        let (tenants, windows) = if windows_open == 1 {
            ("tenant", "its rollback window is")
        } else {
            ("tenants", "their rollback windows are")
        };
        why_not
            .push(format!("{windows_open} {tenants} can still return to {named}; {windows} open"));
    }
    let default = deployment.engine().stores().default_id();
    if sources.contains(default) {
        why_not
            .push(format!("new tenants are created in {default}; make another store the default"));
    }
    Ok(api::DrainStatement {
        moved: counts.moved,
        set_aside: counts.set_aside,
        stays: counts.stays,
        not_begun: counts.waiting + counts.again,
        tenants_left,
        windows_open,
        can_be_switched_off: why_not.is_empty(),
        why_not,
    })
}

/// Tenants that the stores have, and rollback windows that need them.
async fn left_at(deployment: &Deployment, sources: &[StoreId]) -> Result<(u64, u64), ControlError> {
    let control = deployment.engine().control();
    let (mut tenants, mut open, mut after) = (0, BTreeSet::new(), None);
    loop {
        let page = control.routes(after, PAGE).await?;
        for route in page.iter().filter(|route| !route.is_removed()) {
            if sources.contains(&route.store) {
                tenants += 1;
            } else if route.window {
                open.extend(route.migration.map(|(id, _)| id));
            }
        }
        match page.last() {
            Some(last) if page.len() == PAGE => after = Some(last.tenant),
            _ => break,
        }
    }
    // Newest first, and no further back than the oldest open window: by pages, not by tenant.
    let (mut windows, mut before) = (0, None);
    while !open.is_empty() {
        let which = Migrations { before, phase: Some(Phase::Migrated), limit: PAGE, tenant: None };
        let page = control.migrations(which).await?;
        for migration in &page {
            windows += u64::from(open.remove(&migration.id) && sources.contains(&migration.source));
        }
        match page.last() {
            Some(last) if page.len() == PAGE => before = Some(last.id),
            _ => break,
        }
    }
    Ok((tenants, windows))
}

/// A drain as it is shown.
fn document(drain: &Drain, workers: Vec<String>, now: Timestamp) -> api::Drain {
    let (counts, settings) = (drain.counts, &drain.settings);
    let until = drain.ended_at.unwrap_or(now);
    let seconds = until.micros().saturating_sub(drain.created_at.micros()) as f64 / 1e6;
    let rate = (counts.moved > 0 && seconds > 0.0).then(|| counts.moved as f64 / seconds);
    let calendar = settings.window.as_ref().and_then(|window| Calendar::of(window).ok());
    let window_open = match (&settings.window, &calendar) {
        (None, _) => true,
        (Some(_), calendar) => calendar.as_ref().is_some_and(|calendar| calendar.is_open(now)),
    };
    let opens = calendar.filter(|_| !window_open).and_then(|calendar| calendar.next_opening(now));
    let runs = drain.state == State::Running;
    api::Drain {
        id: drain.id.uuid(),
        state: drain.state.as_str().to_owned(),
        from: settings.sources.iter().map(ToString::to_string).collect(),
        to: settings.targets.iter().map(documents::target).collect(),
        settings: documents::settings(settings),
        options: options::document(&settings.options),
        tenants: counts.to_move(),
        waiting: counts.waiting,
        moving: counts.moving,
        moved: counts.moved,
        again: counts.again,
        set_aside: counts.set_aside,
        stays: counts.stays,
        events: counts.events,
        events_moved: counts.events_moved,
        failures: drain.failures,
        tenants_per_second: rate,
        eta_seconds: rate.filter(|_| runs).map(|rate| counts.left() as f64 / rate),
        window_open,
        window_opens_at: opens.map(documents::time),
        needs: needs(drain, now, &workers, window_open, opens),
        workers,
        created_at: documents::time(drain.created_at),
        created_by: drain.created_by.clone(),
        ended_at: drain.ended_at.map(documents::time),
        statement: None,
        last_seen_at: None,
    }
}

/// A server lists drains at least this often.
const FOUND_WITHIN_MICROS: i64 = 10_000_000;

/// What needs an operator.
fn needs(
    drain: &Drain,
    now: Timestamp,
    workers: &[String],
    window_open: bool,
    opens: Option<Timestamp>,
) -> Vec<String> {
    let (id, counts) = (drain.id, drain.counts);
    let mut needs = Vec::new();
    if drain.state.as_str() == "budget_spent" {
        needs.push(format!(
            "{} moves failed and the drain paused; see why (`rehome drain show {id} --state again`), then \
             `rehome drain resume {id}`",
            drain.failures
        ));
    }
    if counts.set_aside > 0 {
        let (tenants, them) =
            if counts.set_aside == 1 { ("tenant has", "it") } else { ("tenants have", "them") };
        needs.push(format!(
            "{} {tenants} no attempts left; `rehome drain show {id} --state set_aside` \
             shows why, `rehome drain retry {id}` tries {them} again",
            counts.set_aside
        ));
    }
    let age = now.micros().saturating_sub(drain.created_at.micros());
    if !drain.state.is_over() && workers.is_empty() && age > FOUND_WITHIN_MICROS {
        needs.push(
            "no process works on it; start `rehome serve` or `rehome migration drive`".to_owned(),
        );
    }
    if !window_open && opens.is_none() && !drain.state.is_over() {
        needs.push(format!(
            "its window never opens again; set another with `rehome drain tune {id} --window ...`"
        ));
    }
    needs
}

#[cfg(test)]
mod tests {
    use rehome_domain::drain::{Counts, Settings, Target};
    use rehome_domain::ids::DrainId;

    use super::*;

    fn drain() -> Drain {
        let store = |name: &str| name.parse().unwrap();
        let targets = vec![Target { store: store("b"), weight: 1 }];
        Drain {
            id: DrainId::new(uuid::Uuid::nil()),
            entries: 1,
            state: State::Running,
            settings: Settings::new(vec![store("a")], targets),
            counts: Counts { waiting: 2, ..Counts::default() },
            failures: 0,
            released: (0, 0),
            created_at: Timestamp::from_micros(0),
            created_by: "ada".to_owned(),
            ended_at: None,
            left: None,
        }
    }

    #[test]
    fn a_drain_that_has_just_begun_needs_nobody_and_one_that_nobody_works_on_does() {
        let after = |seconds: i64, workers: &[String]| {
            needs(&drain(), Timestamp::from_micros(seconds * 1_000_000), workers, true, None)
        };
        assert_eq!(after(1, &[]), Vec::<String>::new());
        assert!(after(60, &[])[0].contains("no process works on it"));
        assert_eq!(after(60, &["one".to_owned()]), Vec::<String>::new());
    }
}
