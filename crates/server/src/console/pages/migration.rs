//! One migration: where it stands, how it goes, what can be done.

use maud::{Markup, PreEscaped, html};
use rehome_api::time::Time;
use rehome_api::{LogEntry, Migration, Options};
use rehome_app::history::Sample;

use super::badge;
use super::confirm::Action;
use super::frame::{self, Viewer};
use crate::console::chart::{self, Series};
use crate::console::words;

/// What the page shows.
pub(in crate::console) struct View {
    pub(in crate::console) migration: Migration,
    pub(in crate::console) options: Options,
    /// Who works on it.
    pub(in crate::console) holder: Option<String>,
    /// This process does.
    pub(in crate::console) here: bool,
    pub(in crate::console) log: Vec<LogEntry>,
    pub(in crate::console) samples: Vec<Sample>,
    /// Now, for ages.
    pub(in crate::console) now: Time,
    pub(in crate::console) can_return: bool,
}

/// The page.
pub(in crate::console) fn page(view: &View, viewer: &Viewer) -> Markup {
    let id = view.migration.id.to_string();
    let live = format!("/console/live?migration={id}");
    let body = html! {
        h1 { "Tenant " span class="mono" { (view.migration.tenant_id) } }
        p class="soft" { (view.migration.source_store) " → " (view.migration.target_store) ", migration " span class="mono" { (id) } ", " a href={ "/console/checklists/" (id) } { "checklists" } }
        @for (id, piece) in pieces(view, viewer) { div id=(id) { (piece) } }
    };
    let title = format!(
        "{} {}",
        words::short(&view.migration.tenant_id.to_string()),
        words::state(&view.migration.state)
    );
    frame::page(&title, Some(viewer), Some(&live), &body)
}

/// The parts that change.
pub(in crate::console) fn pieces(view: &View, viewer: &Viewer) -> Vec<(&'static str, Markup)> {
    vec![
        ("now", now(view)),
        ("actions", actions(view, viewer)),
        ("phases", phases(view)),
        ("numbers", numbers(view)),
        ("charts", charts(view)),
        ("cutovers", cutovers(view)),
        ("verification", verification(view)),
        ("options", options(view)),
        ("log", log(view)),
    ]
}

fn now(view: &View) -> Markup {
    let migration = &view.migration;
    let (source, target) = (&migration.source_store, &migration.target_store);
    let class = match migration.state.as_str() {
        _ if migration.open_violation.is_some() => "notice bad",
        "failed" => "notice bad",
        "paused" => "notice warn",
        "migrated" => "notice good",
        _ => "notice",
    };
    let works = ["pending", "bulk_copy", "dual_write", "cutover_paused"]
        .contains(&migration.state.as_str());
    html! {
        section class=(class) {
            p { (badge(&migration.state)) " " strong { (sentence(migration)) } }
            @if let Some(error) = &migration.error { p { (error) } }
            @if let Some(open) = &migration.open_violation { p { strong { "No switch: " } (open) } }
            @match (&view.holder, works) {
                (Some(_), _) if view.here => { p class="soft" { "This server works on it." } }
                (Some(holder), _) => { p class="soft" { "Worked on by " span class="mono" { (holder) } "; numbers are read from the stores." } }
                (None, true) => { p { strong { "Nobody works on it at the moment." } " A server or " code { "rehome migration resume" } " takes it over." } }
                (None, false) => {}
            }
            @for (store, since) in migration.unanswered() {
                p {
                    strong { "Store " (store) " does not answer since " (words::clock(since)) " UTC." }
                    @if migration.progress_percent.is_some() { " Its numbers are as last seen." }
                }
            }
            @if migration.progress_percent.is_none() && (works || migration.state == "paused") {
                p { "How far it is between " (source) " and " (target) " is not known." }
            }
        }
    }
}

fn sentence(migration: &Migration) -> String {
    let (source, target) = (&migration.source_store, &migration.target_store);
    match migration.state.as_str() {
        "pending" => format!("Getting {target} ready. Writes go to {source}."),
        "bulk_copy" => format!("The history is being copied. Writes go to {source}."),
        "dual_write" => format!(
            "New writes are mirrored to {target}, which is read back and verified. Writes go to {source}."
        ),
        "cutover_paused" => "Switching: writes wait for a moment.".to_owned(),
        "migrated" => format!("Done. Writes go to {target}."),
        "failed" => {
            format!("Stopped by a fault. Writes go to {source} as before; nothing is lost.")
        }
        "rolled_back" => format!("Given up. Writes go to {source}."),
        "paused" => format!("Paused. Writes go to {source}."),
        other => other.to_owned(),
    }
}

fn actions(view: &View, viewer: &Viewer) -> Markup {
    let id = view.migration.id.to_string();
    let fitting: Vec<Action> = Action::ALL
        .into_iter()
        .filter(|action| viewer.operates && action.fits(&view.migration, view.can_return))
        .collect();
    html! {
        @if !fitting.is_empty() {
            section aria-label="Actions" class="actions" {
                @for (index, action) in fitting.iter().enumerate() {
                    // No switch is proposed to a store that does not answer.
                    @let proposed = index == 0 && (*action != Action::CutOver || view.migration.unanswered().is_empty());
                    @let class = if *action == Action::Abort { "button risky" } else if proposed { "button first" } else { "button" };
                    a class=(class) href={ "/console/migrations/" (id) "/" (action.as_str()) } { (action.label()) }
                }
            }
        }
    }
}

/// The facts that enter a phase.
const ENTERS: [(&str, &str); 9] = [
    ("started", "pending"),
    ("copy_started", "bulk_copy"),
    ("copy_completed", "dual_write"),
    ("cutover_started", "cutover_paused"),
    ("cutover_rolled_back", "dual_write"),
    ("switched", "migrated"),
    ("failed", "failed"),
    ("aborted", "rolled_back"),
    ("paused", "paused"),
];

fn phases(view: &View) -> Markup {
    let state = view.migration.state.as_str();
    let way = ["pending", "bulk_copy", "dual_write", "cutover_paused", "migrated"];
    let entered = |phase: &str| {
        let enters = |entry: &&LogEntry| {
            ENTERS.iter().any(|(fact, to)| *fact == entry.event && *to == phase)
        };
        view.log.iter().rev().find(enters).map(|entry| entry.at)
    };
    // A migration that left the way is shown where it left it.
    let reached = way.iter().rposition(|phase| entered(phase).is_some()).unwrap_or(0);
    let left = !way.contains(&state);
    let here = way.iter().position(|phase| *phase == state).unwrap_or(reached);
    html! {
        section aria-labelledby="phases-title" {
            h2 id="phases-title" { "Phases" }
            ol class="phases" {
                @for (index, phase) in way.iter().enumerate() {
                    @let is_here = index == here;
                    @let class = match () {
                        () if is_here && left && state != "paused" => "bad",
                        () if is_here && *phase != "migrated" => "now",
                        () if index <= here => "done",
                        () => "",
                    };
                    li class=(class) aria-current=[is_here.then_some("step")] {
                        (words::state(phase))
                        @if is_here && left { ", then " (words::state(state)) }
                        @if let Some(at) = entered(phase).filter(|_| index <= here) { small { (words::time(at)) " UTC" } }
                    }
                }
            }
        }
    }
}

fn numbers(view: &View) -> Markup {
    let migration = &view.migration;
    let last = view.samples.last();
    let started = migration.started_at.unwrap_or(migration.created_at);
    let ended = migration.completed_at.unwrap_or(view.now);
    #[allow(clippy::cast_precision_loss, reason = "a length of time for people")]
    let took = (ended.0 - started.0).max(0) as f64 / 1e6;
    let moving = ["bulk_copy", "dual_write", "cutover_paused"].contains(&migration.state.as_str());
    html! {
        section aria-labelledby="numbers-title" {
            h2 id="numbers-title" { "Progress" }
            @if let Some(percent) = migration.progress_percent {
                progress max="100" value=(format!("{percent:.2}")) aria-labelledby="numbers-title" { (format!("{percent:.2} %")) }
            }
            dl class="numbers" {
                div { dt { "In the target" } dd { (words::known(migration.events_copied)) " of " (words::known(migration.events_total)) } }
                div { dt { "Behind, events" } dd {
                    @if moving { (words::known(migration.sync_lag_events)) } @else { "–" }
                    @if moving && migration.sync_lag_events.is_some() { (last_seen(migration)) }
                } }
                div { dt { "Rate" } dd { @match last.filter(|_| moving) { Some(last) => { (words::rate(last.rate)) } None => { "–" } } } }
                div { dt { "Left" } dd { @match migration.eta_seconds.filter(|_| migration.state == "bulk_copy") { Some(eta) => { (words::seconds(eta)) } None => { "–" } } } }
                div { dt { "Read back and proven" } dd { (words::known(migration.read_back_seq)) } }
                div { dt { "Since the copy began" } dd { (words::seconds(took)) } }
                div { dt { "Writers waiting here" } dd { (words::count(last.map_or(0, |last| last.waiting))) } }
            }
        }
    }
}

/// How old a lag is that is inferred: what the one store has more than the other was last seen to have.
fn last_seen(migration: &Migration) -> Markup {
    let target = migration.target_unanswered_since.and(migration.target_last_seen_at);
    let source = migration.source_unanswered_since.and(migration.source_last_seen_at);
    html! {
        @for (store, at) in [("target", target), ("source", source)] {
            @if let Some(at) = at {
                small class="soft" { " " (store) " last seen " (words::clock(at)) " UTC" }
            }
        }
    }
}

fn charts(view: &View) -> Markup {
    let end = view.samples.last().map_or(0, |sample| sample.at.micros());
    let line = |pick: &dyn Fn(&Sample) -> Option<f64>| -> Vec<(f64, Option<f64>)> {
        #[allow(clippy::cast_precision_loss, reason = "seconds of a chart")]
        let ago = |sample: &Sample| (end - sample.at.micros()) as f64 / 1e6;
        view.samples.iter().map(|sample| (ago(sample), pick(sample))).collect()
    };
    #[allow(clippy::cast_precision_loss, reason = "pixels of a chart")]
    let percent = |sample: &Sample| {
        let part = sample.copied as f64 * 100.0 / sample.total.max(1) as f64;
        Some(if sample.total == 0 { 100.0 } else { part })
    };
    #[allow(clippy::cast_precision_loss, reason = "pixels of a chart")]
    let drawn = [
        ("In the target", " %", vec![Series { name: "", points: line(&percent) }], ""),
        (
            "Events per second to the target",
            "",
            vec![Series { name: "", points: line(&|s| Some(s.rate)) }],
            "",
        ),
        (
            "Behind, events",
            "",
            vec![Series { name: "", points: line(&|s| Some(s.lag as f64)) }],
            "",
        ),
        (
            "Append latency",
            " ms",
            vec![
                Series { name: "p50", points: line(&|s| s.append_p50_ms) },
                Series { name: "p99", points: line(&|s| s.append_p99_ms) },
            ],
            "No appends of this tenant pass through this server.",
        ),
        (
            "Events the mirror failed to write",
            "",
            vec![Series { name: "", points: line(&|s| Some(s.failures as f64)) }],
            "",
        ),
    ];
    html! {
        section aria-labelledby="charts-title" {
            h2 id="charts-title" { "The last minutes" }
            @if view.samples.is_empty() {
                p class="soft" { "Nothing was seen lately: charts begin when a server looks, and end with the migration." }
            } @else {
                div class="charts" {
                    @for (label, unit, series, absent) in &drawn {
                        figure {
                            figcaption {
                                (label)
                                @if series.len() > 1 {
                                    @for (index, one) in series.iter().enumerate() {
                                        span class={ "key key-" (index + 1) } {} (one.name)
                                    }
                                }
                            }
                            @match chart::draw(label, unit, series) {
                                Some(svg) => { (PreEscaped(svg)) }
                                None => { p class="soft" { (if absent.is_empty() { "Nothing yet." } else { absent }) } }
                            }
                        }
                    }
                }
            }
        }
    }
}

/// A cutover, by the log.
struct Cutover {
    began: Time,
    /// Milliseconds until a store took writes again.
    pause: Option<f64>,
    ended: String,
}

fn cutovers_of(log: &[LogEntry]) -> Vec<Cutover> {
    let mut cutovers: Vec<Cutover> = Vec::new();
    for entry in log {
        if entry.event == "cutover_started" {
            let ended = "under way".to_owned();
            cutovers.push(Cutover { began: entry.at, pause: None, ended });
        }
        let Some(last) = cutovers.last_mut() else { continue };
        #[allow(clippy::cast_precision_loss, reason = "milliseconds of a pause")]
        let pause = Some((entry.at.0 - last.began.0).max(0) as f64 / 1e3);
        let (pause, ended) = match entry.event.as_str() {
            "cutover_rolled_back" => {
                let reason = entry.details.get("reason").and_then(serde_json::Value::as_str);
                (pause, format!("rolled back: {}", reason.unwrap_or("see the log")))
            }
            "switched" => (None, "switched, the target is being activated".to_owned()),
            "target_activated" => (pause, "switched".to_owned()),
            _ => continue,
        };
        (last.pause, last.ended) = (pause, ended);
    }
    cutovers
}

fn cutovers(view: &View) -> Markup {
    let cutovers = cutovers_of(&view.log);
    html! {
        section aria-labelledby="cutovers-title" {
            h2 id="cutovers-title" { "Cutover" }
            @if cutovers.is_empty() {
                p class="soft" { "Not tried yet. Writers will wait for some milliseconds, at most " (words::millis(f64::from(view.options.cutover_timeout_ms))) ", or all goes back." }
            } @else {
                table class="stack" {
                    thead { tr { th { "Began (UTC)" } th class="number" { "Pause, by the log" } th { "Ended" } } }
                    tbody { @for cutover in cutovers.iter().rev() { tr {
                        td class="time" data-label="Began" { (words::time(cutover.began)) }
                        td class="number" data-label="Pause" { @match cutover.pause { Some(pause) => { (words::millis(pause)) } None => { "–" } } }
                        td data-label="Ended" { (cutover.ended) }
                    } } }
                }
            }
        }
    }
}

fn verification(view: &View) -> Markup {
    let number =
        |entry: &LogEntry, name: &str| entry.details.get(name).and_then(serde_json::Value::as_u64);
    let done: Vec<&LogEntry> =
        view.log.iter().rev().filter(|entry| entry.event == "verified").collect();
    html! {
        section aria-labelledby="verification-title" {
            h2 id="verification-title" { "Verification" }
            @if done.is_empty() {
                p class="soft" { "Before the switch all of the history is verified at the level " strong { (view.options.verification) } "." }
            } @else {
                ul class="plain" { @for entry in done {
                    @let violations = number(entry, "violations").unwrap_or(0);
                    li {
                        @if violations == 0 { span class="badge good" { "no violation" } } @else { span class="badge bad" { (words::count(violations)) " violations" } }
                        " " (entry.details.get("level").and_then(serde_json::Value::as_str).unwrap_or(""))
                        ", up to event " (words::known(number(entry, "seq"))) ", " (words::time(entry.at)) " UTC"
                    }
                } }
            }
        }
    }
}

fn options(view: &View) -> Markup {
    let options = &view.options;
    let limit = |value: u32, unit: &str| {
        if value == 0 {
            "no limit".to_owned()
        } else {
            format!("{}{unit}", words::count(value.into()))
        }
    };
    html! {
        section aria-labelledby="options-title" {
            h2 id="options-title" { "Options" }
            dl class="numbers" {
                div { dt { "Copy at most" } dd { (limit(options.copy_rate_max, " events/s")) } }
                div { dt { "Bytes at most" } dd { (limit(options.copy_bytes_rate_max, "/s")) } }
                div { dt { "Batch" } dd { (words::count(options.batch_events.into())) " events" } }
                div { dt { "Switch" } dd { (options.cutover) } }
                div { dt { "Lag bound" } dd { (words::count(options.lag_events_max.into())) " events" } }
                div { dt { "Cutover timeout" } dd { (words::millis(f64::from(options.cutover_timeout_ms))) } }
                div { dt { "Answers wait for" } dd { (options.mirror_ack) } }
                div { dt { "Verification" } dd { (options.verification) } }
                div { dt { "Time to return" } dd { (options.rollback_window) } }
            }
        }
    }
}

fn log(view: &View) -> Markup {
    html! {
        section aria-labelledby="log-title" {
            h2 id="log-title" { "Log" }
            @if let Some(broken) = view.log.iter().find_map(|entry| entry.chain_broken.as_ref()) {
                p role="alert" { "This log is not as it was recorded: " (broken) "." }
            }
            table class="stack" {
                thead { tr { th { "When (UTC)" } th { "What" } th { "Who" } th { "Details" } } }
                tbody { @for entry in view.log.iter().rev() { tr {
                    td class="time" data-label="When" { (words::time(entry.at)) }
                    td data-label="What" { (entry.event.replace('_', " ")) }
                    td data-label="Who" class="mono" {
                        (entry.actor) @if let Some(reason) = &entry.reason { ": " (reason) }
                    }
                    td data-label="Details" class="mono" {
                        (details(entry))
                        @if let Some(broken) = &entry.chain_broken { strong { " BROKEN: " (broken) } }
                    }
                } } }
            }
        }
    }
}

fn details(entry: &LogEntry) -> String {
    let text = |value: &serde_json::Value| match value {
        serde_json::Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    let told = entry.details.iter().filter(|(key, _)| *key != "options");
    told.map(|(key, value)| format!("{key}: {}", text(value))).collect::<Vec<_>>().join(", ")
}
