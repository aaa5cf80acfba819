//! What every page has around it.

use maud::{DOCTYPE, Markup, html};

use super::with_code;

/// The viewer, as far as a page needs it.
#[derive(Clone, Debug)]
pub(in crate::console) struct Viewer {
    /// The name of the token; `None`: the server has none.
    pub(in crate::console) name: Option<String>,
    /// May act on migrations.
    pub(in crate::console) operates: bool,
    /// What a form has to send back.
    pub(in crate::console) csrf: String,
}

/// Where a page is among the links of the head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::console) enum Place {
    Overview,
    Migrations,
    Drains,
    Tenants,
    Start,
    /// None of them.
    Inside,
}

/// The links of the head.
fn links(here: Place, operates: bool) -> Markup {
    // A phone has no room for the rest of a name.
    let all = [
        (Place::Overview, "/", "Overview", ""),
        (Place::Migrations, "/migrations", "Migrations", ""),
        (Place::Drains, "/drains", "Drains", ""),
        (Place::Tenants, "/tenants", "Tenants", ""),
        (Place::Start, "/console/start", "Move", " a tenant"),
    ];
    html! {
        nav aria-label="Main" {
            @for (place, path, name, rest) in all {
                @if operates || place != Place::Start {
                    a href=(path) aria-current=[(place == here).then_some("page")] {
                        (name) @if !rest.is_empty() { span class="rest" { (rest) } }
                    }
                }
            }
        }
    }
}

/// A page. `live`: the path of its updates.
pub(in crate::console) fn page(
    title: &str,
    viewer: Option<&Viewer>,
    place: Place,
    live: Option<&str>,
    body: &Markup,
) -> Markup {
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                title { (title) " · rehome" }
                link rel="stylesheet" href="/assets/console.css";
                link rel="icon" href="/assets/icon.svg" type="image/svg+xml";
                script src="/assets/console.js" defer {}
            }
            body {
                a class="skip" href="#main" { "Skip to content" }
                header class="top" {
                    a class="brand" href="/" { "rehome" }
                    @if let Some(viewer) = viewer {
                        (links(place, viewer.operates))
                        div class="who" {
                            @if live.is_some() { span id="live" role="status" { "Not live" } }
                            @if let Some(name) = &viewer.name {
                                span { (name) @if !viewer.operates { " (read-only)" } }
                                form method="post" action="/console/logout" {
                                    input type="hidden" name="csrf" value=(viewer.csrf);
                                    button type="submit" { "Log out" }
                                }
                            }
                        }
                    }
                }
                main id="main" tabindex="-1" data-live=[live] { (body) }
                footer {
                    span id="zone" { "Times are UTC." }
                    span { "rehome " (env!("CARGO_PKG_VERSION")) }
                }
            }
        }
    }
}

/// The login page.
pub(in crate::console) fn login(problem: Option<&str>) -> Markup {
    let body = html! {
        h1 { "Log in" }
        section {
            @if let Some(problem) = problem { p class="notice bad" role="alert" { (problem) } }
            form class="fields" method="post" action="/console/login" {
                label { "Token"
                    input type="password" name="token" required autofocus autocomplete="current-password";
                    span class="hint" { "Created by " code { "rehome token create" } "; a viewer can read, an operator can act." }
                }
                div class="actions" { button class="first" type="submit" { "Log in" } }
            }
        }
    };
    page("Log in", None, Place::Inside, None, &body)
}

/// An error page of a request that came to no page: its caller is not known there.
pub(in crate::console) fn stray(title: &str, detail: &str, id: &str) -> Markup {
    let body = html! {
        h1 { (title) }
        section class="answer" {
            p class="headline bad" role="alert" { strong { (with_code(detail)) } }
            div class="actions" { a class="button first" href="/" { "Overview" } }
            p class="soft" { "Request " span class="mono" { (id) } }
        }
    };
    page(title, None, Place::Inside, None, &body)
}

/// An error page; `back` is the link back.
pub(in crate::console) fn problem(
    viewer: Option<&Viewer>,
    title: &str,
    detail: &str,
    back: &str,
) -> Markup {
    let body = html! {
        h1 { (title) }
        section class="answer" {
            p class="headline bad" role="alert" { strong { (with_code(detail)) } }
            div class="actions" { a class="button first" href=(back) { "Back" } }
        }
    };
    page(title, viewer, Place::Inside, None, &body)
}
