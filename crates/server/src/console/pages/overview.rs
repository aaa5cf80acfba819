//! All migrations and stores at a glance.

use maud::{Markup, html};
use rehome_api::{HealthReport, HealthStatus, Migration};

use super::badge;
use super::frame::{self, Viewer};
use crate::console::words;

/// One store.
pub(in crate::console) struct Store {
    pub(in crate::console) id: String,
    pub(in crate::console) url: String,
    pub(in crate::console) default: bool,
    /// `None`: it was not asked yet.
    pub(in crate::console) up: Option<bool>,
}

/// What the overview shows.
pub(in crate::console) struct Overview {
    pub(in crate::console) migrations: Vec<Migration>,
    /// There are older ones.
    pub(in crate::console) more: bool,
    pub(in crate::console) stores: Vec<Store>,
    pub(in crate::console) health: HealthReport,
}

/// The page.
pub(in crate::console) fn page(overview: &Overview, viewer: &Viewer) -> Markup {
    let body = html! {
        h1 { "Migrations" }
        @for (id, piece) in pieces(overview, viewer) { div id=(id) { (piece) } }
    };
    frame::page("Overview", Some(viewer), Some("/console/live"), &body)
}

/// The parts that change.
pub(in crate::console) fn pieces(
    overview: &Overview,
    viewer: &Viewer,
) -> Vec<(&'static str, Markup)> {
    vec![
        ("health", health(overview)),
        ("migrations", migrations(overview, viewer)),
        ("stores", stores(overview)),
    ]
}

fn health(overview: &Overview) -> Markup {
    let health = &overview.health;
    let (class, title) = match health.status {
        HealthStatus::Healthy => ("notice good", "All is well"),
        HealthStatus::Degraded => ("notice warn", "Somebody should look"),
        HealthStatus::Unhealthy => ("notice bad", "Somebody has to act"),
    };
    html! {
        section class=(class) aria-labelledby="health-title" {
            h2 id="health-title" { (title) }
            @if health.details.is_empty() {
                p { "Stores and control plane answer, and nothing needs you." }
            } @else {
                ul class="plain" { @for detail in &health.details { li { (detail) } } }
            }
        }
    }
}

fn migrations(overview: &Overview, viewer: &Viewer) -> Markup {
    html! {
        section aria-labelledby="migrations-title" {
            h2 id="migrations-title" { "Migrations, newest first" }
            @if overview.migrations.is_empty() {
                p { "No tenant was moved yet." }
                @if viewer.operates { a class="button first" href="/console/start" { "Move a tenant" } }
            } @else {
                table class="stack" {
                    thead { tr {
                        th { "Tenant" } th { "From → to" } th { "State" } th class="number" { "In the target" }
                        th class="number" { "Behind" } th class="number" { "Left" } th { "Asked for (UTC)" }
                    } }
                    tbody { @for migration in &overview.migrations { (row(migration)) } }
                }
                @if overview.more { p class="soft" { "Older ones: " code { "rehome migration list" } } }
            }
        }
    }
}

fn row(migration: &Migration) -> Markup {
    let (id, tenant) = (migration.id.to_string(), migration.tenant_id.to_string());
    let percent = migration.progress_percent;
    let moving = ["bulk_copy", "dual_write", "cutover_paused"].contains(&migration.state.as_str());
    html! {
        tr {
            td data-label="Tenant" { a class="mono" href={ "/migrations/" (id) } title=(tenant) { (words::short(&tenant)) "…" } }
            td data-label="From → to" { (migration.source_store) " → " (migration.target_store) }
            td data-label="State" { (badge(&migration.state)) }
            td class="number" data-label="In the target" {
                @match percent { Some(percent) => { (format!("{percent:.1} %")) } None => { "not known" } }
            }
            td class="number" data-label="Behind" {
                @if moving { (words::known(migration.sync_lag_events)) } @else { "–" }
            }
            td class="number" data-label="Left" {
                @match migration.eta_seconds.filter(|_| migration.state == "bulk_copy") {
                    Some(eta) => { (words::seconds(eta)) } None => { "–" }
                }
            }
            td class="time" data-label="Asked for" { (words::time(migration.created_at)) }
        }
    }
}

fn stores(overview: &Overview) -> Markup {
    html! {
        section aria-labelledby="stores-title" {
            h2 id="stores-title" { "Stores" }
            table class="stack" {
                thead { tr { th { "Store" } th { "Where" } th { "State" } } }
                tbody {
                    @for store in &overview.stores {
                        tr {
                            td data-label="Store" { (store.id) @if store.default { " " span class="soft" { "(new tenants go here)" } } }
                            td class="mono" data-label="Where" { (store.url) }
                            td data-label="State" {
                                @match store.up {
                                    Some(true) => { span class="badge good" { "answers" } }
                                    Some(false) => { span class="badge bad" { "does not answer" } }
                                    None => { span class="badge still" { "not asked yet" } }
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}
