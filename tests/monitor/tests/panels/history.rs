//! Two hours of generated series, as OpenMetrics with timestamps, which Prometheus imports as if it
//! had scraped them.

use std::fmt::Write as _;

/// How often was scraped, in seconds.
const STEP: u64 = 15;
/// How long, in seconds.
pub(crate) const LASTS: u64 = 7_200;
/// When it began: any time does.
const BEGAN: u64 = 1_700_000_000 / LASTS * LASTS;
/// The evaluated moment: the last scrape.
pub(crate) const NOW: u64 = BEGAN + LASTS - STEP;

/// The series so far.
#[derive(Clone, Debug)]
pub(crate) struct History {
    text: String,
    /// Whose series come next.
    deployment: &'static str,
}

impl History {
    /// None yet, of this deployment.
    pub(crate) fn of(deployment: &'static str) -> Self {
        Self { text: String::new(), deployment }
    }

    /// The series of the other one too.
    pub(crate) fn and(mut self, other: &Self) -> Self {
        self.text.push_str(&other.text);
        self
    }

    /// A series of the process `instance` that is there from `from` until `until`, in seconds before the
    /// end, both included; its value by the seconds since `from`.
    pub(crate) fn between(
        &mut self,
        instance: &str,
        series: &str,
        (from, until): (u64, u64),
        value: impl Fn(u64) -> f64,
    ) -> &mut Self {
        let (from, until) = (LASTS - STEP - from, LASTS - STEP - until);
        self.sometimes(instance, series, |at| {
            (from..=until).contains(&at).then(|| value(at - from))
        })
    }

    /// A series of the process `instance`; its value by the seconds since the beginning.
    pub(crate) fn series(
        &mut self,
        instance: &str,
        series: &str,
        value: impl Fn(u64) -> f64,
    ) -> &mut Self {
        self.sometimes(instance, series, |at| Some(value(at)))
    }

    /// The same, where it may be missing; several calls make one series, if their times do not overlap.
    pub(crate) fn sometimes(
        &mut self,
        instance: &str,
        series: &str,
        value: impl Fn(u64) -> Option<f64>,
    ) -> &mut Self {
        let (name, labels) = series.split_once('{').unwrap_or((series, "}"));
        let comma = if labels == "}" { "" } else { "," };
        for second in (0..LASTS).step_by(usize::try_from(STEP).unwrap_or(1)) {
            let Some(value) = value(second) else { continue };
            // Writing to a string does not fail.
            let _ = writeln!(
                self.text,
                "{name}{{deployment=\"{}\",job=\"rehome\",instance=\"{instance}\"{comma}{labels} {value} {}",
                self.deployment,
                BEGAN + second
            );
        }
        self
    }

    /// One that does not change.
    pub(crate) fn flat(&mut self, instance: &str, series: &str, value: f64) -> &mut Self {
        self.series(instance, series, move |_| value)
    }

    /// A counter that grows by `rate` each second.
    pub(crate) fn grows(&mut self, instance: &str, series: &str, rate: f64) -> &mut Self {
        self.series(instance, series, move |second| 1.0 + rate * second as f64)
    }

    /// A counter that was 0 until half an hour ago, and is `value` since.
    pub(crate) fn jumps(&mut self, instance: &str, series: &str, value: f64) -> &mut Self {
        self.series(
            instance,
            series,
            move |second| {
                if second + 1_800 < LASTS { 0.0 } else { value }
            },
        )
    }

    /// A histogram whose buckets, named by their bounds, grow each by its rate; the last is `+Inf`.
    pub(crate) fn histogram(
        &mut self,
        instance: &str,
        series: &str,
        buckets: &[(&str, f64)],
    ) -> &mut Self {
        let (name, labels) = series.split_once('{').unwrap_or((series, "}"));
        for (bound, rate) in buckets {
            self.grows(instance, &format!("{name}_bucket{{le=\"{bound}\",{labels}"), *rate);
        }
        let all = buckets.last().map_or(0.0, |(_, rate)| *rate);
        self.grows(instance, &format!("{name}_count{{{labels}"), all)
    }

    /// In Prometheus' format.
    pub(crate) fn text(&self) -> String {
        // Samples of one series have to be together, and are.
        format!("{}# EOF\n", self.text)
    }
}
