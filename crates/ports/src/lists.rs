//! What to list of a deployment with many tenants: filters that every control plane has indices for.

use rehome_domain::ids::{MigrationId, StoreId, TenantId};
use rehome_domain::migration::{Migration, Phase};
use rehome_domain::route::Route;

/// Tenants from the first to the last of these, both included.
pub type TenantRange = (TenantId, TenantId);

fn has(range: Option<TenantRange>, tenant: TenantId) -> bool {
    range.is_none_or(|(first, last)| (first..=last).contains(&tenant))
}

/// Which routes to list, in the order of their tenants.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RouteFilter {
    /// Only of these tenants.
    pub tenants: Option<TenantRange>,
    /// Only those with the authority in this store.
    pub store: Option<StoreId>,
    /// Only those whose last migration is in this phase.
    pub phase: Option<Phase>,
    /// Only those of pinned tenants.
    pub pinned: bool,
    /// Only those of tenants whose removal was requested and is not complete.
    pub removing: bool,
    /// Only those after this tenant's.
    pub after: Option<TenantId>,
    /// At most so many.
    pub limit: usize,
}

impl RouteFilter {
    /// Whether it lists this route, but for pins; never that of a removed tenant.
    pub fn takes(&self, route: &Route) -> bool {
        !route.is_removed()
            && has(self.tenants, route.tenant)
            && self.store.as_ref().is_none_or(|store| *store == route.store)
            && self.phase.is_none_or(|phase| route.phase() == Some(phase))
            && (!self.removing || route.removal.is_some())
            && self.after.is_none_or(|after| after < route.tenant)
    }
}

/// Which migrations to list, newest first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MigrationFilter {
    /// Only of these tenants.
    pub tenants: Option<TenantRange>,
    /// Only those from or to this store.
    pub store: Option<StoreId>,
    /// Only those in this phase.
    pub phase: Option<Phase>,
    /// Only those older than this one. One that is not there has none before it.
    pub before: Option<MigrationId>,
    /// At most so many.
    pub limit: usize,
}

impl MigrationFilter {
    /// Whether it lists this migration, but for `before`.
    pub fn takes(&self, migration: &Migration) -> bool {
        let is_of = |store: &StoreId| *store == migration.source || *store == migration.target;
        has(self.tenants, migration.tenant)
            && self.store.as_ref().is_none_or(is_of)
            && self.phase.is_none_or(|phase| migration.state.phase() == phase)
    }

    /// Lists of the same filter as one: newest first, each once.
    pub fn joined(&self, lists: impl IntoIterator<Item = Vec<Migration>>) -> Vec<Migration> {
        let mut all: Vec<_> = lists.into_iter().flatten().collect();
        all.sort_by_key(|migration| std::cmp::Reverse((migration.created_at, migration.id)));
        all.dedup_by_key(|migration| migration.id);
        all.truncate(self.limit);
        all
    }
}
