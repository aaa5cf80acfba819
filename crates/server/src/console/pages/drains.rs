//! Drains: one is a picture that a person reads in two seconds.

use maud::{Markup, html};
use rehome_api::drain::{Drain, DrainTenant};

use super::frame::{self, Place, Viewer};
use super::{badge, tone, when, with_code};
use crate::console::format;

/// What the page of a drain shows.
pub(in crate::console) struct DrainView {
    pub(in crate::console) drain: Drain,
    /// Those at work.
    pub(in crate::console) moving: Vec<DrainTenant>,
    /// Those that were set aside, the first of them.
    pub(in crate::console) aside: Vec<DrainTenant>,
}

/// All drains.
pub(in crate::console) fn list(drains: &[Drain], viewer: &Viewer) -> Markup {
    let body = html! {
        h1 { "Drains" }
        @if let Some(drain) = drains.first() { (last_seen(drain)) }
        section aria-label="Drains, newest first" {
            @if drains.is_empty() {
                p { "There are no drains yet." }
                p class="soft" { code { "rehome drain plan --from STORE --to STORE" } " shows the plan of a drain." }
            } @else {
                table class="stack" {
                    thead { tr {
                        th { "From → to" } th { "State" } th class="number" { "Moved" } th { "Needs attention" } th { "Started" }
                    } }
                    tbody { @for drain in drains { (row(drain)) } }
                }
            }
        }
    };
    frame::page("Drains", Some(viewer), Place::Drains, None, &body)
}

fn way(drain: &Drain) -> String {
    let to: Vec<_> = drain.to.iter().map(|to| to.store.as_str()).collect();
    format!("{} → {}", drain.from.join(", "), to.join(", "))
}

fn row(drain: &Drain) -> Markup {
    html! {
        tr {
            td data-label="From → to" { a href={ "/drains/" (drain.id) } { (way(drain)) } }
            td data-label="State" { (badge(&drain.state)) }
            td class="number" data-label="Moved" { (format::count(drain.moved)) " of " (format::count(drain.tenants)) }
            td data-label="Needs attention" { @if drain.needs.is_empty() { "nothing" } @else { (with_code(&drain.needs.join("; "))) } }
            td class="time" data-label="Started" { (when(drain.created_at)) }
        }
    }
}

/// One drain.
pub(in crate::console) fn page(view: &DrainView, viewer: &Viewer) -> Markup {
    let drain = &view.drain;
    let live = format!("/console/live?drain={}", drain.id);
    let body = html! {
        h1 { "Drain: " (way(drain)) }
        @for (id, piece) in pieces(view) { div id=(id) { (piece) } }
    };
    frame::page("Drain", Some(viewer), Place::Drains, Some(&live), &body)
}

/// The parts that change.
pub(in crate::console) fn pieces(view: &DrainView) -> Vec<(&'static str, Markup)> {
    vec![
        ("drain-seen", last_seen(&view.drain)),
        ("drain-picture", picture(&view.drain)),
        ("drain-end", end(&view.drain)),
        ("drain-aside", tenants("Set aside", &view.aside)),
        ("drain-moving", tenants("Moving", &view.moving)),
    ]
}

/// What is shown is not of now.
fn last_seen(drain: &Drain) -> Markup {
    html! {
        @if let Some(at) = drain.last_seen_at {
            section class="notice bad" aria-labelledby="seen-title" {
                h2 id="seen-title" { "The control plane does not answer" }
                p { "This is what was seen last, at " (when(at)) ". Nothing is begun meanwhile." }
            }
        }
    }
}

/// Whether the stores can be switched off, once it has ended.
fn end(drain: &Drain) -> Markup {
    html! {
        @if let Some(statement) = &drain.statement {
            section class=(if statement.can_be_switched_off { "notice good" } else { "notice" }) aria-labelledby="end-title" {
                h2 id="end-title" {
                    @if statement.can_be_switched_off { (drain.from.join(", ")) " can be switched off" }
                    @else { (drain.from.join(", ")) " cannot be switched off yet" }
                }
                p {
                    (format::count(statement.moved)) " tenants moved, each compared with its source before its switch; "
                    (format::count(statement.set_aside)) " set aside, " (format::count(statement.stays)) " stay, "
                    (format::count(statement.not_begun)) " not started."
                }
                @if !statement.why_not.is_empty() { ul class="plain" { @for why in &statement.why_not { li { (with_code(why)) } } } }
            }
        }
    }
}

/// The parts of the bar, with their widths of a thousand.
fn parts(drain: &Drain) -> Vec<(&'static str, &'static str, u64, u64)> {
    let all = drain.tenants.max(1);
    let aside = drain.again + drain.set_aside;
    [
        ("moved", "moved", drain.moved),
        ("moving", "moving", drain.moving),
        ("aside", "set aside", aside),
        ("waiting", "waiting", drain.waiting),
    ]
    .map(|(class, name, tenants)| (class, name, tenants, tenants * 1_000 / all))
    .into()
}

fn picture(drain: &Drain) -> Markup {
    let parts = parts(drain);
    let label: Vec<_> =
        parts.iter().map(|(_, name, tenants, _)| format!("{tenants} {name}")).collect();
    let mut x = 0;
    let bars = parts.iter().map(|(class, _, _, width)| {
        let bar = html! { rect class=(class) x=(x) y="0" width=(width) height="40" {} };
        x += width;
        bar
    });
    let bars: Vec<_> = bars.collect();
    let is_over = drain.ended_at.is_some();
    html! {
        section class="answer" aria-label="State" {
            p class={ "headline " (if drain.needs.is_empty() { tone(&drain.state) } else { "warn" }) } role="status" {
                (badge(&drain.state))
                strong { (format::count(drain.moved)) " of " (format::count(drain.tenants)) " tenants moved" }
            }
            @for need in &drain.needs { p class="need" { strong { "Needs you: " } (with_code(need)) } }
            svg class="drain" viewBox="0 0 1000 40" preserveAspectRatio="none" role="img" aria-label=(label.join(", ")) {
                @for bar in bars { (bar) }
            }
            ul class="plain legend" {
                @for (class, name, tenants, _) in &parts { li { span class={ "key " (class) } {} (format::count(*tenants)) " " (name) } }
                @if drain.stays > 0 { li { (format::count(drain.stays)) " stay" } }
            }
            dl class="facts" {
                dt { "Rate" } dd { @match drain.tenants_per_second { Some(rate) => { (format::rate(rate)) " (tenants)" } None => { "–" } } }
                @if !is_over { dt { "Left" } dd { @match drain.eta_seconds { Some(eta) => { (format::seconds(eta)) } None => { "–" } } } }
                dt { "Events" } dd { (format::count(drain.events_moved)) " of " (format::count(drain.events)) }
                @if !is_over {
                    dt { "Cutovers" } dd {
                        @if drain.window_open { "may start now" }
                        @else { "wait for the window" @if let Some(at) = drain.window_opens_at { ", which opens at " (when(at)) } }
                    }
                    dt { "Worked on by" } dd { @if drain.workers.is_empty() { "no process" } @else { (drain.workers.join(", ")) } }
                }
                dt { "Begun" } dd { (when(drain.created_at)) " by " (drain.created_by) }
                @if let Some(at) = drain.ended_at { dt { "Ended" } dd { (when(at)) } }
                dt { "Drain" } dd class="mono" { (drain.id) }
            }
        }
    }
}

fn tenants(title: &str, tenants: &[DrainTenant]) -> Markup {
    html! {
        @if !tenants.is_empty() {
            section aria-label=(title) {
                h2 { (title) }
                table class="stack" {
                    thead { tr { th { "Tenant" } th { "To" } th class="number" { "Events" } th class="number" { "Tries" } th { "Why" } } }
                    tbody { @for row in tenants { (tenant(row)) } }
                }
            }
        }
    }
}

fn tenant(row: &DrainTenant) -> Markup {
    let id = row.tenant_id.to_string();
    html! {
        tr {
            td data-label="Tenant" {
                @match row.migration_id {
                    Some(migration) => { a class="mono id" href={ "/migrations/" (migration) } { (id) } }
                    None => { a class="mono id" href={ "/tenants/" (id) } { (id) } }
                }
            }
            td data-label="To" { (row.target_store.as_deref().unwrap_or("–")) }
            td class="number" data-label="Events" { (format::count(row.events)) }
            td class="number" data-label="Tries" { (row.tries) }
            td data-label="Why" { (with_code(row.why.as_deref().unwrap_or("–"))) }
        }
    }
}
