//! Rows of another library's table that a store with rehome's own tables keeps beside the events.
//!
//! A tenant that moves from an adopted table into rehome's own brings its rows with it: its digests cover them. The store keeps
//! the text of each row, and once for the tenant the columns that the rows have. What is appended later has no row.

use std::sync::Arc;

use super::{ForeignRow, RowForm};
use crate::digest::{self, Digest};
use crate::event::Event;

/// Which of a tenant's events were copied with a row, and of which columns the rows are. Events with rows come first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeptRows {
    /// The last event that has one.
    pub upto: u64,
    /// The columns.
    pub form: Arc<RowForm>,
}

/// Why a store cannot keep the rows of some events.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RowsRefused {
    /// No store has read the row.
    #[error("event {0} has a row, and it is not known which columns the row has")]
    NoForm(u64),
    /// The copy was begun from another table.
    #[error(
        "the rows from event {0} on have other columns than those before them: the copy was begun from another table; abort \
         the migration with `--purge-target`, and start it again"
    )]
    OtherForm(u64),
    /// A history in rehome's own tables does not go on in another library's.
    #[error("event {0} has a row of another library's table, and the event before it has none")]
    AfterOthers(u64),
    /// The versions of a stream are not 1, 2, 3 and so on.
    #[error(
        "event {seq} has version {is} in a stream whose next version is {next}: rehome's own tables need the versions of a stream \
         from 1 on, without gaps; abort the migration"
    )]
    Version {
        /// The event.
        seq: u64,
        /// Its version.
        is: u64,
        /// What it would have to be.
        next: u64,
    },
}

impl KeptRows {
    /// The rows that `events` bring. `None`: they have none.
    pub fn of(events: &[Event]) -> Result<Option<Self>, RowsRefused> {
        let mut found: Option<Self> = None;
        let first = events.first().map_or(0, |event| event.seq);
        for event in events {
            let (Some(row), seq) = (&event.row, event.seq) else { continue };
            let form = row.form().ok_or(RowsRefused::NoForm(seq))?;
            match &mut found {
                None if seq == first => found = Some(Self { upto: seq, form: Arc::clone(form) }),
                Some(found) if found.upto + 1 == seq => {
                    found.check_form(form, seq)?;
                    found.upto = seq;
                }
                _ => return Err(RowsRefused::AfterOthers(seq)),
            }
        }
        Ok(found)
    }

    /// What a store that has `kept` keeps once it also has these rows, of which it has those up to `seq`. `None`: nothing more.
    pub fn after(&self, kept: Option<&Self>, seq: u64) -> Result<Option<Self>, RowsRefused> {
        let next = seq + 1;
        if self.upto < next {
            return Ok(None);
        }
        if kept.map_or(0, |kept| kept.upto) != seq {
            return Err(RowsRefused::AfterOthers(next));
        }
        if let Some(kept) = kept {
            kept.check_form(&self.form, next)?;
        }
        let form = Arc::clone(&kept.unwrap_or(self).form);
        Ok(Some(Self { upto: self.upto, form }))
    }

    fn check_form(&self, form: &Arc<RowForm>, seq: u64) -> Result<(), RowsRefused> {
        let fits = Arc::ptr_eq(&self.form, form) || self.form.matches(form);
        if fits { Ok(()) } else { Err(RowsRefused::OtherForm(seq)) }
    }

    /// What is left of it in a history that ends with event `seq`.
    #[must_use]
    pub fn cut_to(self, seq: u64) -> Self {
        Self { upto: self.upto.min(seq), ..self }
    }

    /// Whether event `seq` was copied with a row.
    pub const fn has(&self, seq: u64) -> bool {
        seq <= self.upto
    }

    /// The event with the row that was kept for it. `contents`: [`digest::contents`] of the event when the row was kept.
    /// If the event is another one now it stays without its row, so it does not give its digest, and a verification finds
    /// it as any event that was changed.
    #[must_use]
    pub fn joined(&self, event: Event, record: &str, contents: &Digest) -> Event {
        if !self.has(event.seq) || digest::contents(&event) != *contents {
            return event;
        }
        let row = Some(Arc::new(ForeignRow::new(record).with_form(&self.form)));
        Event { row, ..event }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{EventType, Json, Timestamp};
    use crate::ids::EventId;
    use crate::layout::{ColumnKind, Layout, Texts};
    use crate::stream::StreamName;

    fn form(columns: [&str; 2]) -> Arc<RowForm> {
        let layout = Layout::built_in("eventsource-py").unwrap();
        let columns = columns.map(|name| (name.to_owned(), ColumnKind::Text));
        Arc::new(RowForm::of(Texts::Postgresql, &layout, columns))
    }

    fn event(seq: u64, form: Option<&Arc<RowForm>>) -> Event {
        let row = form.map(|form| Arc::new(ForeignRow::of([Some("a"), None]).with_form(form)));
        Event {
            seq,
            stream: StreamName::new("order", "1").unwrap(),
            version: seq,
            id: EventId::new(uuid::Uuid::from_u128(seq.into())),
            event_type: EventType::new("placed").unwrap(),
            occurred_at: Timestamp::from_micros(1),
            recorded_at: Timestamp::from_micros(2),
            data: Json::trusted("{}"),
            metadata: Json::trusted("{}"),
            digest: Digest::EMPTY,
            row,
        }
    }

    #[test]
    fn rows_come_first_and_are_of_one_table() {
        let (one, again) = (form(["event_type", "note"]), form(["event_type", "note"]));
        let other = form(["note", "event_type"]);
        assert_eq!(KeptRows::of(&[]), Ok(None));
        assert_eq!(KeptRows::of(&[event(1, None)]), Ok(None));
        let both = [event(3, Some(&one)), event(4, Some(&again)), event(5, None)];
        let rows = KeptRows::of(&both).unwrap().unwrap();
        assert_eq!(rows, KeptRows { upto: 4, form: Arc::clone(&one) });
        let refused = |events: &[Event]| KeptRows::of(events).unwrap_err();
        let late = [event(1, None), event(2, Some(&one))];
        assert_eq!(refused(&late), RowsRefused::AfterOthers(2));
        let interrupted = [event(1, Some(&one)), event(2, None), event(3, Some(&one))];
        assert_eq!(refused(&interrupted), RowsRefused::AfterOthers(3));
        let two = [event(1, Some(&one)), event(2, Some(&other))];
        assert_eq!(refused(&two), RowsRefused::OtherForm(2));
        let unread = Some(Arc::new(ForeignRow::new("(a,)")));
        assert_eq!(refused(&[Event { row: unread, ..event(1, None) }]), RowsRefused::NoForm(1));
    }

    #[test]
    fn rows_follow_the_rows_that_a_store_has() {
        let (one, again) = (form(["event_type", "note"]), form(["event_type", "note"]));
        let rows = KeptRows { upto: 4, form: Arc::clone(&again) };
        let kept = |upto, form: &Arc<RowForm>| KeptRows { upto, form: Arc::clone(form) };
        assert_eq!(rows.after(None, 0), Ok(Some(rows.clone())));
        let more = rows.after(Some(&kept(2, &one)), 2).unwrap().unwrap();
        assert!(Arc::ptr_eq(&more.form, &one) && more.upto == 4, "the first form stays");
        assert_eq!(rows.after(Some(&kept(4, &one)), 4), Ok(None), "all of them are kept");
        assert_eq!(rows.after(Some(&kept(2, &one)), 3), Err(RowsRefused::AfterOthers(4)));
        assert_eq!(rows.after(None, 3), Err(RowsRefused::AfterOthers(4)));
        let other = form(["note", "event_type"]);
        assert_eq!(rows.after(Some(&kept(2, &other)), 2), Err(RowsRefused::OtherForm(3)));
        assert_eq!((rows.clone().cut_to(3).upto, rows.cut_to(9).upto), (3, 4));
    }

    #[test]
    fn an_event_has_its_row_again_only_if_it_is_as_it_was() {
        let form = form(["event_type", "note"]);
        let (with, without) = (event(1, Some(&form)), event(1, None));
        let contents = digest::contents(&with);
        assert_eq!(digest::contents(&without), contents, "the row is not in it");
        let kept = KeptRows { upto: 1, form };
        assert_eq!(kept.joined(without.clone(), "(a,)", &contents), with);
        let changed = Event { data: Json::trusted("[]"), ..without.clone() };
        assert_eq!(kept.joined(changed.clone(), "(a,)", &contents), changed);
        assert_ne!(kept.joined(without, "(b,)", &contents), with);
        let later = event(2, None);
        assert_eq!(kept.joined(later.clone(), "(a,)", &digest::contents(&later)), later);
    }
}
