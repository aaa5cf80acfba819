//! The thresholds of the alerts: names, defaults and accepted values, each defined once.

use crate::span::{InvalidSpan, Span};

/// What a threshold is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A duration that must pass, or a window.
    Duration,
    /// A measured time that is too long.
    Latency,
    /// A number of things that is too high.
    Count,
}

/// One threshold, to be listed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Threshold {
    /// Its name, in the configuration and on the command line.
    pub name: &'static str,
    /// What kind of value it has.
    pub kind: Kind,
    /// The value, as it is written.
    pub value: String,
    /// What it means.
    pub help: &'static str,
}

/// Why a threshold was not set.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ThresholdProblem {
    /// There is no such threshold.
    #[error("unknown threshold {0}")]
    Unknown(String),
    /// The value is no duration.
    #[error("{0} {1}")]
    Span(&'static str, InvalidSpan),
    /// The value is no count.
    #[error("{0} must be a whole number from 1 to 1000000000")]
    Count(&'static str),
}

/// A value in its place.
enum Slot<'a> {
    Duration(&'a mut Span),
    Latency(&'a mut Span),
    Count(&'a mut u64),
}

macro_rules! thresholds {
    ($($(#[doc = $help:literal])+ $name:ident: $kind:ident($type:ty) = $default:expr,)+) => {
        /// When the alerts fire.
        #[derive(Clone, Debug, PartialEq, Eq)]
        pub struct Thresholds {
            $($(#[doc = $help])+ pub $name: $type,)+
        }

        impl Default for Thresholds {
            fn default() -> Self {
                Self { $($name: $default,)+ }
            }
        }

        impl Thresholds {
            /// The names, in the order of the documentation.
            pub const NAMES: &'static [&'static str] = &[$(stringify!($name),)+];

            fn slots(&mut self) -> Vec<(&'static str, &'static str, Slot<'_>)> {
                vec![$((
                    stringify!($name),
                    concat!($($help,)+).trim_ascii(),
                    Slot::$kind(&mut self.$name),
                ),)+]
            }
        }
    };
}

thresholds! {
    /// Bulk copy is stuck when the last event was copied this long ago.
    bulk_copy_stuck: Duration(Span) = Span::minutes(15),
    /// The target may be this many events behind in dual write,
    sync_lag_events: Count(u64) = 1_000,
    /// for this long.
    sync_lag_for: Duration(Span) = Span::minutes(5),
    /// The 99th percentile of the dual write's latency may be this high,
    dual_write_latency: Latency(Span) = Span::millis(100),
    /// for this long.
    dual_write_latency_for: Duration(Span) = Span::minutes(5),
    /// A cutover may last this long.
    cutover_slow: Duration(Span) = Span::seconds(30),
    /// A failed migration is reported when it has failed for this long.
    failed_for: Duration(Span) = Span::minutes(1),
    /// Something that should not happen (a failed write, a timeout, a violation) is reported for this
    /// long after it happened.
    reported_for: Duration(Span) = Span::minutes(15),
    /// Rates and percentiles are computed over this window.
    rate_over: Duration(Span) = Span::minutes(5),
    /// Appends may wait for a cutover this long in every process together.
    writers_blocked_for: Duration(Span) = Span::seconds(10),
    /// One append may wait this long: the bound that routers keep (`write_pause_timeout_ms`).
    write_wait: Latency(Span) = Span::seconds(5),
    /// The 99th percentile of appends may be this high while their tenant moves,
    append_latency: Latency(Span) = Span::millis(100),
    /// for this long.
    append_latency_for: Duration(Span) = Span::minutes(5),
    /// A migration may be paused this long.
    paused_for: Duration(Span) = Span::minutes(60),
    /// A migration may be pending this long.
    pending_for: Duration(Span) = Span::minutes(15),
    /// A migration may be without a process that works on it this long.
    unattended_for: Duration(Span) = Span::minutes(2),
    /// A switch may stay unacknowledged by [[publish]] this long.
    unpublished_for: Duration(Span) = Span::seconds(30),
    /// A running drain may make no progress this long.
    drain_stalled: Duration(Span) = Span::minutes(15),
    /// This many changes of the process that works on a migration, within `reported_for`, are too many.
    takeovers: Count(u64) = 3,
    /// This many starts of a process, within `reported_for`, are too many.
    restarts: Count(u64) = 3,
    /// A process, a store or the control plane may be gone this long.
    down_for: Duration(Span) = Span::minutes(1),
    /// All metrics of rehome may be missing this long.
    absent_for: Duration(Span) = Span::minutes(5),
    /// The metrics of a migration that is not over may be missing this long.
    lost_for: Duration(Span) = Span::minutes(2),
    /// A process may be silent this long, as during a restart, before its last report
    /// expires.
    silent_for: Duration(Span) = Span::minutes(1),
    /// How long a process or a migration that is gone is remembered.
    remembered_for: Duration(Span) = Span::minutes(60),
    /// How often the rules are evaluated; at most 15s, or a slow cutover is reported late.
    interval: Duration(Span) = Span::seconds(10),
}

impl Thresholds {
    /// Sets the threshold `name` from its text.
    pub fn set(&mut self, name: &str, text: &str) -> Result<(), ThresholdProblem> {
        let slot = self.slots().into_iter().find(|(known, ..)| *known == name);
        let Some((name, _, slot)) = slot else {
            return Err(ThresholdProblem::Unknown(name.to_owned()));
        };
        match slot {
            Slot::Duration(span) | Slot::Latency(span) => {
                *span = text.parse().map_err(|error| ThresholdProblem::Span(name, error))?;
            }
            Slot::Count(count) => {
                let wanted = text.parse().ok().filter(|n| (1..=1_000_000_000).contains(n));
                *count = wanted.ok_or(ThresholdProblem::Count(name))?;
            }
        }
        Ok(())
    }

    /// Every threshold with its value.
    pub fn list(&self) -> Vec<Threshold> {
        let mut this = self.clone();
        let listed = this.slots().into_iter().map(|(name, help, slot)| {
            let (kind, value) = match slot {
                Slot::Duration(span) => (Kind::Duration, span.to_string()),
                Slot::Latency(span) => (Kind::Latency, span.to_string()),
                Slot::Count(count) => (Kind::Count, count.to_string()),
            };
            Threshold { name, kind, value, help }
        });
        listed.collect()
    }

    /// The same rules on a clock that runs `times` faster: every duration is divided, measured
    /// values are judged as before. For tests that cannot wait a quarter of an hour.
    #[must_use]
    pub fn faster(&self, times: u32) -> Self {
        let mut faster = self.clone();
        for (_, _, slot) in faster.slots() {
            if let Slot::Duration(span) = slot {
                *span = span.divided_by(times);
            }
        }
        faster
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_threshold_is_set_by_its_name_and_takes_what_it_lists() {
        let defaults = Thresholds::default();
        let mut again = Thresholds::default();
        for Threshold { name, value, .. } in defaults.list() {
            again.set(name, &value).unwrap();
        }
        assert_eq!(again, defaults);
        let names: Vec<_> = defaults.list().iter().map(|threshold| threshold.name).collect();
        assert_eq!(names, Thresholds::NAMES);
        again.set("sync_lag_events", "50").unwrap();
        assert_eq!(again.sync_lag_events, 50);
        again.set("cutover_slow", "10s").unwrap();
        assert_eq!(again.cutover_slow, Span::seconds(10));
    }

    #[test]
    fn unknown_names_and_bad_values_are_refused() {
        let mut thresholds = Thresholds::default();
        let mut said = |name, text| thresholds.set(name, text).unwrap_err().to_string();
        assert_eq!(said("lag", "1"), "unknown threshold lag");
        assert!(said("cutover_slow", "30").starts_with("cutover_slow must be a duration"));
        assert!(said("sync_lag_events", "0").starts_with("sync_lag_events must be a whole number"));
        assert!(said("sync_lag_events", "-1").starts_with("sync_lag_events must be"));
        assert_eq!(thresholds, Thresholds::default());
    }

    #[test]
    fn a_faster_clock_leaves_what_is_measured() {
        let fast = Thresholds::default().faster(100);
        assert_eq!(fast.bulk_copy_stuck, Span::seconds(9));
        assert_eq!(fast.dual_write_latency, Span::millis(100));
        assert_eq!(fast.sync_lag_events, 1_000);
    }
}
