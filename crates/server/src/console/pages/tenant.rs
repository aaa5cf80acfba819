//! One tenant: the answer first (where it lives, what it needs, what can be done), then the evidence.

use maud::{Markup, html};
use rehome_api::drain::{Notice, TenantRow};
use rehome_api::{Migration, Tenant, TenantInStore};
use rehome_ports::Checkpoint;

use super::confirm::{Action, label};
use super::frame::{self, Place, Viewer};
use super::overview::{self, Named};
use super::{badge, when, with_code};
use crate::console::format;

/// What the page shows.
pub(in crate::console) struct TenantView {
    pub(in crate::console) tenant: Tenant,
    pub(in crate::console) row: TenantRow,
    pub(in crate::console) pin: Notice,
    /// Newest first, one more than are shown if there are more.
    pub(in crate::console) migrations: Vec<Migration>,
    /// One more than are shown if there are more; `None`: the viewer may not read the tenant's events.
    pub(in crate::console) checkpoints: Option<Vec<Checkpoint>>,
}

/// Migrations and checkpoints that the page lists of each.
pub(in crate::console) const LISTED: usize = 20;

impl TenantView {
    /// Its last migration, unless that has ended for good.
    fn open(&self) -> Option<&Migration> {
        let ended = ["migrated", "rolled_back"];
        self.tenant.migration.as_ref().filter(|last| !ended.contains(&last.state.as_str()))
    }

    fn needs(&self) -> &[String] {
        self.tenant.migration.as_ref().map_or(&[], |last| &last.needs)
    }
}

/// The page.
pub(in crate::console) fn page(view: &TenantView, viewer: &Viewer) -> Markup {
    let id = view.tenant.tenant_id;
    let live = format!("/console/live?tenant={id}");
    let mut pieces = pieces(view, viewer).into_iter();
    let answer: Vec<_> = pieces.by_ref().take(ANSWER).collect();
    let body = html! {
        h1 { "Tenant" @if let Some(name) = &view.row.name { " " (name) } }
        dl class="ids" { div { dt { "Id" } dd class="mono" { (id) } } }
        section class="answer" aria-label="State" {
            @for (id, piece) in answer { div id=(id) { (piece) } }
        }
        @for (id, piece) in pieces { div id=(id) { (piece) } }
    };
    let title = format!("Tenant {}", format::short(&id.to_string()));
    frame::page(&title, Some(viewer), Place::Tenants, Some(&live), &body)
}

/// So many pieces are the answer; the others are the evidence.
const ANSWER: usize = 4;

/// The parts that change.
pub(in crate::console) fn pieces(
    view: &TenantView,
    viewer: &Viewer,
) -> Vec<(&'static str, Markup)> {
    vec![
        ("headline", headline(view)),
        ("numbers", numbers(view)),
        ("now", now(view)),
        ("actions", actions(view, viewer)),
        ("copies", copies(&view.tenant.stores)),
        ("moves", moves(view)),
        ("checkpoints", checkpoints(view)),
    ]
}

/// One sentence; a screen reader says it when it changes.
fn headline(view: &TenantView) -> Markup {
    let mood = match view.open() {
        _ if !view.tenant.problems.is_empty() => "bad",
        Some(last) if last.state == "failed" => "bad",
        _ if !view.needs().is_empty() => "warn",
        Some(_) => "busy",
        None => "good",
    };
    html! {
        p class={ "headline " (mood) } role="status" { strong { (sentence(view)) } }
    }
}

fn sentence(view: &TenantView) -> String {
    let store = &view.tenant.store;
    if view.row.removing.is_some() {
        return format!(
            "Its removal from {store} is not complete: it has neither readers nor writers."
        );
    }
    let Some(last) = view.open() else { return format!("Lives in {store}. Writes go there.") };
    let target = &last.target_store;
    match last.state.as_str() {
        "cutover_paused" => format!("Is being switched to {target}: writes wait for a moment."),
        "paused" => format!("Lives in {store}. Its move to {target} is paused."),
        "failed" => format!("Lives in {store}. Its move to {target} failed."),
        _ => format!("Lives in {store}, and moves to {target}. Writes go to {store}."),
    }
}

fn numbers(view: &TenantView) -> Markup {
    let TenantView { tenant, row, migrations, .. } = view;
    let more = migrations.len() > LISTED;
    html! {
        dl class="numbers" {
            div { dt { "Events" } dd { strong { (format::known(tenant.seq)) } small { "in " (tenant.store) } } }
            div { dt { "Migrations" } dd {
                strong { (migrations.len().min(LISTED)) @if more { "+" } }
                small { @match &row.state { Some(state) => { (format::state(state)) } None => { "never moved" } } }
            } }
            div { dt { "Pinned" } dd {
                @if view.pin.there { strong { "yes" } small { "no drain moves it" } }
                @else { strong { "no" } small { "drains may move it" } }
            } }
        }
    }
}

/// What it needs, where it can return to, and why it stays.
fn now(view: &TenantView) -> Markup {
    let TenantView { tenant, pin, .. } = view;
    html! {
        @for problem in &tenant.problems { p class="need" { (with_code(problem)) } }
        @for need in view.needs() { p class="need" { strong { "Needs you: " } (with_code(need)) } }
        @if let Some((last, until)) = tenant.migration.as_ref().and_then(|last| Some((last, last.return_until?))) {
            p { "It can return to " (last.source_store) " until " strong { (when(until)) } ", with " code { "rehome migration return " (last.id) } "." }
        }
        @if let Some(last) = view.open() {
            p { "Its migration: " (badge(&last.state)) " " a href={ "/migrations/" (last.id) } { (last.source_store) " → " (last.target_store) } }
        }
        @if pin.there {
            p {
                "Pinned" @if let Some(by) = &pin.by { " by " (who(by)) } @if let Some(since) = pin.since { ", " (when(since)) }
                @if let Some(why) = pin.why.as_ref().filter(|why| !why.is_empty()) { ": " (why) }
                ". " code { "rehome tenant unpin " (tenant.tenant_id) } " removes the pin."
            }
        }
    }
}

/// The actor without the reason, which is written behind it.
fn who(by: &str) -> &str {
    by.split_once(": ").map_or(by, |(who, _)| who)
}

fn actions(view: &TenantView, viewer: &Viewer) -> Markup {
    let id = view.tenant.tenant_id;
    let last = view.tenant.migration.as_ref();
    let back = Action::Return;
    let returns = last.filter(|last| last.allowed_actions.iter().any(|one| one == back.as_str()));
    html! {
        @if viewer.operates && view.row.removing.is_none() {
            div role="group" aria-label="Actions" class="actions" {
                @match view.open() {
                    Some(open) => { a class="button first" href={ "/migrations/" (open.id) } { "See its migration" } }
                    None => { a class="button" href={ "/console/start?tenant=" (id) } { "Move it" } }
                }
                @if let Some(last) = returns {
                    a class="button" href={ "/console/migrations/" (last.id) "/" (back.as_str()) } { (label(back)) }
                }
            }
        }
    }
}

/// What each store has of it.
fn copies(stores: &[TenantInStore]) -> Markup {
    html! {
        section aria-labelledby="copies-title" {
            h2 id="copies-title" { "In the stores" }
            @if stores.is_empty() { p class="soft" { "No store that answers has anything of it." } }
            @else {
                table class="stack" {
                    thead { tr { th { "Store" } th { "Role" } th class="number" { "Events" } th class="number" { "Epoch" } th { "Digest" } } }
                    tbody { @for copy in stores { tr {
                        td data-label="Store" { (copy.store) @if copy.authority { " " span class="badge good" { "authority" } } }
                        td data-label="Role" { (copy.role) }
                        td class="number" data-label="Events" { (format::count(copy.seq)) }
                        td class="number" data-label="Epoch" { (copy.epoch) }
                        td data-label="Digest" { span class="mono" { (copy.digest) } }
                    } } }
                }
            }
        }
    }
}

fn moves(view: &TenantView) -> Markup {
    let shown: Vec<&Migration> = view.migrations.iter().take(LISTED).collect();
    html! {
        section aria-labelledby="moves-title" {
            h2 id="moves-title" { "Migrations, newest first" }
            @if shown.is_empty() { p class="soft" { "It has never been moved." } }
            @else { (overview::table(&shown, Named::Migration)) }
            @if view.migrations.len() > LISTED {
                a class="button" href={ "/migrations?search=" (view.tenant.tenant_id) } { "All of them" }
            }
        }
    }
}

fn checkpoints(view: &TenantView) -> Markup {
    let Some(checkpoints) = &view.checkpoints else { return html! {} };
    html! {
        section aria-labelledby="checkpoints-title" {
            h2 id="checkpoints-title" { "Checkpoints" }
            @if checkpoints.is_empty() { p class="soft" { "No subscription has a checkpoint." } }
            @else {
                table class="stack" {
                    thead { tr { th { "Subscription" } th class="number" { "Processed up to" } th class="number" { "Behind" } } }
                    tbody { @for one in checkpoints.iter().take(LISTED) { tr {
                        td data-label="Subscription" { (one.name) }
                        td class="number" data-label="Processed" { (format::count(one.seq)) }
                        td class="number" data-label="Behind" { (behind(view.tenant.seq, one.seq)) }
                    } } }
                }
            }
            @if checkpoints.len() > LISTED { p class="soft" { "The first " (LISTED) " are shown." } }
        }
    }
}

/// How many events a subscription has not processed. One that is ahead of the history is evidence of a loss.
fn behind(seq: Option<u64>, checkpoint: u64) -> Markup {
    html! {
        @match seq {
            None => { "unknown" }
            Some(seq) if checkpoint > seq => { span class="badge bad" { "beyond the end" } }
            Some(seq) => { (format::count(seq - checkpoint)) }
        }
    }
}
