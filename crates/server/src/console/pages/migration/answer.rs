//! How it is, how far, what it needs, and what can be done.

use maud::{Markup, html};
use rehome_api::Migration;
use rehome_api::duration::pause;

use super::View;
use crate::console::format;
use crate::console::pages::confirm::{Action, label};
use crate::console::pages::frame::Viewer;
use crate::console::pages::runbook;
use crate::console::pages::{badge, tone, when, with_code};

/// One sentence; a screen reader says it when it changes.
pub(super) fn headline(view: &View) -> Markup {
    let migration = &view.migration;
    html! {
        p class={ "headline " (mood(migration)) } role="status" {
            (badge(&migration.state))
            strong { (sentence(migration)) }
        }
    }
}

/// The colour of the answer: whether an operator has to do something.
fn mood(migration: &Migration) -> &'static str {
    match migration.state.as_str() {
        _ if migration.open_violation.is_some() => "bad",
        "failed" => "bad",
        _ if !migration.needs.is_empty() => "warn",
        state => tone(state),
    }
}

fn sentence(migration: &Migration) -> String {
    let (source, target) = (&migration.source_store, &migration.target_store);
    match migration.state.as_str() {
        "pending" => format!("Preparing {target}. Writes go to {source}."),
        "bulk_copy" => format!("The history is being copied. Writes go to {source}."),
        _ if migration.open_violation.is_some() => format!(
            "The copy in {target} differs from {source}: no switch until it is repaired. Writes go to {source}."
        ),
        "dual_write" if migration.cutover_requested => format!(
            "A switch is requested: it begins as soon as {target} is up to date and verified, and can be withdrawn until then. Writes go to {source}."
        ),
        "dual_write" if !migration.needs.is_empty() => format!(
            "New writes are mirrored to {target}, which is ready: it waits for you to switch. Writes go to {source}."
        ),
        "dual_write" => format!(
            "New writes are mirrored to {target}, which is read back and verified. Writes go to {source}."
        ),
        "cutover_paused" => "Switching: writes wait for a moment.".to_owned(),
        "migrated" => format!("Done. Writes go to {target}."),
        "failed" => {
            format!("Stopped by a fault. Writes go to {source} as before; nothing is lost.")
        }
        "rolled_back" => format!("Aborted. Writes go to {source}."),
        "paused" => format!("Paused. Writes go to {source}."),
        other => other.to_owned(),
    }
}

/// How far it is: the bar has the colour of the state, so that a full one is not taken for a success.
pub(super) fn progress(view: &View) -> Markup {
    let migration = &view.migration;
    let percent = migration.progress_percent;
    let moves = view.moves();
    html! {
        @if let Some(percent) = percent {
            progress class=(mood(migration)) max="100" value=(format!("{percent:.2}")) aria-label="Copied" { (format!("{percent:.2} %")) }
        }
        dl class="numbers" {
            div { dt { "In " (migration.target_store) } dd {
                @if let Some(percent) = percent { strong { (format!("{percent:.1} %")) } }
                small { (format::known(migration.events_copied)) " of " (format::known(migration.events_total)) " events" }
            } }
            @if moves {
                div { dt { "Behind" } dd {
                    strong { (format::known(migration.sync_lag_events)) }
                    small { "events" @if migration.sync_lag_events.is_some() { (last_seen(migration)) } }
                } }
                div { dt { "Left" } dd {
                    strong { @match migration.eta_seconds.filter(|_| migration.state == "bulk_copy") { Some(eta) => { (format::seconds(eta)) } None => { "–" } } }
                    (pace(view))
                } }
            }
            div { dt { "Read back" } dd {
                strong { (format::known(migration.read_back_seq)) }
                small { "of " (format::known(migration.events_total)) " events" }
            } }
            @if let Some(last) = migration.last_cutover.as_ref() {
                div { dt { "Write pause" } dd { strong { (pause(last.pause_ms)) } small { (last.outcome.replace('_', " ")) } } }
            }
            div { dt { (if migration.completed_at.is_some() { "Took" } else { "Running for" }) } dd {
                strong { (format::seconds(took(view))) }
                small { "since the copy started" }
            } }
            @if moves {
                div { dt { "Writers waiting here" } dd { strong { (format::count(view.samples.last().map_or(0, |last| last.waiting))) } small { "now" } } }
            }
        }
    }
}

/// How fast it is, and how much it gives way to writers: that comes and goes, and moves nothing on the page.
fn pace(view: &View) -> Markup {
    let slowed = view.migration.throttle_percent.filter(|percent| *percent < 100);
    let why = view.migration.throttle_reason.as_ref();
    let why = why.filter(|_| slowed.is_some()).map(|why| why.replace('_', " "));
    html! {
        small title=[why] {
            @match view.samples.last() { Some(last) => { (format::rate(last.rate)) } None => { "no rate yet" } }
            @if let Some(percent) = slowed { ", slowed to " (percent) " %" }
        }
    }
}

#[allow(clippy::cast_precision_loss, reason = "a length of time for people")]
fn took(view: &View) -> f64 {
    let migration = &view.migration;
    let started = migration.started_at.unwrap_or(migration.created_at);
    let ended = migration.completed_at.unwrap_or(view.now);
    (ended.0 - started.0).max(0) as f64 / 1e6
}

/// How old a lag is that is inferred: what the one store has more than the other was last seen to have.
fn last_seen(migration: &Migration) -> Markup {
    let target = migration.target_unanswered_since.and(migration.target_last_seen_at);
    let source = migration.source_unanswered_since.and(migration.source_last_seen_at);
    html! {
        @for (store, at) in [("target", target), ("source", source)] {
            @if let Some(at) = at { ", " (store) " last read " (when(at)) }
        }
    }
}

/// What it needs, why it waits, and what else is to be known about it.
pub(super) fn now(view: &View) -> Markup {
    let migration = &view.migration;
    let (source, target) = (&migration.source_store, &migration.target_store);
    html! {
        @for need in &migration.needs { p class="need" { strong { "Needs you: " } (with_code(need)) } }
        @if let Some(error) = &migration.error { p { strong { "Why: " } (with_code(error)) } }
        // A violation without a repair is part of what it needs.
        @if let Some(open) = migration.open_violation.as_ref().filter(|open| !migration.needs.contains(open)) { p { strong { "No switch: " } (with_code(open)) } }
        @if let Some(until) = migration.return_until {
            p { "The tenant can return to " (source) " until " strong { (when(until)) } ", with " code { "rehome migration return " (migration.id) } "." }
        }
        @if let Some(why) = &migration.waiting {
            p { strong { "It waits" @if let Some(since) = migration.waiting_since { " since " (when(since)) } ": " } (with_code(why)) }
        }
        @if let Some(hooks) = &migration.hooks { p { (with_code(hooks)) } }
        @for (store, since) in migration.unanswered() {
            p {
                strong { "Store " (store) " has not answered since " (when(since)) "." }
                @if migration.progress_percent.is_some() { " Its numbers are the last known ones." }
            }
        }
        @if migration.progress_percent.is_none() && (view.works() || migration.state == "paused") {
            p { "The progress between " (source) " and " (target) " is unknown." }
        }
        p class="soft" {
            @match (&view.holder, view.works()) {
                (Some(_), _) if view.here => { "This server works on it." }
                (Some(holder), _) => { "Worked on by " span class="mono" { (holder) } "; numbers are read from the stores." }
                (None, true) => { strong { "No process works on it at the moment." } " A server or " code { "rehome migration resume" } " takes it over." }
                (None, false) => { "No process works on it: none is needed." }
            }
            " " a href={ "/console/checklists/" (migration.id) } { "Checklists" }
            @if let Some((alert, words)) = explained(migration) {
                ", " (runbook::link(&view.runbook, alert, words))
            }
            "."
        }
    }
}

/// The section of the runbook that explains a state which worries people.
fn explained(migration: &Migration) -> Option<(&'static str, &'static str)> {
    match migration.state.as_str() {
        _ if migration.open_violation.is_some() => {
            Some(("MigrationVerificationViolations", "what to do about violations"))
        }
        "failed" => Some(("MigrationFailed", "what to do about a failure")),
        "paused" => Some(("MigrationPausedLong", "what a long pause means")),
        _ => None,
    }
}

/// Whether it is the next step. No switch is proposed to a store that does not answer.
fn is_proposed(action: Action, migration: &Migration) -> bool {
    match action {
        Action::CutOver => migration.unanswered().is_empty(),
        Action::Resume | Action::Repair | Action::Acknowledge => true,
        _ => false,
    }
}

pub(super) fn actions(view: &View, viewer: &Viewer) -> Markup {
    let id = view.migration.id.to_string();
    let mut fitting: Vec<Action> = Action::ALL
        .into_iter()
        .filter(|action| {
            let allowed = &view.migration.allowed_actions;
            viewer.operates && allowed.iter().any(|word| word == action.as_str())
        })
        .collect();
    // The next step comes first.
    let next = match &view.migration.open_violation {
        Some(_) => fitting.iter().copied().find(|action| *action == Action::Repair),
        None => fitting.first().copied(),
    };
    let next = next.filter(|action| is_proposed(*action, &view.migration));
    fitting.sort_by_key(|action| Some(*action) != next);
    html! {
        @if !fitting.is_empty() {
            div role="group" aria-label="Actions" class="actions" {
                @for action in &fitting {
                    @let class = if *action == Action::Abort { "button risky" } else if Some(*action) == next { "button first" } else { "button" };
                    a class=(class) href={ "/console/migrations/" (id) "/" (action.as_str()) } { (label(*action)) }
                }
            }
        }
    }
}
