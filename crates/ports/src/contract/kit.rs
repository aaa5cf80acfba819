//! What the cases are written with: names, histories, and the audit of a tenant in a store.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::Arc;

use rehome_domain::append::{self, Append, Appended, Decision};
use rehome_domain::digest::Digest;
use rehome_domain::event::{Event, EventType, Json, NewEvent, Timestamp};
use rehome_domain::ids::{Epoch, EventId, MigrationId, StoreId, TenantId};
use rehome_domain::ledger::{Activation, Head, Ledger, Refusal, Refused, Role, follow_chain};
use rehome_domain::stream::{ExpectedVersion, StreamName};

use crate::{AppendOutcome, BatchLimit, LedgerStore, StoreError};

/// A store under test.
pub type Store = Arc<dyn LedgerStore>;

fn bytes(kind: u8, n: u64) -> [u8; 16] {
    let mut bytes = [kind; 16];
    bytes[6..8].copy_from_slice(&[0x70, kind]);
    bytes[8..].copy_from_slice(&n.to_be_bytes());
    bytes[8] |= 0x80;
    bytes
}

/// The `n`th tenant, in the order of `n`.
pub fn tenant(n: u64) -> TenantId {
    TenantId::from_slice(&bytes(0x0a, n)).unwrap()
}

/// The `n`th event id.
pub fn event_id(n: u64) -> EventId {
    EventId::from_slice(&bytes(0x0e, n)).unwrap()
}

/// The `n`th migration, in the order of `n`.
pub fn migration_id(n: u64) -> MigrationId {
    MigrationId::from_slice(&bytes(0x01, n)).unwrap()
}

/// A store's name.
pub fn store_id(name: &str) -> StoreId {
    name.parse().unwrap()
}

/// The stream `order/<id>`.
pub fn stream(id: &str) -> StreamName {
    StreamName::new("order", id).unwrap()
}

/// The `n`th event: always the same one, so that it can be sent again.
pub fn event(n: u64) -> NewEvent {
    NewEvent {
        id: event_id(n),
        event_type: EventType::new("order_placed").unwrap(),
        occurred_at: None,
        recorded_at: None,
        data: Json::trusted(format!("{{\"n\":{n}}}")),
        metadata: Json::trusted("{}"),
    }
}

/// An append of the events numbered so to the stream `order/<id>`.
pub fn append_of(
    id: &str,
    expected: ExpectedVersion,
    events: impl IntoIterator<Item = u64>,
) -> Append {
    let events = events.into_iter().map(event).collect();
    Append { stream: stream(id), expected, events }
}

/// The answer to an append that was taken.
pub const fn appended(first_version: u64, first_seq: u64, count: u64) -> Appended {
    let more = count - 1;
    Appended {
        first_version,
        last_version: first_version + more,
        first_seq,
        last_seq: first_seq + more,
    }
}

/// What a route says about the store it names, for a tenant that exists.
pub const fn at_epoch(epoch: u64) -> Activation {
    Activation { epoch: Epoch(epoch), base: 0, created: true }
}

/// What the route of a tenant that is being created says.
pub const NEWBORN: Activation = Activation { epoch: Epoch(1), base: 0, created: false };

/// A history of `n` events in three streams, as a source would hold it.
pub fn history(n: u64) -> Vec<Event> {
    let mut versions = [0_u64; 3];
    let mut head = Head::EMPTY;
    let mut events = Vec::new();
    for i in 1..=n {
        let which = usize::try_from(i * i % 7 % 3).unwrap();
        let append = append_of(["a", "b", "c"][which], ExpectedVersion::Any, [i]);
        let now = Timestamp::from_micros(1_767_225_600_000_000 + i64::try_from(i).unwrap());
        let decision = append::decide(&append, &[None], versions[which], head, now).unwrap();
        let Decision::Write(written) = decision else { panic!("the event is new") };
        versions[which] += 1;
        head = Head::of(&written[0]);
        events.extend(written);
    }
    events
}

/// Where a history ends.
pub fn head_of(events: &[Event]) -> Head {
    events.last().map_or(Head::EMPTY, Head::of)
}

/// Asserts that the store refused by this rule, returned the current ledger, and changed nothing.
pub async fn assert_refused<T: Debug>(
    store: &Store,
    tenant: TenantId,
    answer: Result<T, StoreError>,
    why: Refusal,
) {
    let ledger = store.ledger(tenant).await.unwrap();
    match answer {
        Err(StoreError::Refused(refused)) => assert_eq!(refused, Refused { why, ledger }),
        other => panic!("should be refused as {why:?} by {ledger:?}, not {other:?}"),
    }
}

/// A tenant in a store under test, with what the cases do to it.
#[derive(Clone)]
pub struct At {
    /// The store.
    pub store: Store,
    /// The tenant.
    pub tenant: TenantId,
}

impl At {
    /// A tenant that the store has never heard of.
    pub fn nowhere(store: &Store, n: u64) -> Self {
        Self { store: Arc::clone(store), tenant: tenant(n) }
    }

    /// A tenant that is `active@1`, without events.
    pub async fn born(store: &Store, n: u64) -> Self {
        let at = Self::nowhere(store, n);
        at.store.activate(at.tenant, NEWBORN).await.unwrap();
        at
    }

    /// A tenant that is `active@1` with so many events, one per append, in three streams.
    pub async fn written(store: &Store, n: u64, events: u64) -> Self {
        let at = Self::born(store, n).await;
        let ids = ["a", "b", "c"].into_iter().cycle();
        for (i, id) in (1..=events).zip(ids) {
            at.append(1, id, ExpectedVersion::Any, [i]).await.unwrap();
        }
        at
    }

    /// A tenant that is `replica@m` with this history.
    pub async fn replica(store: &Store, n: u64, m: u64, events: &[Event]) -> Self {
        let at = Self::nowhere(store, n);
        at.store.adopt(at.tenant, Epoch(m), Head::EMPTY).await.unwrap();
        at.extend_all(m, Head::EMPTY, events).await;
        at
    }

    /// A tenant that is `fenced@m` with this history.
    pub async fn dropped(store: &Store, n: u64, m: u64, events: &[Event]) -> Self {
        let at = Self::replica(store, n, m, events).await;
        at.store.drop_replica(at.tenant, Epoch(m)).await.unwrap();
        at
    }

    /// The tenant's ledger.
    pub async fn ledger(&self) -> Ledger {
        self.store.ledger(self.tenant).await.unwrap()
    }

    /// Asserts role and epoch, and answers the ledger.
    pub async fn is(&self, role: Role, epoch: u64) -> Ledger {
        let ledger = self.ledger().await;
        assert_eq!((ledger.role, ledger.epoch), (role, Epoch(epoch)));
        ledger
    }

    /// One append of the events numbered so.
    pub async fn append(
        &self,
        epoch: u64,
        id: &str,
        expected: ExpectedVersion,
        events: impl IntoIterator<Item = u64>,
    ) -> AppendOutcome {
        self.send(epoch, append_of(id, expected, events)).await
    }

    /// One append.
    pub async fn send(&self, epoch: u64, append: Append) -> AppendOutcome {
        let mut outcomes = self.store.append(self.tenant, Epoch(epoch), &[append]).await.unwrap();
        assert_eq!(outcomes.len(), 1);
        outcomes.remove(0)
    }

    /// Extends from `head` by all of `events`, however few the store takes at a time.
    pub async fn extend_all(&self, m: u64, mut head: Head, mut events: &[Event]) -> Head {
        while !events.is_empty() {
            let reached = self.store.extend(self.tenant, Epoch(m), head, events).await.unwrap();
            let taken = usize::try_from(reached.seq - head.seq).unwrap();
            assert!(taken >= 1, "an extend takes at least one event");
            assert_eq!(reached, Head::of(&events[taken - 1]));
            (head, events) = (reached, &events[taken..]);
        }
        head
    }

    /// Asserts that an answer is a refusal by this rule and that nothing was changed.
    pub async fn refused<T: Debug>(&self, answer: Result<T, StoreError>, why: Refusal) {
        assert_refused(&self.store, self.tenant, answer, why).await;
    }

    /// The whole history, page by page.
    pub async fn feed(&self, limit: BatchLimit) -> Vec<Event> {
        let mut events: Vec<Event> = Vec::new();
        loop {
            let after = events.last().map_or(0, |event| event.seq);
            let page = self.store.read_feed(self.tenant, after, limit).await.unwrap().events;
            let Some(first) = page.first() else { return events };
            assert_eq!(first.seq, after + 1, "a page goes on where the last one ended");
            events.extend(page);
        }
    }

    /// The whole stream, page by page.
    pub async fn stream(&self, stream: &StreamName, limit: BatchLimit) -> Vec<Event> {
        let mut events: Vec<Event> = Vec::new();
        loop {
            let from = events.last().map_or(1, |event| event.version + 1);
            let read = self.store.read_stream(self.tenant, stream, from, limit);
            let page = read.await.unwrap().events;
            let Some(first) = page.first() else { return events };
            assert_eq!(first.version, from, "a page goes on where the last one ended");
            events.extend(page);
        }
    }

    /// Reads the history and holds it to all that a history must be: positions 1..n, the chain
    /// from nothing to the ledger's head, each stream's versions 1..n, each id once, and every
    /// other way of reading of the same opinion. Answers the events.
    pub async fn audit(&self) -> Vec<Event> {
        let ledger = self.ledger().await;
        let events = self.feed(BatchLimit::events(7)).await;
        assert_eq!(follow_chain(Head::EMPTY, &events), Ok(ledger.head), "chain and ledger agree");

        let mut ids: Vec<EventId> = events.iter().map(|event| event.id).collect();
        ids.sort_unstable();
        ids.dedup();
        assert_eq!(ids.len(), events.len(), "each id is there once");

        let mut streams: BTreeMap<StreamName, Vec<Event>> = BTreeMap::new();
        for event in &events {
            streams.entry(event.stream.clone()).or_default().push(event.clone());
        }
        for (name, expected) in &streams {
            let versions: Vec<u64> = expected.iter().map(|event| event.version).collect();
            let count = expected.len() as u64;
            assert_eq!(versions, (1..=count).collect::<Vec<_>>(), "versions of {name}");
            assert_eq!(&self.stream(name, BatchLimit::events(5)).await, expected, "{name}");
        }
        let listed = self.store.streams(self.tenant, ledger.head.seq, None, 1_000_000).await;
        let listed: Vec<_> = listed
            .unwrap()
            .into_iter()
            .map(|listed| (listed.stream, [listed.version, listed.events, listed.last]))
            .collect();
        let counted: Vec<_> =
            streams.into_iter().map(|(name, events)| (name, [events.len() as u64; 3])).collect();
        assert_eq!(listed, counted);

        for at in [0, ledger.head.seq / 2, ledger.head.seq] {
            let expected = at
                .checked_sub(1)
                .map_or(Digest::EMPTY, |before| events[usize::try_from(before).unwrap()].digest);
            assert_eq!(self.store.digest_at(self.tenant, at).await.unwrap(), Some(expected));
        }
        let past = self.store.digest_at(self.tenant, ledger.head.seq + 1).await.unwrap();
        assert_eq!(past, None);
        events
    }
}
