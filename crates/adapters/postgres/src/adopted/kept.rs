//! The values of copied rows, each in the column that it is for.
//!
//! Rows may come from a table of another layout, and from one in SQLite. What the table would not keep as it is, is refused by
//! its column before it is sent. PostgreSQL would refuse it too, but blanks at the end of a text that is too long it drops.

use std::sync::Arc;

use rehome_domain::event::Event;
use rehome_domain::layout::{RowForm, RowOrder};

use super::installed::Installed;
use super::shape::not_set_up;
use crate::error::ServerError;
use crate::rows::Read;

/// Letters for the storage classes of SQLite, in a row that PostgreSQL cannot have; `v` and `n` are for values that it can.
const LETTERS: &str = "vnirtxb";

/// The values of a row, as texts: those of its columns, then those that travel with it.
pub(super) type Values = Vec<Option<String>>;

/// Events from rows of one form, the first of `events`; and in which order their rows are digested here.
pub(super) fn of_one_form<'a>(
    events: &'a [Event],
    installed: &Installed,
) -> Read<(&'a [Event], Option<RowOrder>)> {
    let Some(first) = events.first() else { return Ok((events, None)) };
    let of_first = form(first)?;
    let same =
        |event: &Event| form(event).is_ok_and(|it| Arc::ptr_eq(it, of_first) || it == of_first);
    let count = events.iter().take_while(|event| same(event)).count();
    let order = of_first.order_at(&installed.form).map_err(|why| {
        not_set_up(format!("event {} of the source is not kept: {}", first.seq, why.join("; ")))
    })?;
    Ok((&events[..count], order))
}

fn form(event: &Event) -> Read<&Arc<RowForm>> {
    event.row.as_ref().and_then(|row| row.form()).ok_or_else(|| {
        not_set_up(format!(
            "event {} does not come from a table of another library; both stores of a move must be adopted",
            event.seq
        ))
    })
}

/// The values of an event's row: its own columns as they are here, and `heads` that travel with it.
pub(super) fn values(
    event: &Event,
    order: Option<&RowOrder>,
    installed: &Installed,
    heads: usize,
) -> Read<Values> {
    let row = event.row.as_ref().ok_or_else(|| ServerError::corrupt("an event without its row"))?;
    let mut columns = row.columns().map_err(|error| ServerError::corrupt(error.to_string()))?;
    let expected = installed.row_columns.len() + heads;
    if let Some(place) = in_sqlite_only(&columns, installed.row_columns.len()) {
        return Err(cannot_keep(event, place, "PostgreSQL"));
    }
    if columns.len() != expected {
        return Err(not_set_up(format!(
            "rows of the source have {} columns, its table expects {expected}; give both tables the same columns",
            columns.len()
        )));
    }
    let kinds: Vec<&str> = installed.row_types.iter().map(String::as_str).collect();
    let kinds = order.map_or_else(|| kinds.clone(), |order| order.digested(&kinds));
    for (place, (text, kind)) in columns.iter().zip(kinds).enumerate() {
        if text.as_ref().is_some_and(|text| !fits(text, kind)) {
            return Err(cannot_keep(event, place, kind));
        }
    }
    if let Some(order) = order {
        let travels = columns.split_off(installed.row_columns.len());
        columns = order.own(columns);
        columns.extend(travels);
    }
    Ok(columns)
}

/// Names the column of the source whose value is at this place.
fn cannot_keep(event: &Event, place: usize, kind: &str) -> ServerError {
    let columns = form(event).map(|form| &form.columns[..]).unwrap_or_default();
    let column = columns.get(place).map_or("", |column| column.name.as_str());
    not_set_up(format!(
        "event {} of the source has a value in column \"{column}\" that {kind} cannot keep as it is; change it at the \
         source while no migration of the tenant is running",
        event.seq
    ))
}

/// The place of the first value of a row from SQLite that is as SQLite has it, if there is one.
fn in_sqlite_only(texts: &[Option<String>], columns: usize) -> Option<usize> {
    let (letters, texts) = texts.split_last()?;
    let letters = letters.as_ref().filter(|letters| letters.len() == texts.len())?;
    if texts.len() != columns || !letters.chars().all(|letter| LETTERS.contains(letter)) {
        return None;
    }
    letters.chars().position(|letter| !matches!(letter, 'v' | 'n'))
}

/// Whether a text fits a type of limited size.
fn fits(text: &str, kind: &str) -> bool {
    match kind {
        "smallint" => text.parse::<i16>().is_ok(),
        "integer" => text.parse::<i32>().is_ok(),
        "bigint" => text.parse::<i64>().is_ok(),
        _ => {
            let limit = kind.strip_prefix("character varying(").and_then(|it| it.strip_suffix(')'));
            let limit = limit.and_then(|limit| limit.parse::<usize>().ok());
            // A text has no more characters than bytes.
            limit.is_none_or(|limit| text.len() <= limit || text.chars().count() <= limit)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_that_is_too_large_does_not_fit() {
        for (text, kind, fitting) in [
            ("32767", "smallint", true),
            ("32768", "smallint", false),
            ("2147483648", "integer", false),
            ("9223372036854775808", "bigint", false),
            ("éé", "character varying(2)", true),
            ("é  ", "character varying(2)", false),
            ("anything", "text", true),
            ("[]", "jsonb", true),
        ] {
            assert_eq!(fits(text, kind), fitting, "{text} as {kind}");
        }
    }

    #[test]
    fn a_row_that_only_sqlite_has_is_known_by_its_letters() {
        let found = |texts: &[Option<&str>]| {
            let texts: Vec<_> = texts.iter().map(|text| text.map(str::to_owned)).collect();
            in_sqlite_only(&texts, 2)
        };
        assert_eq!(found(&[Some("x"), Some("y"), Some("vt")]), Some(1));
        assert_eq!(found(&[None, Some("y"), Some("nx")]), Some(1));
        assert_eq!(found(&[Some("x"), Some("vt")]), None, "as many columns as expected");
        assert_eq!(found(&[Some("x"), Some("y"), Some("zz")]), None);
        assert_eq!(found(&[Some("x"), Some("y"), None]), None);
    }
}
