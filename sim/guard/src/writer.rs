//! A writer: an application's transaction that inserts one row, statement by statement.
//!
//! ```text
//!   Idle ── open ──▶ Opened          REPEATABLE READ: a snapshot, and nothing of the table yet
//!    │                 │
//!    └──── begin ──────┴─▶ Drawn     the insert began: the table's lock, a position
//!                           │ ask    BEFORE ROW: is the tenant guarded?
//!              no ┌─────────┴───┐ yes
//!                 │           Asked
//!                 │             │    the tenant's lock, shared: waits behind a fence
//!                 │          Locked
//!                 │             │    the role: waits while it is a pause
//!                 └──▶ Cleared ◀┘
//!                         │          the row, its version; AFTER ROW: its arrival
//!                     Inserted ──▶ committed, and answered
//! ```
//!
//! This is all that a transaction holds; a rollback or a death discards it.

use crate::bounds::Bounds;
use crate::database::{Guard, Role, Row};
use crate::rule::Rule;
use crate::world::{Site, Stage, World};

/// Where the transaction is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum At {
    /// No transaction.
    #[default]
    Idle,
    /// It has a snapshot.
    Opened,
    /// The insert began.
    Drawn,
    /// The tenant is guarded.
    Asked,
    /// The lock is held.
    Locked,
    /// The row may go in.
    Cleared,
    /// The row is in, and not committed.
    Inserted,
}

/// What a REPEATABLE READ transaction sees for as long as it lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Snapshot {
    /// The guardings that it sees.
    pub guardings: u8,
    /// The guard that it sees.
    pub guard: Option<Guard>,
    /// The last version of each stream.
    pub versions: [u8; 2],
}

/// A writer and its transaction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Writer {
    /// Where it is.
    pub at: At,
    /// At which store.
    pub site: Site,
    /// The event that it inserts.
    pub event: u8,
    /// Its snapshot, under REPEATABLE READ.
    pub snapshot: Option<Snapshot>,
    /// The position that it drew.
    pub position: u8,
    /// Its transaction id.
    pub xid: Option<u8>,
    /// The trigger found a guard.
    pub guarded: bool,
    /// It writes to a store that was unknown to rehome when it checked.
    pub stray: bool,
    /// It holds the tenant's lock.
    pub locked: bool,
    /// The role that it read before it had the lock: only where that rule is left out.
    pub early: Option<Role>,
    /// The row's version.
    pub version: u8,
    /// The row's arrival.
    pub arrival: Option<u8>,
}

impl Writer {
    /// Whether it holds the table's lock.
    pub fn is_in_table(&self) -> bool {
        !matches!(self.at, At::Idle | At::Opened)
    }
}

impl World {
    /// Takes a snapshot.
    pub(crate) fn open(&mut self, which: usize, site: Site) {
        let database = self.at(site);
        let snapshot = Snapshot {
            guardings: database.guardings,
            guard: database.guard,
            versions: [database.version(0), database.version(1)],
        };
        let writer = Writer { at: At::Opened, site, snapshot: Some(snapshot), ..Writer::default() };
        self.writers[which] = writer;
        self.left.repeatable -= 1;
    }

    /// Begins the insert: under READ COMMITTED also the transaction.
    pub(crate) fn begin(&mut self, which: usize, site: Site, bounds: &Bounds) {
        if self.writers[which].at == At::Idle {
            self.writers[which] = Writer { site, ..Writer::default() };
            self.left.writes -= 1;
        }
        let event = self.events;
        self.events += 1;
        let database = self.at_mut(site);
        let position = database.draw_position();
        // The id follows the position within microseconds, unless the trigger waits in between.
        let now = database.guard.is_none() || bounds.keeps(Rule::IdBeforeWaiting);
        let xid = now.then(|| {
            database.xid += 1;
            database.xid
        });
        let writer = &mut self.writers[which];
        writer.at = At::Drawn;
        (writer.event, writer.position, writer.xid) = (event, position, xid);
    }

    /// Whether the transaction can continue: it may wait for a lock, for a pause to end, or for a row.
    pub(crate) fn can_step(&self, which: usize, bounds: &Bounds) -> bool {
        let writer = &self.writers[which];
        match writer.at {
            At::Idle => false,
            At::Asked => !self.queued(writer.site) || !bounds.keeps(Rule::FairLock),
            At::Locked => {
                writer.snapshot.is_some() || self.at(writer.site).role() != Some(Role::Paused)
            }
            At::Cleared => {
                let stream = writer.event % bounds.streams;
                !self.writers.iter().any(|other| {
                    other.at == At::Inserted
                        && other.site == writer.site
                        && other.event % bounds.streams == stream
                })
            }
            At::Opened => self.is_free(writer.site, bounds),
            At::Drawn | At::Inserted => true,
        }
    }

    /// The transaction's next statement.
    pub(crate) fn step(&mut self, which: usize, bounds: &Bounds) {
        let writer = self.writers[which];
        match writer.at {
            At::Idle => {}
            At::Opened => self.begin(which, writer.site, bounds),
            At::Drawn => self.ask(which, bounds),
            At::Asked => self.lock(which),
            At::Locked => self.judge(which, bounds),
            At::Cleared => self.insert(which, bounds),
            At::Inserted => self.commit(which, bounds),
        }
    }

    /// BEFORE ROW: is the tenant guarded?
    fn ask(&mut self, which: usize, bounds: &Bounds) {
        let writer = self.writers[which];
        let database = self.at(writer.site);
        let guard = match writer.snapshot {
            Some(snapshot) => {
                let unseen = database.guardings > snapshot.guardings;
                if snapshot.guard.is_none() && unseen && bounds.keeps(Rule::OldSnapshotsAreRefused)
                {
                    return self.end(which);
                }
                snapshot.guard
            }
            None => database.guard,
        };
        let stray = writer.site != self.route && database.guardings == 0;
        let writer = &mut self.writers[which];
        writer.stray = stray;
        writer.guarded = guard.is_some();
        writer.at = if writer.guarded { At::Asked } else { At::Cleared };
        if !bounds.keeps(Rule::RoleAfterLock) {
            writer.early = guard.map(|guard| guard.role);
        }
    }

    /// The tenant's lock, shared.
    fn lock(&mut self, which: usize) {
        if self.queued(self.writers[which].site) {
            self.break_rule(7, "a writer overtook the fence that waits for the lock");
        }
        let writer = &mut self.writers[which];
        (writer.at, writer.locked) = (At::Locked, true);
    }

    /// The role, after the lock; and the floor.
    fn judge(&mut self, which: usize, bounds: &Bounds) {
        let writer = self.writers[which];
        let database = self.at(writer.site);
        let now = database.guard;
        let role = match writer.snapshot {
            Some(snapshot) if bounds.keeps(Rule::RoleOfNow) => {
                // FOR SHARE: the row has been written since.
                if snapshot.guard != now {
                    if snapshot.guard.map(|guard| guard.version) == now.map(|guard| guard.version) {
                        self.break_rule(8, "numbering sent a transaction back");
                    }
                    return self.end(which);
                }
                now.map(|guard| guard.role)
            }
            Some(snapshot) => snapshot.guard.map(|guard| guard.role),
            None => now.map(|guard| guard.role),
        };
        let role = writer.early.or(role);
        // The guard went while the writer waited for the lock: there is nothing to obey any more.
        let guarded = role.is_some();
        if !matches!(role, None | Some(Role::Active)) {
            return self.end(which);
        }
        let mut position = writer.position;
        if position <= database.floor && bounds.keeps(Rule::FloorOfPositions) {
            if bounds.keeps(Rule::FloorSendsBack) {
                return self.end(which);
            }
            position = self.at_mut(writer.site).draw_position();
        }
        let writer = &mut self.writers[which];
        (writer.at, writer.guarded, writer.position) = (At::Cleared, guarded, position);
    }

    /// The row goes in; AFTER ROW notes its arrival.
    fn insert(&mut self, which: usize, bounds: &Bounds) {
        let writer = self.writers[which];
        let stream = writer.event % bounds.streams;
        let database = self.at_mut(writer.site);
        let version = match writer.snapshot {
            Some(snapshot) => snapshot.versions[usize::from(stream)] + 1,
            None => database.version(stream) + 1,
        };
        let xid = writer.xid.unwrap_or_else(|| {
            database.xid += 1;
            database.xid
        });
        let taken = database.version(stream) >= version;
        let arrival = writer.guarded.then(|| {
            database.arrival += 1;
            database.arrival
        });
        if taken {
            // The unique key of the table: a version conflict.
            return self.end(which);
        }
        let writer = &mut self.writers[which];
        writer.at = At::Inserted;
        (writer.version, writer.arrival, writer.xid) = (version, arrival, Some(xid));
    }

    fn commit(&mut self, which: usize, bounds: &Bounds) {
        let writer = self.writers[which];
        let row = Row {
            event: writer.event,
            stream: writer.event % bounds.streams,
            version: writer.version,
            position: writer.position,
            xid: writer.xid.unwrap_or_default(),
            arrival: writer.arrival,
        };
        let route = self.route;
        self.at_mut(writer.site).rows.push(row);
        if !writer.stray {
            self.acked |= 1 << writer.event;
            if writer.site != route {
                self.break_rule(2, "a store without the authority took a row");
            }
        }
        self.end(which);
    }

    /// The transaction is over, well or not.
    pub(crate) fn end(&mut self, which: usize) {
        self.writers[which] = Writer::default();
        if let Stage::DrainSource(waited) | Stage::DrainTarget(waited) = &mut self.stage {
            *waited &= !(1 << which);
        }
        if let Some((_, waited)) = &mut self.leaving {
            *waited &= !(1 << which);
        }
    }
}
