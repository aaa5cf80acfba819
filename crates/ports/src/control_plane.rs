//! The port of the control plane: routes, migrations and their logs, leases, marks, checkpoints.

use std::collections::BTreeMap;

use async_trait::async_trait;
use rehome_domain::digest::Digest;
use rehome_domain::drain;
use rehome_domain::event::Timestamp;
use rehome_domain::ids::{DrainId, Epoch, MigrationId, StoreId, TenantId};
use rehome_domain::ledger::Head;
use rehome_domain::migration::{Fact, Migration, Phase, Refusal};
use rehome_domain::removal::Turn;
use rehome_domain::route::Route;

use crate::log_chain::LogAnchor;
use crate::{Class, Fault, RouteListener};

/// Why the control plane refused or failed.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    /// Another process changed the route first; this is the current one.
    #[error("another process has changed where tenant {} is, or its migration, meanwhile; look again and retry", .0.tenant)]
    Stale(Box<Route>),
    /// The fact cannot follow. Nothing was changed.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// No such tenant.
    #[error("tenant {0} is unknown; import or append its first event")]
    UnknownTenant(TenantId),
    /// The tenant is being removed, and has neither readers nor writers.
    #[error(
        "tenant {0} is being removed; if that was interrupted, `rehome tenant remove {0} --dry-run` shows the \
         command that completes it"
    )]
    BeingRemoved(TenantId),
    /// No such migration.
    #[error("migration {0} is unknown; see `rehome migration list`")]
    UnknownMigration(MigrationId),
    /// No such drain.
    #[error("drain {0} is unknown; see `rehome drain list`")]
    UnknownDrain(DrainId),
    /// The fact cannot follow in the drain. Nothing was changed.
    #[error(transparent)]
    Drain(#[from] drain::Refusal),
    /// The store accepts no new tenants.
    #[error(
        "store {store} is cordoned and accepts no new tenants{}; `rehome store uncordon {store}` opens it",
        if .why.is_empty() { String::new() } else { format!(" ({})", .why) }
    )]
    Cordoned {
        /// The store.
        store: StoreId,
        /// The reason that the operator gave.
        why: String,
    },
    /// The control plane failed.
    #[error(transparent)]
    Fault(#[from] Fault),
}

impl ControlError {
    /// Whether waiting does not help: not possible, not there, or damaged.
    pub const fn is_final(&self) -> bool {
        match self {
            Self::Fault(fault) => fault.is_damage(),
            _ => matches!(self.class(), Class::Fatal),
        }
    }

    /// What a caller does about it.
    pub const fn class(&self) -> Class {
        match self {
            Self::Stale(_) => Class::Conflict,
            Self::Refused(_)
            | Self::UnknownTenant(_)
            | Self::BeingRemoved(_)
            | Self::UnknownMigration(_)
            | Self::UnknownDrain(_)
            | Self::Drain(_)
            | Self::Cordoned { .. } => Class::Fatal,
            Self::Fault(fault) => fault.class(),
        }
    }
}

/// A fact to be recorded.
#[derive(Clone, Debug)]
pub struct Change {
    /// Whose route.
    pub tenant: TenantId,
    /// Which migration; for [`Fact::Started`] the new one.
    pub migration: MigrationId,
    /// For facts that move the route ([`Fact::routes`]): the exact `rev` the change was decided
    /// under. For notes: `None`.
    pub rev: Option<u64>,
    /// What happened.
    pub fact: Fact,
    /// The actor: an operator, or a driver.
    pub actor: String,
}

/// The rows after a fact was recorded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recorded {
    /// The tenant's route.
    pub route: Route,
    /// The migration.
    pub migration: Migration,
}

/// One entry of a migration's log. `hash = SHA-256(previous hash ‖ u64 index ‖ i64 at ‖
/// str actor ‖ str fact)`, all as in [`crate::record::log_hash`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogEntry {
    /// From 1, without gaps.
    pub index: u64,
    /// When it was recorded, by the recorder's clock.
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

/// A request for a lease.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeaseRequest {
    /// The migration.
    pub migration: MigrationId,
    /// Unique per process and driver.
    pub holder: String,
    /// Milliseconds from now; renewed long before.
    pub ttl_ms: u64,
}

/// The answer to a request for a lease.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Lease {
    /// It is the caller's. `taken_over` when the last holder was another one.
    Held {
        /// The last holder was another.
        taken_over: bool,
    },
    /// Another holds it.
    HeldBy(ActiveLease),
}

/// A lease that has not run out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ActiveLease {
    /// The process.
    pub holder: String,
    /// Milliseconds until it runs out unless it is renewed: never more than its length.
    pub remaining_ms: u64,
    /// Milliseconds that it claims beyond its length: it was written by a clock that is ahead of the
    /// control plane's. 0 where the clocks agree.
    pub ahead_ms: u64,
}

/// Up to where the replica of epoch `m` was read back and found to be the source's history.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReadBackMark {
    /// The replica's epoch; a mark of another epoch counts for nothing.
    pub m: Epoch,
    /// The position and its digest.
    pub head: Head,
}

/// A driver's progress, for other processes. Does not change `rev`.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Marks {
    /// The read-back, if it began.
    pub read_back: Option<ReadBackMark>,
    /// Events copied per second, lately.
    pub copy_rate: f64,
    /// Highest position that a verification before the cutover has covered.
    pub verified_seq: Option<u64>,
    /// When the marks were last moved.
    pub updated_at: Timestamp,
}

impl Marks {
    /// The marks after `new` is written over these: a read-back mark never decreases, neither
    /// within one `m` nor to an earlier one. Every control plane calls this inside its transaction.
    #[must_use]
    pub fn moved_to(&self, new: &Self) -> Self {
        let further = |mark: &ReadBackMark| (mark.m, mark.head.seq);
        let read_back = [self.read_back, new.read_back].into_iter().flatten().max_by_key(further);
        Self { read_back, ..*new }
    }
}

/// A text stored with a migration: measurements, for people and for later comparison. The protocol
/// does not depend on it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Memo {
    /// When it was written, by the writer's clock.
    pub at: Timestamp,
    /// The text; the layer that writes it parses it.
    pub text: String,
}

/// The data beside a migration that a list shows.
#[derive(Clone, Debug, PartialEq)]
pub struct Beside {
    /// Its marks.
    pub marks: Marks,
    /// Its lease, if any.
    pub lease: Option<ActiveLease>,
    /// The requested memo, if any.
    pub memo: Option<Memo>,
    /// Whether it is the last one of its tenant.
    pub is_last: bool,
}

/// Which migrations to list.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Migrations {
    /// Only of this tenant.
    pub tenant: Option<TenantId>,
    /// Only in this phase.
    pub phase: Option<Phase>,
    /// Only those older than this one (they are listed newest first).
    pub before: Option<MigrationId>,
    /// At most so many.
    pub limit: usize,
}

/// How far a subscription is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    /// The tenant.
    pub tenant: TenantId,
    /// The subscription.
    pub name: String,
    /// The last processed position.
    pub seq: u64,
}

/// The control plane. Reads are linearizable. After a failed or unknown compare-and-set: read
/// again before acting.
#[async_trait]
pub trait ControlPlane: Send + Sync {
    /// The deployment whose stores and migrations these are.
    fn deployment(&self) -> &str;

    /// Notifications of future route changes by any process; `None` if this control
    /// plane has none. Nothing may depend on them.
    fn listen(&self) -> Option<RouteListener> {
        None
    }

    /// The tenant's route, if it has one.
    async fn route(&self, tenant: TenantId) -> Result<Option<Route>, ControlError>;

    /// The route of a tenant that is known: it has one, and was not removed.
    async fn known_route(&self, tenant: TenantId) -> Result<Route, ControlError> {
        let route = self.route(tenant).await?.filter(|route| !route.is_removed());
        route.ok_or(ControlError::UnknownTenant(tenant))
    }

    /// All routes after `after`, in the order of their tenants; those of removed tenants too.
    async fn routes(
        &self,
        after: Option<TenantId>,
        limit: usize,
    ) -> Result<Vec<Route>, ControlError>;

    /// Inserts the route of a new tenant if there is none, or gives a removed one a new life
    /// ([`rehome_domain::removal::reborn`]); answers the row that is there then. Refuses a
    /// new one where the store is cordoned (see [`crate::Fleet`]).
    async fn create_route(&self, tenant: TenantId, store: &StoreId) -> Result<Route, ControlError>;

    /// The tenant's creation is complete: its first store was activated at `epoch`. Moves no
    /// `rev`; a repeat is no change.
    async fn mark_created(&self, tenant: TenantId, epoch: Epoch) -> Result<Route, ControlError>;

    /// Records a fact: [`rehome_domain::migration::apply`] on the rows as they are, and the log
    /// entry, in one transaction.
    async fn record(&self, change: Change) -> Result<Recorded, ControlError>;

    /// Records a turn of the tenant's removal on exactly this `rev`: [`rehome_domain::removal::apply`]. The last one
    /// removes the tenant's checkpoints in the same transaction.
    async fn remove(&self, tenant: TenantId, rev: u64, turn: Turn) -> Result<Route, ControlError>;

    /// Sets the authority, after the control plane was restored from a backup and an operator has decided:
    /// [`Fact::Recovered`] for the tenant's last migration if it has one, else
    /// [`rehome_domain::migration::recovered`] on the route alone.
    async fn recover(
        &self,
        tenant: TenantId,
        rev: u64,
        store: &StoreId,
        n: Epoch,
        base: u64,
        actor: &str,
    ) -> Result<Route, ControlError>;

    /// The time that dates entries of the log. Clocks of hosts differ; times promised to
    /// operators (a window, a moment for the cutover) follow this one.
    async fn now(&self) -> Result<Timestamp, ControlError>;

    /// One migration.
    async fn migration(&self, id: MigrationId) -> Result<Migration, ControlError>;

    /// Migrations, newest first.
    async fn migrations(&self, which: Migrations) -> Result<Vec<Migration>, ControlError>;

    /// A migration's log after entry `after`.
    async fn log(
        &self,
        id: MigrationId,
        after: u64,
        limit: usize,
    ) -> Result<Vec<LogEntry>, ControlError>;

    /// How far the route rows have seen the log of their tenant's last migration, in the order of the tenants
    /// after `after`: one for each tenant that has a migration. Written with every entry; a row that was written
    /// by an older rehome names the migration only.
    async fn log_anchors(
        &self,
        after: Option<TenantId>,
        limit: usize,
    ) -> Result<Vec<LogAnchor>, ControlError>;

    /// Takes or renews the lease; it is free when no process holds it or it has expired. Expiry
    /// follows the control plane's clock, and comes no later than its length after this process
    /// first saw it: see [`crate::LeaseWatch`].
    async fn lease(&self, request: &LeaseRequest) -> Result<Lease, ControlError>;

    /// The same for many leases at once, in their order; `None` where the answer is an error of that one
    /// alone.
    async fn lease_all(
        &self,
        requests: &[LeaseRequest],
    ) -> Result<Vec<Option<Lease>>, ControlError> {
        let mut found = Vec::with_capacity(requests.len());
        for request in requests {
            found.push(self.lease(request).await.ok());
        }
        Ok(found)
    }

    /// The current holder of the lease, if any.
    async fn lease_holder(&self, id: MigrationId) -> Result<Option<ActiveLease>, ControlError>;

    /// All leases that have not run out, by migration: one question, however many migrations there are.
    async fn leases(&self) -> Result<BTreeMap<MigrationId, ActiveLease>, ControlError>;

    /// Gives the lease up, if it is `holder`'s.
    async fn release(&self, id: MigrationId, holder: &str) -> Result<(), ControlError>;

    /// A migration's marks.
    async fn marks(&self, id: MigrationId) -> Result<Marks, ControlError>;

    /// Writes the marks. A read-back mark never goes back within one `m`.
    async fn set_marks(&self, id: MigrationId, marks: &Marks) -> Result<(), ControlError>;

    /// The migration's memo of that name, if there is one.
    async fn memo(&self, id: MigrationId, name: &str) -> Result<Option<Memo>, ControlError>;

    /// Writes a memo over the one of that name.
    async fn set_memo(&self, id: MigrationId, name: &str, memo: &Memo) -> Result<(), ControlError>;

    /// The data beside these migrations, in their order, with the memo of that name: one query
    /// for a whole list.
    async fn beside(
        &self,
        migrations: &[Migration],
        memo: &str,
    ) -> Result<Vec<Beside>, ControlError> {
        let mut found = Vec::with_capacity(migrations.len());
        for migration in migrations {
            let route = self.route(migration.tenant).await?;
            let last = route.and_then(|route| route.migration).map(|(id, _)| id);
            found.push(Beside {
                marks: self.marks(migration.id).await?,
                lease: self.lease_holder(migration.id).await?,
                memo: self.memo(migration.id, memo).await?,
                is_last: last == Some(migration.id),
            });
        }
        Ok(found)
    }

    /// A subscription's checkpoint: the last processed position; 0 for a new subscription.
    async fn checkpoint(&self, tenant: TenantId, name: &str) -> Result<u64, ControlError>;

    /// The checkpoints of a tenant, in the order of their names' bytes, at most so many.
    async fn checkpoints(
        &self,
        tenant: TenantId,
        limit: usize,
    ) -> Result<Vec<Checkpoint>, ControlError>;

    /// The furthest checkpoint of each tenant after `after` that has one, in the order of the tenants.
    async fn furthest_checkpoints(
        &self,
        after: Option<TenantId>,
        limit: usize,
    ) -> Result<Vec<Checkpoint>, ControlError>;

    /// Moves a checkpoint.
    async fn set_checkpoint(
        &self,
        tenant: TenantId,
        name: &str,
        seq: u64,
    ) -> Result<(), ControlError>;
}
