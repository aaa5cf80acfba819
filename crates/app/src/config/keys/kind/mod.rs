//! Kinds of values: their form, their range, how they are read and shown. Here are plain values; `places`, `names` and
//! `words` have the others.

mod names;
mod places;
mod words;

use std::path::Path;
use std::time::Duration;

use rehome_api::duration::Millis;
use rehome_api::{OptionsPatch, Time};
use rehome_domain::event::Timestamp;

use super::{Shape, Show};
use crate::options;
pub(super) use names::*;
pub(super) use places::*;
pub(super) use words::*;

/// A kind of values.
pub(in super::super) struct Kind<T: 'static> {
    pub(super) shape: Shape,
    /// Continues "must be".
    pub(super) wanted: fn() -> String,
    /// From the texts of a value; of all shapes but lists and maps there is one. The error follows the key.
    pub(in super::super) parse: fn(&[String], &Path) -> Result<T, String>,
    /// What else has to be so.
    pub(in super::super) also: fn(&T) -> Result<(), String>,
    pub(super) show: Show,
}

impl<T> Kind<T> {
    /// Of this kind, and this is so of it as well.
    pub(super) const fn also(self, also: fn(&T) -> Result<(), String>) -> Self {
        Self { shape: self.shape, wanted: self.wanted, parse: self.parse, show: self.show, also }
    }

    /// Of this kind, and never shown.
    pub(super) const fn hidden(self) -> Self {
        let show = |_: &[String], _: &Path| "(hidden)".to_owned();
        Self { shape: self.shape, wanted: self.wanted, parse: self.parse, also: self.also, show }
    }
}

fn one(raw: &[String]) -> &str {
    raw.first().map_or("", String::as_str)
}

/// As it is.
pub(super) fn plain(raw: &[String], _: &Path) -> String {
    raw.join(", ")
}

/// A path, as it is after it was joined to the folder of the file.
fn joined(raw: &[String], folder: &Path) -> String {
    folder.join(one(raw)).display().to_string()
}

const fn text_of<T>(
    wanted: fn() -> String,
    parse: fn(&[String], &Path) -> Result<T, String>,
) -> Kind<T> {
    Kind { shape: Shape::Text, wanted, parse, also: |_| Ok(()), show: plain }
}

/// A whole number in a range.
pub(super) const fn number<const LEAST: u32, const MOST: u32>() -> Kind<u32> {
    Kind {
        shape: Shape::Number,
        wanted: || format!("a whole number from {LEAST} to {MOST}"),
        parse: |raw, _| {
            let number = one(raw).parse().ok().filter(|number| (LEAST..=MOST).contains(number));
            number.ok_or_else(|| format!("must be a whole number from {LEAST} to {MOST}"))
        },
        also: |_| Ok(()),
        show: plain,
    }
}

/// A number of bytes.
pub(super) const fn size() -> Kind<u64> {
    Kind {
        shape: Shape::Number,
        wanted: || "a whole number of bytes".to_owned(),
        parse: |raw, _| {
            let size = one(raw).parse().ok().filter(|size| *size > 0);
            size.ok_or_else(|| "must be a whole number of bytes, at least 1".to_owned())
        },
        also: |_| Ok(()),
        show: plain,
    }
}

/// An option of migrations that is a number; `patch` sets it and nothing else.
pub(super) const fn option_number(also: fn(&u32) -> Result<(), String>) -> Kind<u32> {
    number::<0, { u32::MAX }>().also(also)
}

/// Whether the options of this patch may be set.
pub(super) fn may_set(patch: &OptionsPatch) -> Result<(), String> {
    options::apply(options::defaults(), patch).map(drop).map_err(|problem| {
        let text = problem.to_string();
        // The message names the option itself.
        text.split_once([' ', ':']).map_or(text.clone(), |(_, rest)| {
            if text.starts_with("cutover:") { format!("is{rest}") } else { rest.to_owned() }
        })
    })
}

/// A string.
pub(super) const fn text() -> Kind<String> {
    text_of(|| "a string".to_owned(), |raw, _| Ok(one(raw).to_owned()))
}

/// `true` or `false`.
pub(super) const fn flag() -> Kind<bool> {
    Kind {
        shape: Shape::Flag,
        wanted: || "true or false".to_owned(),
        parse: |raw, _| one(raw).parse().map_err(|_| "must be true or false".to_owned()),
        also: |_| Ok(()),
        show: plain,
    }
}

/// A length of time.
pub(super) const fn duration() -> Kind<Duration> {
    text_of(
        || "a duration like \"15m\"".to_owned(),
        |raw, _| {
            let millis = one(raw).parse::<Millis>();
            let millis = millis.map_err(|_| "must be a duration like \"15m\"".to_owned())?;
            Ok(Duration::from_millis(millis.0))
        },
    )
}

/// Timeout of a program.
pub(super) const fn patience() -> Kind<Duration> {
    duration().also(|within| {
        if (1..=600_000).contains(&within.as_millis()) {
            return Ok(());
        }
        Err("must be a duration like \"10s\", at most 10 minutes".to_owned())
    })
}

/// A length of time, as a migration's option has it.
pub(super) const fn millis() -> Kind<Millis> {
    text_of(
        || "a duration like \"1h\"".to_owned(),
        |raw, _| one(raw).parse().map_err(|_| "must be a duration like \"1h\"".to_owned()),
    )
}

/// A part of a whole.
pub(super) const fn ratio() -> Kind<f64> {
    Kind {
        shape: Shape::Decimal,
        wanted: || "a number from 0 to 1".to_owned(),
        parse: |raw, _| {
            let ratio = one(raw).parse().ok().filter(|ratio| (0.0..=1.0).contains(ratio));
            ratio.ok_or_else(|| "must be a number from 0 to 1".to_owned())
        },
        also: |_| Ok(()),
        show: plain,
    }
}

const fn list_of<T>(parse: fn(&[String], &Path) -> Result<T, String>) -> Kind<T> {
    Kind {
        shape: Shape::List,
        wanted: || "a list of strings".to_owned(),
        parse,
        also: |_| Ok(()),
        show: plain,
    }
}

/// Strings.
pub(super) const fn texts() -> Kind<Vec<String>> {
    list_of(|raw, _| Ok(raw.to_vec()))
}

/// Strings, at least one, and none of them empty.
pub(super) const fn some_texts() -> Kind<Vec<String>> {
    texts().also(|texts| {
        if texts.is_empty() || texts.iter().any(|text| text.trim().is_empty()) {
            return Err("must not be empty".to_owned());
        }
        Ok(())
    })
}

/// A program and its arguments, which may hold secrets.
pub(super) const fn program() -> Kind<Vec<String>> {
    let Kind { shape, wanted, parse, also, .. } = some_texts();
    let show = |raw: &[String], _: &Path| match raw {
        [] | [_] => one(raw).to_owned(),
        [program, rest @ ..] => format!("{program} (arguments: {})", rest.len()),
    };
    Kind { shape, wanted, parse, also, show }
}

/// When they do.
pub(super) const fn throttle_goal() -> Kind<f64> {
    Kind {
        shape: Shape::Decimal,
        wanted: || "a number from 1.1 to 100".to_owned(),
        parse: |raw, _| {
            let goal = one(raw).parse().ok().filter(|goal| (1.1..=100.0).contains(goal));
            goal.ok_or_else(|| "must be a number from 1.1 to 100".to_owned())
        },
        also: |_| Ok(()),
        show: plain,
    }
}

/// A moment.
pub(super) const fn time() -> Kind<Timestamp> {
    text_of(
        || "a time like \"2026-01-01T00:00:00Z\"".to_owned(),
        |raw, _| {
            let time = one(raw).parse::<Time>().map_err(|error| format!("is {error}"))?;
            Ok(Timestamp::from_micros(time.0))
        },
    )
}
