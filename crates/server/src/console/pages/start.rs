//! Moving a tenant: who and where to, then the plan, then the word.

use maud::{Markup, html};
use rehome_api::{Options, Plan};

use super::frame::{self, Place, Viewer};
use super::options::{self, Chosen};
use super::with_code;
use crate::console::format;

/// The fields of the form.
#[derive(Clone, Debug, Default, serde::Deserialize)]
#[serde(default)]
pub(in crate::console) struct Wish {
    pub(in crate::console) tenant: String,
    pub(in crate::console) to: String,
    #[serde(flatten)]
    pub(in crate::console) chosen: Chosen,
}

/// The names of the fields.
pub(crate) fn fields() -> Vec<&'static str> {
    ["tenant", "to"].into_iter().chain(Chosen::names()).collect()
}

/// The form for a move, its options those of the configuration where `wish` has none.
pub(in crate::console) fn form(
    viewer: &Viewer,
    stores: &[String],
    wish: &Wish,
    configured: &Options,
    problem: Option<&str>,
) -> Markup {
    let body = html! {
        h1 { "Move a tenant" }
        section {
            p { "The tenant's writers continue during the migration. Nothing happens before you have seen the plan." }
            @if let Some(problem) = problem { p class="need" role="alert" { (with_code(problem)) } }
            form class="fields" method="get" action="/console/plan" {
                label { "Tenant"
                    input type="text" name="tenant" value=(wish.tenant) required spellcheck="false" autocomplete="off" placeholder="00000000-0000-0000-0000-000000000000";
                    span class="hint" { "Its id, a UUID." }
                }
                label { "To store"
                    select name="to" required {
                        @for store in stores { option value=(store) selected[*store == wish.to] { (store) } }
                    }
                }
                (wish.chosen.over(configured).fields())
                div class="actions" { button class="first" type="submit" { "See the plan" } a class="button" href="/" { "Cancel" } }
            }
        }
    };
    frame::page("Move a tenant", Some(viewer), Place::Start, None, &body)
}

/// Shows the plan with all options as they will be, and asks for confirmation.
pub(in crate::console) fn plan(
    viewer: &Viewer,
    wish: &Wish,
    plan: &Plan,
    effective: &Options,
) -> Markup {
    let blocked = plan.findings.iter().filter(|finding| !finding.ok).count();
    let body = html! {
        h1 { "Move tenant " span class="mono" { (plan.tenant_id) } }
        section class="answer" aria-label="Whether it can start" {
            @if plan.possible {
                p class="headline good" { strong { "It can start: " (format::count(plan.events_to_copy)) " events, " (plan.source_store) " → " (plan.target_store) "." } }
            } @else {
                p class="headline bad" role="alert" { strong { "It cannot start: " (if blocked == 1 { "a check has" } else { "checks have" }) " failed. Nothing was changed." } }
            }
            ul class="plain" {
                @for finding in &plan.findings {
                    li {
                        @if finding.ok { span class="badge good" { "ok" } } @else { span class="badge bad" { "blocks" } }
                        " " (with_code(&finding.detail))
                    }
                }
            }
        }
        @if plan.possible { (happens(wish, plan, effective)) (confirmation(viewer, wish)) }
        @else { div class="actions" { a class="button first" href="/console/start" { "Back" } } }
    };
    frame::page("Plan", Some(viewer), Place::Start, None, &body)
}

fn happens(wish: &Wish, plan: &Plan, effective: &Options) -> Markup {
    html! {
        section aria-labelledby="happens-title" {
            h2 id="happens-title" { "What will happen" }
            p { (format::count(plan.events_to_copy)) " events are copied from " strong { (plan.source_store) } " to "
                strong { (plan.target_store) } ", new writes are mirrored, all is read back and verified. "
                @match effective.cutover.as_str() {
                    "auto" => { "Then the tenant is switched, with a pause of milliseconds." }
                    "manual" => { "Then it waits until you request the switch." }
                    time => { "Then it is switched, not before " (time) "." }
                } }
            @if let Some(estimate) = &plan.estimate {
                dl class="numbers" {
                    div { dt { "Copy" } dd { (estimate.bulk_copy_estimate) } }
                    div { dt { "Catching up" } dd { (estimate.dual_write_estimate) } }
                    div { dt { "Switch, at most" } dd { (estimate.cutover_estimate) } }
                    div { dt { "Total, with reserve" } dd { (estimate.total_estimate) } }
                }
            }
        }
        section aria-labelledby="options-title" {
            h2 id="options-title" { "With these options" }
            (options::shown(effective))
            form method="get" action="/console/start" {
                input type="hidden" name="tenant" value=(wish.tenant);
                input type="hidden" name="to" value=(wish.to);
                (wish.chosen.hidden())
                div class="actions spaced" { button type="submit" { "Change these" } }
            }
        }
    }
}

fn confirmation(viewer: &Viewer, wish: &Wish) -> Markup {
    html! {
        section aria-label="Start" {
            form class="fields" method="post" action="/console/start" {
                input type="hidden" name="csrf" value=(viewer.csrf);
                input type="hidden" name="tenant" value=(wish.tenant);
                input type="hidden" name="to" value=(wish.to);
                (wish.chosen.hidden())
                label { "Reason (recorded in the migration's log)" input type="text" name="reason" maxlength="200"; }
                div class="actions" { button class="first" type="submit" { "Start the migration" } a class="button" href="/" { "Cancel" } }
            }
        }
    }
}
