//! A projection that reads the table by its own position, and moves its checkpoint along.

use crate::bounds::Bounds;
use crate::database::{Database, Role, Row};
use crate::rule::Rule;
use crate::world::{Site, World};

impl World {
    /// Reads the rows after the checkpoint that are older than every running transaction, as
    /// eventsource-py does.
    pub(crate) fn read(&mut self, bounds: &Bounds) {
        let site = self.reader.site;
        let horizon = if bounds.locks_table { u8::MAX } else { self.horizon(site) };
        let checkpoint = self.reader.checkpoint;
        let rows = self.at(site).rows.iter();
        let fresh: Vec<_> =
            rows.filter(|row| row.position > checkpoint && row.xid < horizon).copied().collect();
        for row in fresh {
            self.reader.seen |= 1 << row.event;
            self.reader.checkpoint = self.reader.checkpoint.max(row.position);
        }
        self.reader.checkpoint = self.reader.checkpoint.max(self.at(site).others);
    }

    /// The oldest transaction that runs there: everything before it is decided.
    fn horizon(&self, site: Site) -> u8 {
        let running = self.writers.iter().filter(|writer| writer.site == site);
        running.filter_map(|writer| writer.xid).min().unwrap_or(u8::MAX)
    }

    /// Follows the published switch: the checkpoint is translated.
    pub(crate) fn follow(&mut self, bounds: &Bounds) {
        let to = self.route;
        let (old, new) = (self.at(self.reader.site), self.at(to));
        self.reader.checkpoint = if bounds.keeps(Rule::TranslationNeverSkips) {
            let ends = bounds.keeps(Rule::TranslationEndsAtHorizon);
            let horizon = if ends { self.horizon(to) } else { u8::MAX };
            translate(old, new, self.reader.checkpoint, horizon)
        } else {
            by_number(old, new, self.reader.checkpoint)
        };
        self.reader.site = to;
    }

    /// Whether everything up to the checkpoint was seen.
    pub(crate) fn reader_skips_nothing(&self) -> bool {
        let reader = self.reader;
        self.at(reader.site)
            .rows
            .iter()
            .all(|row| row.position > reader.checkpoint || reader.seen & 1 << row.event != 0)
    }

    pub(crate) fn may_follow(&self, to: Site) -> bool {
        self.reader.site != to && self.at(to).role() == Some(Role::Active)
    }
}

/// The largest position of the new table such that everything up to it is behind the checkpoint of the old one.
/// Up to the floor there are no more inserts; beyond it, a running transaction may hold a position in between.
fn translate(old: &Database, new: &Database, checkpoint: u8, horizon: u8) -> u8 {
    let mut rows: Vec<_> = new.rows.iter().collect();
    rows.sort_unstable_by_key(|row| row.position);
    let behind = |event| old.row(event).is_some_and(|row| row.position <= checkpoint);
    let settled = |row: &Row| row.position <= new.floor || row.xid < horizon;
    let known = rows.into_iter().take_while(|row| behind(row.event) && settled(row));
    known.last().map_or(0, |row| row.position)
}

/// The position of the row that has the same number: what one would think.
fn by_number(old: &Database, new: &Database, checkpoint: u8) -> u8 {
    let at = old.rows.iter().find(|row| row.position == checkpoint);
    at.and_then(|row| new.row(row.event)).map_or(0, |row| row.position)
}
