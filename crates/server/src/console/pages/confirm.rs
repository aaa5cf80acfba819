//! Before an action: what it will do, in words, and the button that does it.

use maud::{Markup, html};
use rehome_api::Migration;

use super::badge;
use super::frame::{self, Viewer};
use crate::console::words;

/// What an operator can ask of a migration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::console) enum Action {
    Pause,
    Resume,
    CutOver,
    Abort,
    Return,
    Verify,
    Repair,
    Acknowledge,
    Tune,
}

impl Action {
    pub(in crate::console) const ALL: [Self; 9] = [
        Self::CutOver,
        Self::Pause,
        Self::Resume,
        Self::Tune,
        Self::Verify,
        Self::Repair,
        Self::Return,
        Self::Acknowledge,
        Self::Abort,
    ];

    /// The word in paths.
    pub(in crate::console) const fn as_str(self) -> &'static str {
        match self {
            Self::Pause => "pause",
            Self::Resume => "resume",
            Self::CutOver => "cutover",
            Self::Abort => "abort",
            Self::Return => "return",
            Self::Verify => "verify",
            Self::Repair => "repair",
            Self::Acknowledge => "acknowledge",
            Self::Tune => "tune",
        }
    }

    pub(in crate::console) fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|action| action.as_str() == text)
    }

    /// The button.
    pub(in crate::console) const fn label(self) -> &'static str {
        match self {
            Self::Pause => "Pause",
            Self::Resume => "Resume",
            Self::CutOver => "Switch now",
            Self::Abort => "Abort",
            Self::Return => "Return to the old store",
            Self::Verify => "Verify",
            Self::Repair => "Repair",
            Self::Acknowledge => "I have seen this",
            Self::Tune => "Change the options",
        }
    }

    /// Whether it makes sense in this state; the migration itself decides when it is asked.
    pub(in crate::console) fn fits(self, migration: &Migration, can_return: bool) -> bool {
        let state = migration.state.as_str();
        match self {
            Self::Pause => matches!(state, "bulk_copy" | "dual_write"),
            Self::Resume => state == "paused",
            Self::CutOver => state == "dual_write" && migration.open_violation.is_none(),
            Self::Repair => {
                migration.open_violation.is_some()
                    && matches!(state, "bulk_copy" | "dual_write" | "failed")
            }
            Self::Abort => matches!(
                state,
                "pending" | "bulk_copy" | "dual_write" | "paused" | "failed" | "cutover_paused"
            ),
            Self::Return => state == "migrated" && can_return,
            Self::Verify => matches!(state, "dual_write" | "migrated" | "paused"),
            Self::Acknowledge => {
                let over = matches!(state, "migrated" | "rolled_back");
                state == "failed" || over && migration.open_violation.is_some()
            }
            Self::Tune => matches!(state, "pending" | "bulk_copy" | "dual_write" | "paused"),
        }
    }

    fn happens(self, migration: &Migration) -> Markup {
        let (source, target) = (&migration.source_store, &migration.target_store);
        match self {
            Self::Pause => {
                html! { p { "Copying and mirroring stop until you resume. Writers notice nothing: they write to " strong { (source) } ". What was copied stays." } }
            }
            Self::Resume => {
                html! { p { "The work goes on where it stopped; what was written meanwhile is caught up." } }
            }
            Self::CutOver => html! {
                p { "The tenant is switched from " strong { (source) } " to " strong { (target) } ". Writers wait for some milliseconds. "
                    "If it takes longer than the cutover timeout, all goes back to how it is now and writes go on at " strong { (source) } "." }
                p { "The target is behind by " (words::known(migration.sync_lag_events)) " events; read back and proven up to event "
                    (words::known(migration.read_back_seq)) " of " (words::known(migration.events_total)) "." }
            },
            Self::Abort => {
                html! { p { "The migration is given up for good. The tenant stays at " strong { (source) } " and its writers notice nothing. The copy in "
                strong { (target) } " takes nothing more." } }
            }
            Self::Return => {
                html! { p { "A new migration moves the tenant from " strong { (target) } " back to " strong { (source) }
                ", which was kept level since. It switches by itself once it is verified, with a pause of milliseconds." } }
            }
            Self::Verify => {
                html! { p { "Both stores are read and compared event by event hash. Writers notice nothing; it takes some of the stores' speed." } }
            }
            Self::Repair => html! {
                p { "The copy in " strong { (target) } " is cut back to before the damage, copied again from " strong { (source) }
                    " and verified. Writers notice nothing. There is no switch before it is verified." }
                @if let Some(open) = &migration.open_violation { p { (open) } }
            },
            Self::Acknowledge => {
                html! { p { "Alerts and health tell of this failure no more. The migration stays as it is; abort it to clean up." } }
            }
            Self::Tune => html! { p { "The migration goes on with these options at once." } },
        }
    }
}

/// The page that asks.
pub(in crate::console) fn page(
    viewer: &Viewer,
    action: Action,
    migration: &Migration,
    rate: Option<u32>,
) -> Markup {
    let id = migration.id.to_string();
    let back = format!("/migrations/{id}");
    let title = action.label();
    let risky = matches!(action, Action::Abort);
    let body = html! {
        h1 { (title) "?" }
        section {
            p { "Tenant " span class="mono" { (migration.tenant_id) } ", " (migration.source_store) " → " (migration.target_store) " " (badge(&migration.state)) }
            (action.happens(migration))
            form class="fields" method="post" action={ "/console/migrations/" (id) "/" (action.as_str()) } {
                input type="hidden" name="csrf" value=(viewer.csrf);
                @if action == Action::Abort {
                    label class="flag" { input type="checkbox" name="purge" value="yes"; span { "Also remove what was copied to " (migration.target_store) } }
                }
                @if action == Action::Tune {
                    label { "Copy at most, events per second"
                        input type="number" name="rate" min="0" step="1" value=(rate.unwrap_or(0)) required;
                        span class="hint" { "0: as fast as it goes." }
                    }
                }
                @if action == Action::Verify {
                    label { "How deep"
                        select name="level" {
                            option value="hash" { "hash: every row of both stores, recomputed" }
                            option value="count" { "count: heads and streams" }
                            option value="full" { "full: every field of every event" }
                        }
                    }
                }
                @if action != Action::Verify {
                    label { "Why (kept in the migration's log)" input type="text" name="reason" maxlength="200"; }
                }
                div class="actions" {
                    button class=(if risky { "risky" } else { "first" }) type="submit" { (title) }
                    a class="button" href=(back) { "Cancel" }
                }
            }
        }
    };
    frame::page(title, Some(viewer), None, &body)
}
