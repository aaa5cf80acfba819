//! Charts, as SVG: lines over the last minutes, with the migration's phases and cutovers marked.
//!
//! The style sheet sets the colours, so that dark and light pages, and users' own styles, work. Texts are placed in
//! percent and drawn in pixels: a chart on a phone is narrower, and its letters are as large. The lines lie in a box of
//! [`FULL`] by [`FULL`] that is stretched; the script reads the values under the pointer from them.

mod axis;
#[cfg(test)]
mod tests;

use std::fmt::Write as _;

use maud::{Markup, PreEscaped, html};
use rehome_api::time::Time;

/// Width and height of the box of the lines.
const FULL: f64 = 10_000.0;
/// Pixels above the lines: the phases.
const ABOVE: u32 = 24;
/// Pixels of the lines.
const HIGH: u32 = 120;
/// Pixels of the whole: the times are below.
const WHOLE: u32 = ABOVE + HIGH + 22;
/// Percent of the width that a letter of a label takes on a phone.
const LETTER: f64 = 2.2;

/// One line of a chart.
pub(super) struct Series {
    /// What it is, for the legend; empty if it is the only one.
    pub(super) name: &'static str,
    /// The value at a time; `None` is a gap.
    pub(super) points: Vec<(Time, Option<f64>)>,
}

/// A phase that began, or a cutover.
pub(super) struct Phase {
    pub(super) at: Time,
    /// Its name: also the class of its colour.
    pub(super) name: &'static str,
    /// What people read.
    pub(super) label: &'static str,
}

/// An attempt to switch.
pub(super) struct Cut {
    pub(super) at: Time,
    pub(super) label: String,
}

/// What charts of one migration share.
pub(super) struct Span {
    pub(super) from: Time,
    pub(super) to: Time,
    /// In the order of time.
    pub(super) phases: Vec<Phase>,
    pub(super) cuts: Vec<Cut>,
}

/// A chart.
pub(super) struct Chart {
    /// For the script: the same chart of the next moment.
    pub(super) key: &'static str,
    pub(super) label: &'static str,
    pub(super) unit: &'static str,
    /// The top, if it is always the same.
    pub(super) top: Option<f64>,
    pub(super) series: Vec<Series>,
    /// What is said if there is nothing to draw.
    pub(super) absent: &'static str,
}

impl Span {
    /// Where in the box it is, and where in percent of the width.
    fn x(&self, at: Time) -> f64 {
        #[allow(clippy::cast_precision_loss, reason = "pixels of a chart")]
        let part = (at.0 - self.from.0) as f64 / (self.to.0 - self.from.0).max(1) as f64;
        part.clamp(0.0, 1.0)
    }
}

impl Chart {
    /// A figure that takes the same room with and without values.
    pub(super) fn figure(&self, span: &Span) -> Markup {
        let values = || self.series.iter().flat_map(|s| s.points.iter().filter_map(|(_, v)| *v));
        let top = self.top.unwrap_or_else(|| axis::nice(values().fold(0.0, f64::max)));
        let drawn = values().next().is_some();
        html! {
            figure class="chart" data-chart=(self.key) data-unit=(self.unit) data-top=(top)
                data-from=(span.from.0 / 1_000) data-to=(span.to.0 / 1_000) {
                figcaption {
                    span class="what" { (self.label) }
                    @if drawn { span class="reading" { (self.last()) } }
                }
                span class="spoken" role="status" {}
                @if drawn { (self.svg(span, top)) } @else { p class="absent" { (self.absent) } }
            }
        }
    }

    /// The last values, with the legend.
    fn last(&self) -> Markup {
        html! {
            @for (index, one) in self.series.iter().enumerate() {
                @if let Some(value) = one.points.iter().rev().find_map(|(_, value)| *value) {
                    span class={ "value value-" (index + 1) } {
                        @if !one.name.is_empty() { span class={ "key key-" (index + 1) } {} (one.name) " " }
                        strong { (axis::short(value)) } (self.unit)
                    }
                }
            }
        }
    }

    fn svg(&self, span: &Span, top: f64) -> Markup {
        html! {
            svg width="100%" height=(WHOLE) role="img" tabindex="0" aria-label=(self.description()) {
                (self.grid(top))
                (phases(span))
                svg x="0" y=(ABOVE) width="100%" height=(HIGH) viewBox={ "0 0 " (FULL) " " (FULL) } preserveAspectRatio="none" {
                    @for (index, one) in self.series.iter().enumerate() { (lines(one, index + 1, span, top)) }
                }
                (cuts(span))
                (axis::times(span))
            }
        }
    }

    /// Lines at nothing, the half and the whole, each with its value above it.
    fn grid(&self, top: f64) -> Markup {
        html! {
            @for (part, y) in [(1.0, ABOVE), (0.5, ABOVE + HIGH / 2), (0.0, ABOVE + HIGH)] {
                line class="grid" x1="0" x2="100%" y1=(y) y2=(y) {}
                @if part > 0.0 { text class="ink" x="0" y=(y + 13) { (axis::short(top * part)) (self.unit) } }
            }
        }
    }

    /// The chart in words: the last and the highest values.
    fn description(&self) -> String {
        let shown = self.series.iter().filter_map(|one| {
            let known = || one.points.iter().filter_map(|(_, value)| *value);
            let (last, most) = (known().next_back()?, known().fold(0.0, f64::max));
            let name = if one.name.is_empty() { "" } else { " of " };
            let (last, most, unit) = (axis::short(last), axis::short(most), self.unit);
            Some(format!("last{name}{} {last}{unit}, highest {most}{unit}", one.name))
        });
        format!("{}: {}", self.label, shown.collect::<Vec<_>>().join("; "))
    }
}

/// Unbroken runs of known values: a line each, and the area under the first series.
fn lines(series: &Series, number: usize, span: &Span, top: f64) -> Markup {
    let runs = series.points.split(|(_, value)| value.is_none()).filter(|run| !run.is_empty());
    html! {
        @for run in runs {
            @let points = points(run, span, top);
            @if number == 1 && run.len() > 1 {
                @let (first, last) = (span.x(run[0].0) * FULL, span.x(run[run.len() - 1].0) * FULL);
                polygon class="area-1" points=(format!("{first:.0},{FULL} {points}{last:.0},{FULL}")) {}
            }
            polyline class={ "line line-" (number) } points=(points.trim_end()) {}
        }
    }
}

fn points(run: &[(Time, Option<f64>)], span: &Span, top: f64) -> String {
    run.iter().filter_map(|(at, value)| Some((at, (*value)?))).fold(
        String::new(),
        |mut text, (at, value)| {
            let (x, y) = (span.x(*at) * FULL, (1.0 - (value / top).min(1.0)) * FULL);
            // To a text: it cannot fail.
            let _ = write!(text, "{x:.0},{y:.0} ");
            text
        },
    )
}

/// A strip above the lines, in the colours of the phases, with their names where there is room.
fn phases(span: &Span) -> Markup {
    let ends = span.phases.iter().skip(1).map(|next| next.at).chain([span.to]);
    html! {
        @for (phase, end) in span.phases.iter().zip(ends) {
            @let (from, to) = (span.x(phase.at) * 100.0, span.x(end) * 100.0);
            @if to > from {
                rect class={ "phase " (phase.name) } x=(percent(from)) y=(ABOVE - 5) width=(percent(to - from)) height="4" {
                    title { (phase.label) }
                }
                @if fits(phase.label, to - from) { text class="ink" x=(percent(from)) y=(ABOVE - 10) { (phase.label) } }
            }
        }
    }
}

/// A cutover is a line through the chart, with what it took.
fn cuts(span: &Span) -> Markup {
    html! {
        @for cut in span.cuts.iter().filter(|cut| cut.at >= span.from && cut.at <= span.to) {
            @let at = span.x(cut.at) * 100.0;
            line class="cut" x1=(percent(at)) x2=(percent(at)) y1=(ABOVE - 5) y2=(ABOVE + HIGH) {}
            @if fits(&cut.label, 100.0 - at) {
                text class="cut" x=(percent(at)) dx="5" y=(ABOVE + HIGH / 2 - 8) { (cut.label) }
            } @else {
                text class="cut" x=(percent(at)) dx="-5" y=(ABOVE + HIGH / 2 - 8) text-anchor="end" { (cut.label) }
            }
        }
    }
}

fn percent(part: f64) -> PreEscaped<String> {
    PreEscaped(format!("{part:.2}%"))
}

fn fits(label: &str, percent: f64) -> bool {
    #[allow(clippy::cast_precision_loss, reason = "letters of a label")]
    let wide = label.len() as f64 * LETTER;
    wide <= percent
}

/// What a cutover took, for the label.
pub(super) fn cut(at: Time, pause_ms: f64, outcome: &str) -> Cut {
    let label = match outcome {
        "under_way" => "cutover".to_owned(),
        "succeeded" => format!("cutover, {}", rehome_api::duration::pause(pause_ms)),
        _ => "cutover rolled back".to_owned(),
    };
    Cut { at, label }
}
