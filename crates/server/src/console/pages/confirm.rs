//! Before an action: what it will do, in words, and the button that does it.

use maud::{Markup, html};
use rehome_api::{Migration, Options};

use super::frame::{self, Place, Viewer};
use super::options::Chosen;
use super::{badge, with_code};
use crate::console::format;
pub(in crate::console) use rehome_domain::migration::Action;

/// The button.
pub(in crate::console) const fn label(action: Action) -> &'static str {
    match action {
        Action::Pause => "Pause",
        Action::Resume => "Resume",
        Action::CutOver => "Switch now",
        Action::Withdraw => "Withdraw the switch",
        Action::Abort => "Abort",
        Action::Return => "Return to the old store",
        Action::Verify => "Verify",
        Action::Repair => "Repair",
        Action::Acknowledge => "I have seen this",
        Action::Tune => "Change the options",
    }
}

/// What it will do.
fn happens(action: Action, migration: &Migration) -> Markup {
    let (source, target) = (&migration.source_store, &migration.target_store);
    match action {
        Action::Pause => {
            html! { p { "Copying and mirroring stop until you resume. Writes continue at " strong { (source) } ". The copied events stay." } }
        }
        Action::Resume => {
            html! { p { "The migration continues where it stopped, and catches up on new events." } }
        }
        Action::CutOver => html! {
            p { "The tenant is switched from " strong { (source) } " to " strong { (target) } ". Writers wait for a few milliseconds. "
                "If it takes longer than the cutover timeout, the cutover is rolled back and writes continue at " strong { (source) } "." }
            p { "The target is behind by " (format::known(migration.sync_lag_events)) " events; read back and verified up to event "
                (format::known(migration.read_back_seq)) " of " (format::known(migration.events_total)) "." }
        },
        Action::Withdraw => {
            html! { p { "The switch does not begin before a new request. Writers are not affected: they write to " strong { (source) } ". "
            strong { (target) } " stays up to date. If the switch begins before this request arrives, it is not stopped." } }
        }
        Action::Abort => {
            html! { p { "The migration ends, and cannot be resumed. The tenant stays at " strong { (source) } " and its writes continue. The copy in "
            strong { (target) } " gets no further events." } }
        }
        Action::Return => {
            html! { p { "A new migration moves the tenant from " strong { (target) } " back to " strong { (source) }
            ", which has received all new events. It switches once it is verified, with a pause of milliseconds." } }
        }
        Action::Verify => {
            html! { p { "Both stores are read and compared event by event. Writes continue; the load on the stores increases." } }
        }
        Action::Repair => html! {
            p { "The copy in " strong { (target) } " is removed from the damage on, copied again from " strong { (source) }
                " and verified. Writes continue. There is no switch before it is verified." }
            @if let Some(open) = &migration.open_violation { p { (with_code(open)) } }
        },
        Action::Acknowledge => {
            html! { p { "Alerts and health no longer report this failure. The migration stays as it is; abort it to clean up." } }
        }
        Action::Tune => html! { p { "The migration uses these options at once." } },
    }
}

/// The confirmation page.
pub(in crate::console) fn page(
    viewer: &Viewer,
    action: Action,
    migration: &Migration,
    options: &Options,
) -> Markup {
    let id = migration.id.to_string();
    let back = format!("/migrations/{id}");
    let title = label(action);
    let risky = matches!(action, Action::Abort);
    let body = html! {
        h1 { (title) "?" }
        section {
            p { (badge(&migration.state)) " " (migration.source_store) " → " (migration.target_store) ", tenant " span class="mono" { (migration.tenant_id) } }
            (happens(action, migration))
            form class="fields" method="post" action={ "/console/migrations/" (id) "/" (action.as_str()) } {
                input type="hidden" name="csrf" value=(viewer.csrf);
                @if action == Action::Abort {
                    label class="flag" { input type="checkbox" name="purge" value="yes"; span { "Also remove the copied events from " (migration.target_store) } }
                }
                @if action == Action::Tune {
                    (Chosen::of(options).fields())
                }
                @if action == Action::Verify {
                    label { "Level"
                        select name="level" {
                            option value="hash" { "hash: every row of both stores, recomputed" }
                            option value="count" { "count: heads and streams" }
                            option value="full" { "full: every field of every event" }
                        }
                    }
                }
                @if action != Action::Verify {
                    label { "Reason (recorded in the migration's log)" input type="text" name="reason" maxlength="200"; }
                }
                div class="actions" {
                    button class=(if risky { "risky" } else { "first" }) type="submit" { (title) }
                    a class="button" href=(back) { "Cancel" }
                }
            }
        }
    };
    frame::page(title, Some(viewer), Place::Inside, None, &body)
}
