//! Lists of migrations and of tenants, in pages, with a search.

use maud::{Markup, html};
use rehome_api::Migration;
use rehome_api::drain::TenantPage;
use rehome_domain::migration::Phase;

use super::badge;
use super::frame::{self, Place, Viewer};
use super::overview::{self, Named};
use crate::console::{format, view_model};

/// What the fields of a search say.
pub(in crate::console) struct Fields<'a> {
    pub(in crate::console) search: &'a str,
    pub(in crate::console) store: &'a str,
    pub(in crate::console) state: &'a str,
}

impl Fields<'_> {
    fn form(&self, action: &str) -> Markup {
        html! {
            form class="search" method="get" action=(action) role="search" {
                label class="wide" { "The beginning of a tenant's id, or its name" input type="search" name="search" value=(self.search); }
                label { "Store" input type="text" name="store" value=(self.store); }
                label { "State"
                    select name="state" {
                        option value="" selected[self.state.is_empty()] { "any" }
                        @for phase in Phase::ALL {
                            @let name = phase.as_str();
                            option value=(name) selected[self.state == name] { (format::state(name)) }
                        }
                    }
                }
                div class="actions" { button class="first" type="submit" { "Search" } }
            }
        }
    }

    /// The link to what comes after.
    fn next(&self, path: &str, cursor: &str) -> String {
        let pairs = [
            ("cursor", cursor),
            ("search", self.search),
            ("store", self.store),
            ("state", self.state),
        ];
        let query = serde_urlencoded::to_string(pairs).unwrap_or_default();
        format!("{path}?{query}")
    }
}

/// Nothing is found: because of the search, or because there is nothing yet.
fn none(fields: &Fields<'_>, what: &str) -> Markup {
    let all = fields.search.is_empty() && fields.store.is_empty() && fields.state.is_empty();
    html! {
        @if all { p { "There are no " (what) " yet." } }
        @else { p { "No " (what) " fit this search. " a href={ "/" (what) } { "Show all" } } }
    }
}

/// Migrations: those that need an operator first, then all, newest first.
pub(in crate::console) fn migrations(
    (needing, mut found): (Vec<Migration>, Vec<Migration>),
    fields: &Fields<'_>,
    viewer: &Viewer,
) -> Markup {
    let more = found.len() > view_model::LISTED;
    found.truncate(view_model::LISTED);
    let next = found.last().filter(|_| more).map(|last| last.id.to_string());
    let body = html! {
        h1 { "Migrations" }
        section { (fields.form("/migrations")) }
        @if !needing.is_empty() {
            section aria-labelledby="needing-title" {
                h2 id="needing-title" { "These need you" }
                (overview::table(&needing.iter().collect::<Vec<_>>(), Named::Tenant))
            }
        }
        section aria-labelledby="found-title" {
            h2 id="found-title" { "Newest first" }
            @if found.is_empty() { (none(fields, "migrations")) } @else { (overview::table(&found.iter().collect::<Vec<_>>(), Named::Tenant)) }
            @if let Some(next) = next { a class="button" href=(fields.next("/migrations", &next)) { "Next" } }
        }
    };
    frame::page("Migrations", Some(viewer), Place::Migrations, None, &body)
}

/// Tenants in the order of their ids.
pub(in crate::console) fn tenants(
    found: &TenantPage,
    fields: &Fields<'_>,
    viewer: &Viewer,
) -> Markup {
    let body = html! {
        h1 { "Tenants" }
        section { (fields.form("/tenants")) }
        section aria-label="Tenants in the order of their ids" {
            @if found.tenants.is_empty() { (none(fields, "tenants")) }
            @else {
                table class="stack" {
                    thead { tr { th { "Tenant" } th { "Store" } th { "Last migration" } th { "Pinned" } } }
                    tbody {
                        @for row in &found.tenants {
                            tr {
                                td data-label="Tenant" {
                                    a class="mono id" href={ "/tenants/" (row.tenant_id) } { (row.tenant_id) }
                                    @if let Some(name) = &row.name { " " (name) }
                                }
                                td data-label="Store" {
                                    (row.store)
                                    @if let Some(events) = row.removing {
                                        " (removal of " (events) " events not complete)"
                                    }
                                }
                                td data-label="Last migration" {
                                    @match (row.migration_id, &row.state) {
                                        (Some(id), Some(state)) => { a href={ "/migrations/" (id) } { (badge(state)) } }
                                        _ => { "none" }
                                    }
                                }
                                td data-label="Pinned" { (row.pinned.as_deref().unwrap_or("–")) }
                            }
                        }
                    }
                }
            }
            @if let Some(next) = found.next_cursor {
                a class="button" href=(fields.next("/tenants", &next.to_string())) { "Next" }
            }
        }
    };
    frame::page("Tenants", Some(viewer), Place::Tenants, None, &body)
}
