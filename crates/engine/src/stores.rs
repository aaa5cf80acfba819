//! The stores of the deployment, by name.

use std::collections::BTreeMap;
use std::sync::Arc;

use rehome_domain::ids::StoreId;
use rehome_ports::LedgerStore;

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
