//! An operator's purge of the copy that a tenant left behind: `Operations::purge` in
//! `crates/engine/src/migration/operations.rs`.

use rehome_domain::ids::Epoch;
use rehome_domain::ledger::Role;
use rehome_domain::migration::Phase;
use rehome_domain::route::Route;

use crate::call::{Answer, Call, StoreCall};
use crate::names::Site;
use crate::rule::Rule;

/// Where in `purge` an operator's command is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Purger {
    store: Site,
    at: At,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum At {
    /// Reads the ledger; `allowed` where the route was read first.
    Look { allowed: bool },
    /// Reads the route; `k` where the ledger was read first.
    Route(Option<Epoch>),
    /// Removes.
    Purge(Epoch),
}

impl Purger {
    /// An operator requested it.
    pub(crate) fn begin(store: Site, without: Option<Rule>) -> Self {
        let route_first = without == Some(Rule::PurgeLooksAtLedgerFirst);
        Self { store, at: if route_first { At::Route(None) } else { At::Look { allowed: false } } }
    }

    pub(crate) const fn call(self) -> Call {
        match self.at {
            At::Look { .. } => Call::Store(self.store, StoreCall::Ledger),
            At::Route(_) => Call::route(),
            At::Purge(k) => Call::Store(self.store, StoreCall::Purge(k)),
        }
    }

    pub(crate) fn resume(self, answer: Answer, without: Option<Rule>) -> Option<Self> {
        let at = match (self.at, answer) {
            (At::Look { .. }, Answer::Ledger(ledger)) if ledger.role == Role::Absent => {
                return None;
            }
            (At::Look { allowed }, Answer::Ledger(ledger)) => {
                let unchecked = allowed || without == Some(Rule::PurgeLooksAtRoute);
                if unchecked { At::Purge(ledger.epoch) } else { At::Route(Some(ledger.epoch)) }
            }
            (At::Route(k), Answer::Row(Some(route))) if self.may_go(&route) => {
                k.map_or(At::Look { allowed: true }, At::Purge)
            }
            (At::Purge(k), Answer::Ledger(ledger)) if ledger.role != Role::Absent => At::Purge(k),
            _ => return None,
        };
        Some(Self { at, ..self })
    }

    /// The tenant has left the store, and nothing may need its copy.
    fn may_go(self, route: &Route) -> bool {
        Site::of(&route.store) != self.store
            && route.phase().is_none_or(Phase::is_terminal)
            && !route.window
    }
}
