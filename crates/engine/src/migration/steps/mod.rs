//! One file per command of the driver. Each step is idempotent: a driver that died in the middle
//! is followed by one that observes, decides the same, and does it again.

mod ask;
mod clean_up;
mod copy;
mod cutover;
mod dual_write;
mod findings;
mod prepare;
mod repair;
mod window;

use std::sync::Arc;

use rehome_domain::ids::TenantId;
use rehome_domain::migration::{Fact, Migration};
use rehome_domain::route::Route;
use rehome_ports::{BatchLimit, Change, Class, ControlError, LedgerStore, Recorded, StoreError};

use crate::brake::Brake;
use crate::{Engine, UnknownStore};

pub(crate) use clean_up::purge;
pub(crate) use cutover::CutoverEnd;
pub(crate) use dual_write::{Audited, DualWrite};
pub(in crate::migration) use findings::facts;
pub(crate) use prepare::is_prefix;
pub(crate) use window::Window;

/// Why a step did not come to its end.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StepError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Control(#[from] ControlError),
    #[error(transparent)]
    UnknownStore(#[from] UnknownStore),
    /// The target cannot become, or is no longer, a prefix of the source.
    #[error("{0}")]
    Violated(String),
    /// A switch cannot be published: one that is done, or one
    /// that does not start for this reason.
    #[error("{0}")]
    Unpublished(String),
    /// A violation was found, and is on record: there is no cutover, whatever becomes of the migration.
    #[error("{0}")]
    Found(String),
}

impl StepError {
    /// Whether waiting does not help. A store that this process does not know may be known to the next.
    pub(crate) fn is_final(&self) -> bool {
        match self {
            Self::Store(error) => error.is_damage(),
            Self::Control(error) => error.is_final(),
            Self::UnknownStore(_) | Self::Unpublished(_) => false,
            Self::Violated(_) | Self::Found(_) => true,
        }
    }

    /// What the driver does about it.
    pub(crate) fn class(&self) -> Class {
        match self {
            Self::Store(error) => error.class(),
            // Another driver, or a call of this one that was assumed lost, was first.
            Self::Control(ControlError::Refused(_)) => Class::Fenced,
            Self::Control(error) => error.class(),
            Self::Unpublished(_) => Class::Retry,
            Self::UnknownStore(_) | Self::Violated(_) | Self::Found(_) => Class::Fatal,
        }
    }
}

/// What every step works with: one migration, its two stores, the control plane.
#[derive(Clone)]
pub(crate) struct Context {
    pub(crate) engine: Engine,
    pub(crate) migration: Migration,
    pub(crate) source: Arc<dyn LedgerStore>,
    pub(crate) target: Arc<dyn LedgerStore>,
    pub(crate) actor: String,
}

impl Context {
    pub(crate) fn new(
        engine: &Engine,
        migration: Migration,
        actor: &str,
    ) -> Result<Self, UnknownStore> {
        Ok(Self {
            source: Arc::clone(engine.stores.get(&migration.source)?),
            target: Arc::clone(engine.stores.get(&migration.target)?),
            engine: engine.clone(),
            migration,
            actor: actor.to_owned(),
        })
    }

    pub(crate) fn tenant(&self) -> TenantId {
        self.migration.tenant
    }

    /// How much one batch may hold.
    pub(crate) fn limit(&self) -> BatchLimit {
        BatchLimit {
            events: self.migration.options.batch_events as usize,
            bytes: self.migration.options.batch_bytes as usize,
        }
    }

    /// The migration's brake.
    pub(crate) fn brake(&self) -> Arc<Brake> {
        self.engine.brakes.of(self.migration.id, self.engine.config.brake_goal)
    }

    /// The tenant's route row as it is now.
    pub(crate) async fn route(&self) -> Result<Route, ControlError> {
        let seen = self.engine.router.refresh(self.tenant()).await?;
        seen.map(|seen| (*seen.route).clone()).ok_or(ControlError::UnknownTenant(self.tenant()))
    }

    /// Records a fact that moves the route, on exactly this `rev`.
    pub(crate) async fn record(&self, rev: u64, fact: Fact) -> Result<Recorded, ControlError> {
        self.change(Some(rev), fact).await
    }

    /// Notes a fact that moves nothing.
    pub(crate) async fn note(&self, fact: Fact) -> Result<Recorded, ControlError> {
        self.change(None, fact).await
    }

    async fn change(&self, rev: Option<u64>, fact: Fact) -> Result<Recorded, ControlError> {
        let change = Change {
            tenant: self.tenant(),
            migration: self.migration.id,
            rev,
            fact,
            actor: self.actor.clone(),
        };
        self.engine.router.record(change).await
    }
}
