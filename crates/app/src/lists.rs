//! Lists of tenants and of migrations, for deployments that have many: by store, by state, by the beginning of
//! an id or by a name. Each is found by an index, and costs the same however many there are.

use std::collections::BTreeMap;

use rehome_api as api;
use rehome_domain::ids::{MigrationId, StoreId, TenantId};
use rehome_domain::layout::tenant_of;
use rehome_domain::migration::{Migration, Phase, awaited};
use rehome_domain::route::Route;
use rehome_ports::{MigrationFilter, RouteFilter, TenantRange};
use uuid::Uuid;

use crate::deployment::Deployment;
use crate::error::{AppError, Kind};

/// Names of tenants that one search looks for.
const NAMES_MAX: usize = 100;
/// Migrations that are read at once while those are looked for that need an operator.
const PAGE: usize = 200;
/// Most of them that are read.
const LOOKED_AT_MAX: usize = 1_000;

/// Which tenants to list.
#[derive(Clone, Debug, Default)]
pub struct TenantsWanted {
    /// Only those after this one.
    pub after: Option<TenantId>,
    /// Only those of this store.
    pub store: Option<StoreId>,
    /// Only those whose last migration is in this phase.
    pub phase: Option<Phase>,
    /// Only those whose ids begin so, or whose name this is.
    pub search: Option<String>,
    /// Only those that are pinned.
    pub pinned: bool,
    /// At most so many.
    pub limit: usize,
}

/// Which migrations to list, newest first.
#[derive(Clone, Debug, Default)]
pub struct MigrationsWanted {
    /// Only of this tenant.
    pub tenant: Option<TenantId>,
    /// Only of tenants whose ids begin so, or whose name this is.
    pub search: Option<String>,
    /// Only those in this phase.
    pub phase: Option<Phase>,
    /// Only those from or to this store.
    pub store: Option<StoreId>,
    /// Only those that need an operator.
    pub needs_you: bool,
    /// Only those older than this one.
    pub before: Option<MigrationId>,
    /// At most so many.
    pub limit: usize,
}

/// Tenants in the order of their ids.
pub async fn tenants(
    deployment: &Deployment,
    wanted: &TenantsWanted,
) -> Result<api::drain::TenantPage, AppError> {
    let limit = wanted.limit.max(1);
    let mut found: BTreeMap<TenantId, Route> = BTreeMap::new();
    for tenants in searched(deployment, wanted.search.as_deref())? {
        let filter = RouteFilter {
            tenants,
            store: wanted.store.clone(),
            phase: wanted.phase,
            pinned: wanted.pinned,
            removing: false,
            after: wanted.after,
            // One more shows whether there are more.
            limit: limit + 1,
        };
        let routes = deployment.fleet().find_routes(&filter).await?;
        found.extend(routes.into_iter().map(|route| (route.tenant, route)));
    }
    let more = found.len() > limit;
    let routes: Vec<_> = found.into_values().take(limit).collect();
    let next_cursor = routes.last().filter(|_| more).map(|route| route.tenant.uuid());
    let ids: Vec<_> = routes.iter().map(|route| route.tenant).collect();
    let mut pins = deployment.fleet().pins_of(&ids).await?;
    let row = |route: Route| api::drain::TenantRow {
        tenant_id: route.tenant.uuid(),
        name: deployment.names().of(route.tenant),
        store: route.store.to_string(),
        state: route.phase().map(|phase| phase.as_str().to_owned()),
        migration_id: route.migration.map(|(id, _)| MigrationId::uuid(id)),
        rollback_window_open: route.window,
        pinned: pins.remove(&route.tenant).map(|pin| pin.why),
        removing: route.removing(),
    };
    let tenants = routes.into_iter().map(row).collect();
    Ok(api::drain::TenantPage { tenants, next_cursor })
}

/// The rows of migrations that are wanted.
pub(crate) async fn migrations_found(
    deployment: &Deployment,
    wanted: &MigrationsWanted,
) -> Result<Vec<Migration>, AppError> {
    let ranges = match wanted.tenant {
        Some(tenant) => vec![Some((tenant, tenant))],
        None => searched(deployment, wanted.search.as_deref())?,
    };
    let filter = |tenants| MigrationFilter {
        tenants,
        store: wanted.store.clone(),
        phase: wanted.phase,
        before: wanted.before,
        limit: wanted.limit,
    };
    let mut lists = Vec::new();
    for tenants in ranges {
        let filter = filter(tenants);
        if wanted.needs_you {
            lists.push(in_need(deployment, &filter).await?);
        } else {
            lists.push(deployment.fleet().find_migrations(&filter).await?);
        }
    }
    Ok(filter(None).joined(lists))
}

/// Those that may need an operator, by their rows.
async fn in_need(
    deployment: &Deployment,
    filter: &MigrationFilter,
) -> Result<Vec<Migration>, AppError> {
    let wanted = filter.phase;
    let phases = Phase::ALL.into_iter().filter(|phase| wanted.is_none_or(|one| one == *phase));
    let mut lists = Vec::new();
    // One that was aborted needs no operator.
    for phase in phases.filter(|phase| *phase != Phase::RolledBack) {
        let (mut found, mut looked_at, mut before) = (Vec::new(), 0, filter.before);
        while found.len() < filter.limit && looked_at < LOOKED_AT_MAX {
            let page =
                MigrationFilter { phase: Some(phase), before, limit: PAGE, ..filter.clone() };
            let page = deployment.fleet().find_migrations(&page).await?;
            looked_at += page.len();
            before = page.last().map(|last| last.id);
            let is_last = page.len() < PAGE;
            // Whether one that waits for its cutover is ready for it, its stores know: see `migrations`.
            let needs = |one: &Migration| !awaited(one, true).is_empty();
            found.extend(page.into_iter().filter(needs));
            if is_last {
                break;
            }
        }
        lists.push(found);
    }
    Ok(filter.joined(lists))
}

/// The ranges of ids that a text may stand for; without a text all ids are one.
fn searched(
    deployment: &Deployment,
    text: Option<&str>,
) -> Result<Vec<Option<TenantRange>>, AppError> {
    let Some(text) = text.map(str::trim).filter(|text| !text.is_empty()) else {
        return Ok(vec![None]);
    };
    let mut ranges = Vec::from_iter(prefix(text));
    let one = |tenant| (tenant, tenant);
    // A tenant of another library's table has a name; some this process has seen.
    ranges.push(one(tenant_of(text)));
    ranges.extend(deployment.names().beginning(text, NAMES_MAX).into_iter().map(one));
    if text.len() > 1_000 {
        let message = "the search text is longer than 1000 bytes";
        return Err(AppError::new(Kind::Usage, "bad_search", message));
    }
    ranges.sort_unstable();
    ranges.dedup();
    Ok(ranges.into_iter().map(Some).collect())
}

/// The range of ids that begin with a text, if any can.
fn prefix(text: &str) -> Option<TenantRange> {
    let digits: String = text.chars().filter(|sign| *sign != '-').collect();
    let is_hex = digits.chars().all(|sign| sign.is_ascii_hexdigit());
    if digits.is_empty() || digits.len() > 32 || !is_hex {
        return None;
    }
    let value = u128::from_str_radix(&digits, 16).ok()?;
    let free = 4 * u32::try_from(32 - digits.len()).ok()?;
    let first = value.checked_shl(free).unwrap_or(0);
    let last = first | 1_u128.checked_shl(free).map_or(u128::MAX, |one| one - 1);
    let id = |value| TenantId::new(Uuid::from_u128(value));
    Some((id(first), id(last)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_beginning_of_an_id_is_a_range() {
        let id = |text: &str| text.parse::<TenantId>().unwrap();
        let (first, last) = prefix("7a00").unwrap();
        assert_eq!(first, id("7a000000-0000-0000-0000-000000000000"));
        assert_eq!(last, id("7a00ffff-ffff-ffff-ffff-ffffffffffff"));
        let whole = "7a000000-0000-4000-8000-000000000001";
        assert_eq!(prefix(whole), Some((id(whole), id(whole))));
        assert_eq!(prefix("f").unwrap().1, id("ffffffff-ffff-ffff-ffff-ffffffffffff"));
        for none in ["", "acme", "+1", "7a000000-0000-4000-8000-0000000000011"] {
            assert_eq!(prefix(none), None, "{none}");
        }
    }
}
