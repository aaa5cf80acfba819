//! What every page has around it.

use maud::{DOCTYPE, Markup, html};

/// Who looks, as far as a page needs to know.
#[derive(Clone, Debug)]
pub(in crate::console) struct Viewer {
    /// The name of the token; `None`: the server has none.
    pub(in crate::console) name: Option<String>,
    /// May act on migrations.
    pub(in crate::console) operates: bool,
    /// What a form has to send back.
    pub(in crate::console) csrf: String,
}

/// A page. `live`: where its pieces are told.
pub(in crate::console) fn page(
    title: &str,
    viewer: Option<&Viewer>,
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
                a class="skip" href="#main" { "To the content" }
                header class="top" {
                    a class="brand" href="/" { "rehome" }
                    @if let Some(viewer) = viewer {
                        nav aria-label="Main" {
                            a href="/" { "Overview" }
                            @if viewer.operates { a href="/console/start" { "Move a tenant" } }
                        }
                        div class="who" {
                            @if live.is_some() { span id="live" role="status" { "As of loading" } }
                            @if let Some(name) = &viewer.name {
                                span { (name) @if !viewer.operates { " (may look)" } }
                                form method="post" action="/console/logout" {
                                    input type="hidden" name="csrf" value=(viewer.csrf);
                                    button type="submit" { "Log out" }
                                }
                            }
                        }
                    }
                }
                main id="main" tabindex="-1" data-live=[live] { (body) }
            }
        }
    }
}

/// Where a token is asked for.
pub(in crate::console) fn login(problem: Option<&str>) -> Markup {
    let body = html! {
        h1 { "Log in" }
        section {
            @if let Some(problem) = problem { p class="notice bad" role="alert" { (problem) } }
            form class="fields" method="post" action="/console/login" {
                label { "Token"
                    input type="password" name="token" required autofocus autocomplete="current-password";
                    span class="hint" { "Made by " code { "rehome token create" } "; a viewer's may look, an operator's may act." }
                }
                div class="actions" { button class="first" type="submit" { "Log in" } }
            }
        }
    };
    page("Log in", None, None, &body)
}

/// Something did not work; `back` is where to go on.
pub(in crate::console) fn problem(
    viewer: Option<&Viewer>,
    title: &str,
    detail: &str,
    back: &str,
) -> Markup {
    let body = html! {
        h1 { (title) }
        section class="notice bad" role="alert" {
            p { (detail) }
            div class="actions" { a class="button first" href=(back) { "Back" } }
        }
    };
    page(title, viewer, None, &body)
}
