//! [`PersistedEventRepository`] of the framework [cqrs-es](https://docs.rs/cqrs-es) over
//! [rehome](rehome): the aggregates of one tenant, wherever its events are.
//!
//! ```no_run
//! # use cqrs_es::{Aggregate, persist::PersistedEventStore};
//! # fn example<A: Aggregate>(store: rehome::Rehome, tenant: rehome::TenantId) {
//! use rehome_cqrs_es::EventRepository;
//!
//! let repository = EventRepository::new(store, tenant);
//! let events = PersistedEventStore::<_, A>::new_event_store(repository);
//! # drop(events);
//! # }
//! ```
//!
//! An aggregate is the stream of its type and id; its sequence numbers are the stream's versions. rehome stores
//! events and no snapshots: use `new_event_store`. A snapshot is refused.

use cqrs_es::Aggregate;
use cqrs_es::persist::{
    PersistedEventRepository, PersistenceError, ReplayFeed, ReplayStream, SerializedEvent,
    SerializedSnapshot,
};
use rehome::{
    Append, AppendConflict, AppendError, BatchLimit, Event, EventStore as _, ExpectedVersion,
    NewEvent, ReadError, Rehome, StreamName, TenantId, new_event,
};
use serde_json::{Value, json};

/// Events that a replay reads ahead.
const AHEAD: usize = 200;
/// How often an append is sent whose outcome is not known. It is done at most once: its ids stay the same.
const TRIES: u32 = 5;

/// The aggregates of one tenant. Cheap to clone.
#[derive(Clone)]
pub struct EventRepository {
    store: Rehome,
    tenant: TenantId,
}

impl EventRepository {
    /// The aggregates of this tenant.
    pub const fn new(store: Rehome, tenant: TenantId) -> Self {
        Self { store, tenant }
    }

    /// The events of an aggregate after this sequence number.
    async fn after<A: Aggregate>(
        &self,
        aggregate_id: &str,
        sequence: usize,
    ) -> Result<Vec<SerializedEvent>, PersistenceError> {
        let stream = StreamName::new(A::TYPE, aggregate_id).map_err(unknown)?;
        let mut found = Vec::new();
        let mut next = sequence as u64 + 1;
        loop {
            let page = self.page(&stream, next).await?;
            let Some(last) = page.last() else { return Ok(found) };
            next = last.version + 1;
            for event in &page {
                found.push(serialized(event)?);
            }
        }
    }

    async fn page(&self, stream: &StreamName, from: u64) -> Result<Vec<Event>, PersistenceError> {
        match self.store.read_stream(self.tenant, stream, from, BatchLimit::PAGE).await {
            // Its first event makes the tenant.
            Err(ReadError::UnknownTenant(_)) => Ok(Vec::new()),
            read => read.map_err(connection),
        }
    }
}

impl PersistedEventRepository for EventRepository {
    async fn get_events<A: Aggregate>(
        &self,
        aggregate_id: &str,
    ) -> Result<Vec<SerializedEvent>, PersistenceError> {
        self.after::<A>(aggregate_id, 0).await
    }

    async fn get_last_events<A: Aggregate>(
        &self,
        aggregate_id: &str,
        last_sequence: usize,
    ) -> Result<Vec<SerializedEvent>, PersistenceError> {
        self.after::<A>(aggregate_id, last_sequence).await
    }

    async fn get_snapshot<A: Aggregate>(
        &self,
        _: &str,
    ) -> Result<Option<SerializedSnapshot>, PersistenceError> {
        Ok(None)
    }

    async fn persist<A: Aggregate>(
        &self,
        events: &[SerializedEvent],
        snapshot_update: Option<(String, Value, usize)>,
    ) -> Result<(), PersistenceError> {
        if snapshot_update.is_some() {
            let why = "rehome keeps no snapshots; use PersistedEventStore::new_event_store";
            return Err(PersistenceError::UnknownError(why.into()));
        }
        let Some(first) = events.first() else { return Ok(()) };
        let stream = StreamName::new(A::TYPE, first.aggregate_id.as_str()).map_err(unknown)?;
        let before = (first.sequence as u64).checked_sub(1);
        let before = before.ok_or(PersistenceError::OptimisticLockError)?;
        let expected = ExpectedVersion::Exact(before);
        let events = events.iter().map(stored).collect::<Result<Vec<_>, _>>()?;
        let append = Append { stream, expected, events };
        let mut tries = 1;
        loop {
            match self.store.append(self.tenant, append.clone()).await {
                Ok(_) => return Ok(()),
                Err(AppendError::Conflict(AppendConflict::Version { .. })) => {
                    return Err(PersistenceError::OptimisticLockError);
                }
                Err(AppendError::OutcomeUnknown { .. } | AppendError::WritesPaused { .. })
                    if tries < TRIES =>
                {
                    tries += 1;
                }
                Err(error) => return Err(connection(error)),
            }
        }
    }

    async fn stream_events<A: Aggregate>(
        &self,
        aggregate_id: &str,
    ) -> Result<ReplayStream, PersistenceError> {
        let stream = StreamName::new(A::TYPE, aggregate_id).map_err(unknown)?;
        let (mut feed, replay) = ReplayStream::new(AHEAD);
        let this = self.clone();
        tokio::spawn(async move {
            let mut next = 1;
            loop {
                let page = this.page(&stream, next).await;
                next = match push(&mut feed, page, |_| true).await {
                    Some(last) => last.version + 1,
                    None => return,
                };
            }
        });
        Ok(replay)
    }

    async fn stream_all_events<A: Aggregate>(&self) -> Result<ReplayStream, PersistenceError> {
        let (mut feed, replay) = ReplayStream::new(AHEAD);
        let this = self.clone();
        tokio::spawn(async move {
            let mut after = 0;
            loop {
                let page = match this.store.read_feed(this.tenant, after, BatchLimit::PAGE).await {
                    Err(ReadError::UnknownTenant(_)) => return,
                    page => page.map_err(connection),
                };
                let of_type = |event: &Event| event.stream.stream_type() == A::TYPE;
                after = match push(&mut feed, page, of_type).await {
                    Some(last) => last.seq,
                    None => return,
                };
            }
        });
        Ok(replay)
    }
}

/// Passes a page on. Returns its last event; `None`: there is no more, or the receiver is gone.
async fn push(
    feed: &mut ReplayFeed,
    page: Result<Vec<Event>, PersistenceError>,
    wanted: impl Fn(&Event) -> bool,
) -> Option<Event> {
    let mut page = match page {
        Ok(page) => page,
        Err(error) => {
            feed.push(Err(error)).await.ok()?;
            return None;
        }
    };
    for event in page.iter().filter(|event| wanted(event)) {
        feed.push(serialized(event)).await.ok()?;
    }
    page.pop()
}

/// The event with its cqrs-es version in the metadata: cqrs-es has a version for each type of event.
fn stored(event: &SerializedEvent) -> Result<NewEvent, PersistenceError> {
    let made = new_event(&event.event_type, &event.payload).map_err(unknown)?;
    let metadata = json!({ "event_version": event.event_version, "metadata": event.metadata });
    let metadata = new_event(&event.event_type, &metadata).map_err(unknown)?.data;
    Ok(NewEvent { metadata, ..made })
}

fn serialized(event: &Event) -> Result<SerializedEvent, PersistenceError> {
    let mut metadata: Value = serde_json::from_str(event.metadata.as_str())?;
    // What another writer appended has metadata of its own.
    let version = metadata["event_version"].as_str().map(str::to_owned);
    let metadata = if version.is_some() { metadata["metadata"].take() } else { metadata };
    Ok(SerializedEvent::new(
        event.stream.stream_id().to_owned(),
        usize::try_from(event.version).map_err(unknown)?,
        event.stream.stream_type().to_owned(),
        event.event_type.to_string(),
        version.unwrap_or_default(),
        serde_json::from_str(event.data.as_str())?,
        metadata,
    ))
}

fn connection(error: impl std::error::Error + Send + Sync + 'static) -> PersistenceError {
    PersistenceError::ConnectionError(Box::new(error))
}

fn unknown(error: impl std::error::Error + Send + Sync + 'static) -> PersistenceError {
    PersistenceError::UnknownError(Box::new(error))
}
