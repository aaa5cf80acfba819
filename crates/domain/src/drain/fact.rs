//! The facts of a drain's log.

use super::{Settings, Stay};
use crate::ids::{MigrationId, StoreId, TenantId};

/// One thing that happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fact {
    /// The drain exists, with its tenants.
    Started {
        /// What it runs with.
        settings: Settings,
        /// Tenants that are to be moved.
        tenants: u64,
        /// Their events.
        events: u64,
        /// Tenants that are not to be moved.
        stays: u64,
    },
    /// An operator stopped it.
    Paused,
    /// An operator resumed it.
    Resumed,
    /// An operator changed what it runs with.
    Tuned {
        /// The new settings.
        settings: Settings,
    },
    /// An operator gave it up.
    Cancelled,
    /// No tenant is left to move, or no move of a cancelled drain is running.
    Finished {
        /// Tenants that the sources still have.
        left: u64,
    },

    /// A process moves the tenant, by a migration of this id.
    TenantStarted {
        /// The tenant.
        tenant: TenantId,
        /// The migration, which may not exist yet.
        migration: MigrationId,
        /// To where.
        target: StoreId,
        /// The process.
        by: Box<str>,
    },
    /// Another process continues with the tenant.
    TenantTaken {
        /// The tenant.
        tenant: TenantId,
        /// The process.
        by: Box<str>,
    },
    /// The tenant's cutover may begin.
    TenantReleased {
        /// The tenant.
        tenant: TenantId,
    },
    /// The tenant is at its target.
    TenantMoved {
        /// The tenant.
        tenant: TenantId,
    },
    /// The tenant's move was aborted; its history stayed where it was.
    TenantSetAside {
        /// The tenant.
        tenant: TenantId,
        /// The reason.
        why: Box<str>,
    },
    /// The tenant's move was ended by the cancelling of the drain; its history is where it was.
    TenantPutBack {
        /// The tenant.
        tenant: TenantId,
    },
    /// The tenant is not to be moved any more.
    TenantStays {
        /// The tenant.
        tenant: TenantId,
        /// Which kind of reason.
        stay: Stay,
        /// The reason in words.
        why: Box<str>,
    },
    /// An operator wants the tenant, which was set aside, to be tried again.
    TenantRetried {
        /// The tenant.
        tenant: TenantId,
    },
}

impl Fact {
    /// The tenant, if the fact is about one.
    pub const fn tenant(&self) -> Option<TenantId> {
        match self {
            Self::TenantStarted { tenant, .. }
            | Self::TenantTaken { tenant, .. }
            | Self::TenantReleased { tenant }
            | Self::TenantMoved { tenant }
            | Self::TenantSetAside { tenant, .. }
            | Self::TenantPutBack { tenant }
            | Self::TenantStays { tenant, .. }
            | Self::TenantRetried { tenant } => Some(*tenant),
            Self::Started { .. }
            | Self::Paused
            | Self::Resumed
            | Self::Tuned { .. }
            | Self::Cancelled
            | Self::Finished { .. } => None,
        }
    }

    /// The name in the log.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Started { .. } => "started",
            Self::Paused => "paused",
            Self::Resumed => "resumed",
            Self::Tuned { .. } => "tuned",
            Self::Cancelled => "cancelled",
            Self::Finished { .. } => "finished",
            Self::TenantStarted { .. } => "tenant_started",
            Self::TenantTaken { .. } => "tenant_taken",
            Self::TenantReleased { .. } => "tenant_released",
            Self::TenantMoved { .. } => "tenant_moved",
            Self::TenantSetAside { .. } => "tenant_set_aside",
            Self::TenantPutBack { .. } => "tenant_put_back",
            Self::TenantStays { .. } => "tenant_stays",
            Self::TenantRetried { .. } => "tenant_retried",
        }
    }
}
