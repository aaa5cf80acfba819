//! The stores of the deployment, by name.

use std::collections::BTreeMap;
use std::sync::Arc;

use rehome_domain::ids::StoreId;
use rehome_ports::{ControlError, ControlPlane, LedgerStore, Migrations};

/// The configured stores. Cheap to clone.
#[derive(Clone)]
pub struct Stores {
    by_id: Arc<BTreeMap<StoreId, Arc<dyn LedgerStore>>>,
    default: StoreId,
}

/// The name is not in the configuration.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("store {id:?} is not configured; the configured stores are: {known}", id = .id.as_str())]
pub struct UnknownStore {
    /// The name.
    pub id: StoreId,
    /// The names there are.
    pub known: String,
}

impl Stores {
    /// The stores given; new tenants go to `default`.
    pub fn new(
        stores: impl IntoIterator<Item = Arc<dyn LedgerStore>>,
        default: StoreId,
    ) -> Result<Self, UnknownStore> {
        let by_id = stores.into_iter().map(|store| (store.id().clone(), store)).collect();
        let stores = Self { by_id: Arc::new(by_id), default };
        stores.get(&stores.default)?;
        Ok(stores)
    }

    /// The store of that name.
    pub fn get(&self, id: &StoreId) -> Result<&Arc<dyn LedgerStore>, UnknownStore> {
        self.by_id.get(id).ok_or_else(|| UnknownStore { id: id.clone(), known: self.names() })
    }

    /// Where new tenants go.
    pub fn default_id(&self) -> &StoreId {
        &self.default
    }

    /// All of them, in the order of their names.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<dyn LedgerStore>> {
        self.by_id.values()
    }

    fn names(&self) -> String {
        self.by_id.keys().map(StoreId::as_str).collect::<Vec<_>>().join(", ")
    }
}

/// Whether the store holds, or held, something of a tenant, according to the control plane. A store that does
/// is never made anew where it is missing.
pub async fn holds_history(
    control: &dyn ControlPlane,
    store: &StoreId,
) -> Result<bool, ControlError> {
    const PAGE: usize = 1_000;
    let mut after = None;
    loop {
        let routes = control.routes(after, PAGE).await?;
        if routes.iter().any(|route| route.store == *store) {
            return Ok(true);
        }
        after = routes.last().map(|route| route.tenant);
        if routes.len() < PAGE {
            break;
        }
    }
    let mut which = Migrations { limit: PAGE, ..Migrations::default() };
    loop {
        let migrations = control.migrations(which).await?;
        if migrations.iter().any(|m| m.source == *store || m.target == *store) {
            return Ok(true);
        }
        which.before = migrations.last().map(|migration| migration.id);
        if migrations.len() < PAGE {
            return Ok(false);
        }
    }
}
