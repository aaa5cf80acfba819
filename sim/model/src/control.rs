//! The control plane: a route row, and the rows of its tenant's migrations. It compares the
//! revision and calls the domain, like an adapter.

use rehome_domain::migration::{
    CutoverPolicy, Fact, Migration, Options, Phase, State, Working, apply,
};
use rehome_domain::removal::{self, Removal, Turn};
use rehome_domain::route::Route;

use crate::call::{Answer, Change, ControlCall};
use crate::kept::Kept;
use crate::names::{NOW, Site, migration_id, tenant};
use crate::rule::Rule;

/// The control plane's data about the tenant. Leases are not modelled: none blocks a process, as
/// if each expired at once. Nor are logs: the domain's tests fold them. Nor are marks and memos, on which
/// no operation of a store depends.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Control {
    /// The route row.
    pub route: Option<Kept<Route>>,
    /// The migrations, oldest first.
    pub migrations: Vec<Kept<Migration>>,
}

impl Control {
    /// The row of the tenant's last migration.
    pub fn last(&self) -> Option<&Migration> {
        self.migrations.last().map(|migration| &**migration)
    }

    pub(crate) fn perform(&mut self, call: &ControlCall, without: Option<Rule>) -> Answer {
        match call {
            ControlCall::Route => {}
            ControlCall::Create => {
                let row = self.route.as_deref();
                let reborn = row.and_then(|row| removal::reborn(row, &Site::A.id()));
                if let (Some(mut reborn), Some(row)) = (reborn, row) {
                    if without == Some(Rule::RebirthDrawsEpoch) {
                        (reborn.epoch, reborn.n) = (row.epoch, row.n);
                    }
                    self.route = Some(Kept::new(reborn));
                }
                let new = || Kept::new(Route::create(tenant(), Site::A.id()));
                self.route.get_or_insert_with(new);
            }
            ControlCall::MarkCreated(epoch) => {
                if let Some(route) = self.route.as_mut().filter(|route| route.epoch == *epoch) {
                    *route = Kept::new(Route { created: true, ..(**route).clone() });
                }
            }
            ControlCall::Remove { rev, turn, .. } => return self.remove(*rev, *turn, without),
            ControlCall::Migration(id) => {
                return Answer::Migration(self.migrations[usize::from(*id)].clone());
            }
            ControlCall::Record { id, rev, change } => {
                return self.record(*id, *rev, *change, without);
            }
        }
        Answer::Row(self.route.clone())
    }

    fn remove(&mut self, rev: u64, turn: Turn, without: Option<Rule>) -> Answer {
        let Some(route) = self.route.clone() else { return Answer::Impossible };
        let anywhere = match turn {
            Turn::Begin { .. } => without == Some(Rule::RemovalBeginsOnItsRow),
            Turn::Finish => without == Some(Rule::RemovalEndsOnItsRow),
            Turn::Cancel => false,
        };
        if !anywhere && rev != route.rev {
            return Answer::Stale(route);
        }
        let mut before = Route::clone(&route);
        if without == Some(Rule::NoRemovalInMigration) {
            before.migration = None;
        }
        let Ok(mut after) = removal::apply(&before, turn) else { return Answer::Impossible };
        if let Turn::Begin { events } = turn {
            after.migration = route.migration;
            if without == Some(Rule::RemovalDrawsEpoch) {
                after.n = route.n;
                after.removal = Some(Removal::Running { k: route.epoch, events });
            }
        }
        let after = Kept::new(after);
        self.route = Some(after.clone());
        Answer::Recorded(after)
    }

    fn record(
        &mut self,
        id: u8,
        rev: Option<u64>,
        change: Change,
        without: Option<Rule>,
    ) -> Answer {
        let (Some(route), Some(migration)) =
            (self.route.clone(), self.migrations.get(usize::from(id)).cloned())
        else {
            return Answer::Impossible;
        };
        let fact = change.fact();
        let compares = match (without, &fact) {
            (Some(Rule::SwitchOnItsRow), Fact::Switched { .. })
            | (Some(Rule::IntentOnItsRow), Fact::CutoverStarted { .. }) => false,
            _ => fact.routes(),
        };
        if compares && rev != Some(route.rev) {
            return Answer::Stale(route);
        }
        let applied = match (without, &fact) {
            (Some(Rule::NoAbortInPause), Fact::Aborted { .. })
            | (Some(Rule::NoPauseInPause), Fact::Paused)
            | (Some(Rule::NoFailInPause), Fact::Failed { .. })
            | (Some(Rule::NoRepairInPause), Fact::RepairRequested) => {
                apply(&route, Some(&as_if_mirroring(&migration)), &fact, NOW)
            }
            (Some(Rule::BeginOnlyIfWanted), Fact::CutoverStarted { .. }) => {
                let mut wanted = Migration::clone(&migration);
                wanted.options.cutover = CutoverPolicy::Auto;
                let begun = apply(&route, Some(&wanted), &fact, NOW);
                begun.map(|(route, begun)| {
                    (route, Migration { options: migration.options, ..begun })
                })
            }
            _ => apply(&route, Some(&migration), &fact, NOW),
        };
        let Ok((mut after, mut migration)) = applied else { return Answer::Impossible };
        match (without, &fact) {
            (Some(Rule::RepairDrawsEpoch), Fact::CutBack { .. }) => {
                (after.m, after.n) = (route.m, route.n);
                migration.m = route.m;
            }
            (Some(Rule::IntentDrawsEpoch), Fact::CutoverStarted { .. })
            | (Some(Rule::RollBackDrawsEpoch), Fact::CutoverRolledBack { .. }) => {
                (after.epoch, after.n) = (route.epoch, route.n);
            }
            _ => {}
        }
        self.migrations[usize::from(id)] = Kept::new(plain(migration));
        let after = Kept::new(after);
        self.route = Some(after.clone());
        Answer::Recorded(after)
    }

    /// An operator starts a migration to the other store. Their `start` reads the route, then
    /// compares and sets it, and tries again when that fails; as a success is the same as doing
    /// both at once, it is one step here.
    pub(crate) fn start(&self, options: Options, without: Option<Rule>) -> Option<Self> {
        let route = self.route.as_ref()?;
        let id = u8::try_from(self.migrations.len()).ok()?;
        let target = Site::of(&route.store).other().id();
        let fact = Fact::Started { migration: migration_id(id), target, options };
        let mut before = Route::clone(route);
        if without == Some(Rule::StartAlone) {
            before.migration = None;
        }
        if without == Some(Rule::NoStartInRemoval) {
            before.removal = None;
        }
        let (mut route, mut migration) = apply(&before, None, &fact, NOW).ok()?;
        if let (Some(Rule::StartDrawsEpoch), Some(last)) = (without, self.last()) {
            (route.m, migration.m) = (last.m, last.m);
        }
        let mut after = self.clone();
        after.route = Some(Kept::new(route));
        after.migrations.push(Kept::new(plain(migration)));
        Some(after)
    }

    /// An operator records a fact of the last migration, on the row as it is; in one step for the
    /// same reason.
    pub(crate) fn decide(&self, change: Change, without: Option<Rule>) -> Option<Self> {
        let id = u8::try_from(self.migrations.len().checked_sub(1)?).ok()?;
        let rev = self.route.as_ref()?.rev;
        let mut after = self.clone();
        match after.record(id, Some(rev), change, without) {
            Answer::Recorded(_) => Some(after),
            _ => None,
        }
    }
}

/// The row without the data for people, which would distinguish equal states.
fn plain(migration: Migration) -> Migration {
    Migration { error: None, cutover_attempts: 0, ..migration }
}

fn as_if_mirroring(migration: &Migration) -> Migration {
    let mirroring = State::Working(Working::DualWrite { cutover_requested: false });
    let paused = migration.state.phase() == Phase::CutoverPaused;
    Migration { state: if paused { mirroring } else { migration.state }, ..migration.clone() }
}
