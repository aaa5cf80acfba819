//! The port of a store: a ledger per tenant beside its events.

use async_trait::async_trait;
use rehome_domain::append::{Append, AppendConflict, Appended, ends_chain};
use rehome_domain::digest::Digest;
use rehome_domain::event::Event;
use rehome_domain::ids::{Epoch, MigrationId, StoreId, TenantId};
use rehome_domain::layout::{Beside, Layout, RowForm};
use rehome_domain::ledger::{Activation, Head, Ledger};
use rehome_domain::stream::StreamName;
use uuid::Uuid;

use crate::log_chain::LogAnchor;
use crate::room::{End, Room};
use crate::{Condition, Fault, FaultKind, StoreError};

/// The outcome of one append of a batch.
pub type AppendOutcome = Result<Appended, AppendConflict>;

/// From so many events on, one `extend` is part of a copy, and the store may put work off; see
/// [`LedgerStore::finish_index`].
pub const EVENTS_IN_BULK: usize = 1_000;

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

/// The rows of one stream, counted.
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
    /// The tenant.
    pub tenant: TenantId,
    /// Its ledger here.
    pub ledger: Ledger,
}

/// A store's report about itself.
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
    /// Its clock minus the process's, in milliseconds; 0 if it has none.
    pub clock_skew_ms: i64,
    /// Further problems for an operator, a sentence each, with the remedy.
    pub problems: Vec<String>,
    /// What shows that it is a copy, restored or switched to by logical means, a sentence each, with the remedy: events
    /// may be missing.
    pub copied: Vec<String>,
}

/// A row of a table of checkpoints beside the events.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckpointRow {
    /// The table, in the schema of the events.
    pub table: String,
    /// The columns that travel, with their values as texts.
    pub columns: Vec<(String, Option<String>)>,
    /// The position up to which everything was read.
    pub position: i64,
}

/// A store as the engine sees it. The rules of each operation are those of
/// [`rehome_domain::ledger`] and [`rehome_domain::append`], applied to the tenant's row under its
/// lock, in one transaction with the events. Every operation may be repeated after a lost reply.
#[async_trait]
pub trait LedgerStore: Send + Sync {
    /// The configured name.
    fn id(&self) -> &StoreId;

    /// The tenant's ledger; [`Ledger::ABSENT`] if the store does not know the tenant.
    async fn ledger(&self, tenant: TenantId) -> Result<Ledger, StoreError>;

    /// The lengths of these tenants' histories, in their order; 0 for a tenant that the store does not know. They may be
    /// of different moments.
    async fn lengths(&self, tenants: &[TenantId]) -> Result<Vec<u64>, StoreError> {
        let mut lengths = Vec::with_capacity(tenants.len());
        for tenant in tenants {
            lengths.push(self.ledger(*tenant).await?.head.seq);
        }
        Ok(lengths)
    }

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

    /// Continues a replica by `events`, with the source's numbers and chain. Recomputes
    /// the chain. A store may store fewer events (at least one) so as not to hold its write lock
    /// for long; each such prefix is an `extend` of its own. Returns the head reached.
    async fn extend(
        &self,
        tenant: TenantId,
        m: Epoch,
        previous: Head,
        events: &[Event],
    ) -> Result<Head, StoreError>;

    /// Finishes what was put off to take many events quickly, such as entries of an index that only appends
    /// need: in steps that hold no lock for long, in any role. It changes no ledger and no answer. An `extend` of
    /// fewer than [`EVENTS_IN_BULK`] events puts nothing off. Called when a copy or an import ends and
    /// before a cutover: `activate` finishes the rest in one step, while writers wait.
    async fn finish_index(&self, _tenant: TenantId) -> Result<(), StoreError> {
        Ok(())
    }

    /// `active@from` becomes `fenced@to`, once the appends in flight have committed or failed.
    /// Answers the final head.
    async fn fence(&self, tenant: TenantId, from: Epoch, to: Epoch) -> Result<Head, StoreError>;

    /// Makes the store accept the tenant's appends at the route's epoch.
    async fn activate(&self, tenant: TenantId, route: Activation) -> Result<Ledger, StoreError>;

    /// The store becomes the replica of migration epoch `m`; the caller has proven `head`.
    async fn adopt(&self, tenant: TenantId, m: Epoch, head: Head) -> Result<Ledger, StoreError>;

    /// Makes the replica of migration epoch `m` accept nothing more.
    async fn drop_replica(&self, tenant: TenantId, m: Epoch) -> Result<Ledger, StoreError>;

    /// Removes up to `chunk` events from the tail of a history fenced at `k`, and lowers the head
    /// in the same transaction. Answers the ledger after it; [`Role::Absent`] means all is gone.
    ///
    /// [`Role::Absent`]: rehome_domain::ledger::Role::Absent
    async fn purge(&self, tenant: TenantId, k: Epoch, chunk: u32) -> Result<Ledger, StoreError>;

    /// Removes up to `chunk` events from the tail of a history fenced at `k`, but none up to `to`, and
    /// lowers the head in the same transaction. Returns the ledger after it: when its head is `to`, everything
    /// is removed, and the data beside the events (the versions that appends are checked against)
    /// matches the events. Missing or damaged rows do not block it.
    ///
    /// The caller has proven `to` to be in the source; the store refuses a head that it does not have.
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

    /// Keeps beside the ledgers how far a migration's log was seen. What is kept and is further stays. Nothing of
    /// the protocol rests on it.
    async fn keep_anchor(&self, anchor: &LogAnchor) -> Result<(), StoreError>;

    /// The anchors of migrations after `after`, in the order of their ids.
    async fn anchors(
        &self,
        after: Option<MigrationId>,
        limit: usize,
    ) -> Result<Vec<LogAnchor>, StoreError>;

    /// Forgets the tenant's anchors: an operator has said that the control plane lost time.
    async fn forget_anchors(&self, tenant: TenantId) -> Result<(), StoreError>;

    /// The layout of an adopted table; `None`: the events are in rehome's own tables.
    async fn layout(&self) -> Result<Option<Layout>, StoreError> {
        Ok(None)
    }

    /// In which texts the rows of an adopted table are: digests of two stores are comparable only in one form.
    async fn row_form(&self) -> Result<Option<RowForm>, StoreError> {
        Ok(None)
    }

    /// Values of the tenant's rows that a store with rows of another form would not keep as they are, a sentence for each
    /// column. A large table is looked at for a short time only: a copy refuses what was not looked at.
    async fn not_kept(&self, _tenant: TenantId, _by: &RowForm) -> Result<Vec<String>, StoreError> {
        Ok(Vec::new())
    }

    /// The number of a tenant's events in the store's table if there is no ledger for it, because the tenant's
    /// own library writes them. A store with rehome's own tables has none.
    async fn unguarded(&self, _tenant: TenantId) -> Result<u64, StoreError> {
        Ok(0)
    }

    /// Announces that the store of another library's table will drop the ledger of a tenant whose authority it is at
    /// `epoch`: its rows stay, unguarded. An activation cancels this, and every migration starts
    /// with one. So between this call and [`LedgerStore::unguard`] the caller checks whether a migration is running.
    /// Returns the ledger; [`Ledger::ABSENT`]: there is none. `by` identifies this decision: only
    /// [`LedgerStore::unguard`] with the same value carries it out.
    async fn leave(
        &self,
        _tenant: TenantId,
        _epoch: Epoch,
        _by: Uuid,
    ) -> Result<Ledger, StoreError> {
        Err(self.keeps_its_ledgers())
    }

    /// Drops the ledger, unless that was cancelled. If it is already dropped, does nothing. Waits some seconds for transactions that are
    /// older than [`LedgerStore::leave`]; then the error names them.
    async fn unguard(&self, _tenant: TenantId, _epoch: Epoch, _by: Uuid) -> Result<(), StoreError> {
        Err(self.keeps_its_ledgers())
    }

    /// What a store answers whose ledgers are for ever.
    fn keeps_its_ledgers(&self) -> StoreError {
        let why = "its events depend on its ledgers, which stay".to_owned();
        Fault::new(format!("store \"{}\"", self.id()), FaultKind::NotWritten(why)).into()
    }

    /// Just before the intent of a cutover: checks and locks what [`LedgerStore::fence`] would otherwise check and lock while
    /// writers wait. It holds until the fence, or until [`LedgerStore::fence_is_over`]. What it finds wrong is the answer of the fence,
    /// which does the same if this was not called.
    async fn before_fence(&self, _tenant: TenantId) {}

    /// Whether a fence still stops writers that bypass the ledger; checked last before the switch. In
    /// rehome's own tables there are none.
    async fn fence_holds(&self, _tenant: TenantId) -> Result<(), StoreError> {
        Ok(())
    }

    /// The switch is recorded: the state that [`LedgerStore::fence_holds`] found need not be held any longer. Locks for
    /// it may delay other tenants' writers.
    async fn fence_is_over(&self, _tenant: TenantId) {}

    /// Before a cutover: whatever this store would hold for it, so that two cutovers in opposite directions do not wait for each
    /// other in the pause. A caller makes room at its source and its target in the order of their names, and keeps what it gets
    /// until the cutover is over. While cutovers in the other direction have it, this waits for some time; then the error says so.
    async fn make_room(&self, _tenant: TenantId, _end: End) -> Result<Option<Room>, StoreError> {
        Ok(None)
    }

    /// Records that the tenant has moved to `to`, which accepts appends at `epoch`, and that this is
    /// published: writers that wait here for a switch under an earlier epoch are refused at once. In stores whose
    /// writers send the epoch, no writer waits in the store.
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

    /// The checkpoint of a reader of the table that has read all events up to number `seq`: no
    /// event beyond `seq` is at or before this position. `None`: positions are
    /// numbers in this store.
    async fn position_of_number(
        &self,
        _tenant: TenantId,
        _seq: u64,
    ) -> Result<Option<i64>, StoreError> {
        Ok(None)
    }

    /// The tables that the layout lists beside the events, each with the tenant's number of rows, or the total
    /// if it has no tenant column; counted up to [`Beside::COUNTED`] and one more. `None`:
    /// unknown.
    async fn beside(&self, _tenant: TenantId) -> Result<Vec<(Beside, Option<u64>)>, StoreError> {
        let tables = self.layout().await?.map_or_else(Vec::new, |layout| layout.beside);
        Ok(tables.into_iter().map(|table| (table, None)).collect())
    }

    /// The tenant's rows in the tables of checkpoints that have such.
    async fn checkpoint_rows(&self, _tenant: TenantId) -> Result<Vec<CheckpointRow>, StoreError> {
        Ok(Vec::new())
    }

    /// Writes a row of another store, with a position of this one. A row that is further stays. Returns
    /// whether it was written.
    async fn put_checkpoint_row(&self, row: &CheckpointRow) -> Result<bool, StoreError> {
        let why = format!("rows of table \"{}\" cannot be copied to it", row.table);
        Err(Fault::new(format!("store \"{}\"", self.id()), FaultKind::NotWritten(why)).into())
    }

    /// What would keep the tenant from being moved, a sentence each, with what to do.
    async fn obstacles(&self, _tenant: TenantId) -> Result<Vec<String>, StoreError> {
        Ok(Vec::new())
    }

    /// The store's disk and replicas, as far as it knows them.
    async fn condition(&self) -> Result<Condition, StoreError> {
        Ok(Condition::default())
    }

    /// The store's report about itself.
    async fn check(&self) -> Result<StoreReport, StoreError>;
}
