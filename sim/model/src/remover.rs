//! An operator's removal of a tenant: `Operations::remove` in `crates/engine/src/migration/removal.rs`, one remote
//! call after the other.

use rehome_domain::ledger::Ledger;
use rehome_domain::removal::{self, Removal, Step, Turn};
use rehome_domain::route::Route;

use crate::call::{Answer, Call, ControlCall, StoreCall};
use crate::kept::Kept;
use crate::names::Site;
use crate::rule::Rule;

/// Where in `remove` an operator's command is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Remover {
    at: At,
    /// The removal was under way when this command met it.
    resumed: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum At {
    /// Reads the route.
    Route,
    /// Reads the last migration, which must be cleaned up.
    Migration(Kept<Route>, u8),
    /// Reads the other store's ledger, which must hold no copy.
    Copy(Kept<Route>),
    /// Reads the ledger of the tenant's store.
    Ledger(Kept<Route>),
    /// Calls a store.
    Store(Kept<Route>, StoreCall),
    /// Records a turn.
    Record(Kept<Route>, ControlCall),
}

impl Remover {
    /// An operator requested it.
    pub(crate) const fn begin() -> Self {
        Self { at: At::Route, resumed: false }
    }

    pub(crate) fn call(&self) -> Call {
        match &self.at {
            At::Route => Call::route(),
            At::Migration(_, id) => Call::Control(ControlCall::Migration(*id)),
            At::Copy(route) => Call::Store(Site::of(&route.store).other(), StoreCall::Ledger),
            At::Ledger(route) => Call::Store(Site::of(&route.store), StoreCall::Ledger),
            At::Store(route, call) => Call::Store(Site::of(&route.store), call.clone()),
            At::Record(_, call) => Call::Control(call.clone()),
        }
    }

    pub(crate) fn resume(self, answer: Answer, without: Option<Rule>) -> Option<Self> {
        let mut resumed = self.resumed;
        let at = match (self.at, answer) {
            (At::Route, Answer::Row(Some(route))) => {
                resumed = route.removal.is_some();
                first(route, without)?
            }
            (At::Migration(route, _), Answer::Migration(last)) => {
                if !last.state.is_settled() && without != Some(Rule::RemovalAfterCleanUp) {
                    return None;
                }
                At::Copy(route)
            }
            (At::Copy(route), Answer::Ledger(copy)) => {
                if copy.head.seq > 0 && without != Some(Rule::RemovalNeedsNoCopy) {
                    return None;
                }
                At::Ledger(route)
            }
            (At::Ledger(route), Answer::Ledger(ledger)) => next(route, ledger, resumed, without)?,
            (At::Store(route, _), Answer::Ledger(_)) => At::Ledger(route),
            (At::Record(..), Answer::Recorded(after)) if after.removal.is_some() => {
                if after.is_removed() {
                    return None;
                }
                At::Ledger(after)
            }
            _ => return None,
        };
        Some(Self { at, resumed })
    }
}

/// What comes after the route was read.
fn first(route: Kept<Route>, without: Option<Rule>) -> Option<At> {
    match route.removal {
        Some(Removal::Done) => None,
        Some(Removal::Running { .. }) => Some(At::Ledger(route)),
        None => {
            let mut before = Route::clone(&route);
            if without == Some(Rule::NoRemovalInMigration) {
                before.migration = None;
            }
            removal::apply(&before, Turn::Begin { events: 0 }).ok()?;
            Some(match route.migration {
                Some((id, _)) if without != Some(Rule::NoRemovalInMigration) => {
                    At::Migration(route, id.as_bytes()[0])
                }
                _ => At::Copy(route),
            })
        }
    }
}

/// What comes after the ledger was read.
fn next(route: Kept<Route>, ledger: Ledger, resumed: bool, without: Option<Rule>) -> Option<At> {
    let record = |turn| ControlCall::Remove { rev: route.rev, turn, seen: ledger.head };
    let step = match removal::next(&route, &ledger) {
        None => Step::Record(Turn::Begin { events: ledger.head.seq }),
        Some(Step::Fence { .. }) if without == Some(Rule::RemovalFences) => {
            Step::Record(Turn::Finish)
        }
        Some(Step::Purge(_)) if without == Some(Rule::RemovalPurges) => Step::Record(Turn::Finish),
        Some(Step::Purge(_)) if resumed && without == Some(Rule::RemovalCancelsOnlyWhatGrew) => {
            Step::Record(Turn::Cancel)
        }
        Some(Step::Record(Turn::Cancel)) if without == Some(Rule::RemovalSparesWhatGrew) => {
            Step::Purge(ledger.epoch)
        }
        Some(step) => step,
    };
    Some(match step {
        Step::Activate(activation) => At::Store(route, StoreCall::Activate(activation)),
        Step::Fence { from, to } => At::Store(route, StoreCall::Fence { from, to }),
        Step::Purge(k) => At::Store(route, StoreCall::Purge(k)),
        Step::Record(turn) => {
            let call = record(turn);
            At::Record(route, call)
        }
        Step::Contradiction => return None,
    })
}
