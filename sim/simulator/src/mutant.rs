//! Stores and control planes that are broken on purpose, each in one way: what the checker has to
//! find.

use rehome_domain::append::Append;
use rehome_domain::digest;
use rehome_domain::event::Event;
use rehome_domain::ids::{Epoch, TenantId};
use rehome_domain::ledger::{Head, Ledger, Role};
use rehome_domain::stream::ExpectedVersion;
use rehome_ports::memory::MemoryStore;
use rehome_ports::{AppendOutcome, LedgerStore as _, StoreError, StreamSlice};

/// One way to be broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mutant {
    /// A store takes an append under any epoch, fenced or not.
    EpochForgotten,
    /// A store now and then acknowledges an append and then does not have it.
    AcknowledgedBeforeCommit,
    /// A store does not look at the version that a writer expects.
    VersionUnchecked,
    /// A store answers a fence and goes on taking appends.
    FenceIgnored,
    /// A store writes the last event of an `extend` twice.
    ExtendedTwice,
    /// A store answers a stream without its newest event.
    StaleReads,
    /// A control plane keeps a checkpoint one too far.
    CheckpointAhead,
}

impl Mutant {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::EpochForgotten,
        Self::AcknowledgedBeforeCommit,
        Self::VersionUnchecked,
        Self::FenceIgnored,
        Self::ExtendedTwice,
        Self::StaleReads,
        Self::CheckpointAhead,
    ];
}

/// Every so many positions an acknowledged append is forgotten.
const FORGOTTEN_EVERY: u64 = 29;

pub(crate) async fn append(
    mutant: Option<Mutant>,
    store: &MemoryStore,
    tenant: TenantId,
    epoch: Epoch,
    mut appends: Vec<Append>,
) -> Result<Vec<AppendOutcome>, StoreError> {
    match mutant {
        Some(Mutant::EpochForgotten) => {
            let before = store.ledger(tenant).await?;
            if before.role == Role::Absent {
                return store.append(tenant, epoch, &appends).await;
            }
            store.tamper(tenant, |rows| {
                rows.ledger = Ledger { role: Role::Active, epoch, ..rows.ledger };
            });
            let outcomes = store.append(tenant, epoch, &appends).await;
            store.tamper(tenant, |rows| {
                rows.ledger = Ledger { head: rows.ledger.head, ..before };
            });
            outcomes
        }
        Some(Mutant::AcknowledgedBeforeCommit) => {
            let mut before = None;
            store.tamper(tenant, |rows| before = Some(rows.clone()));
            let outcomes = store.append(tenant, epoch, &appends).await?;
            let after = store.ledger(tenant).await?.head.seq;
            if let Some(before) = before.filter(|_| after.is_multiple_of(FORGOTTEN_EVERY)) {
                store.tamper(tenant, |rows| *rows = before);
            }
            Ok(outcomes)
        }
        Some(Mutant::VersionUnchecked) => {
            for append in &mut appends {
                append.expected = ExpectedVersion::Any;
            }
            store.append(tenant, epoch, &appends).await
        }
        _ => store.append(tenant, epoch, &appends).await,
    }
}

pub(crate) async fn extend(
    mutant: Option<Mutant>,
    store: &MemoryStore,
    tenant: TenantId,
    m: Epoch,
    previous: Head,
    events: &[Event],
) -> Result<Head, StoreError> {
    let head = store.extend(tenant, m, previous, events).await?;
    match events.last() {
        Some(last) if mutant == Some(Mutant::ExtendedTwice) => {
            let mut twin = Event { seq: head.seq + 1, version: last.version + 1, ..last.clone() };
            twin.digest = digest::chain(&head.digest, &twin);
            store.extend(tenant, m, head, &[twin]).await
        }
        _ => Ok(head),
    }
}

pub(crate) async fn fence(
    mutant: Option<Mutant>,
    store: &MemoryStore,
    tenant: TenantId,
    from: Epoch,
    to: Epoch,
) -> Result<Head, StoreError> {
    if mutant == Some(Mutant::FenceIgnored) {
        return Ok(store.ledger(tenant).await?.head);
    }
    store.fence(tenant, from, to).await
}

pub(crate) fn slice(mutant: Option<Mutant>, mut slice: StreamSlice) -> StreamSlice {
    if mutant == Some(Mutant::StaleReads) && slice.events.pop().is_some() {
        slice.version -= 1;
    }
    slice
}

pub(crate) fn checkpoint(mutant: Option<Mutant>, seq: u64) -> u64 {
    if mutant == Some(Mutant::CheckpointAhead) { seq + 1 } else { seq }
}
