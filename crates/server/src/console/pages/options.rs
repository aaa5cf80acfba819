//! The fields of a migration's options: filled with what will happen without a change.

use std::fmt::Display;
use std::str::FromStr;

use maud::{Markup, html};
use rehome_api::{Options, OptionsPatch};
use rehome_app::{AppError, Kind};

use crate::console::format;

/// What the fields say; an empty one leaves the option as it is.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Deserialize)]
#[serde(default)]
pub(in crate::console) struct Chosen {
    pub(in crate::console) cutover: String,
    pub(in crate::console) rate: String,
    pub(in crate::console) window: String,
    bytes_rate: String,
    batch: String,
    batch_bytes: String,
    lag: String,
    timeout: String,
    ack: String,
    ack_timeout: String,
    verification: String,
}

/// Its number or word, if there is one and it is not `now`.
fn read<T: FromStr<Err: Display> + PartialEq>(
    label: &str,
    text: &str,
    now: Option<&T>,
) -> Result<Option<T>, AppError> {
    let text = text.trim();
    if text.is_empty() {
        return Ok(None);
    }
    let usage = |why| {
        AppError::new(
            Kind::Usage,
            "bad_request",
            format!("{label}: \"{text}\" does not fit: {why}"),
        )
    };
    let value: T = text.parse().map_err(usage)?;
    Ok(Some(value).filter(|value| now != Some(value)))
}

impl Chosen {
    /// The fields of these options.
    pub(in crate::console) fn of(options: &Options) -> Self {
        Self {
            cutover: options.cutover.clone(),
            rate: options.copy_rate_max.to_string(),
            window: options.rollback_window.to_string(),
            bytes_rate: options.copy_bytes_rate_max.to_string(),
            batch: options.batch_events.to_string(),
            batch_bytes: options.batch_bytes.to_string(),
            lag: options.lag_events_max.to_string(),
            timeout: options.cutover_timeout_ms.to_string(),
            ack: options.mirror_ack.clone(),
            ack_timeout: options.mirror_ack_timeout_ms.to_string(),
            verification: options.verification.clone(),
        }
    }

    /// The same, with those of `below` where a field is empty.
    pub(in crate::console) fn over(&self, below: &Options) -> Self {
        let mut filled = Self::of(below);
        for ((_, _, to), (_, _, from)) in filled.all_mut().into_iter().zip(self.all()) {
            if !from.trim().is_empty() {
                from.trim().clone_into(to);
            }
        }
        filled
    }

    /// The options that differ from these, or all that have a value.
    pub(in crate::console) fn patch(
        &self,
        now: Option<&Options>,
    ) -> Result<OptionsPatch, AppError> {
        let is = |pick: fn(&Options) -> &u32| now.map(pick);
        Ok(OptionsPatch {
            cutover: read("Switch", &self.cutover, now.map(|now| &now.cutover))?,
            copy_rate_max: read("Copy at most", &self.rate, is(|now| &now.copy_rate_max))?,
            rollback_window: read(
                "Time to return",
                &self.window,
                now.map(|now| &now.rollback_window),
            )?,
            copy_bytes_rate_max: read(
                "Bytes at most",
                &self.bytes_rate,
                is(|now| &now.copy_bytes_rate_max),
            )?,
            batch_events: read("Batch", &self.batch, is(|now| &now.batch_events))?,
            batch_bytes: read("Bytes of a batch", &self.batch_bytes, is(|now| &now.batch_bytes))?,
            lag_events_max: read("Lag bound", &self.lag, is(|now| &now.lag_events_max))?,
            cutover_timeout_ms: read(
                "Cutover timeout",
                &self.timeout,
                is(|now| &now.cutover_timeout_ms),
            )?,
            mirror_ack: read("Answers wait for", &self.ack, now.map(|now| &now.mirror_ack))?,
            mirror_ack_timeout_ms: read(
                "Longest wait for the target",
                &self.ack_timeout,
                is(|now| &now.mirror_ack_timeout_ms),
            )?,
            verification: read(
                "Verification",
                &self.verification,
                now.map(|now| &now.verification),
            )?,
        })
    }

    pub(in crate::console) fn names() -> Vec<&'static str> {
        Self::default().all().map(|(name, _, _)| name).into()
    }

    /// Each with the name of its field and its label.
    fn all(&self) -> [(&'static str, &'static str, &String); 11] {
        [
            ("cutover", "Switch", &self.cutover),
            ("rate", "Copy at most, events per second", &self.rate),
            ("window", "Time to return", &self.window),
            ("bytes_rate", "Copy at most, bytes per second", &self.bytes_rate),
            ("batch", "Events of a batch", &self.batch),
            ("batch_bytes", "Bytes of a batch", &self.batch_bytes),
            ("lag", "Lag bound, events", &self.lag),
            ("timeout", "Cutover timeout, milliseconds", &self.timeout),
            ("ack", "Answers wait for", &self.ack),
            ("ack_timeout", "Longest wait for the target, milliseconds", &self.ack_timeout),
            ("verification", "Verification", &self.verification),
        ]
    }

    fn all_mut(&mut self) -> [(&'static str, &'static str, &mut String); 11] {
        [
            ("cutover", "", &mut self.cutover),
            ("rate", "", &mut self.rate),
            ("window", "", &mut self.window),
            ("bytes_rate", "", &mut self.bytes_rate),
            ("batch", "", &mut self.batch),
            ("batch_bytes", "", &mut self.batch_bytes),
            ("lag", "", &mut self.lag),
            ("timeout", "", &mut self.timeout),
            ("ack", "", &mut self.ack),
            ("ack_timeout", "", &mut self.ack_timeout),
            ("verification", "", &mut self.verification),
        ]
    }

    /// For a form that sends them on.
    pub(in crate::console) fn hidden(&self) -> Markup {
        html! { @for (name, _, value) in self.all() { input type="hidden" name=(name) value=(value); } }
    }

    /// The fields: those that people change, then the others.
    pub(in crate::console) fn fields(&self) -> Markup {
        let all = self.all();
        html! {
            label { "Switch"
                select name="cutover" {
                    option value="manual" selected[self.cutover == "manual"] { "when I request it" }
                    option value="auto" selected[self.cutover == "auto"] { "automatically, once everything is copied and verified" }
                    @if !["manual", "auto"].contains(&self.cutover.as_str()) { option value=(self.cutover) selected { "not before " (self.cutover) } }
                }
            }
            (number(all[1], Some("0: no limit. It can be changed while the migration runs.")))
            label { (all[2].1)
                input type="text" name="window" value=(self.window) spellcheck="false";
                span class="hint" { "How long after the switch events are replicated to the old store, so that the tenant can return; for example 24h or 7d. 0: not at all." }
            }
            details {
                summary { "More options" }
                div class="fields" {
                    (number(all[3], Some("0: no limit.")))
                    (number(all[4], None))
                    (number(all[5], None))
                    (number(all[6], Some("Below it a switch may begin; above it writers are slowed down.")))
                    (number(all[7], Some("A switch that takes longer is rolled back.")))
                    (words_of(all[8], &[("source", "the source: the fastest"), ("target", "the target too: it bounds the lag")]))
                    (number(all[9], None))
                    (words_of(all[10], &[("count", "count: heads and streams"), ("hash", "hash: every row of both stores, recomputed"), ("full", "full: every field of every event")]))
                }
            }
        }
    }
}

fn number((name, label, value): (&str, &str, &String), hint: Option<&str>) -> Markup {
    html! {
        label { (label)
            input type="number" name=(name) min="0" step="1" value=(value);
            @if let Some(hint) = hint { span class="hint" { (hint) } }
        }
    }
}

fn words_of((name, label, value): (&str, &str, &String), all: &[(&str, &str)]) -> Markup {
    html! {
        label { (label)
            select name=(name) { @for (word, meaning) in all { option value=(word) selected[value == word] { (meaning) } } }
        }
    }
}

/// All options, as they are or will be.
pub(in crate::console) fn shown(options: &Options) -> Markup {
    let limit = |value: u32, unit: &str| match value {
        0 => "no limit".to_owned(),
        value => format!("{}{unit}", format::count(value.into())),
    };
    let count = |value: u32, unit: &str| format!("{} {unit}", format::count(value.into()));
    let pairs = [
        ("Switch", options.cutover.clone()),
        ("Time to return", options.rollback_window.to_string()),
        ("Copy at most", limit(options.copy_rate_max, " events/s")),
        ("Bytes at most", limit(options.copy_bytes_rate_max, "/s")),
        ("Batch", count(options.batch_events, "events")),
        ("Bytes of a batch", format::count(options.batch_bytes.into())),
        ("Lag bound", count(options.lag_events_max, "events")),
        ("Cutover timeout", format::millis(f64::from(options.cutover_timeout_ms))),
        ("Answers wait for", options.mirror_ack.clone()),
        ("Answers wait at most", format::millis(f64::from(options.mirror_ack_timeout_ms))),
        ("Verification", options.verification.clone()),
    ];
    html! { dl class="numbers" { @for (name, value) in pairs { div { dt { (name) } dd { (value) } } } } }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_filled_with_the_options_and_only_changed_ones_are_sent() {
        let options = rehome_app::options::document(&rehome_app::options::defaults());
        let mut chosen = Chosen::of(&options);
        assert!(chosen.patch(Some(&options)).unwrap().is_empty());
        assert_eq!(Chosen::default().over(&options), chosen);
        chosen.rate = " 150 ".to_owned();
        chosen.window = "1h".to_owned();
        let patch = chosen.patch(Some(&options)).unwrap();
        let hour = Some("1h".parse().unwrap());
        let expected = OptionsPatch {
            copy_rate_max: Some(150),
            rollback_window: hour,
            ..OptionsPatch::default()
        };
        assert_eq!(patch, expected);
        chosen.rate = "fast".to_owned();
        let why = chosen.patch(None).unwrap_err().to_string();
        assert!(why.starts_with("Copy at most: \"fast\" does not fit"), "{why}");
    }
}
