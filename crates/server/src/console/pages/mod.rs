//! The pages, from documents to HTML, without any queries.

pub(super) mod checklists;
pub(super) mod confirm;
pub(super) mod drains;
pub(super) mod frame;
pub(super) mod lists;
pub(super) mod migration;
pub(super) mod options;
pub(super) mod overview;
pub(super) mod runbook;
pub(super) mod start;
pub(super) mod tenant;

use maud::{Markup, html};
use rehome_api::time::Time;

use super::format;

/// The colour of a state: whether it needs attention.
pub(super) fn tone(state: &str) -> &'static str {
    match state {
        "migrated" | "finished" => "good",
        "failed" | "budget_spent" => "bad",
        "paused" => "warn",
        "rolled_back" | "pending" | "cancelled" => "still",
        _ => "busy",
    }
}

/// A state as a badge.
pub(super) fn badge(state: &str) -> Markup {
    html! { span class={ "badge " (tone(state)) } { (format::state(state)) } }
}

/// A time. Without a script it is UTC; with it, it is the reader's, and says how long ago or how soon that is.
pub(super) fn when(at: Time) -> Markup {
    html! { time datetime=(at) { (format::time(at)) " UTC" } }
}

/// A text in which commands are between backticks.
pub(super) fn with_code(text: &str) -> Markup {
    html! {
        @for (index, part) in text.split('`').enumerate() {
            @if index % 2 == 1 { code { (part) } } @else { (part) }
        }
    }
}

/// How it begins: enough where there is a button or a page for the rest.
pub(super) fn brief(text: &str) -> &str {
    let ends = [": ", ", ", "; "].into_iter().filter_map(|end| text.find(end));
    ends.min().map_or(text, |end| &text[..end])
}
