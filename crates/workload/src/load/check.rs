//! Do the stores match the acknowledgements? Compares the history, page by page, with the writers' records.
//!
//! Findings, in events:
//! * *lost*: acknowledged but missing;
//! * *duplicated*: stored more than once;
//! * *reordered*: acknowledged at another place (stream, version or position), or stored in another
//!   order than sent: a writer sends one append after the other, so its events must be in the
//!   order of their numbers; and events acknowledged before another was sent must precede it;
//! * *altered*: with other content than the sent event;
//! * *unexpected*: stored although refused, or never sent;
//! * *gaps*: missing positions of the history, or missing versions of the load's streams.
//!
//! An append without a response may be stored or not, but if it is, then once and in order.
//! Memory: the records, a bit for each event of theirs, and a number for each of their streams.

use std::collections::HashMap;

use rehome_domain::event::Event;
use rehome_domain::ids::TenantId;
use rehome_ports::{BatchLimit, EventStore, LedgerStore, ReadError};

use super::ids;
use super::record::{Ack, Outcome, Record, Sent, StreamRef};

/// Maximum number of findings with a description.
const EXAMPLES_MAX: usize = 10;
const PAGE: BatchLimit = BatchLimit { events: 2_000, bytes: 4 << 20 };

/// Where to read the history.
pub enum Source<'a> {
    /// As applications do, wherever the tenant is now.
    Router(&'a dyn EventStore),
    /// In this one store.
    Store(&'a dyn LedgerStore),
}

impl Source<'_> {
    async fn page(&self, tenant: TenantId, after: u64) -> Result<Vec<Event>, ReadError> {
        match self {
            Self::Router(store) => store.read_feed(tenant, after, PAGE).await,
            Self::Store(store) => Ok(store.read_feed(tenant, after, PAGE).await?.events),
        }
    }
}

/// What a check found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Checked {
    /// Events of the history that were read, whichever writer wrote them.
    pub events_read: u64,
    /// Events of the records that were acknowledged.
    pub acked: u64,
    /// Acknowledged and not there.
    pub lost: u64,
    /// There more than once.
    pub duplicated: u64,
    /// There, but not where or not in the order it has to be.
    pub reordered: u64,
    /// There with other content.
    pub altered: u64,
    /// There although refused or never sent.
    pub unexpected: u64,
    /// Positions or versions that nothing holds.
    pub gaps: u64,
    /// Appends that were refused although the writer did nothing wrong.
    pub refused: u64,
    /// The first findings in words.
    pub examples: Vec<String>,
}

impl Checked {
    /// Whether the stores match the acknowledgements.
    pub const fn is_clean(&self) -> bool {
        self.lost
            + self.duplicated
            + self.reordered
            + self.altered
            + self.unexpected
            + self.gaps
            + self.refused
            == 0
    }

    fn note(&mut self, what: impl FnOnce() -> String) {
        if self.examples.len() < EXAMPLES_MAX {
            self.examples.push(what());
        }
    }
}

/// Checks one tenant's history against the records of all loads that wrote to it.
pub async fn check(
    source: &Source<'_>,
    tenant: TenantId,
    records: &[Record],
) -> Result<Checked, ReadError> {
    let mut checker = Checker::new(records);
    let mut after = 0;
    loop {
        let page = source.page(tenant, after).await?;
        let Some(last) = page.iter().map(|event| event.seq).max() else { break };
        for event in &page {
            checker.see(event);
        }
        if last <= after {
            // A store that returns other pages than requested would be read for ever.
            break;
        }
        after = last;
    }
    Ok(checker.finish())
}

struct Checker<'a> {
    loads: Vec<LoadState<'a>>,
    last_seq: u64,
    found: Checked,
}

/// One load, and the state of its check.
struct LoadState<'a> {
    record: &'a Record,
    writers: Vec<WriterState>,
    versions: HashMap<(u16, StreamRef), u64>,
    /// The latest time of sending among the events seen.
    sent_at: i64,
}

#[derive(Default)]
struct WriterState {
    seen: Vec<u64>,
    last: Option<u64>,
}

impl WriterState {
    /// Notes that an event is there; true if it was seen before.
    fn see(&mut self, number: u64) -> bool {
        let Ok(word) = usize::try_from(number / 64) else { return false };
        if self.seen.len() <= word {
            self.seen.resize(word + 1, 0);
        }
        let bit = 1_u64 << (number % 64);
        let before = self.seen[word] & bit != 0;
        self.seen[word] |= bit;
        before
    }

    fn has(&self, number: u64) -> bool {
        let word = usize::try_from(number / 64).ok().and_then(|word| self.seen.get(word));
        word.is_some_and(|word| word & (1 << (number % 64)) != 0)
    }
}

impl<'a> Checker<'a> {
    fn new(records: &'a [Record]) -> Self {
        let loads = records.iter().map(|record| LoadState {
            record,
            writers: record.writers.iter().map(|_| WriterState::default()).collect(),
            versions: HashMap::new(),
            sent_at: i64::MIN,
        });
        Self { loads: loads.collect(), last_seq: 0, found: Checked::default() }
    }

    fn see(&mut self, event: &Event) {
        self.found.events_read += 1;
        if event.seq <= self.last_seq {
            self.found.reordered += 1;
            self.found.note(|| format!("seq {} comes after {}", event.seq, self.last_seq));
        } else if event.seq > self.last_seq + 1 {
            self.found.gaps += 1;
            self.found.note(|| format!("no event between seq {} and {}", self.last_seq, event.seq));
        }
        self.last_seq = self.last_seq.max(event.seq);

        let said = ids::read(event.id.uuid()).filter(|said| !said.is_stream);
        let load = said.and_then(|said| self.loads.iter_mut().find(|l| l.record.id == said.load));
        if let (Some(said), Some(load)) = (said, load) {
            load.see(event, said.writer, said.number, &mut self.found);
        } else if self.loads.iter().any(|load| load.owns(event)) {
            self.found.unexpected += 1;
            self.found.note(|| format!("event {} in a stream of the writers", event.id));
        }
    }

    fn finish(self) -> Checked {
        let Self { loads, mut found, .. } = self;
        for load in &loads {
            load.finish(&mut found);
        }
        found
    }
}

impl LoadState<'_> {
    fn owns(&self, event: &Event) -> bool {
        StreamRef::read(self.record.id, event.stream.stream_id()).is_some()
    }

    fn see(&mut self, event: &Event, writer: u16, number: u64, found: &mut Checked) {
        let (id, seq) = (event.id, event.seq);
        let record = self.record.writers.get(usize::from(writer));
        let sent = record.and_then(|record| record.append_of(number));
        let (Some(sent), Some(state)) = (sent, self.writers.get_mut(usize::from(writer))) else {
            found.unexpected += 1;
            return found.note(|| format!("event {id} at seq {seq} was never sent"));
        };
        let stream = (if sent.stream.shared { 0 } else { writer }, sent.stream);
        let version = self.versions.entry(stream).or_default();
        if state.see(number) {
            *version = event.version.max(*version);
            found.duplicated += 1;
            return found.note(|| format!("event {id} appears again at seq {seq}"));
        }
        let in_order = state.last.is_none_or(|last| last < number);
        state.last = state.last.max(Some(number));
        let misplaced = if event.stream != sent.stream.name(self.record.id, writer) {
            Some("is in another stream than the one it was sent to")
        } else if !in_order {
            Some("comes after an event that its writer sent later")
        } else if event.version <= *version {
            Some("comes after a later version of its stream")
        } else {
            let offset = number - sent.first;
            match &sent.outcome {
                Outcome::Acked(ack) if ack.at < self.sent_at => Some(
                    "precedes an event in the history that was sent only after its acknowledgement",
                ),
                Outcome::Acked(ack)
                    if event.seq != ack.first_seq + offset
                        || event.version != ack.first_version + offset =>
                {
                    Some("is at another position than the acknowledged one")
                }
                _ => None,
            }
        };
        if let Some(what) = misplaced {
            found.reordered += 1;
            found.note(|| format!("event {id} at seq {seq} {what}"));
        } else if event.version > *version + 1 {
            found.gaps += 1;
            found.note(|| format!("stream {}: no version {}", event.stream, *version + 1));
        }
        *version = event.version.max(*version);
        self.sent_at = self.sent_at.max(sent.sent_at);

        if sent.outcome == Outcome::Refused {
            found.unexpected += 1;
            found.note(|| format!("event {id} at seq {seq} was refused"));
        }
        let made = self.record.event(writer, number, sent.stream);
        if made.data != event.data
            || made.metadata != event.metadata
            || made.event_type != event.event_type
        {
            found.altered += 1;
            found.note(|| format!("event {id} at seq {seq} has other content than the sent event"));
        }
    }

    fn finish(&self, found: &mut Checked) {
        for (writer, (record, state)) in
            (0_u16..).zip(self.record.writers.iter().zip(&self.writers))
        {
            for sent in &record.appends {
                match &sent.outcome {
                    Outcome::Open => {}
                    Outcome::Refused => found.refused += 1,
                    Outcome::Acked(ack) => self.find_lost(writer, state, sent, ack, found),
                }
            }
        }
    }

    fn find_lost(
        &self,
        writer: u16,
        state: &WriterState,
        sent: &Sent,
        ack: &Ack,
        found: &mut Checked,
    ) {
        let events = u64::from(sent.events);
        found.acked += events;
        if !ack.contiguous {
            found.reordered += events;
            found.note(|| format!("the acknowledgement at seq {} had holes", ack.first_seq));
        }
        for number in (sent.first..sent.first + events).filter(|number| !state.has(*number)) {
            found.lost += 1;
            let id = self.record.id.event(writer, number);
            found.note(|| format!("event {id} was acknowledged but is missing"));
        }
    }
}
