//! The evidence: cutovers, verifications, options and the log.

use maud::{Markup, html};
use rehome_api::duration::pause;
use rehome_api::number::counted;
use rehome_api::{Cutover, LogEntry};

use super::View;
use crate::console::format;
use crate::console::pages::{options, when, with_code};

/// How a cutover ended, in words.
fn ended(cutover: &Cutover, log: &[LogEntry]) -> String {
    let reason = || {
        let ends = |entry: &&LogEntry| {
            entry.event == "cutover_rolled_back" && entry.at >= cutover.started_at
        };
        let reason = log.iter().find(ends)?.details.get("reason")?.as_str()?;
        Some(reason.to_owned())
    };
    match cutover.outcome.as_str() {
        "under_way" => "under way".to_owned(),
        "succeeded" => "switched".to_owned(),
        "timed_out" => "rolled back: it took too long".to_owned(),
        _ => format!("rolled back: {}", reason().as_deref().unwrap_or("see the log")),
    }
}

pub(super) fn cutovers(view: &View) -> Markup {
    let cutovers = &view.cutovers;
    html! {
        section aria-labelledby="cutovers-title" {
            h2 id="cutovers-title" { "Cutover" }
            @if cutovers.is_empty() && view.is_over() {
                p class="soft" { "There was no attempt." }
            } @else if cutovers.is_empty() {
                p class="soft" { "No attempt yet. Writers will wait for a few milliseconds, at most " (format::millis(f64::from(view.options.cutover_timeout_ms))) ", or the cutover is rolled back." }
            } @else {
                table class="stack" {
                    thead { tr { th { "Started" } th class="number" { "Write pause" } th { "Ended" } } }
                    tbody { @for cutover in cutovers.iter().rev() { tr {
                        td class="time" data-label="Started" { (when(cutover.started_at)) }
                        td class="number" data-label="Write pause" { (pause(cutover.pause_ms)) }
                        td data-label="Ended" { (ended(cutover, &view.log)) }
                    } } }
                }
            }
        }
    }
}

pub(super) fn verification(view: &View) -> Markup {
    let number =
        |entry: &LogEntry, name: &str| entry.details.get(name).and_then(serde_json::Value::as_u64);
    let done: Vec<&LogEntry> =
        view.log.iter().rev().filter(|entry| entry.event == "verified").collect();
    html! {
        section aria-labelledby="verification-title" {
            h2 id="verification-title" { "Verification" }
            @if done.is_empty() && view.is_over() {
                p class="soft" { "The history was not verified." }
            } @else if done.is_empty() {
                p class="soft" { "Before the switch the whole history is verified at the level " strong { (view.options.verification) } "." }
            } @else {
                ul class="plain" { @for entry in done {
                    @let violations = number(entry, "violations").unwrap_or(0);
                    li {
                        @if violations == 0 { span class="badge good" { "no violation" } } @else { span class="badge bad" { (counted(violations, "violation")) } }
                        " " (entry.details.get("level").and_then(serde_json::Value::as_str).unwrap_or(""))
                        ", up to event " (format::known(number(entry, "seq"))) ", " (when(entry.at))
                    }
                } }
            }
        }
    }
}

pub(super) fn options(view: &View) -> Markup {
    html! {
        section aria-labelledby="options-title" {
            h2 id="options-title" { "Options" }
            (options::shown(&view.options))
        }
    }
}

pub(super) fn log(view: &View) -> Markup {
    html! {
        section aria-labelledby="log-title" {
            h2 id="log-title" { "Log" }
            @if let Some(broken) = view.log.iter().find_map(|entry| entry.chain_broken.as_ref()) {
                p role="alert" { "This log is not as it was recorded: " (broken) "." }
            }
            table class="stack log" {
                thead { tr { th { "When" } th { "What" } th { "Who" } th { "Details" } } }
                tbody { @for entry in view.log.iter().rev() { tr {
                    td class="time" data-label="When" { (when(entry.at)) }
                    td class="what" data-label="What" { (entry.event.replace('_', " ")) }
                    td data-label="Who" { (entry.actor) @if let Some(reason) = &entry.reason { ": " (reason) } }
                    td data-label="Details" class="details" {
                        (details(entry))
                        @if let Some(broken) = &entry.chain_broken { strong { " BROKEN: " (broken) } }
                    }
                } } }
            }
        }
    }
}

/// Each detail is a pair that stays together where there is room.
fn details(entry: &LogEntry) -> Markup {
    let text = |value: &serde_json::Value| match value {
        serde_json::Value::String(text) => text.clone(),
        other => other.as_u64().map_or_else(|| other.to_string(), format::count),
    };
    html! {
        @for (key, value) in entry.details.iter().filter(|(key, _)| *key != "options") {
            span class="pair" { span class="soft" { (key.replace('_', " ")) } " " (with_code(&text(value))) } " "
        }
    }
}
