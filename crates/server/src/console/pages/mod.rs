//! The pages, from documents to HTML: nothing here asks anybody anything.

pub(super) mod checklists;
pub(super) mod confirm;
pub(super) mod frame;
pub(super) mod migration;
pub(super) mod overview;
pub(super) mod start;

use maud::{Markup, html};

use super::words;

/// A state as a badge; its colour says whether somebody should look.
pub(super) fn badge(state: &str) -> Markup {
    let class = match state {
        "migrated" => "badge good",
        "failed" => "badge bad",
        "paused" => "badge warn",
        "rolled_back" | "pending" => "badge still",
        _ => "badge busy",
    };
    html! { span class=(class) { (words::state(state)) } }
}
