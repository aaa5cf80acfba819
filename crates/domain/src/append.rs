//! How one append is decided: retry first, expected version second, then numbering.
//!
//! ```text
//! all ids known, same order, same content  ->  answer as the first time (Replay)
//! some known, or known with other content  ->  IdConflict
//! none known, version as expected          ->  number, chain, insert
//! none known, version not as expected      ->  VersionConflict
//! ```

use crate::digest::{self, Digest};
use crate::event::{Event, NewEvent, Timestamp};
use crate::ids::EventId;
use crate::ledger::Head;
use crate::stream::{ExpectedVersion, StreamName};

/// Events for one stream, to be appended together or not at all.
#[derive(Clone, Debug)]
pub struct Append {
    /// Where to.
    pub stream: StreamName,
    /// What the writer believes about the stream.
    pub expected: ExpectedVersion,
    /// At least one.
    pub events: Vec<NewEvent>,
}

/// What an append did, the same for the first time and for every retry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Appended {
    /// Version of the first event in its stream.
    pub first_version: u64,
    /// Version of the last event in its stream.
    pub last_version: u64,
    /// Position of the first event in the tenant's history.
    pub first_seq: u64,
    /// Position of the last event in the tenant's history.
    pub last_seq: u64,
}

/// Why an append of a batch was refused. Nothing of it was written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AppendConflict {
    /// The stream is not where the writer thought.
    #[error("stream {stream} is at version {actual}, not as expected")]
    Version {
        /// The stream.
        stream: StreamName,
        /// Its version in the active store (0: no event).
        actual: u64,
    },
    /// An id is already there with other content, or only a part of the batch is there.
    #[error("event id {id} is already used by another event or by a part of this batch")]
    Id {
        /// The first id in conflict.
        id: EventId,
    },
    /// Nothing to append.
    #[error("an append needs at least one event")]
    Empty,
}

/// Whether an append ends the chain that it is part of: it was refused, or it is there already, but not
/// where the chain has it.
pub fn ends_chain(append: &Append, outcome: &Result<Appended, AppendConflict>) -> bool {
    match (outcome, append.expected) {
        (Err(_), _) => true,
        (Ok(appended), ExpectedVersion::Exact(version)) => appended.first_version != version + 1,
        (Ok(appended), ExpectedVersion::NoStream) => appended.first_version != 1,
        (Ok(_), ExpectedVersion::Any) => false,
    }
}

/// What a decided append means for the store.
#[derive(Debug)]
pub enum Decision {
    /// It was here before: answer as the first time, write nothing.
    Replay(Appended),
    /// Write these rows; the last one's `(seq, digest)` is the new head.
    Write(Vec<Event>),
}

/// Decides one append. `known[i]` is the tenant's event with the id of `events[i]`, if any;
/// `actual` the stream's version (0: no event); `now` the time of recording.
pub fn decide(
    append: &Append,
    known: &[Option<Event>],
    actual: u64,
    head: Head,
    now: Timestamp,
) -> Result<Decision, AppendConflict> {
    debug_assert_eq!(append.events.len(), known.len());
    if append.events.is_empty() {
        return Err(AppendConflict::Empty);
    }
    if let Some(id) = repeated_id(&append.events) {
        return Err(AppendConflict::Id { id });
    }
    if known.iter().any(Option::is_some) {
        return replay(append, known).map(Decision::Replay);
    }
    if !append.expected.accepts(actual) {
        return Err(AppendConflict::Version { stream: append.stream.clone(), actual });
    }
    Ok(Decision::Write(number(append, actual, head, now)))
}

fn repeated_id(events: &[NewEvent]) -> Option<EventId> {
    let mut ids: Vec<_> = events.iter().map(|event| event.id).collect();
    ids.sort_unstable();
    ids.windows(2).find(|pair| pair[0] == pair[1]).map(|pair| pair[0])
}

fn replay(append: &Append, known: &[Option<Event>]) -> Result<Appended, AppendConflict> {
    let first = known[0].as_ref().ok_or(AppendConflict::Id { id: first_known(known) })?;
    for (i, (new, known)) in (0_u64..).zip(append.events.iter().zip(known)) {
        let same = known.as_ref().is_some_and(|old| {
            old.stream == append.stream
                && old.version == first.version + i
                && old.seq == first.seq + i
                && same_content(new, old)
        });
        if !same {
            return Err(AppendConflict::Id { id: new.id });
        }
    }
    let more = known.len() as u64 - 1;
    Ok(Appended {
        first_version: first.version,
        last_version: first.version + more,
        first_seq: first.seq,
        last_seq: first.seq + more,
    })
}

fn first_known(known: &[Option<Event>]) -> EventId {
    known.iter().flatten().next().expect("called only when one is known").id
}

fn same_content(new: &NewEvent, old: &Event) -> bool {
    new.event_type == old.event_type
        && new.data == old.data
        && new.metadata == old.metadata
        && new.occurred_at.is_none_or(|at| at == old.occurred_at)
        && new.recorded_at.is_none_or(|at| at == old.recorded_at)
}

fn number(append: &Append, actual: u64, head: Head, now: Timestamp) -> Vec<Event> {
    let mut previous = head.digest;
    (1..)
        .zip(&append.events)
        .map(|(i, new)| {
            let recorded_at = new.recorded_at.unwrap_or(now);
            let mut event = Event {
                seq: head.seq + i,
                stream: append.stream.clone(),
                version: actual + i,
                id: new.id,
                event_type: new.event_type.clone(),
                occurred_at: new.occurred_at.unwrap_or(recorded_at),
                recorded_at,
                data: new.data.clone(),
                metadata: new.metadata.clone(),
                digest: Digest::EMPTY,
                row: None,
            };
            event.digest = digest::chain(&previous, &event);
            previous = event.digest;
            event
        })
        .collect()
}

impl Decision {
    /// The answer for the writer, whichever it was.
    pub fn appended(&self) -> Appended {
        match self {
            Self::Replay(appended) => *appended,
            Self::Write(events) => {
                let (first, last) = (&events[0], &events[events.len() - 1]);
                Appended {
                    first_version: first.version,
                    last_version: last.version,
                    first_seq: first.seq,
                    last_seq: last.seq,
                }
            }
        }
    }
}
