//! The port of the control plane: routes, migrations and their logs, leases, marks, checkpoints.

use std::collections::BTreeMap;

use async_trait::async_trait;
use rehome_domain::digest::Digest;
use rehome_domain::event::Timestamp;
use rehome_domain::ids::{Epoch, MigrationId, StoreId, TenantId};
use rehome_domain::ledger::Head;
use rehome_domain::migration::{Fact, Migration, Phase, Refusal};
use rehome_domain::route::Route;

use crate::{Class, Fault, RouteListener};

/// What the control plane answers when it does not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    /// Somebody changed the route first; this is how it stands now.
    #[error("the route of tenant {} was changed by another process (now rev {})", .0.tenant, .0.rev)]
    Stale(Box<Route>),
    /// The fact cannot follow. Nothing was changed.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// No such tenant.
    #[error("tenant {0} is not known; import or append its first event")]
    UnknownTenant(TenantId),
    /// No such migration.
    #[error("migration {0} is not known; `rehome migration list` shows those that are")]
    UnknownMigration(MigrationId),
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
            Self::Refused(_) | Self::UnknownTenant(_) | Self::UnknownMigration(_) => Class::Fatal,
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
    /// Who says so: an operator, or a driver.
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
    /// Who said so.
    pub actor: String,
    /// What happened.
    pub fact: Fact,
    /// The same as it is kept: what the hash is of.
    pub text: String,
    /// The chain up to and including this entry.
    pub hash: Digest,
}

/// Who asks for a lease, and for how long.
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
    /// Who.
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

/// What a driver lets other processes know about its progress. Moves no `rev`.
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
    /// What is held once `new` was written over these: a read-back mark never goes back, neither
    /// within one `m` nor to an earlier one. Every control plane asks this inside its transaction.
    #[must_use]
    pub fn moved_to(&self, new: &Self) -> Self {
        let further = |mark: &ReadBackMark| (mark.m, mark.head.seq);
        let read_back = [self.read_back, new.read_back].into_iter().flatten().max_by_key(further);
        Self { read_back, ..*new }
    }
}

/// A text kept beside a migration: what was measured, for people and for later comparison. Nothing
/// of the protocol is decided on it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Memo {
    /// When it was written, by the writer's clock.
    pub at: Timestamp,
    /// What it says; whoever writes it knows how to read it.
    pub text: String,
}

/// What is kept beside a migration, as a list shows it.
#[derive(Clone, Debug, PartialEq)]
pub struct Beside {
    /// Its marks.
    pub marks: Marks,
    /// Its lease, if anybody holds it.
    pub lease: Option<ActiveLease>,
    /// The memo that was asked for, if there is one.
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
    /// The last position that it has dealt with.
    pub seq: u64,
}

/// The control plane. Reads are linearizable. After a failed or unknown compare-and-set: read
/// again before acting.
#[async_trait]
pub trait ControlPlane: Send + Sync {
    /// The deployment whose stores and migrations these are.
    fn deployment(&self) -> &str;

    /// News of routes that are changed from here on, by any process; `None` when this control
    /// plane tells none. Nothing may rest on it.
    fn listen(&self) -> Option<RouteListener> {
        None
    }

    /// The tenant's route, if it has one.
    async fn route(&self, tenant: TenantId) -> Result<Option<Route>, ControlError>;

    /// All routes after `after`, in the order of their tenants.
    async fn routes(
        &self,
        after: Option<TenantId>,
        limit: usize,
    ) -> Result<Vec<Route>, ControlError>;

    /// Inserts the route of a new tenant if there is none; answers the row that is there then.
    async fn create_route(&self, tenant: TenantId, store: &StoreId) -> Result<Route, ControlError>;

    /// The tenant's creation is complete: its first store was activated at `epoch`. Moves no
    /// `rev`; a repeat is no change.
    async fn mark_created(&self, tenant: TenantId, epoch: Epoch) -> Result<Route, ControlError>;

    /// Records a fact: [`rehome_domain::migration::apply`] on the rows as they are, and the log
    /// entry, in one transaction.
    async fn record(&self, change: Change) -> Result<Recorded, ControlError>;

    /// Says where the authority is, after the control plane lost time and an operator has looked:
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

    /// The time by which entries of the log are dated. Clocks of hosts differ; what an operator was
    /// promised (a window, a moment for the cutover) is kept by this one.
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

    /// Takes or renews the lease; it is free when nobody holds it or its time has run out. Its time is
    /// judged by the control plane's clock, and is never more than its length after this process
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

    /// Who holds the lease now, if anybody does.
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

    /// What is kept beside these migrations, in their order, with the memo of that name: one question
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

    /// A subscription's checkpoint: the last position it has dealt with; 0 if it is new.
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
