//! The whole: two stores, the control plane, and all processes at one moment.

use std::hash::Hash;

use rehome_domain::ledger::{Head, Ledger, Role};
use rehome_domain::migration::Migration;
use rehome_domain::removal::{Removal, Turn};

use crate::bounds::{Begin, Bounds, Left};
use crate::call::{Answer, Call, Change, ControlCall, StoreCall};
use crate::control::Control;
use crate::driver::Driver;
use crate::kept::digest_of;
use crate::names::{PROBE, Site, Write, event_id};
use crate::operator::Purger;
use crate::reader::{self, Reader};
use crate::remover::Remover;
use crate::router::{self, Router};
use crate::rule::Rule;
use crate::store::Store;

/// What outlives every process.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Durable {
    /// The stores, by [`Site`].
    pub stores: [Store; 2],
    /// The control plane.
    pub control: Control,
}

/// One state of the model.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct World {
    /// What outlives every process.
    pub durable: Durable,
    /// The routers, in a canonical order, because they are interchangeable.
    pub routers: [Router; 2],
    /// The coordinators; in one order too.
    pub drivers: [Driver; 2],
    /// The subscriber.
    pub reader: Reader,
    /// An operator's purge.
    pub purger: Option<Purger>,
    /// An operator's removal.
    pub remover: Option<Remover>,
    /// Calls whose callers timed out, and that may still arrive.
    pub late: Vec<Call>,
    /// Where each event was acknowledged; 0: not yet.
    pub acked: [u64; 8],
    /// The next event that a writer will have.
    pub next: Write,
    /// What may still happen.
    pub left: Left,
    /// The first error in a step, with the number of its property.
    pub broken: Option<(u8, &'static str)>,
}

impl Durable {
    /// The store that has the authority, once the tenant has a route.
    pub fn authority(&self) -> Option<&Store> {
        let route = self.control.route.as_ref()?;
        Some(&self.stores[Site::of(&route.store) as usize])
    }

    /// Carries out one call.
    pub(crate) fn perform(&mut self, call: &Call, without: Option<Rule>) -> Answer {
        match call {
            Call::Store(site, call) => self.stores[*site as usize].perform(call, without),
            Call::Control(call) => self.control.perform(call, without),
        }
    }
}

impl World {
    /// How a run of these bounds begins.
    pub fn begin(bounds: &Bounds) -> Self {
        let mut world = Self {
            durable: bounds.begin.durable(bounds),
            routers: [Router::default(), Router::default()],
            drivers: [Driver(None), Driver(None)],
            reader: Reader::new(),
            purger: None,
            remover: None,
            late: Vec::new(),
            acked: [0; 8],
            next: 0,
            left: bounds.left,
            broken: None,
        };
        for router in 0..bounds.routers {
            world.hand_in(router, bounds);
        }
        world
    }

    /// A writer hands its next event to an idle router.
    pub(crate) fn hand_in(&mut self, router: usize, bounds: &Bounds) {
        if self.routers[router].write.is_none() && self.next < bounds.writes {
            let router = &mut self.routers[router];
            router.write = Some(self.next);
            // Every second one believes that the stream is empty, and learns.
            router.expected = (self.next % 2 == 1).then_some(0);
            self.next += 1;
        }
    }

    /// Carries out one call and notes what no single state would show.
    pub(crate) fn perform(&mut self, call: &Call, without: Option<Rule>) -> Answer {
        let epochs = self.epochs();
        let authority = self.authority_site();
        let absent = self.absent_and_created(call);
        let known = self.durable.control.last().is_some_and(|last| last.violations.open.is_some());
        let wanted = self.durable.control.last().is_none_or(Migration::wants_cutover);
        let before = self.durable.control.route.clone();
        let removed = before.as_ref().is_some_and(|route| route.is_removed());
        let answer = self.durable.perform(call, without);
        if let (Call::Control(ControlCall::Remove { turn, seen, .. }), Answer::Recorded(_)) =
            (call, &answer)
        {
            let running = before.and_then(|route| route.removal);
            self.judge_removal(*turn, *seen, running);
        }
        let reborn =
            removed && !self.durable.control.route.as_ref().is_some_and(|route| route.is_removed());
        if reborn && self.durable.authority().is_some_and(|store| !store.events.0.is_empty()) {
            self.broken = Some((1, "a removed history came back"));
        }
        if self.epochs().iter().zip(epochs).any(|(after, before)| *after < before) {
            self.broken = Some((2, "the epoch of a ledger went back"));
        }
        if absent && matches!(answer, Answer::Ledger(_)) {
            self.broken = Some((1, "an absent history was taken for a new one"));
        }
        let switches =
            matches!(call, Call::Control(ControlCall::Record { change: Change::Switched(_), .. }));
        let moved = authority.is_some() && self.authority_site() != authority;
        if moved && !switches && !reborn {
            self.broken = Some((2, "the authority changed, and not by the switch"));
        }
        if switches && known && matches!(answer, Answer::Recorded(_)) {
            self.broken = Some((3, "a copy that is known to be damaged was switched to"));
        }
        if is_intent(call) && matches!(answer, Answer::Recorded(_)) {
            if !wanted {
                self.broken = Some((2, "a cutover began that was withdrawn"));
            }
            self.left.cutovers = self.left.cutovers.saturating_sub(1);
        }
        answer
    }

    /// A turn of a removal was recorded: only what its operator has seen may go, and all of it has gone at the end.
    fn judge_removal(&mut self, turn: Turn, seen: Head, running: Option<Removal>) {
        let Some(store) = self.durable.authority() else { return };
        match turn {
            Turn::Begin { .. } if !store.holds(seen) => {
                self.broken = Some((1, "the removal of another history was requested"));
            }
            Turn::Finish => {
                let asked = match running {
                    Some(Removal::Running { events, .. }) => events,
                    _ => 0,
                };
                if !store.events.0.is_empty() {
                    self.broken = Some((1, "a tenant is removed, and events of it are left"));
                } else if self.acked.iter().any(|seq| *seq > asked) {
                    self.broken = Some((1, "an event was removed that no operator had seen"));
                }
                // The next life owes nothing to this one.
                self.acked = [0; 8];
            }
            _ => {}
        }
    }

    fn epochs(&self) -> [rehome_domain::ids::Epoch; 2] {
        self.durable.stores.each_ref().map(|store| store.ledger.epoch)
    }

    /// The call activates a history that is absent, of a tenant whose creation is complete.
    fn absent_and_created(&self, call: &Call) -> bool {
        let Call::Store(site, StoreCall::Activate(_)) = call else { return false };
        self.durable.stores[*site as usize].ledger.role == Role::Absent
            && self.durable.control.route.as_ref().is_some_and(|route| route.created)
    }

    fn authority_site(&self) -> Option<Site> {
        self.durable.control.route.as_ref().map(|route| Site::of(&route.store))
    }

    /// Whether the bounds allow the call: they limit the number of cutovers.
    pub(crate) fn allows(&self, call: &Call) -> bool {
        !is_intent(call) || self.left.cutovers > 0
    }

    /// A router takes its next step; with `lost`, its call gets no result.
    pub(crate) fn step_router(&mut self, router: usize, lost: bool, bounds: &Bounds) {
        let Some(call) = self.routers[router].call() else { return };
        let answer = self.answer(call, lost, bounds.without);
        let write = self.routers[router].write;
        let outcome = self.routers[router].resume(answer, bounds.without);
        match (outcome, write) {
            (router::Outcome::Acknowledged(seq), Some(write)) => {
                self.acknowledge(write, seq);
                self.hand_in(router, bounds);
            }
            (router::Outcome::Conflict(actual), Some(write)) => self.conflict(write, actual),
            (router::Outcome::LostTime, _) => {
                self.broken = Some((2, "a ledger is ahead of every epoch that was handed out"));
            }
            _ => {}
        }
    }

    fn acknowledge(&mut self, write: Write, seq: u64) {
        let acked = &mut self.acked[usize::from(write)];
        if *acked != 0 && *acked != seq {
            self.broken = Some((1, "a retry was answered otherwise than the first time"));
        }
        *acked = seq;
    }

    /// Checks that a single store would have reported the same conflict.
    fn conflict(&mut self, write: Write, actual: u64) {
        let Some(authority) = self.durable.authority() else { return };
        if authority.events.0.iter().any(|event| event.id == event_id(write)) {
            self.broken = Some((4, "an event that is there was refused for its version"));
        } else if authority.events.0.len() as u64 != actual {
            self.broken =
                Some((4, "a conflict was answered with a version that is not the stream's"));
        }
    }

    /// The subscriber takes its next step.
    pub(crate) fn step_reader(&mut self, bounds: &Bounds) {
        let acked = self.acked.iter().copied().max().unwrap_or(0);
        let call = self.reader.call();
        let answer = self.answer(call, false, bounds.without);
        self.broken = match self.reader.resume(answer, acked, bounds.without) {
            reader::Outcome::Fine => return,
            reader::Outcome::NotInOrder => Some((5, "the feed was not given in order")),
            reader::Outcome::Stale => Some((6, "an acknowledged event was not given")),
            reader::Outcome::FalseAlarm => Some((6, "a history is said to be missing that is not")),
        };
    }

    /// A coordinator takes its next step; with `lost`, its call gets no result.
    pub(crate) fn step_driver(&mut self, driver: usize, lost: bool, bounds: &Bounds) {
        let Some(call) = self.drivers[driver].call() else { return };
        let answer = self.answer(call, lost, bounds.without);
        self.drivers[driver].resume(answer, bounds.without);
    }

    /// An operator's purge takes its next step; with `lost`, its call gets no result.
    pub(crate) fn step_purger(&mut self, lost: bool, bounds: &Bounds) {
        let Some(purger) = self.purger.take() else { return };
        let answer = self.answer(purger.call(), lost, bounds.without);
        self.purger = purger.resume(answer, bounds.without);
    }

    /// An operator's removal takes its next step; with `lost`, its call gets no result.
    pub(crate) fn step_remover(&mut self, lost: bool, bounds: &Bounds) {
        let Some(remover) = self.remover.take() else { return };
        let answer = self.answer(remover.call(), lost, bounds.without);
        self.remover = remover.resume(answer, bounds.without);
    }

    fn answer(&mut self, call: Call, lost: bool, without: Option<Rule>) -> Answer {
        if lost {
            self.left.lost -= 1;
            self.late.push(call);
            return Answer::Lost;
        }
        self.perform(&call, without)
    }

    /// A late call arrives.
    pub(crate) fn arrive(&mut self, which: usize, without: Option<Rule>) {
        let call = self.late.swap_remove(which);
        // Its result is dropped; an append that was only checked is not committed.
        self.perform(&call, without);
    }

    /// A store that does not have the authority's writes loses what it holds, or its last event.
    pub(crate) fn lose_history(&mut self, site: Site, all: bool) {
        let store = &mut self.durable.stores[site as usize];
        if all {
            *store = Store::new();
        } else {
            store.pop();
            store.ledger = Ledger { head: store.end(), ..store.ledger };
        }
        self.left.losses -= 1;
    }

    /// Puts processes that may change places in one order: half as many states for each pair.
    pub(crate) fn sort(&mut self, bounds: &Bounds) {
        if bounds.routers == 2 {
            in_order(&mut self.routers);
        }
        if bounds.drivers == 2 {
            in_order(&mut self.drivers);
        }
        if self.late.len() > 1 {
            self.late.sort_by_key(digest_of);
        }
    }

    /// Whether each event is nowhere twice.
    pub fn is_free_of_duplicates(&self) -> bool {
        let twice = |write| self.durable.stores.iter().any(|store| store.count(write) > 1);
        !(0..self.next).chain([PROBE]).any(twice)
    }
}

fn is_intent(call: &Call) -> bool {
    matches!(call, Call::Control(ControlCall::Record { change: Change::CutoverStarted, .. }))
}

fn in_order<T: Hash + PartialEq>(pair: &mut [T; 2]) {
    if pair[0] != pair[1] && digest_of(&pair[0]) > digest_of(&pair[1]) {
        pair.swap(0, 1);
    }
}

impl Begin {
    /// What the stores and the control plane hold at the beginning; made by the calls themselves.
    fn durable(self, bounds: &Bounds) -> Durable {
        let mut durable =
            Durable { stores: [Store::new(), Store::new()], control: Control::default() };
        let take = |durable: &mut Durable, calls: &[Call]| {
            for call in calls {
                durable.perform(call, None);
            }
        };
        if self == Self::New {
            return durable;
        }
        let epoch = rehome_domain::ids::Epoch(1);
        let newborn = rehome_domain::ledger::Activation { epoch, base: 0, created: false };
        take(
            &mut durable,
            &[
                Call::Control(ControlCall::Create),
                Call::Store(Site::A, StoreCall::Activate(newborn)),
                Call::Control(ControlCall::MarkCreated(epoch)),
            ],
        );
        if self == Self::Foreign {
            let stranger = &mut durable.stores[Site::B as usize];
            let m = rehome_domain::ids::Epoch(0);
            stranger.ledger = Ledger { role: Role::Active, ..Ledger::ABSENT };
            stranger.perform(&StoreCall::Append { epoch: m, write: 6, expected: None }, None);
            stranger.ledger.role = Role::Fenced;
        }
        if self == Self::Mirroring {
            durable.control =
                durable.control.start(bounds.options(), None).expect("the tenant is created");
            let driver = Driver::default();
            finish_until_mirroring(&mut durable, driver);
        }
        durable
    }
}

fn finish_until_mirroring(durable: &mut Durable, mut driver: Driver) {
    use rehome_domain::migration::Phase;
    while let Some(migration) = durable.control.last().cloned() {
        match driver.call() {
            Some(call) => {
                let answer = durable.perform(&call, None);
                driver.resume(answer, None);
            }
            None if migration.state.phase() == Phase::DualWrite => return,
            None => driver = Driver::observe(0, &migration, false, false),
        }
    }
}
