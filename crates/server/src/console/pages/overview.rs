//! The deployment at a glance: how it is, what waits for an operator, what moves, what has ended, the stores.

use maud::{Markup, html};
use rehome_api::{HealthReport, HealthStatus, Migration, Time};
use rehome_observe::{Firing, FiringAlert};
use uuid::Uuid;

use super::frame::{self, Place, Viewer};
use super::{badge, brief, runbook, tone, when, with_code};
use crate::console::format;

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
    /// Those that wait for an operator, however old.
    pub(in crate::console) needing: Vec<Migration>,
    /// The newest.
    pub(in crate::console) migrations: Vec<Migration>,
    /// There are older ones.
    pub(in crate::console) more: bool,
    pub(in crate::console) stores: Vec<Store>,
    /// How the whole deployment is, and which alerts fire; `None`: the viewer sees a part of it.
    pub(in crate::console) whole: Option<(HealthReport, Firing)>,
    /// Where the alerts are explained.
    pub(in crate::console) runbook: String,
}

/// The page.
pub(in crate::console) fn page(overview: &Overview, viewer: &Viewer) -> Markup {
    let body = html! {
        h1 { "Migrations" }
        @for (id, piece) in pieces(overview, viewer) { div id=(id) { (piece) } }
    };
    frame::page("Overview", Some(viewer), Place::Overview, Some("/console/live"), &body)
}

/// The parts that change.
pub(in crate::console) fn pieces(
    overview: &Overview,
    viewer: &Viewer,
) -> Vec<(&'static str, Markup)> {
    let (health, alerts) = match &overview.whole {
        Some((report, firing)) => {
            (health(report, firing, overview), alerts(firing, &overview.runbook))
        }
        None => (bounded(), html! {}),
    };
    let stores = if overview.stores.is_empty() {
        html! {}
    } else {
        stores(overview)
    };
    vec![
        ("health", health),
        ("alerts", alerts),
        ("migrations", migrations(overview, viewer)),
        ("stores", stores),
    ]
}

fn bounded() -> Markup {
    html! {
        p class="soft" {
            "Your token is bound to tenants or stores: this page shows what is within its bounds. Health and alerts concern the \
             whole deployment and are not shown."
        }
    }
}

/// Whether it is working at the moment.
fn moves(migration: &Migration) -> bool {
    ["pending", "bulk_copy", "dual_write", "cutover_paused"].contains(&migration.state.as_str())
}

/// `1 migration waits`, `2 migrations wait`.
fn counted(count: usize, one: &str, more: &str) -> String {
    if count == 1 { format!("1 migration {one}") } else { format!("{count} migrations {more}") }
}

/// The answer: one line that says whether an operator has to do something.
fn health(health: &HealthReport, firing: &Firing, overview: &Overview) -> Markup {
    let alerts = matches!(firing, Firing::Alerts(alerts) if !alerts.is_empty());
    let (needing, moving) = (
        overview.needing.len(),
        overview.migrations.iter().filter(|one| moves(one) && one.needs.is_empty()).count(),
    );
    let (tone, title) = match health.status {
        HealthStatus::Unhealthy => ("bad", "Needs action now".to_owned()),
        HealthStatus::Degraded => ("warn", "Needs attention soon".to_owned()),
        HealthStatus::Healthy if alerts => ("warn", "This server finds nothing wrong".to_owned()),
        HealthStatus::Healthy if needing > 0 => {
            ("warn", format!("All is well; {}", counted(needing, "waits for you", "wait for you")))
        }
        HealthStatus::Healthy => ("good", "All is well".to_owned()),
    };
    html! {
        section class="answer" aria-label="State" {
            p class={ "headline " (tone) } role="status" { strong { (title) } }
            ul class="plain" {
                @for detail in &health.details { li { (with_code(detail)) } }
                @if health.details.is_empty() { li { "Stores and control plane answer." } }
                @if needing > 0 && health.status != HealthStatus::Healthy { li { (counted(needing, "waits for you.", "wait for you.")) } }
                li {
                    @if moving == 0 { "No other migration is at work." }
                    @else { (counted(moving, "is at work.", "are at work.")) }
                }
            }
        }
    }
}

/// Empty if no alert fires: the page starts with what needs attention.
fn alerts(firing: &Firing, at: &str) -> Markup {
    let alerts = match firing {
        Firing::Alerts(alerts) => alerts,
        Firing::NotConfigured => {
            return html! {
                p class="soft" {
                    "Firing alerts appear here once " code { "[monitoring] prometheus_url" } " or "
                    code { "alertmanager_url" } " is configured."
                }
            };
        }
        Firing::Unknown(why) => {
            return html! {
                section class="notice warn" aria-labelledby="alerts-title" {
                    h2 id="alerts-title" { "It is unknown which alerts fire" }
                    p { "Prometheus or Alertmanager cannot be queried: " (why) }
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
                ul class="plain" { @for alert in alerts { li { (alert_line(alert, at)) } } }
            }
        }
    }
}

fn alert_line(alert: &FiringAlert, at: &str) -> Markup {
    let migration = alert.migration_id.as_deref().and_then(|id| id.parse::<Uuid>().ok());
    html! {
        strong { (alert.name) }
        @if let Some(id) = migration {
            " about migration " a class="mono" href={ "/migrations/" (id) } { (id) }
        } @else if let Some(tenant) = &alert.tenant_id {
            " about tenant " a class="mono" href={ "/tenants/" (tenant) } { (tenant) }
        }
        ", " (runbook::link(at, &alert.name, "what to do"))
    }
}

fn migrations(overview: &Overview, viewer: &Viewer) -> Markup {
    let (moving, ended): (Vec<_>, Vec<_>) =
        overview.migrations.iter().filter(|one| one.needs.is_empty()).partition(|one| moves(one));
    let parts = [
        ("needing", "These wait for you", overview.needing.iter().collect()),
        ("moving", "At work", moving),
        ("ended", "Ended", ended),
    ];
    html! {
        @if overview.migrations.is_empty() && overview.needing.is_empty() {
            section class="empty" {
                p { "No tenant has been moved yet." }
                @if viewer.operates { a class="button first" href="/console/start" { "Move a tenant" } }
            }
        }
        @for (id, title, part) in parts {
            @if !part.is_empty() {
                section aria-labelledby=(id) {
                    h2 id=(id) { (title) }
                    (table(&part, Named::Tenant))
                }
            }
        }
        @if overview.more { p { a href="/migrations" { "Older migrations" } } }
    }
}

/// What the first column of a table of migrations names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::console) enum Named {
    /// Their tenants.
    Tenant,
    /// Themselves: they are all of one tenant.
    Migration,
}

impl Named {
    const fn head(self) -> &'static str {
        match self {
            Self::Tenant => "Tenant",
            Self::Migration => "Migration",
        }
    }

    const fn of(self, migration: &Migration) -> Uuid {
        match self {
            Self::Tenant => migration.tenant_id,
            Self::Migration => migration.id,
        }
    }
}

/// Migrations, a line each.
pub(in crate::console) fn table(migrations: &[&Migration], named: Named) -> Markup {
    html! {
        table class="stack migrations" {
            thead { tr {
                th { (named.head()) } th { "From → to" } th { "State" } th class="number" { "Copied" }
                th class="number" { "Behind" } th class="number" { "Left" } th { "Requested" }
            } }
            tbody { @for migration in migrations { (row(migration, named)) } }
        }
    }
}

fn row(migration: &Migration, named: Named) -> Markup {
    let moving = ["bulk_copy", "dual_write", "cutover_paused"].contains(&migration.state.as_str());
    html! {
        tr {
            td data-label=(named.head()) { a class="mono id" href={ "/migrations/" (migration.id) } { (named.of(migration)) } }
            td data-label="From → to" { (migration.source_store) " → " (migration.target_store) }
            td data-label="State" {
                (badge(&migration.state))
                // The state alone says what an operator has to know of a pause and of a failure.
                @let need = migration.needs.first().map(|need| brief(need));
                @if let Some(need) = need.filter(|need| *need != migration.state) { " " strong { (need) } }
            }
            td class="number" data-label="Copied" {
                @match migration.progress_percent {
                    Some(percent) => {
                        (format!("{percent:.1} %"))
                        @if moving { progress class=(tone(&migration.state)) max="100" value=(format!("{percent:.1}")) aria-hidden="true" {} }
                    }
                    None => { "unknown" }
                }
            }
            td class={ "number" @if !moving { " none" } } data-label="Behind" {
                @if moving { (format::known(migration.sync_lag_events)) } @else { "–" }
                @for (store, since) in migration.unanswered() {
                    small class="soft" { " " (store) " has not answered since " (when(since)) }
                }
            }
            @let left = migration.eta_seconds.filter(|_| migration.state == "bulk_copy");
            td class={ "number" @if left.is_none() { " none" } } data-label="Left" {
                @match left {
                    Some(eta) => { (format::seconds(eta)) } None => { "–" }
                }
            }
            td class="time" data-label="Requested" { (when(migration.created_at)) }
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
                                        span class="badge bad" { "does not answer" } " since " (when(since))
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
