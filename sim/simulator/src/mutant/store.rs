//! A store that is broken on purpose.

use std::time::Duration;

use rehome_domain::append::{Append, Appended};
use rehome_domain::digest;
use rehome_domain::event::{Event, Json};
use rehome_domain::ids::{Epoch, TenantId};
use rehome_domain::ledger::{Activation, Head, Ledger, Refusal, Role};
use rehome_domain::stream::ExpectedVersion;
use rehome_ports::memory::{MemoryStore, TenantRows};
use rehome_ports::{AppendOutcome, BatchLimit, Feed, LedgerStore as _, StoreError, StreamSlice};

use super::{Broken, Mutant};

/// Every so many positions an acknowledged append is forgotten.
const FORGOTTEN_EVERY: u64 = 29;
/// Every so many positions an event is changed on its way to a replica.
const CHANGED_EVERY: u64 = 5;
/// How long a checked append takes to be written.
const WRITTEN_AFTER: Duration = Duration::from_millis(8);
const ALL: BatchLimit = BatchLimit { events: usize::MAX, bytes: usize::MAX };

impl Broken {
    pub(crate) async fn append(
        &self,
        store: &MemoryStore,
        tenant: TenantId,
        epoch: Epoch,
        mut appends: Vec<Append>,
    ) -> Result<Vec<AppendOutcome>, StoreError> {
        match self.mutant {
            Some(Mutant::EpochForgotten) => {
                let before = store.ledger(tenant).await?;
                if before.role == Role::Absent {
                    return store.append(tenant, epoch, &appends).await;
                }
                force(store, tenant, epoch, &appends).await
            }
            Some(Mutant::FenceWithoutDrain) => {
                if store.ledger(tenant).await?.check_append(epoch).is_err() {
                    return store.append(tenant, epoch, &appends).await;
                }
                tokio::time::sleep(WRITTEN_AFTER).await;
                force(store, tenant, epoch, &appends).await
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
            Some(Mutant::RetryWrittenAgain) => {
                let before = store.read_feed(tenant, 0, ALL).await?.events;
                let mut outcomes = store.append(tenant, epoch, &appends).await?;
                for (append, outcome) in appends.iter().zip(&mut outcomes) {
                    let again = before.iter().filter(|event| append.events[0].id == event.id);
                    if let (Ok(told), 1..) = (outcome, again.count()) {
                        *told = write_again(store, tenant, append).unwrap_or(*told);
                    }
                }
                Ok(outcomes)
            }
            _ => store.append(tenant, epoch, &appends).await,
        }
    }

    pub(crate) async fn extend(
        &self,
        store: &MemoryStore,
        tenant: TenantId,
        m: Epoch,
        previous: Head,
        events: &[Event],
    ) -> Result<Head, StoreError> {
        if self.is(Mutant::ChainUnchecked) {
            let changed = events.iter().map(|event| {
                let mut event = event.clone();
                if event.seq.is_multiple_of(CHANGED_EVERY) {
                    event.data = Json::trusted("{}");
                }
                event
            });
            return store.extend(tenant, m, previous, &chained(previous, changed)).await;
        }
        let answer = store.extend(tenant, m, previous, events).await;
        match (self.mutant, answer) {
            (Some(Mutant::ExtendedTwice), Ok(head)) if !events.is_empty() => {
                let twin =
                    events.last().map(|last| Event { version: last.version + 1, ..last.clone() });
                store.extend(tenant, m, head, &chained(head, twin.into_iter())).await
            }
            (Some(Mutant::HeadUnchecked), Err(StoreError::Refused(refused)))
                if refused.why == Refusal::NotAtHead =>
            {
                let head = refused.ledger.head;
                store.extend(tenant, m, head, &chained(head, events.iter().cloned())).await
            }
            (_, answer) => answer,
        }
    }

    pub(crate) async fn fence(
        &self,
        store: &MemoryStore,
        tenant: TenantId,
        from: Epoch,
        to: Epoch,
    ) -> Result<Head, StoreError> {
        if self.is(Mutant::FenceIgnored) {
            return Ok(store.ledger(tenant).await?.head);
        }
        store.fence(tenant, from, to).await
    }

    pub(crate) async fn activate(
        &self,
        store: &MemoryStore,
        tenant: TenantId,
        route: Activation,
    ) -> Result<Ledger, StoreError> {
        let answer = store.activate(tenant, route).await;
        self.unless(Mutant::ActivatedAtAnyEpoch, store, tenant, answer, |rows| {
            rows.ledger = Ledger { role: Role::Active, epoch: route.epoch, ..rows.ledger };
        })
    }

    pub(crate) async fn adopt(
        &self,
        store: &MemoryStore,
        tenant: TenantId,
        m: Epoch,
        head: Head,
    ) -> Result<Ledger, StoreError> {
        let answer = store.adopt(tenant, m, head).await;
        self.unless(Mutant::AdoptedAtAnyEpoch, store, tenant, answer, |rows| {
            rows.ledger = Ledger { role: Role::Replica, epoch: m, ..rows.ledger };
        })
    }

    pub(crate) async fn drop_replica(
        &self,
        store: &MemoryStore,
        tenant: TenantId,
        m: Epoch,
    ) -> Result<Ledger, StoreError> {
        let answer = store.drop_replica(tenant, m).await;
        self.unless(Mutant::DroppedAtAnyEpoch, store, tenant, answer, |rows| {
            rows.ledger.role = Role::Fenced;
        })
    }

    pub(crate) async fn purge(
        &self,
        store: &MemoryStore,
        tenant: TenantId,
        k: Epoch,
        chunk: u32,
    ) -> Result<Ledger, StoreError> {
        let answer = store.purge(tenant, k, chunk).await;
        self.unless(Mutant::PurgedAtAnyEpoch, store, tenant, answer, |rows| cut(rows, chunk))
    }

    pub(crate) async fn cut_back(
        &self,
        store: &MemoryStore,
        tenant: TenantId,
        k: Epoch,
        to: Head,
        chunk: u32,
    ) -> Result<Ledger, StoreError> {
        store.cut_back(tenant, k, to, chunk).await
    }

    /// A refused call is carried out all the same, if that is how the store is broken.
    fn unless(
        &self,
        mutant: Mutant,
        store: &MemoryStore,
        tenant: TenantId,
        answer: Result<Ledger, StoreError>,
        change: impl FnOnce(&mut TenantRows),
    ) -> Result<Ledger, StoreError> {
        if !self.is(mutant) || !matches!(answer, Err(StoreError::Refused(_))) {
            return answer;
        }
        let mut after = Ledger::ABSENT;
        store.tamper(tenant, |rows| {
            change(rows);
            after = rows.ledger;
        });
        Ok(after)
    }

    pub(crate) fn feed(&self, store: &MemoryStore, feed: Feed) -> Feed {
        Feed { ledger: self.claimed(store, feed.ledger), ..feed }
    }

    pub(crate) fn slice(&self, store: &MemoryStore, mut slice: StreamSlice) -> StreamSlice {
        if self.is(Mutant::StaleReads) && slice.events.pop().is_some() {
            slice.version -= 1;
        }
        StreamSlice { ledger: self.claimed(store, slice.ledger), ..slice }
    }

    /// The ledger that a read is answered with.
    fn claimed(&self, store: &MemoryStore, ledger: Ledger) -> Ledger {
        if !self.is(Mutant::ReadsClaimActive) {
            return ledger;
        }
        let active = &mut self.memory().active;
        if ledger.role == Role::Active {
            active.insert(store.id().clone(), ledger.epoch);
            return ledger;
        }
        let once = active.get(store.id());
        once.map_or(ledger, |epoch| Ledger { role: Role::Active, epoch: *epoch, ..ledger })
    }
}

/// Appends as if the store were active at that epoch.
async fn force(
    store: &MemoryStore,
    tenant: TenantId,
    epoch: Epoch,
    appends: &[Append],
) -> Result<Vec<AppendOutcome>, StoreError> {
    let before = store.ledger(tenant).await?;
    store.tamper(tenant, |rows| {
        rows.ledger = Ledger { role: Role::Active, epoch, ..rows.ledger };
    });
    let outcomes = store.append(tenant, epoch, appends).await;
    store.tamper(tenant, |rows| {
        rows.ledger = Ledger { head: rows.ledger.head, ..before };
    });
    outcomes
}

/// Writes the events of an append that are there already to the end of the history once more.
fn write_again(store: &MemoryStore, tenant: TenantId, append: &Append) -> Option<Appended> {
    let mut told = None;
    store.tamper(tenant, |rows| {
        let first = rows.versions.get(&append.stream).copied().unwrap_or(0) + 1;
        let of_first_time = |event: &Event| append.events.iter().any(|new| new.id == event.id);
        let twins = rows.events.iter().filter(|event| of_first_time(event)).cloned();
        let twins = (first..).zip(twins).map(|(version, event)| Event { version, ..event });
        let twins = chained(rows.ledger.head, twins);
        if let (Some(from), Some(to)) = (twins.first(), twins.last()) {
            told = Some(Appended {
                first_seq: from.seq,
                last_seq: to.seq,
                first_version: from.version,
                last_version: to.version,
            });
            rows.ledger.head = Head::of(to);
            rows.versions.insert(append.stream.clone(), to.version);
        }
        rows.events.extend(twins);
    });
    told
}

/// The events with positions and digests that continue `head`.
fn chained(mut head: Head, events: impl Iterator<Item = Event>) -> Vec<Event> {
    events
        .map(|mut event| {
            event.seq = head.seq + 1;
            event.digest = digest::chain(&head.digest, &event);
            head = Head::of(&event);
            event
        })
        .collect()
}

/// Removes so many events from the end.
fn cut(rows: &mut TenantRows, chunk: u32) {
    let kept = rows.events.len().saturating_sub(usize::try_from(chunk).unwrap_or(usize::MAX));
    rows.events.truncate(kept);
    rows.versions.clear();
    for event in &rows.events {
        rows.versions.insert(event.stream.clone(), event.version);
    }
    rows.ledger = rows.ledger.purged_to(rows.events.last().map_or(Head::EMPTY, Head::of));
}
