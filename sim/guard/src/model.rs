//! The guard as the checker sees it: states, actions, properties.

use stateright::Property;

use crate::bounds::Bounds;
use crate::database::{Database, Role};
use crate::migration::is_in_order;
use crate::rule::Rule;
use crate::world::{Site, Stage, World};
use crate::writer::At;

/// The guard, within bounds.
pub struct Guarded(pub Bounds);

/// What can happen next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Action {
    /// A writer begins a REPEATABLE READ transaction: it has a snapshot from now on.
    Open(usize, Site),
    /// A writer begins its insert under READ COMMITTED.
    Begin(usize, Site),
    /// A transaction's next statement.
    Step(usize),
    /// A transaction is rolled back: by its client, by a deadline, by a death.
    RollBack(usize),
    /// An operator starts a migration.
    Start,
    /// The migration's driver continues.
    Advance,
    /// The driver numbers what arrived.
    Number,
    /// The driver copies an event.
    Extend,
    /// The driver begins a cutover.
    CutOver,
    /// The driver gives the cutover up.
    GiveUp,
    /// An operator aborts the migration, or closes its window.
    Abort,
    /// An operator decides that the guard of a store goes.
    Release(Site),
    /// It goes.
    Unguard,
    /// A database crashes and comes back.
    Crash(Site),
    /// The triggers are bypassed.
    Bypass,
    /// A writer of another tenant continues.
    Other(Site),
    /// The migration makes room for its cutover.
    MakeRoom,
    /// The cutover of another tenant continues, in the opposite direction.
    Opposite,
    /// The projection reads.
    Read,
    /// The projection follows the switch.
    Follow,
}

/// The names of the properties.
pub const PROPERTIES: [&str; 8] = [
    "1 no acknowledged row is lost",
    "2 only the authority takes rows",
    "3 the replica's table is a prefix of the authority's numbers",
    "4 numbers keep every stream's order",
    "5 a checkpoint never skips a row",
    "6 every number has its row, once",
    "7 nobody waits for who waits for them",
    "8 no transaction is sent back without need",
];

impl World {
    fn is_unbroken(&self, property: u8) -> bool {
        self.broken.is_none_or(|(number, _)| number != property)
    }

    fn keeps_acknowledged(&self) -> bool {
        let authority = self.at(self.route);
        (0..self.events)
            .filter(|event| self.acked & 1 << event != 0)
            .all(|event| authority.row(event).is_some())
    }

    fn has_one_authority(&self) -> bool {
        let active = Site::BOTH.into_iter().filter(|s| self.at(*s).role() == Some(Role::Active));
        active.count() <= 1
    }

    fn replica_is_prefix(&self) -> bool {
        let level = matches!(
            self.stage,
            Stage::Mirror | Stage::Queued(_) | Stage::Fenced(_) | Stage::Compared
        );
        let (authority, replica) = (self.at(self.route), self.at(self.route.other()));
        !level
            || authority.numbers.starts_with(&replica.numbers)
                && replica.rows.len() == replica.numbers.len()
                && replica.rows.iter().all(|row| replica.numbers.contains(&row.event))
    }

    /// A bypass of the triggers leaves a gap in the numbers until it is detected.
    fn numbers_keep_order(&self) -> bool {
        let changed = self.databases.iter().any(|database| database.changed);
        changed
            || self.databases.iter().all(|database| {
                let rows =
                    database.numbers.iter().filter_map(|event| database.row(*event).copied());
                is_in_order(&rows.collect::<Vec<_>>())
            })
    }

    fn numbers_have_rows(&self) -> bool {
        self.databases.iter().all(|database: &Database| {
            let once = |(at, event): (usize, &u8)| !database.numbers[..at].contains(event);
            database.numbers.iter().enumerate().all(once)
                && database.numbers.iter().all(|event| database.row(*event).is_some())
        })
    }
}

impl Guarded {
    fn of_writers(&self, world: &World, actions: &mut Vec<Action>) {
        let sites = if self.0.astray { &Site::BOTH[..] } else { &[world.route][..] };
        let idle = (0..self.0.writers).find(|which| world.writers[*which].at == At::Idle);
        for site in sites {
            if let Some(which) = idle {
                if world.left.writes > 0 && world.is_free(*site, &self.0) {
                    actions.push(Action::Begin(which, *site));
                }
                if world.left.repeatable > 0 {
                    actions.push(Action::Open(which, *site));
                }
            }
        }
        for which in 0..self.0.writers {
            if world.can_step(which, &self.0) {
                actions.push(Action::Step(which));
            }
            if world.writers[which].at != At::Idle {
                actions.push(Action::RollBack(which));
            }
        }
    }

    fn of_the_driver(&self, world: &World, actions: &mut Vec<Action>) {
        let left = &world.left;
        if world.can_extend(&self.0) {
            actions.push(Action::Extend);
        }
        if world.copy.is_some() {
            return;
        }
        if world.can_advance(&self.0) {
            actions.push(Action::Advance);
        }
        if world.can_number(&self.0) {
            actions.push(Action::Number);
        }
        if world.can_unguard() {
            actions.push(Action::Unguard);
        }
        match world.stage {
            Stage::Idle => {
                // A replica that has rows is purged first: the next migration's target is empty.
                if left.starts > 0 {
                    actions.push(Action::Start);
                }
                let release = |site: &Site| {
                    world.at(*site).guard.is_some()
                        && (*site == world.route
                            || !self.0.keeps(Rule::OnlyTheAuthorityIsUnguarded))
                };
                if left.releases > 0 && world.leaving.is_none() {
                    actions.extend(Site::BOTH.into_iter().filter(release).map(Action::Release));
                }
            }
            Stage::Mirror => {
                if left.cutovers > 0 && world.can_make_room(&self.0) {
                    actions.push(Action::MakeRoom);
                }
                let may_hold = world.is_free(world.route, &self.0) && !world.needs_room(&self.0);
                if left.cutovers > 0 && may_hold {
                    actions.push(Action::CutOver);
                }
                if left.aborts > 0 {
                    actions.push(Action::Abort);
                }
            }
            Stage::Queued(_) | Stage::Fenced(_) | Stage::Compared => actions.push(Action::GiveUp),
            _ => {}
        }
    }
}

impl stateright::Model for Guarded {
    type State = World;
    type Action = Action;

    fn init_states(&self) -> Vec<World> {
        vec![World::new(&self.0)]
    }

    fn actions(&self, world: &World, actions: &mut Vec<Action>) {
        if world.broken.is_some() {
            return;
        }
        self.of_writers(world, actions);
        self.of_the_driver(world, actions);
        actions.extend(
            Site::BOTH
                .into_iter()
                .filter(|site| world.can_insert_other(*site, &self.0))
                .map(Action::Other),
        );
        if world.can_step_opposite(&self.0) {
            actions.push(Action::Opposite);
        }
        if world.left.crashes > 0 {
            actions.extend(Site::BOTH.map(Action::Crash));
        }
        let undecided = !matches!(world.stage, Stage::Compared | Stage::Switched);
        if world.left.bypasses > 0
            && undecided
            && world.can_bypass(&self.0)
            && world.at(world.route).guard.is_some()
        {
            actions.push(Action::Bypass);
        }
        if self.0.reader {
            actions.push(Action::Read);
            if !self.0.reads_target && world.may_follow(world.route) {
                actions.push(Action::Follow);
            }
        }
    }

    fn next_state(&self, world: &World, action: Action) -> Option<World> {
        let bounds = &self.0;
        let mut world = world.clone();
        match action {
            Action::Open(which, site) => world.open(which, site),
            Action::Begin(which, site) => world.begin(which, site, bounds),
            Action::Step(which) => world.step(which, bounds),
            Action::RollBack(which) => world.end(which),
            Action::Start => world.start(bounds),
            Action::Advance => world.advance(bounds),
            Action::Number => world.number(bounds),
            Action::Extend => world.extend_by_step(bounds),
            Action::CutOver => world.cut_over(bounds),
            Action::GiveUp => world.roll_back(bounds),
            Action::Abort => world.abort(),
            Action::Release(site) => world.release(site, bounds),
            Action::Unguard => world.unguard(),
            Action::Crash(site) => world.crash(site),
            Action::Bypass => world.bypass(bounds),
            Action::Other(site) => world.insert_other(site, bounds),
            Action::MakeRoom => world.make_room(bounds),
            Action::Opposite => world.step_opposite(bounds),
            Action::Read => world.read(bounds),
            Action::Follow => world.follow(bounds),
        }
        Some(world)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        let [one, two, three, four, five, six, seven, eight] = PROPERTIES;
        vec![
            Property::always(one, |_, world: &World| world.keeps_acknowledged()),
            Property::always(two, |_, world: &World| {
                world.is_unbroken(2) && world.has_one_authority()
            }),
            Property::always(three, |_, world: &World| {
                world.is_unbroken(3) && world.replica_is_prefix()
            }),
            Property::always(four, |_, world: &World| world.numbers_keep_order()),
            Property::always(five, |_, world: &World| world.reader_skips_nothing()),
            Property::always(six, |_, world: &World| world.numbers_have_rows()),
            Property::always(seven, |model: &Self, world: &World| {
                world.is_unbroken(7) && !world.cutovers_block(&model.0)
            }),
            Property::always(eight, |_, world: &World| world.is_unbroken(8)),
        ]
    }
}
