//! Migrations for people.

use std::fmt::Write as _;

use rehome_api::duration::pause;
use rehome_api::{Cutover, Migration, Options, Time};

use super::text::{cell, count, rate, return_until, table};

/// One migration.
pub(crate) fn details(
    migration: &Migration,
    options: Option<&Options>,
    worker: Option<&str>,
) -> String {
    let mut text = String::new();
    let mut row = |name: &str, value: String| {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{name:<12}{}", cell(&value));
    };
    row("migration", migration.id.to_string());
    row("tenant", migration.tenant_id.to_string());
    row("from", migration.source_store.clone());
    row("to", migration.target_store.clone());
    row("state", migration.state.clone());
    for silent in silent(migration) {
        row("silent", format!("{silent}; its numbers are the last known ones"));
    }
    if let (Some(percent), Some(copied), Some(total)) =
        (migration.progress_percent, migration.events_copied, migration.events_total)
    {
        row("copied", format!("{} of {} events ({percent} %)", count(copied), count(total)));
    }
    if let Some(seq) = migration.read_back_seq {
        match migration.events_total.filter(|total| migration.state == "dual_write" && seq < *total)
        {
            Some(total) => row("verifying", format!("{} of {}", count(seq), count(total))),
            None => row("read back", format!("to {}", count(seq))),
        }
    }
    if let Some(lag) = migration.sync_lag_events {
        row("lag", format!("{} events", count(lag)));
    }
    if let Some(why) = &migration.waiting {
        row("waits for", why.clone());
    }
    if let Some(known) = migration.rate_events_per_s.filter(|known| *known > 0.0) {
        row("rate", format!("{} events/s", rate(known)));
    }
    if let Some(options) = options {
        row("cutover", options.cutover.clone());
        let window = options.rollback_window;
        let none = || "none: the tenant cannot return".to_owned();
        row("window", if window.0 == 0 { none() } else { window.to_string() });
    }
    if let Some(percent) = migration.throttle_percent.filter(|percent| *percent < 100) {
        let why = migration.throttle_reason.as_deref().unwrap_or("recovering");
        row("slowed", format!("to {percent} %: {why}"));
    }
    if let Some(cutover) = &migration.last_cutover {
        row("write pause", write_pause(cutover));
    }
    if let Some(until) = return_until(migration) {
        row("can return", until);
    }
    if migration.cutover_requested {
        row("requested", "the cutover; `--withdraw` withdraws it until it begins".to_owned());
    }
    if let Some(hooks) = &migration.hooks {
        row("hooks", hooks.clone());
    }
    if let Some(worker) = worker {
        row("worker", worker.to_owned());
    }
    row("created", migration.created_at.to_string());
    for (name, time) in [("started", migration.started_at), ("completed", migration.completed_at)] {
        if let Some(time) = time {
            row(name, time.to_string());
        }
    }
    if let Some(error) = &migration.error {
        row("error", error.clone());
    }
    if let Some(open) = migration.open_violation.as_ref().filter(|o| !migration.needs.contains(o)) {
        row("open", open.clone());
    }
    for need in &migration.needs {
        row("needs you", need.clone());
    }
    text
}

/// How long the last cutover kept writers waiting.
fn write_pause(cutover: &Cutover) -> String {
    let pause = pause(cutover.pause_ms);
    match cutover.outcome.as_str() {
        "succeeded" => pause,
        "under_way" => format!("{pause} so far"),
        "timed_out" => format!("{pause}; the cutover took too long and was rolled back"),
        _ => format!("{pause}; the cutover was rolled back"),
    }
}

/// A sentence for each store of a migration that does not answer.
pub(super) fn silent(migration: &Migration) -> Vec<String> {
    let since = |at: Time| {
        let time = at.to_string();
        time.split_once('.').map_or_else(|| time.clone(), |(seconds, _)| format!("{seconds}Z"))
    };
    let stores = migration.unanswered().into_iter();
    stores
        .map(|(store, at)| format!("store \"{store}\" has not answered since {}", since(at)))
        .collect()
}

/// Decisions that are listed with their commands; the rest is counted.
const NEEDS_SHOWN: usize = 10;

/// Many migrations.
pub(crate) fn list(migrations: &[Migration]) -> String {
    if migrations.is_empty() {
        return "no migrations".to_owned();
    }
    let mut silent: Vec<String> = migrations.iter().flat_map(silent).collect();
    silent.sort();
    silent.dedup();
    if !silent.is_empty() {
        silent.push("its numbers are the last known ones\n".to_owned());
    }
    let rows = migrations.iter().map(|migration| {
        [
            migration.id.to_string(),
            migration.tenant_id.to_string(),
            format!("{} -> {}", migration.source_store, migration.target_store),
            migration.state.clone(),
            migration.progress_percent.map_or_else(|| "-".to_owned(), |p| format!("{p:.1} %")),
            migration.sync_lag_events.map_or_else(|| "-".to_owned(), count),
            migration.created_at.to_string(),
        ]
    });
    let header = ["MIGRATION", "TENANT", "FROM -> TO", "STATE", "COPIED", "LAG", "CREATED"];
    let mut text = silent.join("\n") + &table(header, &[4, 5], rows);
    let needs: Vec<_> = migrations.iter().flat_map(|migration| &migration.needs).collect();
    if !needs.is_empty() {
        // Writing to a String cannot fail.
        let need = if needs.len() == 1 { "needs" } else { "need" };
        let _ = write!(text, "\n{} {need} you:\n", needs.len());
        for need in needs.iter().take(NEEDS_SHOWN) {
            let _ = writeln!(text, "  {}", cell(need));
        }
        if needs.len() > NEEDS_SHOWN {
            let _ = writeln!(text, "  ... and {} more", needs.len() - NEEDS_SHOWN);
        }
    }
    text
}
