//! The Prometheus text format 0.0.4, converted from OpenMetrics. The samples are the same; the formats differ
//! in the names of counter families (here those of the samples), and OpenMetrics ends
//! with a marker.
//!
//! Source: <https://prometheus.io/docs/instrumenting/exposition_formats/>.

use std::fmt::Write as _;

/// The same samples, for clients that do not request OpenMetrics.
pub(super) fn from_open_metrics(open_metrics: &str) -> String {
    let mut text = String::with_capacity(open_metrics.len());
    let mut help: Option<(&str, &str)> = None;
    for line in open_metrics.lines() {
        if line == "# EOF" {
            break;
        }
        if let Some(rest) = line.strip_prefix("# HELP ") {
            help = rest.split_once(' ');
        } else if let Some((name, kind)) =
            line.strip_prefix("# TYPE ").and_then(|rest| rest.split_once(' '))
        {
            let total = if kind == "counter" { "_total" } else { "" };
            if let Some((_, words)) = help.take() {
                let _ = writeln!(text, "# HELP {name}{total} {words}");
            }
            let _ = writeln!(text, "# TYPE {name}{total} {kind}");
        } else {
            text.push_str(line);
            text.push('\n');
        }
    }
    text
}
