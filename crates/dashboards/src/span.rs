//! Durations as Prometheus writes them.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// A duration in whole milliseconds, at least one; written `15m`, `30s`, `500ms`.
///
/// One number and one of the units `ms`, `s`, `m`, `h`, `d`, which every version of Prometheus reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Span(u64);

/// Not a duration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("must be a duration like \"30s\", \"15m\" or \"1h\", of 1ms to 365d")]
pub struct InvalidSpan;

const SECOND: u64 = 1_000;
const MINUTE: u64 = 60 * SECOND;
const HOUR: u64 = 60 * MINUTE;
const DAY: u64 = 24 * HOUR;
const MAX: u64 = 365 * DAY;

/// The units, the longest first, with their words.
const UNITS: [(u64, &str, &str); 5] = [
    (DAY, "d", "day"),
    (HOUR, "h", "hour"),
    (MINUTE, "m", "minute"),
    (SECOND, "s", "second"),
    (1, "ms", "millisecond"),
];

impl Span {
    pub(crate) const fn seconds(seconds: u64) -> Self {
        Self(seconds * SECOND)
    }

    pub(crate) const fn minutes(minutes: u64) -> Self {
        Self(minutes * MINUTE)
    }

    pub(crate) const fn millis(millis: u64) -> Self {
        Self(millis)
    }

    /// Divided by `divisor`, which 0 does not do; at least a millisecond.
    pub(crate) fn divided_by(self, divisor: u32) -> Self {
        Self((self.0 / u64::from(divisor.max(1))).max(1))
    }

    /// In seconds, as a number of `PromQL`.
    pub(crate) fn number(self) -> String {
        (Duration::from_millis(self.0).as_secs_f64()).to_string()
    }

    /// In words: `15 minutes`.
    pub(crate) fn words(self) -> String {
        let (count, _, word) = self.in_unit();
        let s = if count == 1 { "" } else { "s" };
        format!("{count} {word}{s}")
    }

    /// In the longest unit that leaves no rest.
    fn in_unit(self) -> (u64, &'static str, &'static str) {
        let fits = UNITS.iter().find(|(size, ..)| self.0.is_multiple_of(*size));
        fits.map_or((self.0, "ms", "millisecond"), |(size, unit, word)| (self.0 / size, unit, word))
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (count, unit, _) = self.in_unit();
        write!(f, "{count}{unit}")
    }
}

impl FromStr for Span {
    type Err = InvalidSpan;

    fn from_str(text: &str) -> Result<Self, InvalidSpan> {
        let digits = text.find(|c: char| !c.is_ascii_digit()).ok_or(InvalidSpan)?;
        let (count, unit) = text.split_at(digits);
        let (size, ..) = UNITS.iter().find(|(_, name, _)| *name == unit).ok_or(InvalidSpan)?;
        let count: u64 = count.parse().map_err(|_| InvalidSpan)?;
        let millis = count.checked_mul(*size).ok_or(InvalidSpan)?;
        if (1..=MAX).contains(&millis) { Ok(Self(millis)) } else { Err(InvalidSpan) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_span_is_written_in_the_longest_unit_that_fits() {
        for (text, written) in
            [("15m", "15m"), ("90s", "90s"), ("60m", "1h"), ("1500ms", "1500ms"), ("24h", "1d")]
        {
            assert_eq!(text.parse::<Span>().unwrap().to_string(), written);
        }
        assert_eq!(Span::minutes(15).words(), "15 minutes");
        assert_eq!(Span::minutes(60).words(), "1 hour");
        assert_eq!(Span::millis(100).number(), "0.1");
        assert_eq!(Span::seconds(5).number(), "5");
    }

    #[test]
    fn what_is_no_span_is_refused() {
        for text in ["", "15", "m", "0s", "-5m", "1.5h", "1h30m", "366d", "99999999999999999999s"] {
            assert_eq!(text.parse::<Span>(), Err(InvalidSpan), "{text}");
        }
    }

    #[test]
    fn a_divided_span_does_not_vanish() {
        assert_eq!(Span::minutes(15).divided_by(100), Span::seconds(9));
        assert_eq!(Span::millis(2).divided_by(100), Span::millis(1));
        assert_eq!(Span::millis(2).divided_by(0), Span::millis(2));
    }
}
