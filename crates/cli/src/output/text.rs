//! Numbers and tables for people.

use std::time::{SystemTime, UNIX_EPOCH};

use comfy_table::{CellAlignment, Table, presets};
use rehome_api::{Migration, Time};
use rehome_domain::text;

/// A number with its thousands apart.
pub(crate) fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

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

/// Milliseconds: of short ones their tenths too.
pub(crate) fn millis(ms: f64) -> String {
    if ms < 100.0 { format!("{ms:.1} ms") } else { format!("{ms:.0} ms") }
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
    let mut table = Table::new();
    table.load_preset(presets::NOTHING);
    table.set_header(head);
    let rows: Vec<[String; N]> = rows.into_iter().map(|row| row.map(|text| cell(&text))).collect();
    for row in &rows {
        table.add_row(row.clone());
    }
    for (index, column) in table.column_iter_mut().enumerate() {
        column.set_padding((0, 2));
        if right.contains(&index) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    let text = table.trim_fmt();
    match super::terminal::width() {
        Some(width) if text.lines().any(|line| line.chars().count() > width) => {
            records(head, &rows)
        }
        _ => text,
    }
}

/// The rows below each other, for a terminal that is narrower than the table: a line for each column.
fn records<const N: usize>(head: [&str; N], rows: &[[String; N]]) -> String {
    let wide = head.iter().map(|name| name.len()).max().unwrap_or(0) + 2;
    let record = |row: &[String; N]| {
        let cells = head.iter().zip(row).filter(|(_, text)| !text.is_empty());
        let lines: Vec<_> = cells.map(|(name, text)| format!("{name:<wide$}{text}\n")).collect();
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
        assert_eq!((millis(3.24), millis(140.6)), ("3.2 ms".to_owned(), "141 ms".to_owned()));
        assert_eq!(time(Time(1_764_538_090_123_456)), "2025-11-30 21:28:10 UTC");
    }

    #[test]
    fn a_record_has_a_line_for_each_column_that_says_something() {
        let rows = [["a", "", "3"], ["b", "2", ""]].map(|row| row.map(str::to_owned));
        let text = records(["ID", "NAME", "EVENTS"], &rows);
        assert_eq!(text, "ID      a\nEVENTS  3\n\nID      b\nNAME    2\n");
    }

    #[test]
    fn thousands_are_apart() {
        for (number, text) in [(0, "0"), (999, "999"), (1_000, "1,000"), (10_284_000, "10,284,000")]
        {
            assert_eq!(count(number), text);
        }
    }
}
