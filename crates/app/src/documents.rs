//! From the domain to documents.

use std::time::Duration;

use rehome_api::{self as api, Time};
use rehome_domain::estimate::Estimate;
use rehome_domain::event::Timestamp;
use rehome_domain::ids::{StoreId, TenantId};
use rehome_domain::ledger::Ledger;
use rehome_domain::migration::{
    Cutover, CutoverOutcome, Fact, Migration, allowed_actions, awaited, return_until,
};
use rehome_domain::verification::Violation;
use rehome_engine::Progress;
use rehome_engine::migration::Waiting;
use rehome_ports::{LogEntry, record};

use crate::store_watch::Sight;

/// When the two stores were seen that a migration's numbers are from.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Ages {
    pub(crate) source: Age,
    pub(crate) target: Age,
}

/// When a store last answered, and since when it does not.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Age {
    pub(crate) last_seen_at: Option<Timestamp>,
    pub(crate) unanswered_since: Option<Timestamp>,
}

impl Age {
    pub(crate) fn of<T>(sight: &Sight<T>) -> Self {
        let unanswered_since = sight.unanswered.as_ref().map(|unanswered| unanswered.since);
        Self { last_seen_at: sight.at(), unanswered_since }
    }
}

/// A migration and its progress; unknown values are `null`. `is_last`: it is the last one of its tenant.
pub(crate) fn migration(
    migration: &Migration,
    is_last: bool,
    progress: Option<&Progress>,
    ages: Ages,
    waiting: Option<Waiting>,
    last_cutover: Option<api::Cutover>,
) -> api::Migration {
    let (waiting_since, waiting) = waiting.map(|waiting| (waiting.since, waiting.why)).unzip();
    let time = |at: Timestamp| Time(at.micros());
    api::Migration {
        id: migration.id.uuid(),
        tenant_id: migration.tenant.uuid(),
        source_store: migration.source.to_string(),
        target_store: migration.target.to_string(),
        state: migration.state.phase().as_str().to_owned(),
        progress_percent: progress.map(|p| rounded(p.percent(), 2)),
        events_copied: progress.map(|p| p.events_copied),
        events_total: progress.map(|p| p.events_total),
        sync_lag_events: progress.map(|p| p.lag_events),
        rate_events_per_s: progress.map(|p| rounded(p.rate_events_per_s, 1)),
        eta_seconds: progress.and_then(Progress::eta_seconds).map(|eta| rounded(eta, 1)),
        read_back_seq: progress.map(|p| p.read_back_seq),
        source_last_seen_at: ages.source.last_seen_at.map(time),
        target_last_seen_at: ages.target.last_seen_at.map(time),
        source_unanswered_since: ages.source.unanswered_since.map(time),
        target_unanswered_since: ages.target.unanswered_since.map(time),
        created_at: time(migration.created_at),
        started_at: migration.started_at.map(time),
        completed_at: migration.completed_at.map(time),
        error: migration.error.as_deref().map(str::to_owned),
        open_violation: migration.violations.open.as_ref().map(|open| open.advice(migration.id)),
        cutover_requested: migration.is_cutover_requested(),
        hooks: None,
        throttle_percent: None,
        throttle_reason: None,
        waiting,
        waiting_since: waiting_since.map(time),
        allowed_actions: allowed_actions(migration, is_last)
            .into_iter()
            .map(|action| action.as_str().to_owned())
            .collect(),
        needs: awaited(migration, progress.is_some_and(|p| p.is_caught_up(migration)))
            .into_iter()
            .map(|one| one.advice(migration))
            .collect(),
        last_cutover,
        return_until: return_until(migration).map(time),
    }
}

/// One cutover by the migration's log, as of `now`.
pub(crate) fn cutover(cutover: &Cutover, now: Timestamp) -> api::Cutover {
    let outcome = match cutover.ended() {
        None => "under_way",
        Some(CutoverOutcome::Succeeded) => "succeeded",
        Some(CutoverOutcome::TimedOut) => "timed_out",
        Some(CutoverOutcome::RolledBack) => "rolled_back",
    };
    api::Cutover {
        started_at: Time(cutover.started.micros()),
        outcome: outcome.to_owned(),
        pause_ms: millis(cutover.pause(now)),
        deadline_ms: cutover.deadline_ms,
    }
}

/// Whole microseconds, as milliseconds.
pub(crate) fn millis(time: Duration) -> f64 {
    rounded(time.as_secs_f64() * 1e3 + 1e-6, 3)
}

/// Down, so that 99.999 % is never shown as 100.
fn rounded(value: f64, digits: i32) -> f64 {
    let unit = 10_f64.powi(digits);
    (value * unit).floor() / unit
}

/// A log entry. Its details are those that the log itself holds.
pub(crate) fn log_entry(entry: &LogEntry) -> api::LogEntry {
    let written = record::write_fact(&entry.fact);
    let mut details: serde_json::Map<_, _> = serde_json::from_str(&written).unwrap_or_default();
    details.remove("fact");
    if let Fact::Started { options, .. } | Fact::Tuned { options, .. } = &entry.fact {
        let options = serde_json::to_value(crate::options::document(options));
        details.insert("options".to_owned(), options.unwrap_or_default());
    }
    // As `Deployment::acting_as` has it; no name of a process or of a token has a space in it.
    let (actor, reason) = match entry.actor.split_once(": ") {
        Some((actor, reason)) => (actor, Some(reason)),
        None => (entry.actor.as_str(), None),
    };
    api::LogEntry {
        index: entry.index,
        at: Time(entry.at.micros()),
        actor: actor.to_owned(),
        reason: reason.map(str::to_owned),
        event: entry.fact.name().to_owned(),
        details,
        hash: entry.hash.to_string(),
        chain_broken: None,
    }
}

pub(crate) fn estimate(estimate: &Estimate) -> api::Estimate {
    api::Estimate::new(
        estimate.bulk_copy_seconds,
        estimate.dual_write_seconds,
        estimate.cutover_seconds,
        estimate.total_seconds,
    )
}

pub(crate) fn violation(violation: &Violation) -> api::Violation {
    let stream = violation.stream.as_ref();
    api::Violation {
        kind: violation.kind.as_str().to_owned(),
        seq: violation.seq,
        stream_type: stream.map(|stream| stream.stream_type().to_owned()),
        stream_id: stream.map(|stream| stream.stream_id().to_owned()),
        detail: violation.detail.clone(),
    }
}

pub(crate) fn tenant_in_store(
    tenant: TenantId,
    store: &StoreId,
    ledger: &Ledger,
    authority: bool,
) -> api::TenantInStore {
    api::TenantInStore {
        tenant_id: tenant.uuid(),
        store: store.to_string(),
        role: ledger.role.as_str().to_owned(),
        epoch: ledger.epoch.0,
        seq: ledger.head.seq,
        digest: ledger.head.digest.to_string(),
        authority,
        last_seen_at: None,
    }
}
