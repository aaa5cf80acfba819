//! Times as SQLite's functions and ISO 8601 write them.

/// Microseconds since the Unix epoch; without an offset the time is UTC. `None`: not a time.
pub(crate) fn micros(text: &str) -> Option<i64> {
    let (date, rest) = text.split_at_checked(10)?;
    let mut parts = date.split('-');
    let mut part = |digits: usize| number(parts.next()?, digits);
    let (year, month, day) = (part(4)?, part(2)?, part(2)?);
    if !(1..=12).contains(&month) || !(1..=31).contains(&day) {
        return None;
    }
    let days = days_since_1970(year, month, day);
    let time = if rest.is_empty() { 0 } else { time_of_day(rest.strip_prefix(['T', ' '])?)? };
    days.checked_mul(86_400_000_000)?.checked_add(time)
}

fn number(text: &str, digits: usize) -> Option<i64> {
    let is_number = text.len() == digits && text.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| text.parse().ok())?
}

/// Of `hh:mm`, `:ss`, a fraction and an offset, in microseconds.
fn time_of_day(text: &str) -> Option<i64> {
    let end = text.find(['Z', 'z', '+', '-']).unwrap_or(text.len());
    let (clock, offset) = text.split_at(end);
    let (whole, fraction) = clock.split_once('.').unwrap_or((clock, "0"));
    let mut parts = whole.split(':');
    let (hour, minute) = (number(parts.next()?, 2)?, number(parts.next()?, 2)?);
    let second = parts.next().map_or(Some(0), |second| number(second, 2))?;
    if hour > 23 || minute > 59 || second > 60 || parts.next().is_some() {
        return None;
    }
    let seconds = hour * 3_600 + minute * 60 + second - seconds_of_offset(offset)?;
    Some(seconds * 1_000_000 + micros_of_fraction(fraction)?)
}

fn micros_of_fraction(digits: &str) -> Option<i64> {
    number(digits, digits.len())?;
    let six: String = digits.chars().chain("000000".chars()).take(6).collect();
    number(&six, 6)
}

fn seconds_of_offset(text: &str) -> Option<i64> {
    if text.is_empty() || text.eq_ignore_ascii_case("Z") {
        return Some(0);
    }
    let sign = if text.starts_with('-') { -1 } else { 1 };
    let digits: String = text[1..].chars().filter(|c| *c != ':').collect();
    let (hours, minutes) = digits.split_at_checked(2)?;
    let minutes = if minutes.is_empty() { 0 } else { number(minutes, 2)? };
    Some(sign * (number(hours, 2)? * 3_600 + minutes * 60))
}

/// Howard Hinnant's `days_from_civil`.
fn days_since_1970(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let of_era = year.rem_euclid(400);
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

#[cfg(test)]
mod tests {
    use super::micros;

    #[test]
    fn what_libraries_write_is_read() {
        for (text, expected) in [
            ("1970-01-01", 0),
            ("1970-01-01 00:00:01", 1_000_000),
            ("1969-12-31T23:59:59.999999Z", -1),
            ("2026-01-02T03:04:05.678901+02:00", 1_767_315_845_678_901),
            ("2026-01-02 03:04:05.678901999+0200", 1_767_315_845_678_901),
            ("2026-01-02 01:04:05.5", 1_767_315_845_500_000),
            ("2026-01-01T20:34-04:30", 1_767_315_840_000_000),
            ("2000-02-29", 951_782_400_000_000),
        ] {
            assert_eq!(micros(text), Some(expected), "{text}");
        }
        for bad in
            ["", "now", "2026-13-01", "2026-01-02X", "2026-01-02T3:04", "1767315845", "é026-01-02"]
        {
            assert_eq!(micros(bad), None, "{bad}");
        }
    }
}
