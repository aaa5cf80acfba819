//! The four checklists of a migration, each item with its result and the reason.

use maud::{Markup, html};
use rehome_api::{Checklist, ItemStatus};

use super::frame::{self, Place, Viewer};
use super::with_code;

/// The page.
pub(in crate::console) fn page(viewer: &Viewer, id: &str, lists: &[Checklist]) -> Markup {
    let body = html! {
        h1 { "Checklists" }
        p class="soft" { "Migration " a class="mono" href={ "/migrations/" (id) } { (id) } ", as of now" }
        @for list in lists {
            section {
                h2 { (list.phase.title()) " " (verdict(list.status)) }
                table class="stack" {
                    thead { tr { th { "Item" } th { "Found" } th { "Why" } } }
                    tbody { @for item in &list.items { tr {
                        td data-label="Item" { (item.text) }
                        td data-label="Found" { (verdict(item.status)) }
                        td data-label="Why" { (with_code(&item.why)) }
                    } } }
                }
            }
        }
        div class="actions" { a class="button" href={ "/console/checklists/" (id) } { "Check again" } }
    };
    frame::page("Checklists", Some(viewer), Place::Inside, None, &body)
}

fn verdict(status: ItemStatus) -> Markup {
    let class = match status {
        ItemStatus::Pass => "badge good",
        ItemStatus::Unknown => "badge still",
        ItemStatus::Fail => "badge bad",
    };
    html! { span class=(class) { (status.as_str()) } }
}
