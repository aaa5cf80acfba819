//! The check must find planted errors, and must find nothing where nothing is wrong.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use rehome_domain::append::{Append, Appended};
use rehome_domain::event::{Event, Json};
use rehome_domain::ids::{Epoch, TenantId};
use rehome_domain::ledger::Activation;
use rehome_domain::stream::StreamName;
use rehome_ports::clock::SystemClock;
use rehome_ports::memory::{MemoryStore, TenantRows};
use rehome_ports::{AppendError, BatchLimit, EventStore, LedgerStore as _, ReadError};
use uuid::Uuid;

use super::check::{Checked, Source, check};
use super::record::{Outcome, Record};
use super::{Load, LoadOptions, journal};

/// How a store treats every so many appends.
#[derive(Clone, Copy)]
enum Manner {
    Honest,
    /// Applies the append, and reports an unknown outcome.
    LosesReplies,
    /// Reports that writes are paused, and applies nothing.
    Pauses,
    /// Reports success, and applies nothing.
    Lies,
}

struct Store {
    inner: MemoryStore,
    manner: Manner,
    appends: AtomicU64,
}

const TENANT: TenantId = TenantId::new(Uuid::from_u128(7));
const EPOCH: Epoch = Epoch(1);

impl Store {
    async fn new(manner: Manner) -> Arc<Self> {
        let inner = MemoryStore::new("memory".parse().unwrap(), Arc::new(SystemClock));
        let route = Activation { epoch: EPOCH, base: 0, created: false };
        inner.activate(TENANT, route).await.unwrap();
        Arc::new(Self { inner, manner, appends: AtomicU64::new(0) })
    }

    async fn apply(&self, append: Append) -> Result<Appended, AppendError> {
        let mut outcomes = self.inner.append(TENANT, EPOCH, &[append]).await.unwrap();
        Ok(outcomes.remove(0)?)
    }
}

#[async_trait]
impl EventStore for Store {
    async fn append(&self, tenant: TenantId, append: Append) -> Result<Appended, AppendError> {
        tokio::task::yield_now().await;
        let turn = self.appends.fetch_add(1, Ordering::Relaxed) % 7 == 3;
        match self.manner {
            Manner::LosesReplies if turn => {
                let _ = self.apply(append).await;
                Err(AppendError::OutcomeUnknown { tenant, source: "planted".into() })
            }
            Manner::Pauses if turn => Err(AppendError::WritesPaused { tenant }),
            Manner::Lies if turn => {
                let seq = self.inner.ledger(TENANT).await.unwrap().head.seq;
                let more = append.events.len() as u64;
                Ok(Appended {
                    first_version: 1,
                    last_version: more,
                    first_seq: seq + 1,
                    last_seq: seq + more,
                })
            }
            _ => self.apply(append).await,
        }
    }

    async fn read_stream(
        &self,
        _: TenantId,
        _: &StreamName,
        _: u64,
        _: BatchLimit,
    ) -> Result<Vec<Event>, ReadError> {
        unreachable!("neither writers nor the check read streams")
    }

    async fn read_feed(
        &self,
        tenant: TenantId,
        after: u64,
        limit: BatchLimit,
    ) -> Result<Vec<Event>, ReadError> {
        Ok(self.inner.read_feed(tenant, after, limit).await?.events)
    }
}

fn options(writers: u16) -> LoadOptions {
    LoadOptions { tenant: TENANT, writers, rate: None, seed: 11, journal: None }
}

/// Runs writers until this many events are acknowledged.
async fn load(store: &Arc<Store>, options: LoadOptions, events: u64) -> Record {
    let store: Arc<dyn EventStore> = Arc::<Store>::clone(store);
    let load = Load::start(&store, options).unwrap();
    while load.acked() < events {
        tokio::task::yield_now().await;
    }
    load.stop(Duration::from_secs(10)).await
}

async fn checked(store: &Store, records: &[Record]) -> Checked {
    check(&Source::Router(store), TENANT, records).await.unwrap()
}

/// A run in which nothing goes wrong until `plant` has been at the rows.
async fn planted(plant: impl FnOnce(&mut TenantRows, &Record)) -> Checked {
    let store = Store::new(Manner::Honest).await;
    let record = load(&store, options(4), 400).await;
    assert!(checked(&store, std::slice::from_ref(&record)).await.is_clean());
    store.inner.tamper(TENANT, |rows| plant(rows, &record));
    checked(&store, &[record]).await
}

/// The same with only these findings in it.
fn findings(mut found: Checked) -> Checked {
    (found.events_read, found.acked) = (0, 0);
    found.examples.clear();
    found
}

fn in_two_places(rows: &mut TenantRows, from: usize, to: usize) {
    let (a, b) = (rows.events[from].clone(), rows.events[to].clone());
    rows.events[from] = Event { seq: a.seq, version: a.version, ..b.clone() };
    rows.events[to] = Event { seq: b.seq, version: b.version, ..a };
}

#[tokio::test]
async fn nothing_is_found_where_nothing_is_wrong() {
    for manner in [Manner::Honest, Manner::LosesReplies, Manner::Pauses] {
        let store = Store::new(manner).await;
        let record = load(&store, options(8), 500).await;
        let found = checked(&store, std::slice::from_ref(&record)).await;
        assert!(found.is_clean(), "{found:?}");
        assert_eq!(found.acked, record.acked());
        assert!(found.acked >= 500 && found.events_read >= found.acked);
    }
}

#[tokio::test]
async fn two_loads_of_one_tenant_are_checked_together() {
    let store = Store::new(Manner::Honest).await;
    let (one, two) = tokio::join!(load(&store, options(3), 200), load(&store, options(3), 200));
    let acked = one.acked() + two.acked();
    let found = checked(&store, &[one, two]).await;
    assert!(found.is_clean(), "{found:?}");
    assert_eq!((found.acked, found.events_read), (acked, acked));
}

#[tokio::test]
async fn a_lost_event_is_found() {
    let found = planted(|rows, _| drop(rows.events.remove(123))).await;
    assert_eq!((found.lost, found.duplicated, found.reordered), (1, 0, 0), "{found:?}");
    assert!(found.examples.iter().any(|text| text.contains("is missing")));
}

#[tokio::test]
async fn a_lost_tail_is_found() {
    let found = planted(|rows, _| rows.events.truncate(rows.events.len() - 5)).await;
    assert_eq!(findings(found), Checked { lost: 5, ..Checked::default() });
}

#[tokio::test]
async fn an_acknowledgement_of_nothing_is_found() {
    let store = Store::new(Manner::Lies).await;
    let found = checked(&store, &[load(&store, options(2), 100).await]).await;
    assert!(found.lost > 0, "{found:?}");
}

#[tokio::test]
async fn a_duplicated_event_is_found() {
    let found = planted(|rows, _| {
        let (last, again) = (rows.events.len() as u64, rows.events[50].clone());
        let version = rows.versions[&again.stream] + 1;
        rows.events.push(Event { seq: last + 1, version, ..again });
    })
    .await;
    assert_eq!(findings(found), Checked { duplicated: 1, ..Checked::default() });
}

#[tokio::test]
async fn reordered_events_are_found() {
    let found = planted(|rows, _| {
        let first = rows.events[30].stream.clone();
        let other = rows.events.iter().rposition(|event| event.stream == first).unwrap();
        in_two_places(rows, 30, other.max(31));
    })
    .await;
    assert!(found.reordered >= 2, "{found:?}");
    assert_eq!((found.lost, found.duplicated), (0, 0));
}

#[tokio::test]
async fn an_event_under_another_version_is_found() {
    let found = planted(|rows, _| rows.events[40].version += 1_000).await;
    assert!(found.reordered >= 1, "{found:?}");
}

#[tokio::test]
async fn an_event_of_another_content_is_found() {
    let found = planted(|rows, _| rows.events[60].data = Json::trusted("{}")).await;
    assert_eq!(findings(found), Checked { altered: 1, ..Checked::default() });
}

#[tokio::test]
async fn an_event_that_nobody_sent_is_found() {
    let found = planted(|rows, record| {
        let (last, like) = (rows.events.len() as u64, rows.events[50].clone());
        let id = rehome_domain::ids::EventId::new(record.id.event(1, 1 << 40));
        rows.events.push(Event { id, seq: last + 1, ..like });
    })
    .await;
    assert_eq!(findings(found), Checked { unexpected: 1, ..Checked::default() });
}

#[tokio::test]
async fn what_was_acknowledged_before_another_was_sent_lies_before_it() {
    let store = Store::new(Manner::Honest).await;
    let mut record = load(&store, options(2), 50).await;
    let first = record.writers[0].appends[0].ack().copied().unwrap();
    // The second writer claims to have sent everything before it received anything, the first
    // to have had its responses even earlier.
    for sent in &mut record.writers[1].appends {
        sent.sent_at = first.at - 5;
    }
    for sent in &mut record.writers[0].appends {
        if let Outcome::Acked(ack) = &mut sent.outcome {
            (sent.sent_at, ack.at) = (first.at - 10, first.at - 9);
        }
    }
    let found = checked(&store, &[record]).await;
    assert!(found.reordered > 0, "{found:?}");
}

#[tokio::test]
async fn the_record_can_be_read_back_from_its_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("writers");
    let store = Store::new(Manner::LosesReplies).await;
    let options = LoadOptions { journal: Some(path.clone()), ..options(3) };
    let record = load(&store, options, 200).await;
    let read = journal::read(&path).unwrap();
    assert_eq!((read.id, read.tenant, read.seed), (record.id, record.tenant, record.seed));
    for (read, kept) in read.writers.iter().zip(&record.writers) {
        assert_eq!(read.appends, kept.appends);
    }

    // Killed in the middle of a line.
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, &text[..text.len() - 3]).unwrap();
    let cut = journal::read(&path).unwrap();
    assert!(cut.acked() <= record.acked());
    assert!(checked(&store, &[cut]).await.lost == 0);
}

#[tokio::test]
async fn a_file_that_is_no_record_is_refused_with_its_line() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("writers");
    std::fs::write(&path, "L 1 00000000000a 00000000-0000-0000-0000-000000000007 1 5\nhello\n")
        .unwrap();
    assert_eq!(
        journal::read(&path).unwrap_err().to_string(),
        "line 2 is not one of a writers' record"
    );
}

#[tokio::test(start_paused = true)]
async fn a_load_keeps_to_its_rate() {
    let store = Store::new(Manner::Honest).await;
    let events: Arc<dyn EventStore> = Arc::<Store>::clone(&store);
    let rate = LoadOptions { rate: Some(400.0), ..options(4) };
    let load = Load::start(&events, rate).unwrap();
    tokio::time::sleep(Duration::from_secs(10)).await;
    let acked = load.stop(Duration::from_secs(5)).await.acked();
    assert!((3_900..=4_100).contains(&acked), "{acked} events in 10 s at 400 per second");
}
