//! The port of drains, cordons and pins: a part of the control plane.

use std::collections::BTreeMap;

use async_trait::async_trait;
use rehome_domain::digest::Digest;
use rehome_domain::drain::{self, Drain, Fact, Notice, Settings, Tenant, TenantState};
use rehome_domain::event::Timestamp;
use rehome_domain::ids::{DrainId, StoreId, TenantId};
use rehome_domain::migration::Migration;
use rehome_domain::route::Route;

use crate::{ControlError, MigrationFilter, RouteFilter};

/// A drain that is to be started.
#[derive(Clone, Debug)]
pub struct NewDrain {
    /// Its id, never used before. One that was started under it already is answered as it is.
    pub id: DrainId,
    /// What it runs with.
    pub settings: Settings,
    /// Its tenants, those that stay among them. Each once.
    pub tenants: Vec<Tenant>,
    /// Who starts it.
    pub actor: String,
}

impl NewDrain {
    /// The initial drain and its first fact. Every control plane calls this.
    pub fn begin(&self, at: Timestamp) -> (Drain, Fact) {
        let mut counts = drain::Counts::default();
        for row in &self.tenants {
            if matches!(row.state, TenantState::Stays(_)) {
                counts.stays += 1;
            } else {
                counts.waiting += 1;
                counts.events += row.events;
            }
        }
        let fact = Fact::Started {
            settings: self.settings.clone(),
            tenants: counts.waiting,
            events: counts.events,
            stays: counts.stays,
        };
        let drain = Drain {
            id: self.id,
            entries: 1,
            state: drain::State::Running,
            settings: self.settings.clone(),
            counts,
            failures: 0,
            released: (0, 0),
            created_at: at,
            created_by: self.actor.clone(),
            ended_at: None,
            left: None,
        };
        (drain, fact)
    }
}

/// Facts to be recorded together, or none of them.
#[derive(Clone, Debug)]
pub struct DrainChange {
    /// Which drain.
    pub drain: DrainId,
    /// What happened, in this order.
    pub facts: Vec<Fact>,
    /// The actor.
    pub actor: String,
}

/// What facts do to a drain and to the rows of its tenants: what every control plane writes in one
/// transaction with them.
#[derive(Clone, Debug)]
pub struct Follow {
    /// The drain.
    pub drain: Drain,
    /// The rows that the facts were about, each once, as they are after them.
    pub rows: BTreeMap<TenantId, Tenant>,
}

impl Follow {
    /// Applies facts to a drain and to the rows that they are about; `pinned` are those of their tenants
    /// that are pinned.
    pub fn apply(
        drain: &Drain,
        rows: BTreeMap<TenantId, Tenant>,
        pinned: impl Fn(TenantId) -> bool,
        facts: &[Fact],
        at: Timestamp,
    ) -> Result<Self, drain::Refusal> {
        let mut followed = Self { drain: drain.clone(), rows };
        for fact in facts {
            let row = fact.tenant().and_then(|tenant| followed.rows.get(&tenant));
            let is_pinned = fact.tenant().is_some_and(&pinned);
            let (drain, row) = drain::apply(&followed.drain, row, is_pinned, fact, at)?;
            followed.drain = drain;
            if let Some(row) = row {
                followed.rows.insert(row.tenant, row);
            }
        }
        Ok(followed)
    }
}

/// One entry of a drain's log, chained as a migration's: see [`crate::LogEntry`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DrainEntry {
    /// From 1, without gaps.
    pub index: u64,
    /// When it was recorded.
    pub at: Timestamp,
    /// The actor.
    pub actor: String,
    /// What happened.
    pub fact: Fact,
    /// The stored text, which the hash covers.
    pub text: String,
    /// The chain up to and including this entry.
    pub hash: Digest,
}

/// Which drains to list.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Drains {
    /// Only those that are not over.
    pub open: bool,
    /// Only those older than this one (they are listed newest first).
    pub before: Option<DrainId>,
    /// At most so many.
    pub limit: usize,
}

/// Which tenants of a drain to list, in their order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DrainTenants {
    /// Of which drain.
    pub drain: DrainId,
    /// Only in a state of this name ([`TenantState::as_str`]).
    pub state: Option<&'static str>,
    /// Only those after this place.
    pub after: u64,
    /// At most so many.
    pub limit: usize,
}

/// A process that registers its work on a drain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AttendRequest {
    /// The drain.
    pub drain: DrainId,
    /// The process; unique.
    pub holder: String,
    /// Milliseconds from now; repeated long before.
    pub ttl_ms: u64,
}

/// The processes that work on a drain.
pub type Attendance = Vec<String>;

/// Drains, cordons and pins. A part of the control plane, with its clock and its guarantees: reads are
/// linearizable, a change is atomic, and after an unknown outcome the caller reads again.
///
/// No operation but [`Fleet::start_drain`] takes time in proportion to the number of a drain's tenants.
#[async_trait]
pub trait Fleet: Send + Sync {
    /// Stores a new drain with its tenants. A repeat under the same id changes nothing.
    async fn start_drain(&self, new: &NewDrain) -> Result<Drain, ControlError>;

    /// One drain.
    async fn drain(&self, id: DrainId) -> Result<Drain, ControlError>;

    /// Drains, newest first.
    async fn drains(&self, which: Drains) -> Result<Vec<Drain>, ControlError>;

    /// Records facts: [`Follow::apply`] on the rows as they are, and the log's entries, in one
    /// transaction.
    async fn record_drain(&self, change: &DrainChange) -> Result<Drain, ControlError>;

    /// A drain's log after entry `after`.
    async fn drain_log(
        &self,
        id: DrainId,
        after: u64,
        limit: usize,
    ) -> Result<Vec<DrainEntry>, ControlError>;

    /// Tenants of a drain, in their order.
    async fn drain_tenants(&self, which: DrainTenants) -> Result<Vec<Tenant>, ControlError>;

    /// One tenant of a drain, if it is one.
    async fn drain_tenant(
        &self,
        id: DrainId,
        tenant: TenantId,
    ) -> Result<Option<Tenant>, ControlError>;

    /// Registers that a process works on a drain; returns all that do, in the order of their names.
    async fn attend(&self, request: &AttendRequest) -> Result<Attendance, ControlError>;

    /// The processes that work on a drain, in the order of their names.
    async fn attending(&self, id: DrainId) -> Result<Attendance, ControlError>;

    /// The process works on the drain no longer.
    async fn leave(&self, id: DrainId, holder: &str) -> Result<(), ControlError>;

    /// Sets a store's cordon, replacing an existing one, or removes it.
    async fn set_cordon(
        &self,
        store: &StoreId,
        cordon: Option<&Notice>,
    ) -> Result<(), ControlError>;

    /// The stores that are cordoned.
    async fn cordons(&self) -> Result<BTreeMap<StoreId, Notice>, ControlError>;

    /// Sets a tenant's pin, replacing an existing one, or removes it.
    async fn set_pin(&self, tenant: TenantId, pin: Option<&Notice>) -> Result<(), ControlError>;

    /// Those of these tenants that are pinned.
    async fn pins_of(
        &self,
        tenants: &[TenantId],
    ) -> Result<BTreeMap<TenantId, Notice>, ControlError>;

    /// Routes that a filter takes, in the order of their tenants. Found by an index, however many there are.
    async fn find_routes(&self, which: &RouteFilter) -> Result<Vec<Route>, ControlError>;

    /// Migrations that a filter takes, newest first. Found by an index, however many there are.
    async fn find_migrations(
        &self,
        which: &MigrationFilter,
    ) -> Result<Vec<Migration>, ControlError>;

    /// Pinned tenants after `after`, in the order of their ids.
    async fn pins(
        &self,
        after: Option<TenantId>,
        limit: usize,
    ) -> Result<Vec<(TenantId, Notice)>, ControlError>;
}
