//! The runbook of the alerts: the page of the documentation, as it is in this version.
//!
//! It is written in the part of Markdown that is read here: headings, paragraphs and lists, and in them
//! code, emphasis and links.

use maud::{Markup, html};

use super::frame::{self, Place, Viewer};

const TEXT: &str = include_str!("../../../../../docs/monitoring/alerts.md");

/// A link to the section of an alert: where the configured runbook is, or here.
pub(in crate::console) fn link(at: &str, alert: &str, words: &str) -> Markup {
    let anchor = alert.to_ascii_lowercase();
    let elsewhere = at.starts_with("https://") || at.starts_with("http://");
    let at = if elsewhere { at } else { "/console/runbook" };
    html! { a href={ (at) "#" (anchor) } rel="noreferrer" { (words) } }
}

pub(in crate::console) fn page(viewer: &Viewer) -> Markup {
    let (title, text) = TEXT.split_once('\n').unwrap_or((TEXT, ""));
    let body = html! {
        h1 { (title.trim_start_matches("# ")) }
        section class="prose" { @for block in text.split("\n\n") { (written(block.trim())) } }
    };
    frame::page("Alerts", Some(viewer), Place::Inside, None, &body)
}

fn written(block: &str) -> Markup {
    if let Some(alert) = block.strip_prefix("### ") {
        let (alert, rest) = alert.split_once('\n').unwrap_or((alert, ""));
        return html! { h3 id=(alert.to_ascii_lowercase()) { (alert) } (written(rest.trim())) };
    }
    if let Some(title) = block.strip_prefix("## ") {
        return html! { h2 { (title) } };
    }
    if block.starts_with("- ") || block.contains("\n- ") {
        let mut items = block.split("\n- ");
        let first = items.next().unwrap_or_default();
        let lead = if first.starts_with("- ") { None } else { Some(first) };
        let first = first.strip_prefix("- ");
        return html! {
            @if let Some(lead) = lead { p { (inline(lead)) } }
            ul { @for item in first.into_iter().chain(items) { li { (inline(item)) } } }
        };
    }
    if block.starts_with("1. ") {
        return html! { ol { @for item in numbered(block) { li { (inline(&item)) } } } };
    }
    html! { @if !block.is_empty() { p { (inline(block)) } } }
}

/// The items of a numbered list, each without its number.
fn numbered(block: &str) -> Vec<String> {
    let mut items: Vec<String> = Vec::new();
    for line in block.lines() {
        match (line.split_once(". "), items.last_mut()) {
            (Some((number, text)), _) if number.parse::<u8>().is_ok() => {
                items.push(text.to_owned());
            }
            (_, Some(item)) => {
                item.push('\n');
                item.push_str(line);
            }
            (_, None) => items.push(line.to_owned()),
        }
    }
    items
}

/// Code first: nothing in it is markup.
fn inline(text: &str) -> Markup {
    html! {
        @for (index, part) in text.split('`').enumerate() {
            @if index % 2 == 1 { code { (part) } } @else { (emphasised(part)) }
        }
    }
}

fn emphasised(text: &str) -> Markup {
    html! {
        @for (index, part) in text.split("**").enumerate() {
            @if index % 2 == 1 { strong { (linked(part)) } } @else {
                @for (index, part) in part.split('*').enumerate() {
                    @if index % 2 == 1 { em { (linked(part)) } } @else { (linked(part)) }
                }
            }
        }
    }
}

/// A link within the page is one; of a link to another page of the documentation the words are left.
fn linked(text: &str) -> Markup {
    let mut parts = text.split('[');
    let first = parts.next().unwrap_or_default();
    html! {
        (first)
        @for part in parts {
            @match part.split_once("](").and_then(|(words, rest)| Some((words, rest.split_once(')')?))) {
                Some((words, (to, after))) => {
                    @if to.starts_with('#') { a href=(to) { (words) } } @else { (words) }
                    (after)
                }
                None => { "[" (part) }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_alert_has_its_section_and_nothing_of_the_markup_is_left() {
        let viewer = Viewer { name: None, operates: false, csrf: String::new() };
        let page = page(&viewer).into_string();
        for alert in ["migrationfailed", "migrationverificationviolations", "migrationpausedlong"] {
            assert!(page.contains(&format!("<h3 id=\"{alert}\">")), "{alert}");
        }
        for left in ["**", "](", "### ", "`"] {
            assert!(!page.contains(left), "{left} in {page}");
        }
    }

    #[test]
    fn an_alert_links_to_the_configured_runbook_or_to_this_page() {
        let to = |at| link(at, "MigrationFailed", "what to do").into_string();
        assert!(to("docs/monitoring/alerts.md").contains("\"/console/runbook#migrationfailed\""));
        assert!(
            to("https://wiki.example/x").contains("\"https://wiki.example/x#migrationfailed\"")
        );
    }
}
