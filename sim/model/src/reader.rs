//! A subscriber that follows the feed by the router's rule for reads: `Inner::read` in
//! `crates/engine/src/router/routes.rs`, and `crates/engine/src/subscriptions.rs` above it.

use rehome_domain::ids::Epoch;
use rehome_domain::ledger::{Head, Ledger, Role, follow_chain};
use rehome_domain::route::Route;

use crate::call::{Answer, Call, Events, StoreCall};
use crate::kept::Kept;
use crate::names::Site;
use crate::rule::Rule;

/// A subscriber with a route cache of its own.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Reader {
    /// The cached row.
    pub cached: Option<Kept<Route>>,
    /// Where the history ends that it has been given so far.
    pub seen: Head,
    /// An answer that waits for the route to be read again.
    pub held: Option<Held>,
}

/// What a store answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Held {
    /// Where the history would end that the subscriber has been given; `None` when the answer does
    /// not continue it.
    pub reaches: Option<Head>,
    /// The response lacks an event that was acknowledged before the call.
    pub misses: bool,
    /// The ledger is shorter than the row requires.
    pub short_of: u64,
    /// The ledger's epoch.
    pub epoch: Epoch,
    /// The ledger is absent.
    pub absent: bool,
}

/// A reader's report, beside its next state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Nothing to report.
    Fine,
    /// An event was given twice, left out, or out of order.
    NotInOrder,
    /// It accepted a response that lacks an event acknowledged before the call.
    Stale,
    /// It wrongly reports a missing history, or an outdated control plane.
    FalseAlarm,
}

impl Reader {
    /// A subscriber that has seen nothing.
    pub const fn new() -> Self {
        Self { cached: None, seen: Head::EMPTY, held: None }
    }

    /// The next remote call.
    pub(crate) fn call(&self) -> Call {
        match &self.cached {
            Some(route) if self.held.is_none() => {
                Call::Store(Site::of(&route.store), StoreCall::Feed(self.seen.seq))
            }
            _ => Call::route(),
        }
    }

    /// Continues with the result; `acked` is the last position that was acknowledged before the call.
    pub(crate) fn resume(&mut self, answer: Answer, acked: u64, without: Option<Rule>) -> Outcome {
        match (self.held.take(), answer) {
            (None, Answer::Row(row)) => self.cached = row,
            (None, Answer::Feed(ledger, events)) => {
                let held = self.hold(ledger, &events, acked);
                if self.is_taken_at_once(ledger, without) {
                    return self.take(held);
                }
                self.held = Some(held);
            }
            // Read after the store answered.
            (Some(held), Answer::Row(Some(fresh))) => {
                let row = |route: &Route| (route.rev, route.created);
                let same = self.cached.as_ref().is_some_and(|asked| row(asked) == row(&fresh));
                let created = fresh.created;
                let (n, base) = (fresh.n, fresh.base);
                self.cached = Some(fresh);
                if held.epoch > n {
                    return Outcome::FalseAlarm;
                }
                if same {
                    let lost = held.absent && created || held.short_of < base;
                    return if lost { Outcome::FalseAlarm } else { self.take(held) };
                }
            }
            _ => {}
        }
        Outcome::Fine
    }

    fn hold(&self, ledger: Ledger, events: &Events, acked: u64) -> Held {
        let reaches = follow_chain(self.seen, &events.0).ok();
        Held {
            // A history that ends before the known one cannot be continued.
            reaches: reaches.filter(|_| ledger.head.seq >= self.seen.seq || events.0.is_empty()),
            misses: ledger.head.seq < acked,
            short_of: ledger.head.seq,
            epoch: ledger.epoch,
            absent: ledger.role == Role::Absent,
        }
    }

    fn is_taken_at_once(&self, ledger: Ledger, without: Option<Rule>) -> bool {
        let Some(route) = &self.cached else { return false };
        match without {
            Some(Rule::ReadFromActive) => true,
            Some(Rule::AbsentIsNotEmpty) if ledger.role == Role::Absent => true,
            Some(Rule::ReadConfirmsPause)
                if route.is_cutover_paused()
                    && ledger.role == Role::Fenced
                    && ledger.epoch == route.epoch =>
            {
                true
            }
            _ => ledger.role == Role::Active && ledger.epoch == route.epoch,
        }
    }

    fn take(&mut self, held: Held) -> Outcome {
        let Some(reaches) = held.reaches else { return Outcome::NotInOrder };
        if held.misses {
            return Outcome::Stale;
        }
        // A reader that has seen more than this would see history go backwards.
        if held.short_of < self.seen.seq {
            return Outcome::Stale;
        }
        self.seen = reaches;
        Outcome::Fine
    }
}

impl Default for Reader {
    fn default() -> Self {
        Self::new()
    }
}
