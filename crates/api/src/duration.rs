//! Durations in human form: `500ms`, `90s`, `1h`, `1h30m`, `7d`; `0` for none.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A number of milliseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, utoipa::ToSchema)]
#[schema(value_type = String, example = "1h30m")]
pub struct Millis(pub u64);

/// The text is not a duration.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a duration; write it like 500ms, 90s, 30m, 1h, 1h30m or 7d, or 0 for none")]
pub struct InvalidDuration;

/// A write pause in milliseconds, as every command, page and checklist writes it.
pub fn pause(ms: f64) -> String {
    match ms {
        ms if ms < 100.0 => format!("{ms:.1} ms"),
        ms if ms < 1e3 => format!("{ms:.0} ms"),
        ms => format!("{:.1} s", ms / 1e3),
    }
}

/// Units, the largest first.
const UNITS: [(&str, u64); 5] =
    [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];

impl FromStr for Millis {
    type Err = InvalidDuration;

    fn from_str(text: &str) -> Result<Self, InvalidDuration> {
        if text == "0" {
            return Ok(Self(0));
        }
        let mut rest = text;
        let mut total = 0_u64;
        let mut above = u64::MAX;
        while !rest.is_empty() {
            let digits = rest.find(|c: char| !c.is_ascii_digit()).ok_or(InvalidDuration)?;
            let (number, tail) = rest.split_at(digits);
            let letters = tail.find(|c: char| c.is_ascii_digit()).unwrap_or(tail.len());
            let (unit, tail) = tail.split_at(letters);
            let &(_, millis) =
                UNITS.iter().find(|(name, _)| *name == unit).ok_or(InvalidDuration)?;
            // Each unit once, the largest first: anything else is probably a typing error.
            if millis >= above {
                return Err(InvalidDuration);
            }
            above = millis;
            let number: u64 = number.parse().map_err(|_| InvalidDuration)?;
            let part = number.checked_mul(millis).ok_or(InvalidDuration)?;
            total = total.checked_add(part).ok_or(InvalidDuration)?;
            rest = tail;
        }
        if text.is_empty() { Err(InvalidDuration) } else { Ok(Self(total)) }
    }
}

impl fmt::Display for Millis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 == 0 {
            return f.write_str("0");
        }
        let mut left = self.0;
        for (name, millis) in UNITS {
            if left >= millis {
                write!(f, "{}{name}", left / millis)?;
                left %= millis;
            }
        }
        Ok(())
    }
}

impl Serialize for Millis {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Millis {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pause_has_tenths_where_they_matter() {
        let written = [0.04, 3.24, 12.4, 140.6, 1_250.0].map(pause);
        assert_eq!(written, ["0.0 ms", "3.2 ms", "12.4 ms", "141 ms", "1.2 s"]);
    }

    #[test]
    fn durations_are_read_and_written() {
        for (text, millis) in [
            ("0", 0),
            ("500ms", 500),
            ("90s", 90_000),
            ("1h", 3_600_000),
            ("1h30m", 5_400_000),
            ("7d", 604_800_000),
            ("1m1s1ms", 61_001),
        ] {
            assert_eq!(text.parse(), Ok(Millis(millis)), "{text}");
        }
        assert_eq!(Millis(90_000).to_string(), "1m30s");
        assert_eq!(Millis(5_400_001).to_string(), "1h30m1ms");
        assert_eq!(Millis(0).to_string(), "0");
    }

    #[test]
    fn what_is_not_a_duration_is_refused() {
        for text in ["", "1", "h", "1 h", "-1h", "1.5h", "30m1h", "1h1h", "1w", "99999999999999d"] {
            assert_eq!(text.parse::<Millis>(), Err(InvalidDuration), "{text:?}");
        }
    }
}
