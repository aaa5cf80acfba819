//! What tenants are called in tables of other libraries.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use rehome_domain::ids::TenantId;

/// Names of tenants by their ids, of all adopted stores of a deployment: a target learns from the source.
#[derive(Clone, Debug, Default)]
pub struct TenantNames(Arc<Mutex<HashMap<TenantId, String>>>);

impl TenantNames {
    /// The name of a tenant, if some store has seen it.
    pub fn of(&self, tenant: TenantId) -> Option<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(&tenant).cloned()
    }

    /// Tenants that some store has seen whose names begin so, at most so many.
    pub fn beginning(&self, text: &str, limit: usize) -> Vec<TenantId> {
        let names = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let found = names.iter().filter(|(_, name)| name.starts_with(text));
        found.map(|(tenant, _)| *tenant).take(limit).collect()
    }

    /// What a store has seen.
    pub fn learn(&self, tenant: TenantId, name: &str) {
        let mut names = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        names.entry(tenant).or_insert_with(|| name.to_owned());
    }
}
