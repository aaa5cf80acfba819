//! The phases: which are behind it, with how long each took.

use maud::{Markup, html};
use rehome_api::LogEntry;
use rehome_api::time::Time;

use super::View;
use crate::console::format;
use crate::console::pages::when;

/// The facts that enter a phase.
const ENTERS: [(&str, &str); 9] = [
    ("started", "pending"),
    ("copy_started", "bulk_copy"),
    ("copy_completed", "dual_write"),
    ("cutover_started", "cutover_paused"),
    ("cutover_rolled_back", "dual_write"),
    ("switched", "migrated"),
    ("failed", "failed"),
    ("aborted", "rolled_back"),
    ("paused", "paused"),
];

/// The phase that a fact enters. After a pause it is the one before it.
fn entered(entry: &LogEntry) -> Option<&'static str> {
    ENTERS.iter().find(|(fact, _)| *fact == entry.event).map(|(_, phase)| *phase)
}

/// The phases in the order of time, a resumed one again.
pub(super) fn history(log: &[LogEntry]) -> Vec<(Time, &'static str)> {
    let mut phases: Vec<(Time, &'static str)> = Vec::new();
    for entry in log {
        let phase = match entry.event.as_str() {
            "resumed" => {
                phases.iter().rev().map(|(_, phase)| *phase).find(|phase| *phase != "paused")
            }
            _ => entered(entry),
        };
        if let Some(phase) = phase {
            phases.push((entry.at, phase));
        }
    }
    phases
}

pub(super) fn phases(view: &View) -> Markup {
    let state = view.migration.state.as_str();
    let way = ["pending", "bulk_copy", "dual_write", "cutover_paused", "migrated"];
    let history = history(&view.log);
    let at = |phase: &str| history.iter().rev().find(|(_, name)| *name == phase).map(|(at, _)| *at);
    // A migration that left the way is shown where it left it.
    let reached = way.iter().rposition(|phase| at(phase).is_some()).unwrap_or(0);
    let left = !way.contains(&state);
    let here = way.iter().position(|phase| *phase == state).unwrap_or(reached);
    html! {
        section aria-labelledby="phases-title" {
            h2 id="phases-title" { "Phases" }
            ol class="phases" {
                @for (index, phase) in way.iter().enumerate() {
                    @let is_here = index == here;
                    @let class = match () {
                        () if is_here && left && state == "paused" => "held",
                        () if is_here && left && state == "rolled_back" => "ended",
                        () if is_here && left => "bad",
                        () if is_here && *phase != "migrated" => "now",
                        () if index <= here => "done",
                        () => "",
                    };
                    li class=(class) aria-current=[is_here.then_some("step")] {
                        (format::state(phase))
                        @if is_here && left { ", then " (format::state(state)) }
                        small { @match at(phase).filter(|_| index <= here) { Some(at) => { (when(at)) } None => { "not yet" } } }
                    }
                }
            }
        }
    }
}
