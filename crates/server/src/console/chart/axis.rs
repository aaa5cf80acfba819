//! The numbers and times at the edges of a chart.

use maud::{Markup, html};
use rehome_api::time::Time;

use super::{Span, WHOLE, percent};
use crate::console::format;

/// Seconds between two times below a chart.
const STEPS: [i64; 8] = [5, 10, 15, 30, 60, 120, 300, 600];
/// The most times below a chart: more do not fit on a phone.
const TIMES: i64 = 4;
/// As near to an edge, in percent, a time is not in the middle of its place.
const EDGE: f64 = 8.0;

/// The next of 1, 2, 5 times a power of ten.
pub(super) fn nice(value: f64) -> f64 {
    if value <= 0.0 {
        return 1.0;
    }
    let power = 10_f64.powf(value.log10().floor());
    let tops = [1.0, 2.0, 5.0, 10.0].map(|step| step * power);
    tops.into_iter().find(|top| *top >= value).unwrap_or(value)
}

/// A number with its power of a thousand.
pub(super) fn short(value: f64) -> String {
    let (value, unit) = match value {
        v if v >= 1e6 => (v / 1e6, "M"),
        v if v >= 1e4 => (v / 1e3, "k"),
        v => (v, ""),
    };
    let text = if value < 100.0 { format!("{value:.2}") } else { format!("{value:.0}.") };
    format!("{}{unit}", text.trim_end_matches('0').trim_end_matches('.'))
}

/// Round times below the lines. The script writes them as the reader's.
pub(super) fn times(span: &Span) -> Markup {
    let (from, to) = (span.from.0.div_euclid(1_000_000), span.to.0.div_euclid(1_000_000));
    let step = STEPS.into_iter().find(|step| (to - from) / step < TIMES).unwrap_or(STEPS[7]);
    let first = from + (-from).rem_euclid(step);
    html! {
        @for second in (0..TIMES).map(|number| first + number * step).filter(|second| *second <= to) {
            @let at = Time(second * 1_000_000);
            @let x = span.x(at) * 100.0;
            @let anchor = if x < EDGE { "start" } else if x > 100.0 - EDGE { "end" } else { "middle" };
            text class="ink" x=(percent(x)) y=(WHOLE - 6) text-anchor=(anchor) data-at=(second * 1_000) { (format::clock(at)) }
        }
    }
}
