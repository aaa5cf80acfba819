//! Target, measured, ok or not; or only measured.

use serde_json::{Value, json};

/// One thing that was measured and what it has to be.
pub(crate) struct Line {
    name: String,
    measured: f64,
    target: Option<f64>,
    at_most: bool,
    unit: &'static str,
    detail: String,
}

impl Line {
    /// A ratio that may not be lower.
    pub(crate) fn at_least(
        name: impl Into<String>,
        measured: f64,
        target: f64,
        detail: impl Into<String>,
    ) -> Self {
        let (name, detail) = (name.into(), detail.into());
        Self { name, measured, target: Some(target), at_most: false, unit: "", detail }
    }

    /// A number without a target.
    pub(crate) fn seen(
        name: impl Into<String>,
        measured: f64,
        unit: &'static str,
        detail: impl Into<String>,
    ) -> Self {
        let (name, detail) = (name.into(), detail.into());
        Self { name, measured, target: None, at_most: true, unit, detail }
    }

    /// A number that may not be higher.
    pub(crate) fn at_most(
        name: impl Into<String>,
        measured: f64,
        target: f64,
        unit: &'static str,
        detail: impl Into<String>,
    ) -> Self {
        let (name, detail) = (name.into(), detail.into());
        Self { name, measured, target: Some(target), at_most: true, unit, detail }
    }

    /// Whether the target is met.
    pub(crate) fn is_ok(&self) -> bool {
        self.target.is_none_or(|target| {
            if self.at_most { self.measured <= target } else { self.measured >= target }
        })
    }

    /// A row of the table; without a verdict if the sizes were not those that the target is for.
    pub(crate) fn row(&self, judged: bool) -> String {
        let sign = if self.at_most { "<=" } else { ">=" };
        let verdict = match (judged && self.target.is_some(), self.is_ok()) {
            (false, _) => "-",
            (true, true) => "ok",
            (true, false) => "NOT OK",
        };
        let target =
            self.target.map_or_else(String::new, |target| format!("{sign} {target}{}", self.unit));
        let measured = format!("{:.2}{}", self.measured, self.unit);
        format!("{:<58} {target:>9} {measured:>10}  {verdict:<6}  {}", self.name, self.detail)
    }

    /// The row for programs.
    pub(crate) fn json(&self) -> Value {
        json!({
            "name": self.name,
            "target": self.target,
            "at": if self.at_most { "most" } else { "least" },
            "measured": self.measured,
            "unit": self.unit.trim(),
            "ok": self.is_ok(),
            "detail": self.detail,
        })
    }
}

/// The middle one; of an even number, the mean of the two in the middle.
pub(crate) fn median(values: &[f64]) -> f64 {
    let mut values = values.to_vec();
    values.sort_by(f64::total_cmp);
    match values.len() {
        0 => f64::NAN,
        n if n % 2 == 1 => values[n / 2],
        n => f64::midpoint(values[n / 2 - 1], values[n / 2]),
    }
}
