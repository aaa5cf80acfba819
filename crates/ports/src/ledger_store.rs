//! The port of a store: a ledger per tenant beside its events.

use async_trait::async_trait;
use rehome_domain::append::{Append, AppendConflict, Appended, ends_chain};
use rehome_domain::digest::Digest;
use rehome_domain::event::Event;
use rehome_domain::ids::{Epoch, StoreId, TenantId};
use rehome_domain::layout::Layout;
use rehome_domain::ledger::{Activation, Head, Ledger};
use rehome_domain::stream::StreamName;

use crate::StoreError;

/// The outcome of one append of a batch.
pub type AppendOutcome = Result<Appended, AppendConflict>;

/// How much one read answers at most; at least one event is answered if there is one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchLimit {
    /// Events.
    pub events: usize,
    /// Bytes, by [`Event::bytes`].
    pub bytes: usize,
}

impl BatchLimit {
    /// Enough for one page of an interactive read.
    pub const PAGE: Self = Self { events: 1_000, bytes: 4 << 20 };

    /// So many events, and the bytes of a page.
    pub const fn events(events: usize) -> Self {
        Self { events, bytes: Self::PAGE.bytes }
    }
}

/// A piece of a tenant's history. Events and ledger are of one snapshot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Feed {
    /// The ledger as it was when the events were read.
    pub ledger: Ledger,
    /// In the order of `seq`, without gaps.
    pub events: Vec<Event>,
}

/// A piece of a stream. Events, version and ledger are of one snapshot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamSlice {
    /// The ledger as it was when the events were read.
    pub ledger: Ledger,
    /// The stream's version (0: no event).
    pub version: u64,
    /// In the order of `version`, without gaps.
    pub events: Vec<Event>,
}

/// What the rows say about one stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamVersion {
    /// The stream.
    pub stream: StreamName,
    /// The version that the store would check an append against.
    pub version: u64,
    /// How many event rows the stream has.
    pub events: u64,
    /// The highest version among them.
    pub last: u64,
}

/// One tenant of a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TenantLedger {
    /// Who.
    pub tenant: TenantId,
    /// Its ledger here.
    pub ledger: Ledger,
}

/// What a store says about itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoreReport {
    /// The engine and its version, for example `SQLite 3.50.4`.
    pub engine: String,
    /// The format of its tables.
    pub format: u32,
    /// The deployment it belongs to.
    pub deployment: String,
    /// The identity that the store was given when it was made.
    pub identity: String,
    /// How durable a commit is, for example `WAL, synchronous=FULL`.
    pub durability: String,
    /// Whether a commit survives the loss of power.
    pub durable: bool,
    /// Its clock minus ours, in milliseconds; 0 where it has none of its own.
    pub clock_skew_ms: i64,
    /// What else an operator has to look at, a sentence each, with what to do.
    pub problems: Vec<String>,
}

/// A store as the engine sees it. The rules of each operation are those of
/// [`rehome_domain::ledger`] and [`rehome_domain::append`], applied to the tenant's row under its
/// lock, in one transaction with the events. Every operation may be repeated after a lost reply.
#[async_trait]
pub trait LedgerStore: Send + Sync {
    /// The configured name.
    fn id(&self) -> &StoreId;

    /// The tenant's ledger; [`Ledger::ABSENT`] if the store has never heard of the tenant.
    async fn ledger(&self, tenant: TenantId) -> Result<Ledger, StoreError>;

    /// Commits several appends together, each with its own outcome, in the order given; one sees
    /// what the ones before it wrote. An error is an error of all of them.
    async fn append(
        &self,
        tenant: TenantId,
        epoch: Epoch,
        appends: &[Append],
    ) -> Result<Vec<AppendOutcome>, StoreError>;

    /// Commits appends of which each follows the one before it: nothing is written after the first that
    /// [ends the chain](rehome_domain::append::ends_chain). Answers the outcomes up to that one, or
    /// all of them.
    async fn append_chain(
        &self,
        tenant: TenantId,
        epoch: Epoch,
        appends: &[Append],
    ) -> Result<Vec<AppendOutcome>, StoreError> {
        let mut outcomes = Vec::with_capacity(appends.len());
        for append in appends {
            let answer = self.append(tenant, epoch, std::slice::from_ref(append)).await;
            let outcome = answer.map_err(|error| match error {
                // Of the whole, something was.
                StoreError::Fault(fault) if !outcomes.is_empty() => fault.maybe_applied().into(),
                error => error,
            })?;
            let ends = outcome.iter().any(|outcome| ends_chain(append, outcome));
            outcomes.extend(outcome);
            if ends {
                break;
            }
        }
        Ok(outcomes)
    }

    /// Continues a replica by `events`, numbered and chained as the source has them. Recomputes
    /// the chain. A store may take fewer than all (at least one) so as not to hold its write lock
    /// for long; each such prefix is an `extend` of its own. Answers the head reached.
    async fn extend(
        &self,
        tenant: TenantId,
        m: Epoch,
        previous: Head,
        events: &[Event],
    ) -> Result<Head, StoreError>;

    /// `active@from` becomes `fenced@to`, once the appends in flight have committed or failed.
    /// Answers the final head.
    async fn fence(&self, tenant: TenantId, from: Epoch, to: Epoch) -> Result<Head, StoreError>;

    /// The store takes the tenant's appends at the route's epoch.
    async fn activate(&self, tenant: TenantId, route: Activation) -> Result<Ledger, StoreError>;

    /// The store becomes the replica of migration epoch `m`; the caller has proven `head`.
    async fn adopt(&self, tenant: TenantId, m: Epoch, head: Head) -> Result<Ledger, StoreError>;

    /// The replica of migration epoch `m` takes nothing more.
    async fn drop_replica(&self, tenant: TenantId, m: Epoch) -> Result<Ledger, StoreError>;

    /// Removes up to `chunk` events from the tail of a history fenced at `k`, and lowers the head
    /// in the same transaction. Answers the ledger after it; [`Role::Absent`] means all is gone.
    ///
    /// [`Role::Absent`]: rehome_domain::ledger::Role::Absent
    async fn purge(&self, tenant: TenantId, k: Epoch, chunk: u32) -> Result<Ledger, StoreError>;

    /// Removes up to `chunk` events from the tail of a history fenced at `k`, but none up to `to`, and
    /// lowers the head in the same transaction. Answers the ledger after it: when its head is `to`, all
    /// is removed, and what is kept beside the events (the versions that appends are checked against)
    /// is what the events say. Rows that are missing or damaged are in nobody's way.
    ///
    /// The caller has proven `to` to be in the source; the store refuses one that it does not hold.
    async fn cut_back(
        &self,
        tenant: TenantId,
        k: Epoch,
        to: Head,
        chunk: u32,
    ) -> Result<Ledger, StoreError>;

    /// The history after `after_seq`.
    async fn read_feed(
        &self,
        tenant: TenantId,
        after_seq: u64,
        limit: BatchLimit,
    ) -> Result<Feed, StoreError>;

    /// A stream from `from_version` (1: the first event).
    async fn read_stream(
        &self,
        tenant: TenantId,
        stream: &StreamName,
        from_version: u64,
        limit: BatchLimit,
    ) -> Result<StreamSlice, StoreError>;

    /// The digest stored with event `seq`; of position 0 it is the empty digest; `None` past the
    /// end.
    async fn digest_at(&self, tenant: TenantId, seq: u64) -> Result<Option<Digest>, StoreError>;

    /// The tenant's streams after `after` in bytewise order of type and id, counted from the
    /// event rows up to `max_seq`.
    async fn streams(
        &self,
        tenant: TenantId,
        max_seq: u64,
        after: Option<&StreamName>,
        limit: usize,
    ) -> Result<Vec<StreamVersion>, StoreError>;

    /// The tenants of the store after `after`, in the order of their ids.
    async fn tenants(
        &self,
        after: Option<TenantId>,
        limit: usize,
    ) -> Result<Vec<TenantLedger>, StoreError>;

    /// How events lie in a table that is not ours; `None`: they are in tables of our own.
    async fn layout(&self) -> Result<Option<Layout>, StoreError> {
        Ok(None)
    }

    /// How many events the store's table has of a tenant for whom there is no ledger, because the tenant's
    /// own library writes them. A store of our own has none.
    async fn unguarded(&self, _tenant: TenantId) -> Result<u64, StoreError> {
        Ok(0)
    }

    /// Whether a fence still keeps everybody out who writes past the ledger: asked last before the switch. In a
    /// store of our own nobody can.
    async fn fence_holds(&self, _tenant: TenantId) -> Result<(), StoreError> {
        Ok(())
    }

    /// Tells the store that the tenant has gone to `to`, which takes appends at `epoch`, and that this is
    /// published: writers that wait here for a switch under an earlier epoch are refused at once. Where
    /// writers bring the epoch with them, nobody waits in the store.
    async fn settle(
        &self,
        _tenant: TenantId,
        _epoch: Epoch,
        _to: &StoreId,
    ) -> Result<(), StoreError> {
        Ok(())
    }

    /// Where a reader of the table whose checkpoint is `position` has read up to, in numbers: every event up
    /// to the answer is at `position` or before it. `None`: positions are numbers here.
    async fn number_of_position(
        &self,
        _tenant: TenantId,
        _position: i64,
    ) -> Result<Option<u64>, StoreError> {
        Ok(None)
    }

    /// The position up to which a reader of the table may say that it has read, if it has read all
    /// events up to number `seq`: no event beyond `seq` is at it or before it. `None`: positions are
    /// numbers here.
    async fn position_of_number(
        &self,
        _tenant: TenantId,
        _seq: u64,
    ) -> Result<Option<i64>, StoreError> {
        Ok(None)
    }

    /// What would keep the tenant from being moved, a sentence each, with what to do.
    async fn obstacles(&self, _tenant: TenantId) -> Result<Vec<String>, StoreError> {
        Ok(Vec::new())
    }

    /// What the store says about itself.
    async fn check(&self) -> Result<StoreReport, StoreError>;
}
