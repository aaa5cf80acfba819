//! Events on their way to the writer: checked, and packed into a few allocations.
//!
//! The events of an `extend` are borrowed from its caller and the writer is another thread, so
//! they have to be copied. One text and one row table per part cost a tenth of cloning each event
//! with its five texts, and name each stream once.

use std::collections::HashMap;

use rehome_domain::digest::{self, Digest};
use rehome_domain::event::Event;
use rehome_domain::layout::{KeptRows, RowsRefused};
use rehome_domain::ledger::{Head, follow_chain};
use rehome_domain::stream::StreamName;

use super::tables::EventRow;

/// Most events and, roughly, bytes of a part.
const EVENTS_MAX: usize = 16_384;
const BYTES_MAX: usize = 8 << 20;
/// Events checked and packed before other tasks of the same thread get a turn.
const EVENTS_AT_ONCE: usize = 256;

/// Events that continue a head, each with the head that it reaches.
pub(super) struct Part {
    text: String,
    streams: Vec<StreamText>,
    rows: Vec<PackedRow>,
    kept: Result<Option<KeptRows>, RowsRefused>,
}

struct StreamText {
    at: usize,
    type_len: usize,
    id_len: usize,
}

struct PackedRow {
    head: Head,
    stream: usize,
    version: u64,
    id: [u8; 16],
    occurred_at: i64,
    recorded_at: i64,
    at: usize,
    type_len: usize,
    data_len: usize,
    metadata_len: usize,
    /// Of an event with a row of another library's table: the row's length, and a digest of the event beside it.
    kept: Option<(usize, Digest)>,
}

/// The chain breaks at this event of those given.
pub(super) struct Broken {
    pub(super) index: usize,
}

impl Part {
    /// Checks that `events` continue `previous`, and packs as many as fit.
    pub(super) async fn pack(mut previous: Head, events: &[Event]) -> Result<Self, Broken> {
        let mut bytes = 0;
        let fitting = events.iter().take(EVENTS_MAX).take_while(|event| {
            let room = bytes < BYTES_MAX;
            bytes += event.bytes();
            room
        });
        let events = &events[..fitting.count()];
        let mut part = Self {
            text: String::with_capacity(bytes),
            streams: Vec::new(),
            rows: Vec::with_capacity(events.len()),
            kept: KeptRows::of(events),
        };
        let mut numbers: HashMap<&StreamName, usize> = HashMap::new();
        for some in events.chunks(EVENTS_AT_ONCE) {
            let start = part.rows.len();
            previous = follow_chain(previous, some).map_err(|_| {
                let good = some
                    .iter()
                    .enumerate()
                    .take_while(|(i, _)| follow_chain(previous, &some[..=*i]).is_ok());
                Broken { index: start + good.count() }
            })?;
            for event in some {
                let next = part.streams.len();
                let stream = *numbers.entry(&event.stream).or_insert(next);
                if stream == next {
                    part.name(&event.stream);
                }
                part.push(event, stream);
            }
            tokio::task::yield_now().await;
        }
        Ok(part)
    }

    fn name(&mut self, stream: &StreamName) {
        let (stream_type, stream_id) = (stream.stream_type(), stream.stream_id());
        self.streams.push(StreamText {
            at: self.text.len(),
            type_len: stream_type.len(),
            id_len: stream_id.len(),
        });
        self.text.push_str(stream_type);
        self.text.push_str(stream_id);
    }

    fn push(&mut self, event: &Event, stream: usize) {
        let (data, metadata) = (event.data.as_str(), event.metadata.as_str());
        self.rows.push(PackedRow {
            head: Head::of(event),
            stream,
            version: event.version,
            id: *event.id.as_bytes(),
            occurred_at: event.occurred_at.micros(),
            recorded_at: event.recorded_at.micros(),
            at: self.text.len(),
            type_len: event.event_type.len(),
            data_len: data.len(),
            metadata_len: metadata.len(),
            kept: event.row.as_ref().map(|row| (row.as_str().len(), digest::contents(event))),
        });
        self.text.push_str(&event.event_type);
        self.text.push_str(data);
        self.text.push_str(metadata);
        if let Some(row) = &event.row {
            self.text.push_str(row.as_str());
        }
    }

    /// How many events.
    pub(super) fn len(&self) -> usize {
        self.rows.len()
    }

    /// How many streams they are of.
    pub(super) fn streams(&self) -> usize {
        self.streams.len()
    }

    /// Type and id of a stream.
    pub(super) fn stream(&self, stream: usize) -> (&str, &str) {
        let StreamText { at, type_len, id_len } = self.streams[stream];
        (&self.text[at..at + type_len], &self.text[at + type_len..at + type_len + id_len])
    }

    /// Which stream an event is of.
    pub(super) fn stream_of(&self, index: usize) -> usize {
        self.rows[index].stream
    }

    /// The head that an event reaches.
    pub(super) fn head(&self, index: usize) -> Head {
        self.rows[index].head
    }

    /// The head that the last event reaches.
    pub(super) fn last(&self) -> Option<Head> {
        self.rows.last().map(|row| row.head)
    }

    /// An event as it is inserted.
    pub(super) fn row(&self, index: usize, position: i64, stream_no: i64) -> EventRow<'_> {
        let row = &self.rows[index];
        let (event_type, rest) = self.text[row.at..].split_at(row.type_len);
        let (data, rest) = rest.split_at(row.data_len);
        EventRow {
            position,
            stream_no,
            version: row.version,
            id: &row.id,
            event_type,
            occurred_at: row.occurred_at,
            recorded_at: row.recorded_at,
            data,
            metadata: &rest[..row.metadata_len],
            digest: row.head.digest.as_bytes(),
        }
    }
    /// The rows of another library's table that the events bring.
    pub(super) fn kept(&self) -> Result<Option<&KeptRows>, RowsRefused> {
        self.kept.as_ref().map(Option::as_ref).map_err(|refused| *refused)
    }

    /// The row of an event, and a digest of the event beside it.
    pub(super) fn kept_row(&self, index: usize) -> Option<(&str, &Digest)> {
        let row = &self.rows[index];
        let (len, contents) = row.kept.as_ref()?;
        let at = row.at + row.type_len + row.data_len + row.metadata_len;
        Some((&self.text[at..at + len], contents))
    }
}
