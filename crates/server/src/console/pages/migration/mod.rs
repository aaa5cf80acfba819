//! One migration: the answer first (how it is, what it needs, what can be done), then the evidence.

mod answer;
mod charts;
mod evidence;
mod way;

use maud::{Markup, html};
use rehome_api::time::Time;
use rehome_api::{Cutover, LogEntry, Migration, Options};
use rehome_observe::Sample;

use super::frame::{self, Place, Viewer};
use crate::console::format;

/// What the page shows.
pub(in crate::console) struct View {
    pub(in crate::console) migration: Migration,
    pub(in crate::console) options: Options,
    /// Who works on it.
    pub(in crate::console) holder: Option<String>,
    /// This process does.
    pub(in crate::console) here: bool,
    pub(in crate::console) log: Vec<LogEntry>,
    pub(in crate::console) cutovers: Vec<Cutover>,
    pub(in crate::console) samples: Vec<Sample>,
    /// Where the alerts are explained.
    pub(in crate::console) runbook: String,
    /// Now, for ages.
    pub(in crate::console) now: Time,
}

impl View {
    /// Whether it moves events at the moment.
    fn moves(&self) -> bool {
        ["bulk_copy", "dual_write", "cutover_paused"].contains(&self.migration.state.as_str())
    }

    /// Whether no cutover of it can come any more.
    fn is_over(&self) -> bool {
        ["migrated", "failed", "rolled_back"].contains(&self.migration.state.as_str())
    }

    /// Whether there is work left for a process.
    fn works(&self) -> bool {
        self.moves() || self.migration.state == "pending"
    }
}

/// The page.
pub(in crate::console) fn page(view: &View, viewer: &Viewer) -> Markup {
    let migration = &view.migration;
    let id = migration.id.to_string();
    let live = format!("/console/live?migration={id}");
    let mut pieces = pieces(view, viewer).into_iter();
    let answer: Vec<_> = pieces.by_ref().take(ANSWER).collect();
    let body = html! {
        h1 { (migration.source_store) " → " (migration.target_store) }
        dl class="ids" {
            div { dt { "Tenant" } dd { a class="mono" href={ "/tenants/" (migration.tenant_id) } { (migration.tenant_id) } } }
            div { dt { "Migration" } dd class="mono" { (id) } }
        }
        section class="answer" aria-label="State" {
            @for (id, piece) in answer { div id=(id) { (piece) } }
        }
        @for (id, piece) in pieces { div id=(id) { (piece) } }
    };
    let title = format!(
        "{} {}",
        format::short(&migration.tenant_id.to_string()),
        format::state(&migration.state)
    );
    frame::page(&title, Some(viewer), Place::Inside, Some(&live), &body)
}

/// So many pieces are the answer; the others are the evidence.
const ANSWER: usize = 4;

/// The parts that change.
pub(in crate::console) fn pieces(view: &View, viewer: &Viewer) -> Vec<(&'static str, Markup)> {
    vec![
        ("headline", answer::headline(view)),
        ("numbers", answer::progress(view)),
        ("now", answer::now(view)),
        ("actions", answer::actions(view, viewer)),
        ("phases", way::phases(view)),
        ("charts", charts::charts(view)),
        ("cutovers", evidence::cutovers(view)),
        ("verification", evidence::verification(view)),
        ("options", evidence::options(view)),
        ("log", evidence::log(view)),
    ]
}
