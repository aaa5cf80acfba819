//! The last minutes, with the phases and the cutovers marked in them.

use maud::{Markup, html};
use rehome_api::time::Time;
use rehome_observe::Sample;

use super::{View, way};
use crate::console::chart::{Chart, Phase, Series, Span, cut};

pub(super) fn charts(view: &View) -> Markup {
    html! {
        section aria-labelledby="charts-title" {
            h2 id="charts-title" { "The last minutes" }
            @if let (Some(first), Some(last)) = (view.samples.first(), view.samples.last()) {
                @let span = span(view, Time(first.at.micros()), Time(last.at.micros()));
                div class="charts" { @for chart in drawn(&view.samples) { (chart.figure(&span)) } }
            } @else {
                p class="soft" { "There are no recent samples: charts start when a server samples the migration, and end with it." }
            }
        }
    }
}

const SECOND: i64 = 1_000_000;
/// Time that a chart shows at least, in microseconds: the first samples do not fill it.
const LEAST: i64 = 30 * SECOND;
/// Samples end with the work; what ended it is shown for so long, if it came so soon after them.
const AFTER: i64 = 3 * SECOND;
const SOON: i64 = 60 * SECOND;

fn span(view: &View, first: Time, last: Time) -> Span {
    let phases = way::history(&view.log).into_iter();
    let ended = phases.clone().next_back().map(|(at, _)| at.0);
    let ended = ended.filter(|at| *at > last.0 - AFTER && *at < last.0 + SOON);
    let to = ended.map_or(last.0, |at| last.0.max(at + AFTER));
    Span {
        from: Time(first.0.min(to - LEAST)),
        to: Time(to),
        phases: phases.map(|(at, name)| Phase { at, name, label: label(name) }).collect(),
        cuts: view
            .cutovers
            .iter()
            .map(|one| cut(one.started_at, one.pause_ms, &one.outcome))
            .collect(),
    }
}

/// Shorter than what a page calls it: it has little room.
fn label(phase: &'static str) -> &'static str {
    match phase {
        "pending" => "preparing",
        "bulk_copy" => "copying",
        "dual_write" => "mirroring",
        "cutover_paused" => "switching",
        "rolled_back" => "aborted",
        other => other,
    }
}

fn drawn(samples: &[Sample]) -> Vec<Chart> {
    let line = |name: &'static str, pick: &dyn Fn(&Sample) -> Option<f64>| Series {
        name,
        points: samples.iter().map(|sample| (Time(sample.at.micros()), pick(sample))).collect(),
    };
    let chart = |key, label, unit, series| Chart {
        key,
        label,
        unit,
        top: None,
        series,
        absent: "Nothing yet.",
    };
    #[allow(clippy::cast_precision_loss, reason = "pixels of a chart")]
    let number = |count: u64| Some(count as f64);
    #[allow(clippy::cast_precision_loss, reason = "pixels of a chart")]
    let percent = |sample: &Sample| match sample.total {
        0 => Some(100.0),
        total => Some(sample.copied as f64 * 100.0 / total as f64),
    };
    let latency = vec![
        line("p50", &|sample| sample.append_p50_ms),
        line("p99", &|sample| sample.append_p99_ms),
    ];
    let mut charts = vec![
        Chart {
            top: Some(100.0),
            ..chart("copied", "In the target", " %", vec![line("", &percent)])
        },
        chart("rate", "Events to the target", "/s", vec![line("", &|sample| Some(sample.rate))]),
        chart("lag", "Behind, events", "", vec![line("", &|sample| number(sample.lag))]),
        Chart {
            absent: "No appends of this tenant pass through this server.",
            ..chart("latency", "Append latency", " ms", latency)
        },
    ];
    if samples.iter().any(|sample| sample.failures > 0) {
        let failed = vec![line("", &|sample| number(sample.failures))];
        charts.push(chart("failures", "Events the mirror failed to write", "", failed));
    }
    charts
}
