//! Reporting a tenant's new store to applications with their own routing.

use async_trait::async_trait;
use rehome_domain::ids::{Epoch, MigrationId, StoreId, TenantId};

/// A switch that is done: the target accepts the tenant's appends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Moved {
    /// The tenant.
    pub tenant: TenantId,
    /// From where.
    pub from: StoreId,
    /// To where.
    pub to: StoreId,
    /// The epoch at which the target accepts appends. Of two publications for a tenant, the one with the
    /// higher epoch is valid.
    pub epoch: Epoch,
    /// By which migration.
    pub migration: MigrationId,
}

/// Reports a switch to programs that route appends without this deployment's router.
#[async_trait]
pub trait Publisher: Send + Sync {
    /// Publishes, and returns when every receiver has acknowledged. May be called again for the same switch,
    /// by any process. The error names the receiver that has not, and why.
    async fn publish(&self, moved: &Moved) -> Result<(), String>;

    /// Whether a switch of the tenant could be published now. Called by the plan, and before a cutover
    /// starts.
    async fn ready(&self, tenant: TenantId) -> Result<(), String>;
}
