//! Telling applications that route for themselves where a tenant has gone.

use async_trait::async_trait;
use rehome_domain::ids::{Epoch, MigrationId, StoreId, TenantId};

/// A switch that is done: the target takes the tenant's appends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Moved {
    /// Who.
    pub tenant: TenantId,
    /// From where.
    pub from: StoreId,
    /// To where.
    pub to: StoreId,
    /// The epoch at which the target takes appends. Of two publications for a tenant, the one with the
    /// higher epoch is true.
    pub epoch: Epoch,
    /// By which migration.
    pub migration: MigrationId,
}

/// Carries a switch to whoever routes appends without this deployment's router.
#[async_trait]
pub trait Publisher: Send + Sync {
    /// Publishes, and comes back when everybody has acknowledged. May be called again for the same switch,
    /// by any process. The error says who has not, and why.
    async fn publish(&self, moved: &Moved) -> Result<(), String>;

    /// Whether everybody could be told now. Asked by the plan, and before a cutover begins.
    async fn ready(&self) -> Result<(), String>;
}
