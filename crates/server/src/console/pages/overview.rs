//! All migrations and stores at a glance.

use maud::{Markup, html};
use rehome_api::{HealthReport, HealthStatus, Migration, Time};
use rehome_app::monitoring::{Firing, FiringAlert};
use uuid::Uuid;

use super::badge;
use super::frame::{self, Viewer};
use crate::console::words;

/// One store.
pub(in crate::console) struct Store {
    pub(in crate::console) id: String,
    pub(in crate::console) url: String,
    pub(in crate::console) default: bool,
    /// Since when it does not answer; `None`: it answers.
    pub(in crate::console) silent_since: Option<Time>,
}

/// What the overview shows.
pub(in crate::console) struct Overview {
    pub(in crate::console) migrations: Vec<Migration>,
    /// There are older ones.
    pub(in crate::console) more: bool,
    pub(in crate::console) stores: Vec<Store>,
    pub(in crate::console) health: HealthReport,
    pub(in crate::console) firing: Firing,
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
        ("alerts", alerts(&overview.firing)),
        ("migrations", migrations(overview, viewer)),
        ("stores", stores(overview)),
    ]
}

fn health(overview: &Overview) -> Markup {
    let health = &overview.health;
    let alerts = matches!(&overview.firing, Firing::Alerts(alerts) if !alerts.is_empty());
    let (class, title) = match health.status {
        HealthStatus::Healthy if alerts => ("notice", "This server finds nothing wrong"),
        HealthStatus::Healthy => ("notice good", "All is well"),
        HealthStatus::Degraded => ("notice warn", "Somebody should look"),
        HealthStatus::Unhealthy => ("notice bad", "Somebody has to act"),
    };
    html! {
        section class=(class) aria-labelledby="health-title" {
            h2 id="health-title" { (title) }
            @if health.details.is_empty() {
                p { "Stores and control plane answer" @if !alerts { ", and nothing needs you" } "." }
            } @else {
                ul class="plain" { @for detail in &health.details { li { (detail) } } }
            }
        }
    }
}

/// Nothing, where all is quiet: the page begins with what needs somebody.
fn alerts(firing: &Firing) -> Markup {
    let alerts = match firing {
        Firing::Alerts(alerts) => alerts,
        Firing::NotConfigured => {
            return html! {
                p class="soft" {
                    "Alerts that fire are told here once " code { "[monitoring] prometheus_url" } " or "
                    code { "alertmanager_url" } " says whom to ask."
                }
            };
        }
        Firing::Unknown(why) => {
            return html! {
                section class="notice warn" aria-labelledby="alerts-title" {
                    h2 id="alerts-title" { "Nobody knows which alerts fire" }
                    p { "Prometheus or Alertmanager was asked: " (why) }
                }
            };
        }
    };
    html! {
        @if alerts.is_empty() {
            p class="soft" { "No alert fires." }
        } @else {
            section class="notice bad" aria-labelledby="alerts-title" {
                h2 id="alerts-title" { @if alerts.len() == 1 { "An alert fires" } @else { (alerts.len()) " alerts fire" } }
                ul class="plain" { @for alert in alerts { li { (alert_line(alert)) } } }
                p class="soft" { "What to do: " code { "docs/monitoring/alerts.md" } ", by their names." }
            }
        }
    }
}

fn alert_line(alert: &FiringAlert) -> Markup {
    let migration = alert.migration_id.as_deref().and_then(|id| id.parse::<Uuid>().ok());
    html! {
        strong { (alert.name) }
        @if let Some(id) = migration {
            " about migration " a class="mono" href={ "/migrations/" (id) } { (words::short(&id.to_string())) "…" }
        } @else if let Some(tenant) = &alert.tenant_id {
            " about tenant " span class="mono" { (tenant) }
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
                @for (store, since) in migration.unanswered() {
                    small class="soft" { " " (store) " does not answer since " (words::clock(since)) " UTC" }
                }
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
                                @match store.silent_since {
                                    None => { span class="badge good" { "answers" } }
                                    Some(since) => {
                                        span class="badge bad" { "does not answer" } " since " (words::clock(since)) " UTC"
                                    }
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}
