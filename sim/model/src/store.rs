//! One store: a ledger and its events. It reads the row, calls the domain, writes the result; a rule
//! that is left out is left out here, around the domain's call.

use rehome_domain::append::{self, AppendConflict, Appended, Decision};
use rehome_domain::digest::Digest;
use rehome_domain::event::Event;
use rehome_domain::ids::Epoch;
use rehome_domain::ledger::{Activation, Head, Ledger, Refusal, Refused, Role};

use crate::call::{Answer, Events, History, StoreCall};
use crate::kept::Kept;
use crate::names::{NOW, Write, append_of, event_id};
use crate::rule::Rule;

/// A store, as far as the one tenant is concerned.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Store {
    /// The ledger row.
    pub ledger: Ledger,
    /// The events.
    pub events: Events,
}

impl Store {
    /// A store that does not know the tenant.
    pub fn new() -> Self {
        Self { ledger: Ledger::ABSENT, events: Events::default() }
    }

    /// Where the events end, by the events.
    pub fn end(&self) -> Head {
        self.events.0.last().map_or(Head::EMPTY, Head::of)
    }

    /// The digest stored at a position, as the port answers it.
    pub fn digest_at(&self, seq: u64) -> Option<Digest> {
        match usize::try_from(seq) {
            Ok(0) => Some(Digest::EMPTY),
            Ok(n) => self.events.0.get(n - 1).map(|event| event.digest),
            Err(_) => None,
        }
    }

    /// Whether `head` ends a prefix of the history here.
    pub fn holds(&self, head: Head) -> bool {
        self.digest_at(head.seq) == Some(head.digest)
    }

    /// How often an event is here.
    pub fn count(&self, write: Write) -> usize {
        self.events.0.iter().filter(|event| event.id == event_id(write)).count()
    }

    /// Performs the call, if the rules allow it.
    pub(crate) fn perform(&mut self, call: &StoreCall, without: Option<Rule>) -> Answer {
        self.try_perform(call, without).unwrap_or_else(Answer::Refused)
    }

    fn try_perform(&mut self, call: &StoreCall, without: Option<Rule>) -> Result<Answer, Refused> {
        let ledger = self.ledger;
        self.ledger = match call {
            StoreCall::Ledger => ledger,
            StoreCall::DigestAt(seq) => return Ok(Answer::Digest(self.digest_at(*seq))),
            StoreCall::Feed(after) => return Ok(Answer::Feed(ledger, self.after(*after))),
            StoreCall::Append { epoch, write, expected } => {
                if without != Some(Rule::AppendIsFenced) {
                    ledger.check_append(*epoch)?;
                }
                if without == Some(Rule::FenceDrains) {
                    return Ok(Answer::Checked);
                }
                return Ok(self.commit(*write, *expected, without));
            }
            StoreCall::Commit { write, expected } => {
                return Ok(self.commit(*write, *expected, without));
            }
            StoreCall::Extend { m, previous, events } => {
                let after = extend(ledger, *m, *previous, &events.0, without)?;
                self.push(&events.0);
                after
            }
            StoreCall::Fence { from, to } => fence(ledger, *from, *to, without)?,
            StoreCall::Activate(route) => activate(ledger, *route, without)?,
            StoreCall::Adopt { m, head } => adopt(ledger, *m, *head, without)?,
            StoreCall::Drop(m) => drop_replica(ledger, *m, without)?,
            StoreCall::Purge(k) => self.purge(*k, without)?,
            StoreCall::CutBack { k, to } => self.cut_back(*k, *to, without)?,
        };
        Ok(Answer::Ledger(self.ledger))
    }

    fn after(&self, seq: u64) -> Events {
        let from = usize::try_from(seq).map_or(usize::MAX, |seq| seq.min(self.events.0.len()));
        if from == 0 {
            self.events.clone()
        } else {
            Kept::new(History(self.events.0[from..].to_vec()))
        }
    }

    fn push(&mut self, events: &[Event]) {
        self.events = Kept::new(History([&self.events.0, events].concat()));
    }

    /// Forgets the last event; the ledger is for the caller to put right.
    pub(crate) fn pop(&mut self) {
        if let Some((_, rest)) = self.events.0.split_last() {
            self.events = Kept::new(History(rest.to_vec()));
        }
    }

    /// Decides one append and writes it, as an adapter does.
    fn commit(&mut self, write: Write, expected: Option<u64>, without: Option<Rule>) -> Answer {
        let append = append_of(write, expected);
        let id = event_id(write);
        let known = self.events.0.iter().find(|event| event.id == id).cloned();
        let actual = self.events.0.len() as u64;
        let known = match without {
            Some(Rule::RetryIsRecognised) => None,
            Some(Rule::RetryBeforeVersion) if !append.expected.accepts(actual) => None,
            _ => known,
        };
        match append::decide(&append, &[known], actual, self.end(), NOW) {
            Ok(Decision::Replay(appended)) => Answer::Appended(appended),
            Ok(Decision::Write(events)) => {
                let seq = actual + 1;
                self.push(&events);
                self.ledger.head = self.end();
                Answer::Appended(Appended {
                    first_version: seq,
                    last_version: seq,
                    first_seq: seq,
                    last_seq: seq,
                })
            }
            Err(AppendConflict::Version { actual, .. }) => Answer::Conflict { actual },
            Err(conflict) => unreachable!("one event, of one content: {conflict}"),
        }
    }

    /// Removes one event of the tail, but none up to `to`.
    fn cut_back(&mut self, k: Epoch, to: Head, without: Option<Rule>) -> Result<Ledger, Refused> {
        if without != Some(Rule::CutBackIsKeyed) {
            self.ledger.check_cut_back(k, to, self.digest_at(to.seq))?;
        }
        if self.end().seq > to.seq {
            self.pop();
        }
        Ok(self.ledger.cut_to(self.end()))
    }

    /// Removes one event of the tail: the smallest chunk has the most schedules.
    fn purge(&mut self, k: Epoch, without: Option<Rule>) -> Result<Ledger, Refused> {
        if without != Some(Rule::PurgeIsKeyed) {
            self.ledger.check_purge(k)?;
        }
        self.pop();
        let after = self.ledger.purged_to(self.end());
        let forgets = without == Some(Rule::PurgeLeavesTombstone) && after.role == Role::Absent;
        Ok(if forgets { Ledger::ABSENT } else { after })
    }
}

impl Default for Store {
    fn default() -> Self {
        Self::new()
    }
}

type Changed = Result<Ledger, Refused>;

fn extend(
    ledger: Ledger,
    m: Epoch,
    previous: Head,
    events: &[Event],
    without: Option<Rule>,
) -> Changed {
    if without == Some(Rule::ExtendAtHead) {
        ledger.check_replica(m)?;
        let head = events.last().map_or(ledger.head, Head::of);
        return Ok(Ledger { head, ..ledger });
    }
    ledger.extend(m, previous, events)
}

fn fence(ledger: Ledger, from: Epoch, to: Epoch, without: Option<Rule>) -> Changed {
    match without {
        Some(Rule::FenceNamesItsEpoch) if ledger.role == Role::Active => {
            Ok(Ledger { role: Role::Fenced, epoch: to, ..ledger })
        }
        // A driver that only reads.
        Some(Rule::StepThree) => Ok(ledger),
        _ => ledger.fence(from, to),
    }
}

fn activate(ledger: Ledger, route: Activation, without: Option<Rule>) -> Changed {
    let active = Ledger { role: Role::Active, epoch: route.epoch, ..ledger };
    let already = ledger == active;
    match without {
        Some(Rule::ActivateTheNeverFenced) if ledger.role == Role::Active && !already => {
            Err(Refused { why: Refusal::WrongRole, ledger })
        }
        Some(Rule::ActivateWithBase) => ledger.activate(Activation { base: 0, ..route }),
        Some(Rule::ActivateKnowsCreation) => {
            ledger.activate(Activation { base: 0, created: false, ..route })
        }
        Some(Rule::ActivateOnlyLater) => Ok(active),
        _ => ledger.activate(route),
    }
}

fn adopt(ledger: Ledger, m: Epoch, head: Head, without: Option<Rule>) -> Changed {
    match without {
        Some(Rule::AdoptIsRetriable) if ledger.epoch == m => {
            Err(Refused { why: Refusal::StaleEpoch, ledger })
        }
        Some(Rule::AdoptOnlyLater) if ledger.role != Role::Active && ledger.head == head => {
            Ok(Ledger { role: Role::Replica, epoch: m, ..ledger })
        }
        _ => ledger.adopt(m, head),
    }
}

fn drop_replica(ledger: Ledger, m: Epoch, without: Option<Rule>) -> Changed {
    if without == Some(Rule::DropIsKeyed) {
        return Ok(Ledger { role: Role::Fenced, ..ledger });
    }
    ledger.drop_replica(m)
}
