//! The model as the checker sees it: states, actions, properties.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use rehome_domain::ledger::Role;
use rehome_domain::migration::{Command, Phase};
use rehome_domain::removal::Removal;
use stateright::Property;

use crate::bounds::{Begin, Bounds};
use crate::call::{Call, Change};
use crate::driver::{Driver, command};
use crate::finish;
use crate::kept::digest_of;
use crate::names::{PROBE, Site, event_id};
use crate::operator::Purger;
use crate::remover::Remover;
use crate::router::{At, Router};
use crate::rule::Rule;
use crate::world::World;

/// The protocol, within bounds.
pub struct Protocol {
    /// The bounds.
    pub bounds: Bounds,
    /// What the finishers have been found to do: many states differ in nothing that matters to them.
    finished: Mutex<HashMap<u64, bool>>,
}

/// A process that can lose a reply, or die.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Process {
    /// A router.
    Router(usize),
    /// A coordinator.
    Driver(usize),
    /// An operator's purge.
    Purger,
    /// An operator's removal of the tenant.
    Remover,
}

/// What can happen next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Action {
    /// A process makes its next call and gets the result.
    Step(Process),
    /// A process makes its next call and times out; the call may arrive later, or never.
    Lose(Process),
    /// A late call arrives.
    Arrive(usize),
    /// A process dies and restarts. Its calls without a result were lost before.
    Crash(Process),
    /// The subscriber makes its next call.
    Read,
    /// A coordinator observes a migration and starts the next command.
    Observe {
        /// Which coordinator.
        driver: usize,
        /// Which migration.
        id: u8,
        /// It is time to cut over, or the window's time is over.
        eager: bool,
        /// It cleans up before the abort: only where that rule is left out.
        early: bool,
    },
    /// A router is notified that its cached route has changed, and reads it again.
    RouterHears(usize),
    /// The subscriber's router does.
    ReaderHears,
    /// A deadline passes for a router or a coordinator.
    Expire(Process),
    /// An operator starts a migration to the other store.
    Start,
    /// An operator, or a fault that needs one, changes the last migration.
    Decide(Change),
    /// An operator requests the purge of a store.
    BeginPurge(Site),
    /// An operator requests the removal of the tenant, or continues it.
    BeginRemoval,
    /// A store loses its last event, or all.
    LoseHistory {
        /// The store.
        site: Site,
        /// All.
        all: bool,
    },
}

/// The names of the seven properties.
pub const PROPERTIES: [&str; 7] = [
    "1 no acknowledged event is lost",
    "2 one authority, changed only by the switch",
    "3 a replica is a prefix of the authority",
    "4 versions and conflicts are those of one store",
    "5 a subscriber sees every event once, in order",
    "6 no read misses what was acknowledged",
    "7 always: a lone coordinator, and a lone router, finishes from here",
];

impl Protocol {
    /// The protocol within `bounds`.
    pub fn new(bounds: Bounds) -> Self {
        Self { bounds, finished: Mutex::default() }
    }

    /// Runs a finisher, once for all states that are the same to it.
    fn finishes(&self, key: u64, run: impl FnOnce() -> bool) -> bool {
        let known = self.finished.lock().unwrap_or_else(PoisonError::into_inner).get(&key).copied();
        known.unwrap_or_else(|| {
            let finishes = run();
            self.finished.lock().unwrap_or_else(PoisonError::into_inner).insert(key, finishes);
            finishes
        })
    }

    fn lone_process_finishes(&self, world: &World) -> bool {
        let without = self.bounds.without;
        let removed;
        let durable = if finish::is_being_removed(&world.durable) {
            let Some(after) = finish::remover(&world.durable, without) else { return false };
            removed = after;
            &removed
        } else {
            &world.durable
        };
        let state = digest_of(durable);
        let routers_finish = world.routers[..self.bounds.routers]
            .iter()
            .filter(|router| router.write.is_some())
            .chain([&Router::with(Some(PROBE), None)])
            .all(|router| {
                let key = digest_of(&(state, router));
                self.finishes(key, || finish::router(durable, router, without))
            });
        let coordinated = self.bounds.begin != Begin::Foreign;
        routers_finish
            && world.drivers[..self.bounds.drivers]
                .iter()
                .filter(|driver| driver.0.is_some())
                .chain([&Driver(None)])
                .filter(|_| coordinated)
                .all(|driver| {
                    let key = digest_of(&(state, driver));
                    self.finishes(key, || finish::driver(durable, driver, without))
                })
    }

    /// Whether the run has stores that lose data: then only the served histories are judged.
    const fn has_losses(&self) -> bool {
        self.bounds.left.losses > 0
    }

    fn observations(&self, world: &World, actions: &mut Vec<Action>) {
        let idle = (0..self.bounds.drivers).find(|driver| world.drivers[*driver].0.is_none());
        let Some(driver) = idle else { return };
        for (id, row) in (0_u8..).zip(&world.durable.control.migrations) {
            let calm = command(row, false);
            let eager = command(row, true);
            let mut offer = |command, eager| {
                let begins = command == Command::CutOver && row.state.phase() == Phase::DualWrite;
                let idle = matches!(command, Command::Wait | Command::Done);
                if !idle && (!begins || world.left.cutovers > 0) {
                    actions.push(Action::Observe { driver, id, eager, early: false });
                }
            };
            offer(calm, false);
            if eager != calm {
                offer(eager, true);
            }
            if self.bounds.without == Some(Rule::AbortBeforeCleanUp)
                && row.state.phase() == Phase::DualWrite
            {
                actions.push(Action::Observe { driver, id, eager: false, early: true });
            }
        }
    }

    fn news(&self, world: &World, actions: &mut Vec<Action>) {
        let now = &world.durable.control.route;
        let routers = (0..self.bounds.routers).filter(|router| {
            let router = &world.routers[*router];
            router.is_between_tries() && router.cached.is_some() && router.cached != *now
        });
        actions.extend(routers.map(Action::RouterHears));
        let reader = &world.reader;
        if reader.held.is_none() && reader.cached.is_some() && reader.cached != *now {
            actions.push(Action::ReaderHears);
        }
    }

    fn decisions(&self, world: &World, actions: &mut Vec<Action>) {
        let left = &world.left;
        if left.starts > 0 {
            actions.push(Action::Start);
        }
        let purge = self.bounds.purge;
        let changes = [
            (left.aborts, Change::Aborted { purge }),
            (left.pauses, Change::Paused),
            (self.bounds.left.pauses, Change::Resumed),
            (left.fails, Change::Failed),
            (self.bounds.left.fails, Change::Acknowledged),
            (left.closes, Change::WindowClosed),
            (left.withdrawals, Change::CutoverWithdrawn),
            (self.bounds.left.withdrawals, Change::CutoverRequested),
            (left.findings, Change::Violated),
            (self.bounds.left.findings, Change::RepairRequested),
        ];
        actions.extend(
            changes.into_iter().filter(|(left, _)| *left > 0).map(|(_, it)| Action::Decide(it)),
        );
        if left.purges > 0 && world.purger.is_none() {
            actions.extend(Site::ALL.map(Action::BeginPurge));
        }
        if left.removals > 0 && world.remover.is_none() {
            actions.push(Action::BeginRemoval);
        }
        if left.losses > 0 {
            for site in Site::ALL {
                let store = &world.durable.stores[site as usize];
                if store.ledger.role != Role::Active && !store.events.0.is_empty() {
                    actions.push(Action::LoseHistory { site, all: false });
                    actions.push(Action::LoseHistory { site, all: true });
                }
            }
        }
    }

    pub(crate) fn call(world: &World, process: Process) -> Option<Call> {
        match process {
            Process::Router(router) => world.routers[router].call(),
            Process::Driver(driver) => world.drivers[driver].call(),
            Process::Purger => world.purger.map(Purger::call),
            Process::Remover => world.remover.as_ref().map(Remover::call),
        }
    }

    fn processes(&self) -> impl Iterator<Item = Process> + use<> {
        let routers = (0..self.bounds.routers).map(Process::Router);
        routers
            .chain((0..self.bounds.drivers).map(Process::Driver))
            .chain([Process::Purger, Process::Remover])
    }

    /// The world after `action`, or `None` when it is not possible.
    fn after(&self, world: &World, action: Action) -> Option<World> {
        let bounds = &self.bounds;
        let without = bounds.without;
        let mut world = world.clone();
        match action {
            Action::Step(process) => Self::step(&mut world, process, false, bounds),
            Action::Lose(process) => Self::step(&mut world, process, true, bounds),
            Action::Arrive(which) => world.arrive(which, without),
            Action::Crash(process) => {
                world.left.crashes -= 1;
                match process {
                    Process::Router(router) => {
                        let Router { write, expected, .. } = world.routers[router];
                        // The caller retries, through any router; this one has no state now.
                        world.routers[router] = Router::with(write, expected);
                    }
                    Process::Driver(driver) => world.drivers[driver] = Driver(None),
                    Process::Purger => world.purger = None,
                    Process::Remover => world.remover = None,
                }
            }
            Action::Read => world.step_reader(bounds),
            Action::RouterHears(router) => {
                let row = world.durable.control.route.clone()?;
                world.routers[router].put(row);
            }
            Action::ReaderHears => world.reader.cached = world.durable.control.route.clone(),
            Action::Observe { driver, id, eager, early } => {
                let row = &world.durable.control.migrations[usize::from(id)];
                world.drivers[driver] = Driver::observe(id, row, eager, early);
            }
            Action::Expire(Process::Router(router)) => {
                world.routers[router].at = At::RollBack;
            }
            Action::Expire(Process::Driver(driver)) => {
                world.drivers[driver] = world.drivers[driver].expired()?;
            }
            Action::Expire(Process::Purger | Process::Remover) => return None,
            Action::Start => {
                world.durable.control = world.durable.control.start(bounds.options(), without)?;
                world.left.starts -= 1;
            }
            Action::Decide(change) => {
                world.durable.control = world.durable.control.decide(change, without)?;
                let left = &mut world.left;
                match change {
                    Change::Aborted { .. } => left.aborts -= 1,
                    Change::Paused => left.pauses -= 1,
                    Change::Failed => left.fails -= 1,
                    Change::WindowClosed => left.closes -= 1,
                    Change::CutoverWithdrawn => left.withdrawals -= 1,
                    Change::Violated => left.findings -= 1,
                    _ => {}
                }
            }
            Action::BeginPurge(store) => {
                world.purger = Some(Purger::begin(store, without));
                world.left.purges -= 1;
            }
            Action::BeginRemoval => {
                world.remover = Some(Remover::begin());
                world.left.removals -= 1;
            }
            Action::LoseHistory { site, all } => world.lose_history(site, all),
        }
        world.sort(bounds);
        Some(world)
    }

    fn step(world: &mut World, process: Process, lost: bool, bounds: &Bounds) {
        match process {
            Process::Router(router) => world.step_router(router, lost, bounds),
            Process::Driver(driver) => world.step_driver(driver, lost, bounds),
            Process::Purger => world.step_purger(lost, bounds),
            Process::Remover => world.step_remover(lost, bounds),
        }
    }
}

impl stateright::Model for Protocol {
    type State = World;
    type Action = Action;

    fn init_states(&self) -> Vec<World> {
        vec![World::begin(&self.bounds)]
    }

    fn actions(&self, world: &World, actions: &mut Vec<Action>) {
        if world.broken.is_some() {
            return;
        }
        for process in self.processes() {
            let Some(call) = Self::call(world, process).filter(|call| world.allows(call)) else {
                continue;
            };
            actions.push(Action::Step(process));
            if world.left.lost > 0 && call.has_effect() {
                actions.push(Action::Lose(process));
            }
            if world.left.crashes > 0 {
                actions.push(Action::Crash(process));
            }
        }
        let routers = (0..self.bounds.routers)
            .filter(|router| world.routers[*router].may_expire(self.bounds.without));
        actions.extend(routers.map(|router| Action::Expire(Process::Router(router))));
        let drivers =
            (0..self.bounds.drivers).filter(|driver| world.drivers[*driver].expired().is_some());
        actions.extend(drivers.map(|driver| Action::Expire(Process::Driver(driver))));
        if self.bounds.reader {
            actions.push(Action::Read);
        }
        let late = (0..world.late.len()).filter(|late| world.allows(&world.late[*late]));
        actions.extend(late.map(Action::Arrive));
        self.news(world, actions);
        self.observations(world, actions);
        self.decisions(world, actions);
    }

    fn next_state(&self, world: &World, action: Action) -> Option<World> {
        self.after(world, action)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        let [one, two, three, four, five, six, seven] = PROPERTIES;
        vec![
            Property::always(one, |model: &Self, world: &World| {
                world.is_unbroken(1)
                    && world.is_free_of_duplicates()
                    && world.keeps_acknowledged(model.has_losses())
            }),
            Property::always(two, |_: &Self, world: &World| {
                world.is_unbroken(2) && world.has_one_authority()
            }),
            Property::always(three, |model: &Self, world: &World| {
                model.has_losses()
                    || world.ledgers_tell_the_truth() && world.replicas_are_prefixes()
            }),
            Property::always(four, |_: &Self, world: &World| {
                world.is_unbroken(4) && world.versions_are_gapless()
            }),
            Property::always(five, |_: &Self, world: &World| {
                world.is_unbroken(5) && world.reader_is_level()
            }),
            Property::always(six, |model: &Self, world: &World| {
                model.has_losses() || world.is_unbroken(6)
            }),
            Property::always(seven, |model: &Self, world: &World| {
                model.has_losses() || world.broken.is_some() || model.lone_process_finishes(world)
            }),
        ]
    }
}

impl World {
    fn is_unbroken(&self, property: u8) -> bool {
        self.broken.is_none_or(|(number, _)| number != property)
    }

    /// With stores that lose data: a served history has everything that the route has evidence for.
    fn keeps_acknowledged(&self, has_losses: bool) -> bool {
        let (Some(authority), Some(route)) =
            (self.durable.authority(), &self.durable.control.route)
        else {
            return true;
        };
        if has_losses && authority.ledger.role != Role::Active {
            return true;
        }
        let evident = if has_losses { route.base } else { u64::MAX };
        // Of a tenant that is being removed: what its operator has not seen.
        let going = match route.removal {
            Some(Removal::Running { events, .. }) => events,
            _ => 0,
        };
        let acked = (0_u8..).zip(self.acked).filter(|(_, seq)| (going + 1..=evident).contains(seq));
        acked.into_iter().all(|(write, seq)| {
            let event = usize::try_from(seq - 1).ok().and_then(|at| authority.events.0.get(at));
            event.is_some_and(|event| event.id == event_id(write))
        })
    }

    fn has_one_authority(&self) -> bool {
        let stores = &self.durable.stores;
        let Some(route) = &self.durable.control.route else { return true };
        stores.iter().filter(|store| store.ledger.role == Role::Active).count() <= 1
            && stores.iter().all(|store| store.ledger.epoch <= route.n)
    }

    fn ledgers_tell_the_truth(&self) -> bool {
        self.durable.stores.iter().all(|store| {
            store.ledger.head == store.end()
                && (1..).zip(store.events.0.iter()).all(|(seq, event)| event.seq == seq)
        })
    }

    fn replicas_are_prefixes(&self) -> bool {
        let Some(authority) = self.durable.authority() else { return true };
        self.durable.stores.iter().all(|store| {
            let replica = store.ledger.role == Role::Replica;
            !replica
                || store
                    .events
                    .0
                    .iter()
                    .all(|event| authority.digest_at(event.seq) == Some(event.digest))
        })
    }

    fn versions_are_gapless(&self) -> bool {
        let gapless = |events: &[rehome_domain::event::Event]| {
            (1..).zip(events).all(|(version, event)| event.version == version)
        };
        self.durable.stores.iter().all(|store| gapless(&store.events.0))
    }

    fn reader_is_level(&self) -> bool {
        self.durable.authority().is_none_or(|authority| authority.holds(self.reader.seen))
    }
}
