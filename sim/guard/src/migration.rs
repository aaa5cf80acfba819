//! What the migration's driver does to the two databases, a transaction a step.

use crate::bounds::Bounds;
use crate::database::{Database, Role, Row};
use crate::rule::Rule;
use crate::table::Sites;
use crate::world::{Site, Stage, World};
use crate::writer::At;

/// Above every event: a head that includes all.
const ALL: u16 = u16::MAX;

impl World {
    /// A migration begins: the source is guarded, if it is not.
    pub(crate) fn start(&mut self, bounds: &Bounds) {
        self.left.starts -= 1;
        if bounds.keeps(Rule::StartKeepsTheGuard) {
            self.leaving = None;
        }
        let source = self.route;
        if self.at(source).guard.is_some() {
            return self.guard_target(bounds);
        }
        self.guard(source, Role::Active);
        let waited = self.in_table(source);
        let drains = bounds.keeps(Rule::FirstGuardingDrains);
        self.stage = Stage::DrainSource(if drains { waited } else { 0 });
    }

    fn guard(&mut self, site: Site, role: Role) {
        let database = self.at_mut(site);
        database.guardings += 1;
        database.changed = false;
        database.set_role(role);
    }

    fn guard_target(&mut self, bounds: &Bounds) {
        let target = self.route.other();
        if self.at(target).guard.is_none() {
            self.guard(target, Role::Refusing);
        }
        let drains = bounds.keeps(Rule::TargetDrains);
        let waited = if drains { self.in_table(target) } else { 0 };
        self.stage = Stage::DrainTarget(waited);
    }

    /// Whether the driver can continue.
    pub(crate) fn can_advance(&self, bounds: &Bounds) -> bool {
        match self.stage {
            Stage::DrainSource(waited) | Stage::DrainTarget(waited) => waited == 0,
            Stage::Fenced(_) => self.is_free(self.route.other(), bounds),
            Stage::Backfill | Stage::Compared | Stage::Switched => true,
            Stage::Queued(_) => !self.is_locked(self.route) || !bounds.keeps(Rule::FenceDrains),
            Stage::Idle | Stage::Mirror | Stage::Refused => false,
        }
    }

    /// The driver's next transaction.
    pub(crate) fn advance(&mut self, bounds: &Bounds) {
        match self.stage {
            Stage::DrainSource(_) => self.stage = Stage::Backfill,
            Stage::Backfill => self.backfill(bounds),
            Stage::DrainTarget(_) => self.examine(bounds),
            Stage::Queued(visible) => self.fence(visible, bounds),
            Stage::Fenced(head) => self.compare(head, bounds),
            Stage::Compared => {
                self.route = self.route.other();
                self.stage = Stage::Switched;
            }
            Stage::Switched => {
                let (now, before) = (self.route, self.route.other());
                self.at_mut(now).set_role(Role::Active);
                self.at_mut(before).set_role(Role::Refusing);
                self.stage = Stage::Mirror;
                self.room = Sites::default();
            }
            Stage::Idle | Stage::Mirror | Stage::Refused => {}
        }
    }

    /// The first numbering: every visible row, whether it arrived or was there before. Rows of
    /// writers that checked before the guard come between rows that arrived, so neither kind may go first.
    fn backfill(&mut self, bounds: &Bounds) {
        let source = self.at_mut(self.route);
        let mut history = source.unnumbered(false);
        if bounds.keeps(Rule::BackfillTakesWhatArrived) {
            history.extend(source.unnumbered(true));
        }
        history.sort_unstable_by_key(|row| row.position);
        if bounds.keeps(Rule::BackfillKeepsVersions) {
            by_version_within_streams(&mut history);
        }
        source.numbers.extend(history.iter().map(|row| row.event));
        self.guard_target(bounds);
    }

    /// Checks whether the target has rows of the tenant.
    fn examine(&mut self, bounds: &Bounds) {
        let empty = self.at(self.route.other()).rows.is_empty();
        let adopts = empty || !bounds.keeps(Rule::TargetIsEmpty);
        self.stage = if adopts { Stage::Mirror } else { Stage::Refused };
    }

    /// Whether arrivals may be numbered.
    pub(crate) fn can_number(&self, bounds: &Bounds) -> bool {
        let backfilled = match self.stage {
            Stage::DrainTarget(_) | Stage::Mirror => true,
            Stage::DrainSource(_) | Stage::Backfill => !bounds.keeps(Rule::BackfillFirst),
            _ => false,
        };
        backfilled && !arrived(self.at(self.route), ALL, bounds).is_empty()
    }

    /// Numbers what has arrived, where the authority is.
    pub(crate) fn number(&mut self, bounds: &Bounds) {
        let source = self.at_mut(self.route);
        number(source, ALL, bounds);
        if !bounds.keeps(Rule::RoleApartFromHead)
            && let Some(guard) = &mut source.guard
        {
            guard.touched += 1;
        }
    }

    /// Whether the target lacks an event that has a number, and it can be copied now.
    pub(crate) fn can_extend(&self, bounds: &Bounds) -> bool {
        let target = self.route.other();
        let locks = self.copy.is_none() == bounds.keeps(Rule::CopyLocksTable);
        self.stage == Stage::Mirror
            && self.at(target).numbers.len() < self.at(self.route).numbers.len()
            && (!locks || self.is_free(target, bounds))
    }

    /// Continues the copy: its row is inserted in a transaction of two steps where its position is drawn under a lock.
    pub(crate) fn extend_by_step(&mut self, bounds: &Bounds) {
        if !bounds.locks_table {
            return self.extend();
        }
        if self.copy.is_none() {
            return self.copy = self.drawn();
        }
        self.write_copied();
    }

    /// Copies the next event to the replica.
    pub(crate) fn extend(&mut self) {
        self.copy = self.drawn();
        self.write_copied();
    }

    /// The next event, with its position in the replica.
    fn drawn(&mut self) -> Option<Row> {
        let replica = self.route.other();
        let done = self.at(replica).numbers.len();
        let next = self.at(self.route).numbers.get(done).copied();
        let row = next.and_then(|event| self.at(self.route).row(event).copied());
        let Some(row) = row else {
            self.break_rule(3, "a number has no row");
            return None;
        };
        let target = self.at_mut(replica);
        let position = target.draw_position();
        target.xid += 1;
        Some(Row { position, xid: target.xid, arrival: None, ..row })
    }

    fn write_copied(&mut self) {
        let Some(row) = self.copy.take() else { return };
        let target = self.at_mut(self.route.other());
        target.rows.push(row);
        target.numbers.push(row.event);
        target.floor = row.position;
    }

    /// A cutover starts: the fence requests the lock.
    pub(crate) fn cut_over(&mut self, bounds: &Bounds) {
        self.left.cutovers -= 1;
        let visible = self.at(self.route).rows.iter().fold(0, |set, row| set | 1 << row.event);
        let sees_all = bounds.keeps(Rule::FenceSeesWhatItWaitedFor);
        self.stage = Stage::Queued(if sees_all { ALL } else { visible });
    }

    /// The fence has the lock: the role, the last numbers, the head.
    fn fence(&mut self, visible: u16, bounds: &Bounds) {
        if self.at(self.route).changed && bounds.keeps(Rule::TriggersAreCompared) {
            self.stage = Stage::Refused;
            return;
        }
        let source = self.at_mut(self.route);
        source.set_role(Role::Paused);
        source.unsynced = !bounds.keeps(Rule::FenceIsSynchronous);
        number(source, visible, bounds);
        let head = u8::try_from(source.numbers.len()).unwrap_or(u8::MAX);
        self.stage = Stage::Fenced(head);
    }

    /// The replica gets the rest; the installation is compared, under a lock that prevents changes; so are both heads.
    fn compare(&mut self, head: u8, bounds: &Bounds) {
        let compares = bounds.keeps(Rule::TriggersAreCompared)
            && bounds.keeps(Rule::TriggersAreComparedAfterFence);
        if self.at(self.route).changed && compares {
            self.at_mut(self.route).set_role(Role::Active);
            self.stage = Stage::Refused;
            return;
        }
        while self.at(self.route.other()).numbers.len() < usize::from(head) {
            self.extend();
            if self.broken.is_some() {
                return;
            }
        }
        self.stage = Stage::Compared;
    }

    /// Gives the cutover up.
    pub(crate) fn roll_back(&mut self, bounds: &Bounds) {
        let source = self.route;
        if !bounds.keeps(Rule::ActivateWithoutLock) && self.is_locked(source) {
            self.break_rule(7, "the activation waits for writers that wait for it");
        }
        if matches!(self.stage, Stage::Fenced(_) | Stage::Compared) {
            self.at_mut(source).set_role(Role::Active);
        }
        self.stage = Stage::Mirror;
        self.room = Sites::default();
    }

    /// Aborts the migration and removes the copied rows; or closes the window and removes the old rows.
    pub(crate) fn abort(&mut self) {
        self.left.aborts -= 1;
        let replica = self.at_mut(self.route.other());
        replica.rows.clear();
        replica.numbers.clear();
        replica.set_role(Role::Refusing);
        self.stage = Stage::Idle;
    }

    /// A store is to be unguarded. The guard stays until no transaction needs it.
    pub(crate) fn release(&mut self, site: Site, bounds: &Bounds) {
        self.left.releases -= 1;
        let drains = bounds.keeps(Rule::UnguardingDrains);
        let waited = if drains { self.in_table(site) } else { 0 };
        self.leaving = Some((site, waited));
    }

    /// Whether the guard may be removed: no transaction holds the table since before the decision, and
    /// none holds the lock.
    pub(crate) fn can_unguard(&self) -> bool {
        self.leaving.is_some_and(|(site, waited)| waited == 0 && !self.is_locked(site))
    }

    /// The guard goes, with all that it knew.
    pub(crate) fn unguard(&mut self) {
        let Some((site, _)) = self.leaving.take() else { return };
        let database = self.at_mut(site);
        database.guard = None;
        database.floor = 0;
        database.numbers.clear();
        database.cursor = 0;
    }

    /// The database at the source crashes: its open transactions are lost, and everything that was not synced.
    pub(crate) fn crash(&mut self, site: Site) {
        self.left.crashes -= 1;
        for which in 0..self.writers.len() {
            if self.writers[which].site == site {
                self.end(which);
            }
        }
        if site == self.route.other() {
            self.copy = None;
        }
        let database = self.at_mut(site);
        if std::mem::take(&mut database.unsynced) {
            database.set_role(Role::Active);
        }
    }

    /// Whether a row of that stream can be inserted now: its next version is not taken by a transaction.
    pub(crate) fn can_bypass(&self, bounds: &Bounds) -> bool {
        let stream = self.events % bounds.streams;
        !self
            .writers
            .iter()
            .any(|writer| writer.at == At::Inserted && writer.event % bounds.streams == stream)
    }

    /// Disables the triggers, inserts a row, and enables them; or attaches a table with a row.
    pub(crate) fn bypass(&mut self, bounds: &Bounds) {
        self.left.bypasses -= 1;
        let event = self.events;
        self.events += 1;
        let stream = event % bounds.streams;
        let authority = self.at_mut(self.route);
        let position = authority.draw_position();
        authority.xid += 1;
        let (xid, version) = (authority.xid, authority.version(stream) + 1);
        authority.rows.push(Row { event, stream, version, position, xid, arrival: None });
        authority.changed = true;
        self.acked |= 1 << event;
    }
}

/// The rows that have arrived and have no number, in the order of their numbers.
fn arrived(database: &Database, visible: u16, bounds: &Bounds) -> Vec<Row> {
    let mut rows = database.unnumbered(true);
    rows.retain(|row| visible & 1 << row.event != 0);
    if !bounds.keeps(Rule::EveryVisibleArrival) {
        rows.retain(|row| row.arrival > Some(database.cursor));
    }
    if bounds.keeps(Rule::NumbersFollowArrivals) {
        rows.sort_unstable_by_key(|row| row.arrival);
    } else {
        rows.sort_unstable_by_key(|row| row.position);
    }
    rows
}

fn number(database: &mut Database, visible: u16, bounds: &Bounds) {
    for row in arrived(database, visible, bounds) {
        database.numbers.push(row.event);
        database.cursor = database.cursor.max(row.arrival.unwrap_or_default());
    }
}

/// Rows in the order of positions, each stream's in the order of its versions: a stream's rows take the stream's
/// places.
fn by_version_within_streams(rows: &mut [Row]) {
    for stream in [0, 1] {
        let places: Vec<usize> = (0..rows.len()).filter(|at| rows[*at].stream == stream).collect();
        let mut of_stream: Vec<Row> = places.iter().map(|at| rows[*at]).collect();
        of_stream.sort_unstable_by_key(|row| row.version);
        for (place, row) in places.into_iter().zip(of_stream) {
            rows[place] = row;
        }
    }
}

/// Whether each stream's versions are 1, 2, 3 and so on.
pub(crate) fn is_in_order(rows: &[Row]) -> bool {
    let mut last = [0_u8; 2];
    rows.iter().all(|row| {
        let ascends = row.version == 1 + last[usize::from(row.stream)];
        last[usize::from(row.stream)] = row.version;
        ascends
    })
}
