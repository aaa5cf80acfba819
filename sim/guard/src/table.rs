//! Rule R16: writers lock the whole table before they draw a position, so that readers find positions in the order of
//! commits. Copies, what a cutover holds, writers of other tenants and cutovers of other tenants meet at that lock.

use crate::bounds::Bounds;
use crate::rule::Rule;
use crate::world::{Site, Stage, World};

/// A set of stores, each in it or not.
pub type Sites = [bool; 2];

/// How far the cutover of another tenant is, from the migration's target to its source as they are at the time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Opposite {
    /// There is none.
    #[default]
    None,
    /// It makes room: at these stores it has.
    Room(Site, Sites),
    /// It holds the table of its source, which is this, and lacks the lock of the other for its last rows.
    Holds(Site),
}

impl Opposite {
    fn room(self) -> Sites {
        match self {
            Self::Room(_, room) => room,
            // What it made stays until it is over.
            Self::Holds(_) => [true, true],
            Self::None => [false, false],
        }
    }
}

/// Where a cutover from `source` makes room next.
fn next(source: Site, room: Sites, bounds: &Bounds) -> Option<Site> {
    let order =
        if bounds.keeps(Rule::RoomInOneOrder) { Site::BOTH } else { [source, source.other()] };
    order.into_iter().find(|site| !room[*site as usize])
}

impl World {
    /// Whether the migration holds its source's table, so that nobody changes the triggers.
    fn holds(&self, site: Site, bounds: &Bounds) -> bool {
        match self.stage {
            Stage::Queued(_) | Stage::Fenced(_) | Stage::Compared => site == self.route,
            Stage::Switched => {
                site == self.route.other() && !bounds.keeps(Rule::TableIsFreeAfterTheSwitch)
            }
            _ => false,
        }
    }

    /// Whether a transaction that locks the whole table gets the lock now.
    pub(crate) fn is_free(&self, site: Site, bounds: &Bounds) -> bool {
        let copies =
            self.copy.is_some() && site == self.route.other() && bounds.keeps(Rule::CopyLocksTable);
        !bounds.locks_table
            || self.in_table(site) == 0
                && self.other.is_none_or(|(at, _)| at != site)
                && !copies
                && !self.holds(site, bounds)
                && self.opposite != Opposite::Holds(site)
    }

    /// A writer of another tenant: locks the table and draws a position, or commits its row.
    pub(crate) fn can_insert_other(&self, site: Site, bounds: &Bounds) -> bool {
        if let Some((at, _)) = self.other {
            return at == site;
        }
        let waits_for_publication = self.stage == Stage::Switched && self.holds(site, bounds);
        self.left.others > 0 && (self.is_free(site, bounds) || waits_for_publication)
    }

    pub(crate) fn insert_other(&mut self, site: Site, bounds: &Bounds) {
        if let Some((_, position)) = self.other.take() {
            self.at_mut(site).others = position;
            return;
        }
        if !self.is_free(site, bounds) {
            self.break_rule(7, "writers of all tenants wait for a publication");
            return;
        }
        self.left.others -= 1;
        let position = self.at_mut(site).draw_position();
        self.other = Some((site, position));
    }

    /// Whether the migration lacks room for its cutover, and gets it.
    pub(crate) fn can_make_room(&self, bounds: &Bounds) -> bool {
        self.needs_room(bounds)
            && next(self.route, self.room, bounds)
                .is_some_and(|site| !self.opposite.room()[site as usize])
    }

    pub(crate) fn needs_room(&self, bounds: &Bounds) -> bool {
        bounds.left.opposite > 0
            && bounds.keeps(Rule::CutoversMakeRoom)
            && self.room != [true, true]
    }

    pub(crate) fn make_room(&mut self, bounds: &Bounds) {
        if let Some(site) = next(self.route, self.room, bounds) {
            self.room[site as usize] = true;
        }
    }

    /// Whether the cutover of the other tenant can continue.
    pub(crate) fn can_step_opposite(&self, bounds: &Bounds) -> bool {
        match self.opposite {
            Opposite::None => self.left.opposite > 0 && self.stage == Stage::Mirror,
            Opposite::Room(source, room) => match next(source, room, bounds) {
                Some(site) if bounds.keeps(Rule::CutoversMakeRoom) => !self.room[site as usize],
                _ => self.is_free(source, bounds),
            },
            Opposite::Holds(source) => self.is_free(source.other(), bounds),
        }
    }

    pub(crate) fn step_opposite(&mut self, bounds: &Bounds) {
        self.opposite = match self.opposite {
            Opposite::None => {
                self.left.opposite -= 1;
                Opposite::Room(self.route.other(), Sites::default())
            }
            Opposite::Room(source, mut room) => match next(source, room, bounds) {
                Some(site) if bounds.keeps(Rule::CutoversMakeRoom) => {
                    room[site as usize] = true;
                    Opposite::Room(source, room)
                }
                _ => Opposite::Holds(source),
            },
            // Its last rows are in, and its switch is recorded.
            Opposite::Holds(_) => Opposite::None,
        };
    }

    /// Whether both cutovers wait for each other.
    pub(crate) fn cutovers_block(&self, bounds: &Bounds) -> bool {
        let for_room = |source: Site, room: Sites| next(source, room, bounds);
        match self.opposite {
            Opposite::Holds(source) => {
                matches!(self.stage, Stage::Fenced(_)) && self.route == source.other()
            }
            Opposite::Room(source, theirs) => {
                let ours_lacks = for_room(self.route, self.room);
                let theirs_lack = for_room(source, theirs);
                ours_lacks.is_some_and(|site| theirs[site as usize])
                    && theirs_lack.is_some_and(|site| self.room[site as usize])
            }
            Opposite::None => false,
        }
    }
}
