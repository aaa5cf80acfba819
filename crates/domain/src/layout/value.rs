//! The texts that PostgreSQL writes for values, computed from the texts that libraries keep in SQLite, and back.
//!
//! Each pair of functions is one to one: a text that the way back would not give again is refused, so that no value
//! changes on the way between two databases. The exception is JSON, whose blanks, order of keys and escapes are no part of
//! its value ([`json`]).

pub mod json;

use std::fmt::Write as _;

/// Why a value is not what PostgreSQL has a text for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotKept {
    /// Not a UUID in lower case with hyphens.
    #[error("it is not a UUID in lower case with hyphens")]
    Uuid,
    /// A text with a NUL.
    #[error("it has a NUL character, which PostgreSQL does not store")]
    Nul,
    /// A value of another class than its column's.
    #[error("its storage class is not that of its column")]
    Class,
    /// Not a time as Python's `isoformat` writes it in UTC.
    #[error(
        "it is not a time as 2026-01-02T03:04:05.678901+00:00: in UTC with that offset, and with six digits or none after \
         the second"
    )]
    Time,
    /// Not JSON.
    #[error("it is not JSON")]
    Json,
    /// An object with a key twice.
    #[error("its JSON has a key twice in an object, of which jsonb keeps the last")]
    TwiceInJson,
    /// An escaped NUL, or half of a surrogate pair.
    #[error("its JSON has \\u0000 or half of a surrogate pair, which jsonb refuses")]
    CharacterInJson,
    /// A number that jsonb writes as another one.
    #[error(
        "its JSON has a number that jsonb does not keep as it is: -0, or one with an exponent that is whole"
    )]
    NumberInJson,
    /// Larger or deeper than is looked at.
    #[error("its JSON is nested deeper than 512, or has a number of more than 1000 digits")]
    TooLargeInJson,
}

/// A UUID: its text is the same in both databases.
pub fn uuid(text: &str) -> Result<&str, NotKept> {
    let is = |(n, byte): (usize, u8)| match n {
        8 | 13 | 18 | 23 => byte == b'-',
        _ => matches!(byte, b'0'..=b'9' | b'a'..=b'f'),
    };
    if text.len() == 36 && text.bytes().enumerate().all(is) { Ok(text) } else { Err(NotKept::Uuid) }
}

/// A text: the same in both databases.
pub fn text(text: &str) -> Result<&str, NotKept> {
    if text.contains('\0') { Err(NotKept::Nul) } else { Ok(text) }
}

/// A moment as Python's `isoformat` writes it in UTC, as PostgreSQL writes it with `timezone = 'UTC'` and
/// `datestyle = 'ISO'`.
pub fn time(iso: &str) -> Result<String, NotKept> {
    let clock = iso.strip_suffix("+00:00").ok_or(NotKept::Time)?;
    let (date, clock) = clock.split_once('T').ok_or(NotKept::Time)?;
    let (second, fraction) = match clock.split_once('.') {
        Some((second, fraction)) if fraction.len() == 6 => (second, fraction),
        Some(_) => return Err(NotKept::Time),
        None => (clock, ""),
    };
    if !is_moment(date, second) || !is_number(fraction) {
        return Err(NotKept::Time);
    }
    let mut text = format!("{date} {second}");
    match fraction.trim_end_matches('0') {
        "" if !fraction.is_empty() => return Err(NotKept::Time),
        "" => {}
        digits => write!(text, ".{digits}").expect("a string takes all"),
    }
    text.push_str("+00");
    Ok(text)
}

/// The reverse of [`time`]. `None`: Python has no such moment, as before the year 1 or `infinity`.
pub fn time_in_python(text: &str) -> Option<String> {
    let clock = text.strip_suffix("+00")?;
    let (date, clock) = clock.split_once(' ')?;
    let (second, fraction) = clock.split_once('.').unwrap_or((clock, ""));
    if !is_moment(date, second) || !is_number(fraction) || fraction.len() > 6 {
        return None;
    }
    let fraction = if fraction.is_empty() { String::new() } else { format!(".{fraction:0<6}") };
    Some(format!("{date}T{second}{fraction}+00:00"))
}

fn is_number(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_digit())
}

/// Whether there is such a day, `YYYY-MM-DD` from the year 1 on, and such a second in it, `HH:MM:SS`.
fn is_moment(date: &str, second: &str) -> bool {
    let parts = |text: &str, separator: char, lengths: [usize; 3]| {
        let parts: Vec<&str> = text.split(separator).collect();
        let fits = parts.len() == 3
            && parts
                .iter()
                .zip(lengths)
                .all(|(part, length)| part.len() == length && is_number(part));
        let number = |n: usize| parts[n].parse::<u32>().unwrap_or(u32::MAX);
        fits.then(|| [number(0), number(1), number(2)])
    };
    let (Some([year, month, day]), Some([hour, minute, second])) =
        (parts(date, '-', [4, 2, 2]), parts(second, ':', [2, 2, 2]))
    else {
        return false;
    };
    let leap = year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    let days = match month {
        1 | 3 | 5 | 7 | 8 | 10 | 12 => 31,
        4 | 6 | 9 | 11 => 30,
        2 if leap => 29,
        2 => 28,
        _ => 0,
    };
    year > 0 && (1..=days).contains(&day) && hour < 24 && minute < 60 && second < 60
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_goes_there_and_back() {
        for (iso, text) in [
            ("2026-11-22T12:34:15.095010+00:00", "2026-11-22 12:34:15.09501+00"),
            ("2026-11-22T12:34:15+00:00", "2026-11-22 12:34:15+00"),
            ("2024-02-29T23:59:59.000001+00:00", "2024-02-29 23:59:59.000001+00"),
            ("0001-01-01T00:00:00.900000+00:00", "0001-01-01 00:00:00.9+00"),
            ("9999-12-31T23:59:59.999999+00:00", "9999-12-31 23:59:59.999999+00"),
            ("2000-02-29T00:00:00+00:00", "2000-02-29 00:00:00+00"),
            ("2025-02-28T00:00:00+00:00", "2025-02-28 00:00:00+00"),
            ("2026-04-30T00:00:00+00:00", "2026-04-30 00:00:00+00"),
            ("2026-08-31T00:00:00+00:00", "2026-08-31 00:00:00+00"),
        ] {
            assert_eq!(time(iso).as_deref(), Ok(text));
            assert_eq!(time_in_python(text).as_deref(), Some(iso));
        }
    }

    #[test]
    fn a_time_that_would_come_back_otherwise_is_refused() {
        for bad in [
            "2026-11-22 12:34:15",
            "2026-11-22T12:34:15",
            "2026-11-22T12:34:15Z",
            "2026-11-22T12:34:15+02:00",
            "2026-11-22T12:34:15-00:00",
            "2026-11-22T12:34:15.000000+00:00",
            "2026-11-22T12:34:15.5+00:00",
            "2026-11-22T12:34:15.1234567+00:00",
            "2026-11-22T12:34:60+00:00",
            "2026-11-22T12:60:00+00:00",
            "2026-11-22T12:34:15.12345x+00:00",
            "2026-11-22T12:34:15.+00:00",
            "2026-11-31T12:34:15+00:00",
            "2026-11-00T12:34:15+00:00",
            "2026-13-01T12:34:15+00:00",
            "2026-11-22T24:00:00+00:00",
            "2025-02-29T00:00:00+00:00",
            "1900-02-29T00:00:00+00:00",
            "0000-01-01T00:00:00+00:00",
            "+026-01-01T00:00:00+00:00",
            "2026-11-22T12:34+00:00",
            "",
        ] {
            assert_eq!(time(bad), Err(NotKept::Time), "{bad}");
        }
        for bad in [
            "infinity",
            "0044-03-15 00:00:00+00 BC",
            "10000-01-01 00:00:00+00",
            "2026-11-22 12:34:15.x+00",
            "2026-11-22 12:34:15.1234567+00",
            "2026-11-22 12:34:15+01",
            "",
        ] {
            assert_eq!(time_in_python(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_uuid_has_one_text() {
        let good = "0190a5de-6f6b-7c3d-8a55-000000000001";
        assert_eq!(uuid(good), Ok(good));
        for bad in [&good.to_uppercase(), &good.replace('-', ""), &format!("{{{good}}}"), ""] {
            assert_eq!(uuid(bad), Err(NotKept::Uuid), "{bad}");
        }
        for bad in [good.replace('5', "g"), good.replacen('-', "0", 1), format!("{good}0")] {
            assert_eq!(uuid(&bad), Err(NotKept::Uuid), "{bad}");
        }
        assert_eq!(text("a\0"), Err(NotKept::Nul));
        assert_eq!(text("a b"), Ok("a b"));
    }
}
