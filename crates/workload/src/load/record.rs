//! What each writer sent, and the responses.

use std::sync::{Mutex, MutexGuard, PoisonError};

use rehome_domain::event::NewEvent;
use rehome_domain::ids::{EventId, TenantId};
use rehome_domain::stream::StreamName;
use uuid::Uuid;

use super::ids::{self, LoadId, SHARED};
use super::sample::{self, CART, Draw, ORDER};

/// What all writers of one load sent, and the responses.
#[derive(Clone, Debug)]
pub struct Record {
    /// Which load.
    pub id: LoadId,
    /// Whose events.
    pub tenant: TenantId,
    /// What the content was drawn from.
    pub seed: u64,
    /// One for each writer, by its number.
    pub writers: Vec<WriterRecord>,
}

/// What one writer sent, in order, and the responses.
#[derive(Clone, Debug, Default)]
pub struct WriterRecord {
    /// One for each append, whatever the number of attempts.
    pub appends: Vec<Sent>,
}

/// One append. The writer has numbered its events; their ids and content follow from the numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sent {
    /// The number of the first event.
    pub first: u64,
    /// How many events.
    pub events: u32,
    /// Where to.
    pub stream: StreamRef,
    /// When it was first sent, in microseconds since the Unix epoch.
    pub sent_at: i64,
    /// What came of it.
    pub outcome: Outcome,
}

/// What came of an append.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// No answer yet, or none before the writer was stopped or killed: the events may be there or
    /// not.
    Open,
    /// Acknowledged: the events must be there.
    Acked(Ack),
    /// Refused although the writer did nothing wrong: the events must not be there.
    Refused,
}

/// The content of an acknowledgement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ack {
    /// When it came, in microseconds since the Unix epoch.
    pub at: i64,
    /// Version of the first event in its stream.
    pub first_version: u64,
    /// Position of the first event in the tenant's history.
    pub first_seq: u64,
    /// Whether the last event's version and position were the first's plus the number of events
    /// between them.
    pub contiguous: bool,
}

/// A stream of a load.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct StreamRef {
    /// One that all writers append to, or the writer's own.
    pub shared: bool,
    /// Which of them.
    pub number: u32,
}

impl Sent {
    /// The acknowledgement, if there is one.
    pub const fn ack(&self) -> Option<&Ack> {
        match &self.outcome {
            Outcome::Acked(ack) => Some(ack),
            Outcome::Open | Outcome::Refused => None,
        }
    }

    /// Microseconds from the first send to the acknowledgement.
    pub fn latency(&self) -> Option<u64> {
        self.ack().map(|ack| u64::try_from(ack.at - self.sent_at).unwrap_or_default())
    }
}

impl WriterRecord {
    /// The append that holds the writer's event of this number.
    pub fn append_of(&self, number: u64) -> Option<&Sent> {
        let after = self.appends.partition_point(|sent| sent.first <= number);
        let sent = self.appends[..after].last()?;
        (number < sent.first + u64::from(sent.events)).then_some(sent)
    }

    /// Events that were acknowledged.
    pub fn acked(&self) -> u64 {
        let acked = self.appends.iter().filter(|sent| sent.ack().is_some());
        acked.map(|sent| u64::from(sent.events)).sum()
    }
}

impl Record {
    /// Events that were acknowledged.
    pub fn acked(&self) -> u64 {
        self.writers.iter().map(WriterRecord::acked).sum()
    }

    /// All appends of all writers.
    pub fn appends(&self) -> impl Iterator<Item = &Sent> {
        self.writers.iter().flat_map(|writer| &writer.appends)
    }

    /// An event as its writer sent it, each time.
    pub fn event(&self, writer: u16, number: u64, stream: StreamRef) -> NewEvent {
        event(self.id, self.seed, writer, number, stream)
    }
}

pub(super) fn event(
    load: LoadId,
    seed: u64,
    writer: u16,
    number: u64,
    stream: StreamRef,
) -> NewEvent {
    let draw = Draw::new(&[seed, u64::from(writer), number]);
    let content = sample::content(draw, stream.stream_type());
    NewEvent {
        id: EventId::new(load.event(writer, number)),
        event_type: content.event_type,
        occurred_at: None,
        recorded_at: None,
        data: content.data,
        metadata: content.metadata,
    }
}

impl StreamRef {
    /// The stream's type.
    pub const fn stream_type(self) -> &'static str {
        if self.shared { CART } else { ORDER }
    }

    pub(super) fn id(self, load: LoadId, writer: u16) -> Uuid {
        load.stream(if self.shared { SHARED } else { writer }, u64::from(self.number))
    }

    pub(super) fn name(self, load: LoadId, writer: u16) -> StreamName {
        StreamName::new(self.stream_type(), self.id(load, writer).to_string())
            .expect("a word and a UUID make a name")
    }

    /// The content of a stream id of the load; `None` if it is not one.
    pub(super) fn read(load: LoadId, id: &str) -> Option<Self> {
        let said = ids::read(Uuid::parse_str(id).ok()?)?;
        let number = u32::try_from(said.number).ok()?;
        (said.load == load && said.is_stream)
            .then_some(Self { shared: said.writer == SHARED, number })
    }
}

/// The record of a running writer: written by the writer, read by others.
#[derive(Debug, Default)]
pub(super) struct WriterCell(Mutex<WriterRecord>);

impl WriterCell {
    fn lock(&self) -> MutexGuard<'_, WriterRecord> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn snapshot(&self) -> WriterRecord {
        self.lock().clone()
    }

    /// Notes an append before it is sent; answers its index.
    pub(super) fn sent(&self, sent: Sent) -> usize {
        let mut record = self.lock();
        record.appends.push(sent);
        record.appends.len() - 1
    }

    /// The outcome of the append that was sent last.
    pub(super) fn ended(&self, outcome: Outcome) {
        if let Some(last) = self.lock().appends.last_mut() {
            last.outcome = outcome;
        }
    }

    pub(super) fn latencies_since(&self, since: i64) -> Vec<u64> {
        let record = self.lock();
        let lately = record.appends.iter().rev();
        let lately = lately.take_while(|sent| sent.ack().is_none_or(|ack| ack.at >= since));
        lately.filter_map(Sent::latency).collect()
    }
}
