//! Numbers and tables for people.

use std::time::{SystemTime, UNIX_EPOCH};

use comfy_table::{CellAlignment, Table, presets};
use rehome_api::{Migration, Time};
use rehome_domain::text;
use serde::Serialize;
use serde_json::Value;

use super::wrap::{fold, longest_piece, wide};

pub(crate) use rehome_api::number::{count, rate};

/// A length of time, as short as a person needs it.
pub(crate) fn duration(seconds: f64) -> String {
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "not below zero")]
    let whole = seconds.clamp(0.0, 1e15).round() as u64;
    match whole {
        0 if seconds < 0.5 => "under 1 s".to_owned(),
        0..=119 => format!("{whole} s"),
        120..=7_199 => format!("{} min", whole / 60),
        _ => format!("{} h {} min", whole / 3_600, whole % 3_600 / 60),
    }
}

/// A time to the second.
pub(crate) fn time(at: Time) -> String {
    let text = at.to_string();
    let seconds = text.split_once('.').map_or(text.as_str(), |(seconds, _)| seconds);
    format!("{} UTC", seconds.trim_end_matches('Z').replacen('T', " ", 1))
}

/// Until when a tenant can return, and how.
pub(crate) fn return_until(migration: &Migration) -> Option<String> {
    let until = migration.return_until?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_micros();
    let left = (i128::from(until.0) - i128::try_from(now).unwrap_or(i128::MAX)) as f64 / 1e6;
    let (until, left) = (time(until), duration(left.floor()));
    Some(format!("until {until} ({left} left), with `rehome migration return {}`", migration.id))
}

/// The fields of a document that have changed, before and after.
pub(crate) fn changes<T: Serialize>(before: &T, after: &T) -> String {
    let fields = |document: &T| match serde_json::to_value(document) {
        Ok(Value::Object(fields)) => fields,
        _ => serde_json::Map::new(),
    };
    let written = |value: Option<&Value>| match value {
        None | Some(Value::Null) => "none".to_owned(),
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
    };
    let (before, after) = (fields(before), fields(after));
    let changed = after.iter().filter(|(name, value)| before.get(*name) != Some(*value));
    let rows = changed
        .map(|(name, value)| [name.clone(), written(before.get(name)), written(Some(value))]);
    let rows: Vec<_> = rows.collect();
    if rows.is_empty() {
        return "nothing has changed: the values are those that it had".to_owned();
    }
    table(["OPTION", "BEFORE", "AFTER"], &[], rows)
}

/// A text that came from elsewhere, as what it is in: one cell, one line.
pub(crate) fn cell(text: &str) -> String {
    text::one_line(text).into_owned()
}

/// A table with a head; `right` are the columns of numbers.
pub(crate) fn table<const N: usize>(
    head: [&str; N],
    right: &[usize],
    rows: impl IntoIterator<Item = [String; N]>,
) -> String {
    let rows: Vec<[String; N]> = rows.into_iter().map(|row| row.map(|text| cell(&text))).collect();
    match super::terminal::width() {
        None => columns(head, right, &rows),
        Some(width) => fitting(head, right, &rows, width),
    }
}

fn columns<const N: usize>(head: [&str; N], right: &[usize], rows: &[[String; N]]) -> String {
    let mut table = Table::new();
    table.load_preset(presets::NOTHING);
    table.set_header(head);
    for row in rows {
        table.add_row(row.clone());
    }
    for (index, column) in table.column_iter_mut().enumerate() {
        column.set_padding((0, 2));
        if right.contains(&index) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table.trim_fmt()
}

/// Columns between two of a table.
const GAP: usize = 2;
/// A column of text that is narrower is hard to read.
const TEXT: usize = 24;

/// A table in so many columns: with longer texts in several lines, or, where even that has no room, its rows below
/// each other.
fn fitting<const N: usize>(
    head: [&str; N],
    right: &[usize],
    rows: &[[String; N]],
    width: usize,
) -> String {
    let of = |index: usize, long: &dyn Fn(&str) -> usize| {
        let cells = rows.iter().map(|row| long(&row[index]));
        cells.max().unwrap_or(0).max(wide(head[index]))
    };
    let natural: [usize; N] = std::array::from_fn(|index| of(index, &wide));
    let longest = |text: &str| longest_piece(text).max(wide(text).min(TEXT));
    let mut widths: [usize; N] = std::array::from_fn(|index| of(index, &longest));
    let used = widths.iter().sum::<usize>() + GAP * (N - 1);
    if used > width {
        return records(head, rows);
    }
    // The room that is left goes to those that have more to say, evenly.
    let mut left = width - used;
    while left > 0 {
        let wanting: Vec<usize> = (0..N).filter(|index| widths[*index] < natural[*index]).collect();
        if wanting.is_empty() {
            break;
        }
        for index in wanting.into_iter().take(left) {
            widths[index] += 1;
            left -= 1;
        }
    }
    let folded: Vec<[String; N]> = rows
        .iter()
        .map(|row| std::array::from_fn(|index| fold(&row[index], widths[index])))
        .collect();
    columns(head, right, &folded)
}

/// The rows below each other, for a terminal that is narrower than the table: a line for each column.
fn records<const N: usize>(head: [&str; N], rows: &[[String; N]]) -> String {
    let long = head.iter().map(|name| name.len()).max().unwrap_or(0) + GAP;
    let record = |row: &[String; N]| {
        let cells = head.iter().zip(row).filter(|(_, text)| !text.is_empty());
        let lines: Vec<_> = cells
            .map(|(name, text)| match name.trim() {
                "" => format!("{}\n", text.trim_start()),
                name => format!("{name:<long$}{}\n", text.trim_start()),
            })
            .collect();
        lines.concat()
    };
    rows.iter().map(record).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_as_short_as_a_person_needs_them() {
        for (seconds, text) in [
            (0.2, "under 1 s"),
            (1.0, "1 s"),
            (119.0, "119 s"),
            (150.0, "2 min"),
            (86_399.0, "23 h 59 min"),
        ] {
            assert_eq!(duration(seconds), text);
        }
        assert_eq!(time(Time(1_764_538_090_123_456)), "2025-11-30 21:28:10 UTC");
    }

    #[test]
    fn a_record_has_a_line_for_each_column_that_says_something() {
        let rows = [["a", "", "3"], ["b", "2", ""]].map(|row| row.map(str::to_owned));
        let text = records(["ID", "NAME", "EVENTS"], &rows);
        assert_eq!(text, "ID      a\nEVENTS  3\n\nID      b\nNAME    2\n");
    }

    #[test]
    fn a_table_is_folded_where_that_is_enough_and_else_its_rows_are_records() {
        let rows = [["ok", "the route is known", "no"]].map(|row| row.map(str::to_owned));
        let head = ["", "WHAT IS ASKED", "WHY"];
        let of = |width| fitting(head, &[], &rows, width);
        assert_eq!(of(40), "    WHAT IS ASKED       WHY\nok  the route is known  no");
        let long = "the source is reachable and has all events that are needed".to_owned();
        let rows = [["ok".to_owned(), long.clone(), long]];
        let folded = fitting(head, &[], &rows, 60);
        assert!(folded.lines().all(|line| line.chars().count() <= 60), "{folded}");
        assert_eq!(folded.lines().count(), 1 + 3, "{folded}");
        let records = fitting(head, &[], &rows, 50);
        assert!(records.starts_with("ok\nWHAT IS ASKED  the source"), "{records}");
    }

    #[test]
    fn thousands_are_apart() {
        for (number, text) in [(0, "0"), (999, "999"), (1_000, "1,000"), (10_284_000, "10,284,000")]
        {
            assert_eq!(count(number), text);
        }
    }
}
