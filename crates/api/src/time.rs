//! Times in documents: RFC 3339, read with any offset, written in UTC with microseconds.
//!
//! Digits beyond microseconds are truncated, not rounded. A leap second (`:60`) is refused: no
//! count of microseconds since 1970 can represent it.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

const SECOND: i64 = 1_000_000;
const DAY: i64 = 86_400 * SECOND;
/// Julian day number of 1970-01-01.
const UNIX_EPOCH: i32 = 2_440_588;

/// Microseconds since the Unix epoch, UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, utoipa::ToSchema)]
#[schema(value_type = String, format = DateTime, example = "2024-06-15T10:30:00.000000Z")]
pub struct Time(pub i64);

/// Why a text is not a time.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidTime {
    /// It does not have the form of RFC 3339.
    #[error("not a time as RFC 3339 writes it, like 2024-06-15T10:30:00Z or ...T10:30:00.5+02:00")]
    Form,
    /// A part is out of range.
    #[error("no such {0}")]
    Range(&'static str),
    /// The sixty-first second of a minute.
    #[error("a leap second (:60) cannot be kept; use :59")]
    LeapSecond,
    /// In UTC it is outside of the years 0000 to 9999.
    #[error("in UTC the time lies outside of the years 0000 to 9999")]
    Year,
}

impl FromStr for Time {
    type Err = InvalidTime;

    fn from_str(text: &str) -> Result<Self, InvalidTime> {
        let mut rest = Rest(text.as_bytes());
        let year = rest.number(4)?;
        rest.one_of(b"-")?;
        let month = rest.number(2)?;
        rest.one_of(b"-")?;
        let day = rest.number(2)?;
        rest.one_of(b"Tt")?;
        let hour = rest.number(2)?;
        rest.one_of(b":")?;
        let minute = rest.number(2)?;
        rest.one_of(b":")?;
        let second = rest.number(2)?;
        let micros = rest.fraction()?;
        let offset_minutes = rest.offset()?;
        rest.end()?;

        let days = days(year, month, day)?;
        if hour > 23 {
            return Err(InvalidTime::Range("hour"));
        }
        if minute > 59 {
            return Err(InvalidTime::Range("minute"));
        }
        match second {
            60 => return Err(InvalidTime::LeapSecond),
            61.. => return Err(InvalidTime::Range("second")),
            _ => {}
        }
        let seconds = i64::from(hour) * 3_600 + i64::from(minute) * 60 + i64::from(second)
            - i64::from(offset_minutes) * 60;
        let time = Self(i64::from(days) * DAY + seconds * SECOND + i64::from(micros));
        if time.civil().is_some() { Ok(time) } else { Err(InvalidTime::Year) }
    }
}

/// Days since 1970-01-01.
fn days(year: u32, month: u32, day: u32) -> Result<i32, InvalidTime> {
    let year = i32::try_from(year).map_err(|_| InvalidTime::Form)?;
    let month = u8::try_from(month).ok().and_then(|month| ::time::Month::try_from(month).ok());
    let month = month.ok_or(InvalidTime::Range("month"))?;
    let day = u8::try_from(day).map_err(|_| InvalidTime::Range("day"))?;
    let date = ::time::Date::from_calendar_date(year, month, day)
        .map_err(|_| InvalidTime::Range("day"))?;
    Ok(date.to_julian_day() - UNIX_EPOCH)
}

struct Rest<'a>(&'a [u8]);

impl Rest<'_> {
    fn take(&mut self) -> Option<u8> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*first)
    }

    fn digit(&mut self) -> Option<u32> {
        let digit = self.0.first().filter(|byte| byte.is_ascii_digit())?;
        let digit = u32::from(digit - b'0');
        self.0 = &self.0[1..];
        Some(digit)
    }

    fn number(&mut self, digits: usize) -> Result<u32, InvalidTime> {
        (0..digits).try_fold(0, |number, _| {
            self.digit().map(|digit| number * 10 + digit).ok_or(InvalidTime::Form)
        })
    }

    fn one_of(&mut self, allowed: &[u8]) -> Result<u8, InvalidTime> {
        self.take().filter(|byte| allowed.contains(byte)).ok_or(InvalidTime::Form)
    }

    /// Microseconds; further digits are truncated.
    fn fraction(&mut self) -> Result<u32, InvalidTime> {
        if self.0.first() != Some(&b'.') {
            return Ok(0);
        }
        self.0 = &self.0[1..];
        let mut unit = 100_000;
        let mut micros = self.digit().ok_or(InvalidTime::Form)? * unit;
        while let Some(digit) = self.digit() {
            unit /= 10;
            micros += digit * unit;
        }
        Ok(micros)
    }

    /// Minutes east of Greenwich.
    fn offset(&mut self) -> Result<i32, InvalidTime> {
        let sign = match self.one_of(b"Zz+-")? {
            b'+' => 1,
            b'-' => -1,
            _ => return Ok(0),
        };
        let hours = self.number(2)?;
        self.one_of(b":")?;
        let minutes = self.number(2)?;
        if hours > 23 || minutes > 59 {
            return Err(InvalidTime::Range("offset"));
        }
        i32::try_from(hours * 60 + minutes).map(|o| sign * o).map_err(|_| InvalidTime::Form)
    }

    fn end(&self) -> Result<(), InvalidTime> {
        if self.0.is_empty() { Ok(()) } else { Err(InvalidTime::Form) }
    }
}

impl Time {
    /// Date and microseconds of the day; `None` outside of the years 0000 to 9999, which RFC 3339
    /// cannot represent.
    fn civil(self) -> Option<(::time::Date, i64)> {
        let days = i32::try_from(self.0.div_euclid(DAY)).ok()?;
        let date = ::time::Date::from_julian_day(days.checked_add(UNIX_EPOCH)?).ok()?;
        (0..=9999).contains(&date.year()).then_some((date, self.0.rem_euclid(DAY)))
    }

    /// Whether RFC 3339 can represent the time.
    pub fn is_writable(self) -> bool {
        self.civil().is_some()
    }
}

impl fmt::Display for Time {
    /// RFC 3339; other times are written as microseconds since 1970.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some((date, micros)) = self.civil() else {
            return write!(f, "{} microseconds since 1970", self.0);
        };
        let (year, month, day) = (date.year(), u8::from(date.month()), date.day());
        let seconds = micros / SECOND;
        let (hour, minute, second) = (seconds / 3_600, seconds / 60 % 60, seconds % 60);
        let micros = micros % SECOND;
        write!(f, "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{micros:06}Z")
    }
}

impl Serialize for Time {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Time {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<i64, InvalidTime> {
        text.parse::<Time>().map(|time| time.0)
    }

    #[test]
    fn offsets_are_taken_off_and_fractions_kept_to_microseconds() {
        assert_eq!(read("1970-01-01T00:00:00Z"), Ok(0));
        assert_eq!(read("1970-01-01t01:00:00.5+01:00"), Ok(500_000));
        assert_eq!(read("1969-12-31T23:59:59.9999999z"), Ok(-1));
        assert_eq!(read("2024-02-29T12:30:45.123456789-05:30"), Ok(1_709_229_645_123_456));
        assert_eq!(read("2016-03-21T11:08:52+01:00"), Ok(1_458_554_932_000_000));
        assert_eq!(read("1970-01-01T00:00:00-00:00"), Ok(0));
    }

    #[test]
    fn the_ends_of_time_are_kept() {
        for text in ["0000-01-01T00:00:00.000000Z", "9999-12-31T23:59:59.999999Z"] {
            assert_eq!(text.parse::<Time>().unwrap().to_string(), text);
        }
        assert_eq!(read("9999-12-31T23:59:59-00:01"), Err(InvalidTime::Year));
        assert_eq!(read("0000-01-01T00:00:00+00:01"), Err(InvalidTime::Year));
        assert!(!Time(i64::MAX).is_writable() && !Time(i64::MIN).is_writable());
    }

    #[test]
    fn what_is_not_a_time_is_refused() {
        for text in [
            "",
            "now",
            "2024-01-01",
            "2024-01-01T00:00:00",
            "2024-01-01 00:00:00Z",
            "2024-1-1T00:00:00Z",
            "2024-01-01T00:00Z",
            "2024-01-01T00:00:00.Z",
            "2024-01-01T00:00:00+0100",
            "2024-01-01T00:00:00Z ",
            "20240101T000000Z",
            "+2024-01-01T00:00:00Z",
            "2024-01-01T00:00:00,5Z",
            "２０２４-01-01T00:00:00Z",
            "2024-W01-1T00:00:00Z",
            "1700000000",
        ] {
            assert_eq!(read(text), Err(InvalidTime::Form), "{text:?}");
        }
        assert_eq!(read("2016-12-31T23:59:60Z"), Err(InvalidTime::LeapSecond));
        for (text, what) in [
            ("2023-02-29T00:00:00Z", "day"),
            ("2024-13-01T00:00:00Z", "month"),
            ("2024-00-01T00:00:00Z", "month"),
            ("2024-01-00T00:00:00Z", "day"),
            ("2024-01-01T24:00:00Z", "hour"),
            ("2024-01-01T00:60:00Z", "minute"),
            ("2024-01-01T00:00:61Z", "second"),
            ("2024-01-01T00:00:00+24:00", "offset"),
        ] {
            assert_eq!(read(text), Err(InvalidTime::Range(what)), "{text}");
        }
    }

    #[test]
    fn a_time_that_was_written_is_read_back() {
        for micros in
            [0, 1, -1, 951_782_400_000_000, -62_135_596_800_000_000, 4_102_444_799_999_999]
        {
            assert_eq!(read(&Time(micros).to_string()), Ok(micros));
        }
    }
}
