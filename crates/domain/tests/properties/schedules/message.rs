//! The messages to a store, and the store's reactions.

use rehome_domain::append::{Appended, Decision, decide};
use rehome_domain::digest::Digest;
use rehome_domain::event::Event;
use rehome_domain::ids::Epoch;
use rehome_domain::ledger::{Activation, Head, Ledger, Refused, Role};
use rehome_domain::stream::ExpectedVersion;

use crate::kit::{NOW, append_of, event_id, head_of, new_event};

/// A call under way to a store. It carries all that its caller knew when it was sent.
#[derive(Clone, Debug)]
pub(crate) enum Message {
    Append { epoch: Epoch, event: u64 },
    Extend { m: Epoch, previous: Head, events: Vec<Event> },
    Fence { rev: u64, from: Epoch, to: Epoch },
    Activate(Activation),
    Adopt { m: Epoch, head: Head },
    Drop { m: Epoch },
    Purge { k: Epoch },
}

/// A store's response on success.
#[derive(Debug)]
pub(crate) enum Reply {
    Appended(Appended),
    Ledger(Ledger),
}

/// A store: a ledger and its events.
#[derive(Clone, Debug)]
pub(crate) struct Store {
    pub(crate) ledger: Ledger,
    pub(crate) events: Vec<Event>,
    /// A mistake, on purpose.
    pub(crate) leaves_no_tombstone: bool,
}

impl Store {
    pub(crate) fn new() -> Self {
        Self { ledger: Ledger::ABSENT, events: Vec::new(), leaves_no_tombstone: false }
    }

    pub(crate) fn digest_at(&self, seq: u64) -> Option<Digest> {
        match usize::try_from(seq).unwrap() {
            0 => Some(Digest::EMPTY),
            n => self.events.get(n - 1).map(|event| event.digest),
        }
    }

    /// Whether `head` is the end of a prefix of this history.
    pub(crate) fn holds(&self, head: Head) -> bool {
        self.digest_at(head.seq) == Some(head.digest)
    }

    pub(crate) fn take(&mut self, message: &Message) -> Result<Reply, Refused> {
        let ledger = self.ledger;
        self.ledger = match message {
            Message::Append { epoch, event } => return self.append(*epoch, *event),
            Message::Extend { m, previous, events } => {
                let after = ledger.extend(*m, *previous, events)?;
                self.events.extend(events.iter().cloned());
                after
            }
            Message::Fence { from, to, .. } => ledger.fence(*from, *to)?,
            Message::Activate(route) => ledger.activate(*route)?,
            Message::Adopt { m, head } => ledger.adopt(*m, *head)?,
            Message::Drop { m } => ledger.drop_replica(*m)?,
            Message::Purge { k } => {
                ledger.check_purge(*k)?;
                self.events.truncate(self.events.len().saturating_sub(3));
                let after = ledger.purged_to(head_of(&self.events));
                let forget = self.leaves_no_tombstone && after.role == Role::Absent;
                if forget { Ledger::ABSENT } else { after }
            }
        };
        Ok(Reply::Ledger(self.ledger))
    }

    fn append(&mut self, epoch: Epoch, event: u64) -> Result<Reply, Refused> {
        self.ledger.check_append(epoch)?;
        let append = append_of("a", ExpectedVersion::Any, vec![new_event(event)]);
        let known = self.events.iter().find(|held| held.id == event_id(event)).cloned();
        let actual = self.events.len() as u64;
        let decision = decide(&append, &[known], actual, self.ledger.head, NOW).unwrap();
        let appended = decision.appended();
        if let Decision::Write(events) = decision {
            self.ledger.head = head_of(&events);
            self.events.extend(events);
        }
        Ok(Reply::Appended(appended))
    }
}
