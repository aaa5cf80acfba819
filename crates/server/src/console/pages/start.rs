//! Moving a tenant: who and where to, then the plan, then the word.

use maud::{Markup, html};
use rehome_api::Plan;

use super::frame::{self, Viewer};
use crate::console::words;

/// What was typed.
#[derive(Clone, Debug, Default, serde::Deserialize)]
#[serde(default)]
pub(in crate::console) struct Wish {
    pub(in crate::console) tenant: String,
    pub(in crate::console) to: String,
    /// `auto` or `manual`.
    pub(in crate::console) cutover: String,
    /// Events per second; empty: no limit.
    pub(in crate::console) rate: String,
    /// How long the tenant can return; empty: not at all.
    pub(in crate::console) window: String,
}

/// Asks who moves where.
pub(in crate::console) fn form(
    viewer: &Viewer,
    stores: &[String],
    wish: &Wish,
    problem: Option<&str>,
) -> Markup {
    let body = html! {
        h1 { "Move a tenant" }
        section {
            p { "The tenant's writers go on all the while. Nothing happens before you have seen the plan." }
            @if let Some(problem) = problem { p class="notice bad" role="alert" { (problem) } }
            form class="fields" method="get" action="/console/plan" {
                label { "Tenant"
                    input type="text" name="tenant" value=(wish.tenant) required spellcheck="false" placeholder="00000000-0000-0000-0000-000000000000";
                    span class="hint" { "Its id, a UUID." }
                }
                label { "To store"
                    select name="to" required {
                        @for store in stores { option value=(store) selected[*store == wish.to] { (store) } }
                    }
                }
                label { "Switch"
                    select name="cutover" {
                        option value="manual" selected[wish.cutover != "auto"] { "when I say so" }
                        option value="auto" selected[wish.cutover == "auto"] { "by itself, once all is copied and verified" }
                    }
                }
                label { "Copy at most, events per second"
                    input type="number" name="rate" min="0" step="1" value=(wish.rate);
                    span class="hint" { "Empty: as fast as it goes. It can be changed while it runs." }
                }
                label { "Time to return"
                    input type="text" name="window" value=(wish.window) placeholder="1h";
                    span class="hint" { "For so long after the switch the old store is kept level, so that the tenant can go back. Empty: not at all." }
                }
                div class="actions" { button class="first" type="submit" { "See the plan" } a class="button" href="/" { "Cancel" } }
            }
        }
    };
    frame::page("Move a tenant", Some(viewer), None, &body)
}

/// Shows what would happen, and asks for the word.
pub(in crate::console) fn plan(viewer: &Viewer, wish: &Wish, plan: &Plan) -> Markup {
    let body = html! {
        h1 { "Move tenant " span class="mono" { (plan.tenant_id) } }
        section aria-labelledby="plan-title" {
            h2 id="plan-title" { "What was looked at" }
            ul class="plain" {
                @for finding in &plan.findings {
                    li {
                        @if finding.ok { span class="badge good" { "ok" } } @else { span class="badge bad" { "in the way" } }
                        " " (finding.detail)
                    }
                }
            }
        }
        section aria-labelledby="happens-title" {
            h2 id="happens-title" { "What will happen" }
            p { (words::count(plan.events_to_copy)) " events are copied from " strong { (plan.source_store) } " to "
                strong { (plan.target_store) } ", new writes are mirrored, all is read back and verified. "
                @if wish.cutover == "auto" { "Then the tenant is switched, with a pause of milliseconds." }
                @else { "Then it waits for your word to switch." } }
            @if let Some(estimate) = &plan.estimate {
                dl class="numbers" {
                    div { dt { "Copy" } dd { (estimate.bulk_copy_estimate) } }
                    div { dt { "Catching up" } dd { (estimate.dual_write_estimate) } }
                    div { dt { "Switch, at most" } dd { (estimate.cutover_estimate) } }
                    div { dt { "All of it, with reserve" } dd { (estimate.total_estimate) } }
                }
            }
        }
        section {
            @if plan.possible {
                form class="fields" method="post" action="/console/start" {
                    input type="hidden" name="csrf" value=(viewer.csrf);
                    input type="hidden" name="tenant" value=(wish.tenant);
                    input type="hidden" name="to" value=(wish.to);
                    input type="hidden" name="cutover" value=(wish.cutover);
                    input type="hidden" name="rate" value=(wish.rate);
                    input type="hidden" name="window" value=(wish.window);
                    label { "Why (kept in the migration's log)" input type="text" name="reason" maxlength="200"; }
                    div class="actions" { button class="first" type="submit" { "Start the migration" } a class="button" href="/" { "Cancel" } }
                }
            } @else {
                p class="notice bad" role="alert" { "It cannot start like this; see what is in the way above. Nothing was changed." }
                div class="actions" { a class="button first" href="/console/start" { "Back" } }
            }
        }
    };
    frame::page("Plan", Some(viewer), None, &body)
}
