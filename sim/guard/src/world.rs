//! The whole state: two databases, writers, a projection, the route, and the stage of the migration.

use crate::bounds::{Bounds, Left};
use crate::database::{Database, Row};
use crate::table::{Opposite, Sites};
use crate::writer::Writer;

/// A store.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Site {
    /// Where the tenant lives at first.
    #[default]
    A,
    /// Where it moves.
    B,
}

impl Site {
    /// Both.
    pub const BOTH: [Self; 2] = [Self::A, Self::B];

    /// The other one.
    #[must_use]
    pub fn other(self) -> Self {
        if self == Self::A { Self::B } else { Self::A }
    }
}

/// A set of writers, a bit each.
pub type Writers = u8;

/// The stage of the migration. The control plane's part is `cutover_paused` from [`Stage::Queued`] to
/// [`Stage::Compared`]; the engine's model covers several coordinators.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Stage {
    /// There is none.
    Idle,
    /// The source is guarded; these writers had the table's lock then.
    DrainSource(Writers),
    /// The history is to be numbered.
    Backfill,
    /// The target is guarded; these writers had the table's lock then.
    DrainTarget(Writers),
    /// Copying and mirroring; after a switch the way back, for the rollback window.
    Mirror,
    /// The fence waits for the lock; these events were visible when it began to.
    Queued(u16),
    /// The source accepts nothing; this is its head.
    Fenced(u8),
    /// Both are equal.
    Compared,
    /// The target has the authority and does not know yet.
    Switched,
    /// The migration is refused, with a reason.
    Refused,
}

/// A projection that uses the table's position as its checkpoint, and reads up to the oldest
/// running transaction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Reader {
    /// Where it reads.
    pub site: Site,
    /// Its checkpoint there.
    pub checkpoint: u8,
    /// The events that it has seen.
    pub seen: u16,
}

/// All there is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct World {
    /// The databases.
    pub databases: [Database; 2],
    /// The writers.
    pub writers: [Writer; 3],
    /// The projection.
    pub reader: Reader,
    /// Which store has the authority.
    pub route: Site,
    /// The stage of the migration.
    pub stage: Stage,
    /// The store that is to be unguarded; these writers had the table's lock when that was decided.
    pub leaving: Option<(Site, Writers)>,
    /// Where writers lock the table: a row that is being copied, with its position.
    pub copy: Option<Row>,
    /// A writer of another tenant that holds a table, and its position.
    pub other: Option<(Site, u8)>,
    /// The stores at which the migration has made room for its cutover.
    pub room: Sites,
    /// The cutover of another tenant, in the opposite direction.
    pub opposite: Opposite,
    /// The events that were acknowledged, a bit each.
    pub acked: u16,
    /// Events drawn so far.
    pub events: u8,
    /// What may still happen.
    pub left: Left,
    /// The property that was broken by a step, and how.
    pub broken: Option<(u8, &'static str)>,
}

/// The history at the beginning.
const HISTORY: u8 = 1;

impl World {
    /// The tenant lives at A, in a table that has no guard.
    pub fn new(bounds: &Bounds) -> Self {
        Self {
            databases: [Database::with(HISTORY, bounds.streams), Database::with(0, 1)],
            writers: <[Writer; 3]>::default(),
            reader: Reader {
                site: if bounds.reads_target { Site::B } else { Site::A },
                ..Reader::default()
            },
            route: Site::A,
            stage: Stage::Idle,
            leaving: None,
            copy: None,
            other: None,
            room: Sites::default(),
            opposite: Opposite::default(),
            acked: (1 << HISTORY) - 1,
            events: HISTORY,
            left: bounds.left,
            broken: None,
        }
    }

    /// The database at a site.
    pub fn at(&self, site: Site) -> &Database {
        &self.databases[site as usize]
    }

    pub(crate) fn at_mut(&mut self, site: Site) -> &mut Database {
        &mut self.databases[site as usize]
    }

    /// Whether a fence waits for the tenant's exclusive lock there.
    pub(crate) fn queued(&self, site: Site) -> bool {
        matches!(self.stage, Stage::Queued(_)) && site == self.route
            || self.leaving == Some((site, 0))
    }

    /// Whether writers hold the tenant's lock there.
    pub(crate) fn is_locked(&self, site: Site) -> bool {
        self.writers.iter().any(|writer| writer.locked && writer.site == site)
    }

    /// The writers that hold the table's lock there.
    pub(crate) fn in_table(&self, site: Site) -> Writers {
        let holds = |writer: &Writer| writer.is_in_table() && writer.site == site;
        self.writers.iter().rev().fold(0, |set, writer| set << 1 | u8::from(holds(writer)))
    }

    pub(crate) fn break_rule(&mut self, property: u8, how: &'static str) {
        self.broken = self.broken.or(Some((property, how)));
    }
}
