//! The oracle: the replies to clients, and whether they can all be true of one history.
//!
//! It uses what writers sent, their replies, what readers and subscribers received, and
//! the order of these in time; nothing of stores, routes or migrations. Each property has the number
//! of docs/protocol.md.

use std::collections::{BTreeMap, BTreeSet};

use rehome_domain::append::Appended;
use rehome_domain::event::Event;
use rehome_domain::ids::EventId;
use rehome_domain::stream::{ExpectedVersion, StreamName};

use crate::call::event_name;

/// The replies by some moment. A later operation must not return less.
#[derive(Clone, Debug, Default)]
pub(crate) struct Floor {
    /// The highest position in any reply.
    pub(crate) seq: u64,
    /// The highest version of each stream.
    pub(crate) versions: BTreeMap<StreamName, u64>,
}

impl Floor {
    /// The stream's highest version in any reply.
    pub(crate) fn version(&self, stream: &StreamName) -> u64 {
        self.versions.get(stream).copied().unwrap_or(0)
    }
}

/// One append as its writer made it.
#[derive(Clone, Debug)]
struct Sent {
    stream: StreamName,
    expected: ExpectedVersion,
    /// The replies before its first attempt.
    before: Floor,
    /// When it was first sent: how many appends were sent before.
    order: u64,
}

/// The book of one run.
#[derive(Default)]
pub(crate) struct Book {
    floor: Floor,
    sent: BTreeMap<EventId, Sent>,
    appends: u64,
    /// The known positions: each with its event, and its place in its stream.
    known: BTreeMap<u64, (EventId, StreamName, u64)>,
    positions: BTreeMap<EventId, u64>,
    acknowledged: BTreeSet<EventId>,
    /// Refused for good: must never be there.
    refused: BTreeSet<EventId>,
    /// Conflicts: the stream, the reported version, and the number of appends sent by then.
    conflicts: Vec<(StreamName, u64, u64)>,
    subscriber: u64,
    violations: Vec<String>,
}

impl Book {
    pub(crate) fn violations(&self) -> &[String] {
        &self.violations
    }

    pub(crate) fn violated(&mut self, what: impl Into<String>) {
        self.violations.push(what.into());
    }

    pub(crate) fn floor(&self) -> Floor {
        self.floor.clone()
    }

    /// A writer sends an append for the first time.
    pub(crate) fn sends(
        &mut self,
        ids: &[EventId],
        stream: &StreamName,
        expected: ExpectedVersion,
    ) {
        self.appends += 1;
        for id in ids {
            let (stream, before) = (stream.clone(), self.floor.clone());
            let sent = Sent { stream, expected, before, order: self.appends };
            self.sent.insert(*id, sent);
        }
    }

    /// A response with `id` at `seq`, as `version` of its stream.
    fn knows(&mut self, seq: u64, id: EventId, stream: &StreamName, version: u64) {
        let name = event_name(id);
        match self.sent.get(&id) {
            None => self.violated(format!("1: {name} at {seq} was never written")),
            Some(sent) if sent.stream != *stream => {
                self.violated(format!(
                    "1: {name} at {seq} is in another stream than was asked for"
                ));
            }
            Some(_) => {}
        }
        if self.refused.contains(&id) {
            self.violated(format!("4: {name} was refused, and is at {seq}"));
        }
        let told = (id, stream.clone(), version);
        match self.known.insert(seq, told.clone()) {
            Some(before) if before != told => {
                let (was, _, of) = before;
                self.violated(format!(
                    "1: position {seq} was told as {} ({of}. of its stream) and as {name} \
                     ({version}.)",
                    event_name(was)
                ));
            }
            _ => {}
        }
        match self.positions.insert(id, seq) {
            Some(before) if before != seq => {
                self.violated(format!("1: {name} was told to be at {before} and at {seq}"));
            }
            _ => {}
        }
        self.floor.seq = self.floor.seq.max(seq);
        let highest = self.floor.versions.entry(stream.clone()).or_default();
        *highest = version.max(*highest);
    }

    /// A writer's append was acknowledged.
    pub(crate) fn acknowledged(&mut self, ids: &[EventId], told: Appended) {
        let Some(sent) = ids.first().and_then(|id| self.sent.get(id)).cloned() else { return };
        let name = ids.first().map(|id| event_name(*id)).unwrap_or_default();
        let count = ids.len() as u64;
        if told.last_seq + 1 != told.first_seq + count
            || told.last_version + 1 != told.first_version + count
        {
            self.violated(format!("1: {name} was told to be at {told:?}, which is not its length"));
        }
        if told.first_seq <= sent.before.seq {
            self.violated(format!(
                "1: {name} was told to be at {}, which was taken before it was sent",
                told.first_seq
            ));
        }
        if !sent.expected.accepts(told.first_version - 1) {
            self.violated(format!(
                "4: {name} was taken as version {}, and expected {:?}",
                told.first_version, sent.expected
            ));
        }
        for (n, id) in (0..).zip(ids) {
            self.acknowledged.insert(*id);
            self.knows(told.first_seq + n, *id, &sent.stream, told.first_version + n);
        }
    }

    /// A writer was refused because the stream is at another version; `before` has the replies
    /// before this attempt.
    pub(crate) fn conflict(&mut self, ids: &[EventId], actual: u64, before: &Floor) {
        let Some(sent) = ids.first().and_then(|id| self.sent.get(id)).cloned() else { return };
        let name = ids.first().map(|id| event_name(*id)).unwrap_or_default();
        if sent.expected.accepts(actual) {
            self.violated(format!("4: {name} was refused for the version that it expected"));
        }
        let at_least = before.version(&sent.stream);
        if actual < at_least {
            self.violated(format!(
                "4: {name} was told version {actual} of {}, which was at {at_least} before",
                sent.stream
            ));
        }
        if ids.iter().any(|id| self.positions.contains_key(id)) {
            self.violated(format!("4: {name} was refused, and is there"));
        }
        self.refused.extend(ids);
        self.conflicts.push((sent.stream, actual, self.appends));
    }

    /// A reader received these events of the feed after `after`; `before` has the replies before its request.
    pub(crate) fn feed(&mut self, after: u64, before: &Floor, events: &[Event]) {
        for (seq, event) in (after + 1..).zip(events) {
            if event.seq != seq {
                self.violated(format!("6: a reader was given {} where {seq} is due", event.seq));
            }
            self.knows(event.seq, event.id, &event.stream, event.version);
        }
        let end = after + events.len() as u64;
        if end < before.seq {
            self.violated(format!(
                "6: a reader was told that the history ends at {end}; {} was told before it asked",
                before.seq
            ));
        }
    }

    /// A reader received this whole stream; `before` has the replies before its request.
    pub(crate) fn stream(&mut self, stream: &StreamName, before: &Floor, events: &[Event]) {
        for (version, event) in (1..).zip(events) {
            if event.version != version || event.stream != *stream {
                self.violated(format!(
                    "4: a reader of {stream} was given {}'s {}. where its {version}. is due",
                    event.stream, event.version
                ));
            }
            self.knows(event.seq, event.id, &event.stream, event.version);
        }
        let (end, at_least) = (events.len() as u64, before.version(stream));
        if end < at_least {
            self.violated(format!(
                "6: a reader was told that {stream} ends at {end}; {at_least} was told before it \
                 asked"
            ));
        }
    }

    /// The subscriber begins, or begins again, after this position.
    pub(crate) fn subscribes(&mut self, after: u64) {
        if after > self.subscriber {
            self.violated(format!(
                "5: the subscription goes on after {after}; the subscriber was given {}",
                self.subscriber
            ));
        }
        self.subscriber = after;
    }

    /// The subscriber is given these.
    pub(crate) fn delivered(&mut self, events: &[Event]) {
        for event in events {
            if event.seq != self.subscriber + 1 {
                self.violated(format!(
                    "5: the subscriber was given {} after {}",
                    event.seq, self.subscriber
                ));
            }
            self.subscriber = event.seq;
            self.knows(event.seq, event.id, &event.stream, event.version);
        }
    }

    /// The whole history, as it is read when all is over.
    pub(crate) fn ends_with(&mut self, history: &[Event]) {
        let before = self.floor();
        self.feed(0, &before, history);
        let mut versions: BTreeMap<&StreamName, u64> = BTreeMap::new();
        for event in history {
            let version = versions.entry(&event.stream).or_default();
            *version += 1;
            if event.version != *version {
                let (stream, at) = (&event.stream, event.version);
                self.violated(format!("4: version {version} of {stream} is {at}"));
            }
        }
        let there: BTreeSet<EventId> = history.iter().map(|event| event.id).collect();
        if there.len() != history.len() {
            self.violated("1: an event is there twice");
        }
        let lost: Vec<_> = self.acknowledged.difference(&there).map(|id| event_name(*id)).collect();
        if !lost.is_empty() {
            self.violated(format!("1: acknowledged and not there: {}", lost.join(" ")));
        }
        for (stream, actual, by) in std::mem::take(&mut self.conflicts) {
            let at = history.iter().find(|event| event.stream == stream && event.version == actual);
            let order = at.and_then(|event| self.sent.get(&event.id)).map(|sent| sent.order);
            if actual > 0 && order.is_none_or(|order| order > by) {
                self.violated(format!(
                    "4: a writer was told version {actual} of {stream} before that was written"
                ));
            }
        }
    }
}
