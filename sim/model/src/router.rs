//! A router that appends: what `crates/engine/src/router` (`writer/group.rs`, `routes.rs`) does for one append,
//! one remote call after the other.

use rehome_domain::ids::Epoch;
use rehome_domain::ledger::Activation;
use rehome_domain::route::Route;

use crate::call::{Answer, Call, Change, ControlCall, StoreCall};
use crate::kept::Kept;
use crate::names::{Site, Write};
use crate::rule::Rule;

/// A router and its append. Without an append, the caller has
/// not sent one yet.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Router {
    /// The cached row.
    pub cached: Option<Kept<Route>>,
    /// The append, if there is one.
    pub write: Option<Write>,
    /// The version that the writer believes in; `None`: whatever is there.
    pub expected: Option<u64>,
    /// Its state.
    pub at: At,
}

/// What comes next.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum At {
    /// `Group::attempt`: by the cached row.
    #[default]
    Attempt,
    /// The store refused under this `rev`; the route is read again.
    Refused {
        /// The revision that the append was routed by.
        rev: u64,
        /// The ledger's epoch.
        seen: Epoch,
    },
    /// `Inner::help`: the store that the cached row names is activated.
    Help,
    /// `Inner::help`: the creation is complete.
    MarkCreated,
    /// The deadline of the cached row has passed: `Inner::roll_back`.
    RollBack,
    /// The append was checked and is not committed: only where the fence does not drain.
    Checked(Site),
}

/// A router's report to its caller, beside its next state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Nothing yet.
    Goes,
    /// The append is acknowledged at this position.
    Acknowledged(u64),
    /// The append's version was refused.
    Conflict(u64),
    /// The control plane seems to have lost time; it has not.
    LostTime,
}

impl Router {
    /// A router that was just started, with an append to make.
    pub fn with(write: Option<Write>, expected: Option<u64>) -> Self {
        Self { cached: None, write, expected, at: At::Attempt }
    }

    /// The next remote call; `None` when there is nothing to do.
    pub(crate) fn call(&self) -> Option<Call> {
        let write = self.write?;
        let expected = self.expected;
        let Some(route) = &self.cached else { return Some(Call::Control(ControlCall::Create)) };
        let store = Site::of(&route.store);
        Some(match self.at {
            // The pause is the only state in which the control plane is queried before the store.
            At::Attempt if route.is_cutover_paused() => Call::route(),
            At::Attempt if route.is_removed() => Call::Control(ControlCall::Create),
            At::Attempt if route.removal.is_some() => Call::route(),
            At::Attempt if !route.created => Call::Store(store, activate(route)),
            At::Attempt => {
                Call::Store(store, StoreCall::Append { epoch: route.epoch, write, expected })
            }
            At::Refused { .. } => Call::route(),
            At::Help => Call::Store(store, activate(route)),
            At::MarkCreated => Call::Control(ControlCall::MarkCreated(route.epoch)),
            At::RollBack => {
                let id = route.migration.map_or(0, |(id, _)| id.as_bytes()[0]);
                Call::record(id, route.rev, Change::RolledBack)
            }
            At::Checked(store) => Call::Store(store, StoreCall::Commit { write, expected }),
        })
    }

    /// Continues with the result.
    pub(crate) fn resume(&mut self, answer: Answer, without: Option<Rule>) -> Outcome {
        let at = std::mem::take(&mut self.at);
        match (at, answer) {
            (_, Answer::Appended(appended)) => {
                (self.write, self.expected) = (None, None);
                return Outcome::Acknowledged(appended.last_seq);
            }
            (_, Answer::Conflict { actual }) => {
                // The writer reads, decides again, and sends the append again.
                self.expected = Some(actual);
                return Outcome::Conflict(actual);
            }
            (_, Answer::Checked) => {
                self.at = self.store().map_or(At::Attempt, At::Checked);
            }
            (At::Attempt, Answer::Refused(_)) if self.is_uncreated() => self.cached = None,
            (At::Attempt, Answer::Refused(refused)) => {
                if let Some(route) = &self.cached {
                    self.at = At::Refused { rev: route.rev, seen: refused.ledger.epoch };
                }
            }
            (At::Refused { rev, seen }, Answer::Row(Some(fresh))) => {
                let lost_time = !fresh.is_cutover_paused() && seen > fresh.n;
                self.after_refusal(rev, fresh, without);
                if lost_time {
                    return Outcome::LostTime;
                }
            }
            (At::Attempt | At::Help, Answer::Ledger(_)) if self.is_uncreated() => {
                self.at = At::MarkCreated;
            }
            // Refused help: the route that was helped by is not the one that holds.
            (At::Help, Answer::Refused(_)) if !self.is_paused() => self.cached = None,
            (_, Answer::Row(Some(row)) | Answer::Recorded(row) | Answer::Stale(row)) => {
                self.put(row);
                if self.helps_in_pause(without) {
                    self.at = At::Help;
                }
            }
            _ => {}
        }
        Outcome::Goes
    }

    /// Whether the deadline of the cached row may count as passed.
    pub(crate) fn may_expire(&self, without: Option<Rule>) -> bool {
        without != Some(Rule::RollBackIsAnybodys)
            && self.write.is_some()
            && self.at == At::Attempt
            && self.is_paused()
    }

    fn after_refusal(&mut self, rev: u64, fresh: Kept<Route>, without: Option<Rule>) {
        let same = fresh.rev == rev;
        let paused = fresh.is_cutover_paused() || fresh.removal.is_some();
        self.put(fresh);
        // The same store under the same route refused: anyone may finish the activation.
        let due = same && !paused && without != Some(Rule::Help);
        if due || self.helps_in_pause(without) {
            self.at = At::Help;
        }
    }

    fn helps_in_pause(&self, without: Option<Rule>) -> bool {
        without == Some(Rule::NoHelpInPause) && self.is_paused()
    }

    /// Nothing is in flight that depends on a row read meanwhile.
    pub(crate) fn is_between_tries(&self) -> bool {
        self.write.is_some() && self.at == At::Attempt
    }

    /// `RouteCache::put`: the newer of the given and the cached row.
    pub(crate) fn put(&mut self, row: Kept<Route>) {
        let age = |route: &Route| (route.n, route.rev, route.created);
        if self.cached.as_ref().is_none_or(|kept| age(kept) <= age(&row)) {
            self.cached = Some(row);
        }
    }

    fn store(&self) -> Option<Site> {
        self.cached.as_ref().map(|route| Site::of(&route.store))
    }

    fn is_paused(&self) -> bool {
        self.cached.as_ref().is_some_and(|route| route.is_cutover_paused())
    }

    fn is_uncreated(&self) -> bool {
        self.cached.as_ref().is_some_and(|route| !route.created)
    }
}

/// What to activate with. The domain gives nothing in a pause; who helps there all the same does it
/// by the row.
fn activate(route: &Route) -> StoreCall {
    let by_row = Activation { epoch: route.epoch, base: route.base, created: route.created };
    StoreCall::Activate(route.activation().unwrap_or(by_row))
}
