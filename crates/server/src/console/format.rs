//! How numbers, times and states read.

use rehome_api::number;
use rehome_api::time::Time;

pub(super) use rehome_api::number::count;

/// A number that may not be known.
pub(super) fn known(number: Option<u64>) -> String {
    number.map_or_else(|| "unknown".to_owned(), count)
}

/// Events per second.
pub(super) fn rate(per_second: f64) -> String {
    format!("{}/s", number::rate(per_second))
}

/// Milliseconds.
pub(super) fn millis(ms: f64) -> String {
    match ms {
        ms if ms < 10.0 => format!("{ms:.1} ms"),
        ms if ms < 1e3 => format!("{ms:.0} ms"),
        ms if ms < 1e4 => format!("{} s", (ms / 100.0).round() / 10.0),
        ms => seconds(ms / 1e3),
    }
}

/// A length of time, in its two largest units.
pub(super) fn seconds(seconds: f64) -> String {
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "not below zero")]
    let whole = seconds.clamp(0.0, 1e15).round() as u64;
    let parts = [
        (whole / 86_400, "d"),
        (whole / 3_600 % 24, "h"),
        (whole / 60 % 60, "min"),
        (whole % 60, "s"),
    ];
    let first = parts.iter().position(|(number, _)| *number > 0).unwrap_or(3);
    let told = parts[first..].iter().take(2).filter(|(number, _)| *number > 0);
    let told: Vec<String> = told.map(|(number, unit)| format!("{number} {unit}")).collect();
    if told.is_empty() { "0 s".to_owned() } else { told.join(" ") }
}

/// UTC, to the second.
pub(super) fn time(at: Time) -> String {
    let text = at.to_string();
    match text.split_once('T') {
        Some((day, rest)) => format!("{day} {}", &rest[..rest.len().min(8)]),
        None => text,
    }
}

/// The time of day, UTC, to the second.
pub(super) fn clock(at: Time) -> String {
    let text = time(at);
    text.split_once(' ').map_or_else(|| text.clone(), |(_, clock)| clock.to_owned())
}

/// The first piece of an id, for the title of a window; pages show the whole id.
pub(super) fn short(id: &str) -> &str {
    id.split('-').next().unwrap_or(id)
}

/// A human-readable state.
pub(super) fn state(name: &str) -> &str {
    match name {
        "pending" => "preparing",
        "bulk_copy" => "copying",
        "dual_write" => "mirroring writes",
        "cutover_paused" => "switching",
        "migrated" => "migrated",
        "failed" => "failed",
        "rolled_back" => "aborted",
        "paused" => "paused",
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_read_as_people_write_them() {
        let numbers = [0, 999, 1_000, 1_234_567].map(count);
        assert_eq!(numbers, ["0", "999", "1,000", "1,234,567"]);
        assert_eq!((rate(3.125), rate(1234.5)), ("3.1/s".to_owned(), "1,235/s".to_owned()));
        let lengths = [0.0, 59.6, 3_661.0, 90_000.0, 86_400.0].map(seconds);
        assert_eq!(lengths, ["0 s", "1 min", "1 h 1 min", "1 d 1 h", "1 d"]);
        let pauses = [0.05, 12.4, 999.0, 5_000.0, 1_250.0, 61_000.0].map(millis);
        assert_eq!(pauses, ["0.1 ms", "12 ms", "999 ms", "5 s", "1.3 s", "1 min 1 s"]);
        assert_eq!(time(Time(0)), "1970-01-01 00:00:00");
        assert_eq!(clock(Time(43_390_000_000)), "12:03:10");
    }
}
