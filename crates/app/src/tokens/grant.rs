//! What the bearer of a token may do, and to what that is bound.

use std::fmt::Write as _;

use rehome_domain::ids::{StoreId, TenantId};
use rehome_ports::AccessScope;

/// What the bearer of a token may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// Everything: events of all tenants, purges, recoveries and tokens too.
    Admin,
    /// View migrations, stores and tenants, and operate migrations; no events.
    Operator,
    /// View migrations, stores and tenants; no events.
    Viewer,
    /// Append and read the events of its tenants, and nothing else.
    Tenant,
    /// Read the events of its tenants, and nothing else.
    Reader,
    /// Read the metrics, and nothing else.
    Metrics,
}

impl Role {
    /// All of them.
    pub const ALL: [Self; 6] =
        [Self::Admin, Self::Operator, Self::Viewer, Self::Tenant, Self::Reader, Self::Metrics];

    /// Its name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Admin => "admin",
            Self::Operator => "operator",
            Self::Viewer => "viewer",
            Self::Tenant => "tenant",
            Self::Reader => "reader",
            Self::Metrics => "metrics",
        }
    }

    /// The role of that name; a writer is a tenant's.
    pub fn parse(name: &str) -> Result<Self, &'static str> {
        if name == "writer" {
            return Ok(Self::Tenant);
        }
        Self::ALL
            .into_iter()
            .find(|role| role.as_str() == name)
            .ok_or("the roles are admin, operator, viewer, tenant (or writer), reader and metrics")
    }

    /// Whether it may view migrations.
    pub const fn views(self) -> bool {
        matches!(self, Self::Admin | Self::Operator | Self::Viewer)
    }

    const fn changes_nothing(self) -> bool {
        matches!(self, Self::Viewer | Self::Reader | Self::Metrics)
    }
}

/// A role, and the tenants and stores that it is bound to.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Grant {
    role: Role,
    tenants: Vec<TenantId>,
    stores: Vec<StoreId>,
}

impl Grant {
    /// A role within bounds; empty lists bind to nothing.
    pub fn new(
        role: Role,
        tenants: Vec<TenantId>,
        stores: Vec<StoreId>,
    ) -> Result<Self, &'static str> {
        match role {
            Role::Tenant | Role::Reader if tenants.is_empty() => {
                Err("the roles tenant and reader need a tenant")
            }
            Role::Tenant | Role::Reader if !stores.is_empty() => {
                Err("the roles tenant and reader are bound to tenants, in any store")
            }
            Role::Admin | Role::Metrics if !(tenants.is_empty() && stores.is_empty()) => {
                Err("the roles admin and metrics are bound to nothing")
            }
            _ => Ok(Self { role, tenants, stores }),
        }
    }

    /// One tenant's own.
    pub fn of_tenant(tenant: TenantId) -> Self {
        Self { role: Role::Tenant, tenants: vec![tenant], stores: Vec::new() }
    }

    /// In the control plane's form.
    pub fn scope(&self) -> AccessScope {
        AccessScope {
            tenants: self.tenants.clone(),
            stores: self.stores.clone(),
            read_only: self.role.changes_nothing(),
        }
    }

    /// Reads it back. What only changes nothing is never more than that.
    pub fn kept(role: &str, scope: &AccessScope) -> Result<Self, &'static str> {
        let role = match (Role::parse(role)?, scope.read_only) {
            (Role::Tenant, true) => Role::Reader,
            (Role::Operator, true) => Role::Viewer,
            (Role::Admin, true) => return Err("an admin token cannot be read-only"),
            (role, _) => role,
        };
        Self::new(role, scope.tenants.clone(), scope.stores.clone())
    }

    /// The role.
    pub const fn role(&self) -> Role {
        self.role
    }

    /// The tenants that it is bound to; none: to no tenant in particular.
    pub fn tenants(&self) -> &[TenantId] {
        &self.tenants
    }

    /// The stores that it is bound to; none: to no store in particular.
    pub fn stores(&self) -> &[StoreId] {
        &self.stores
    }

    /// Whether it is bound to anything.
    pub fn is_bound(&self) -> bool {
        !(self.tenants.is_empty() && self.stores.is_empty())
    }

    /// Whether what concerns this tenant in all of these stores is within its bounds.
    pub fn covers<'a>(
        &self,
        tenant: TenantId,
        stores: impl IntoIterator<Item = &'a StoreId>,
    ) -> bool {
        let has_tenant = self.tenants.is_empty() || self.tenants.contains(&tenant);
        has_tenant && stores.into_iter().all(|store| self.covers_store(store))
    }

    /// Whether a store is within its bounds.
    pub fn covers_store(&self, store: &StoreId) -> bool {
        self.stores.is_empty() || self.stores.contains(store)
    }

    /// Its bounds as lines of the configuration.
    pub(super) fn lines(&self) -> String {
        let quoted = |all: Vec<String>| all.join("\", \"");
        let mut lines = String::new();
        // Writing to a String cannot fail.
        let _ = match &*self.tenants {
            [] => Ok(()),
            [tenant] => writeln!(lines, "tenant = \"{tenant}\""),
            tenants => {
                let all = quoted(tenants.iter().map(ToString::to_string).collect());
                writeln!(lines, "tenants = [\"{all}\"]")
            }
        };
        if !self.stores.is_empty() {
            let all = quoted(self.stores.iter().map(ToString::to_string).collect());
            let _ = writeln!(lines, "stores = [\"{all}\"]");
        }
        lines
    }
}

impl From<Role> for Grant {
    /// Without bounds. The role tenant without a tenant reaches no events.
    fn from(role: Role) -> Self {
        Self { role, tenants: Vec::new(), stores: Vec::new() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tenant(n: u128) -> TenantId {
        TenantId::new(uuid::Uuid::from_u128(n))
    }

    fn store(id: &str) -> StoreId {
        id.parse().unwrap()
    }

    #[test]
    fn tenants_need_a_tenant_and_an_admin_is_bound_to_nothing() {
        for role in [Role::Tenant, Role::Reader] {
            assert!(Grant::new(role, vec![], vec![]).is_err());
            assert!(Grant::new(role, vec![tenant(1), tenant(2)], vec![]).is_ok());
            assert!(Grant::new(role, vec![tenant(1)], vec![store("a")]).is_err());
        }
        for role in [Role::Admin, Role::Metrics] {
            assert!(Grant::new(role, vec![], vec![]).is_ok());
            assert!(Grant::new(role, vec![tenant(1)], vec![]).is_err());
            assert!(Grant::new(role, vec![], vec![store("a")]).is_err());
        }
        assert!(Role::parse("root").is_err());
        assert_eq!(Role::parse("writer"), Ok(Role::Tenant));
    }

    #[test]
    fn a_bound_covers_what_is_within_it_in_every_way() {
        let bound =
            Grant::new(Role::Operator, vec![tenant(1)], vec![store("a"), store("b")]).unwrap();
        assert!(bound.covers(tenant(1), [&store("a"), &store("b")]));
        assert!(!bound.covers(tenant(2), [&store("a")]));
        assert!(!bound.covers(tenant(1), [&store("a"), &store("c")]));
        assert!(!Grant::from(Role::Operator).is_bound());
        assert!(Grant::from(Role::Operator).covers(tenant(9), [&store("z")]));
    }

    #[test]
    fn what_is_kept_is_read_back_and_never_as_more() {
        for role in Role::ALL {
            let tenants = matches!(role, Role::Tenant | Role::Reader).then(|| tenant(1));
            let grant = Grant::new(role, tenants.into_iter().collect(), vec![]).unwrap();
            assert_eq!(Grant::kept(role.as_str(), &grant.scope()), Ok(grant));
        }
        let read_only = AccessScope { read_only: true, ..Grant::of_tenant(tenant(1)).scope() };
        assert_eq!(Grant::kept("tenant", &read_only).unwrap().role(), Role::Reader);
        let read_only = AccessScope { read_only: true, ..AccessScope::default() };
        assert_eq!(Grant::kept("operator", &read_only).unwrap().role(), Role::Viewer);
        assert!(Grant::kept("admin", &read_only).is_err());
        assert!(Grant::kept("of a later version", &AccessScope::default()).is_err());
    }
}
