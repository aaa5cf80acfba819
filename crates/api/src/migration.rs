//! A migration, as every interface shows it.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::duration::Millis;
use crate::time::Time;

/// A migration and its progress.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Migration {
    /// Its id.
    pub id: Uuid,
    /// The tenant.
    pub tenant_id: Uuid,
    /// The source store.
    pub source_store: String,
    /// The target store.
    pub target_store: String,
    /// `pending`, `bulk_copy`, `dual_write`, `cutover_paused`, `migrated`, `failed`, `rolled_back`
    /// or `paused`.
    pub state: String,
    /// Progress, from 0 to 100.
    pub progress_percent: Option<f64>,
    /// Events of the history that are in the target.
    pub events_copied: Option<u64>,
    /// Events of the history that must be in the target.
    pub events_total: Option<u64>,
    /// Events that the target is behind.
    pub sync_lag_events: Option<u64>,
    /// Recent copy rate, in events per second.
    pub rate_events_per_s: Option<f64>,
    /// Seconds until everything is copied, at that rate.
    pub eta_seconds: Option<f64>,
    /// The position up to which the target was read back from its disk and equals the source.
    pub read_back_seq: Option<u64>,
    /// When the source's length behind these numbers was read; `null`: never.
    pub source_last_seen_at: Option<Time>,
    /// When the target's length behind these numbers was read; `null`: never.
    pub target_last_seen_at: Option<Time>,
    /// Since when the source has not answered; `null`: it answers, or is not needed. Its last known length
    /// is used meanwhile.
    pub source_unanswered_since: Option<Time>,
    /// Since when the target has not answered; `null`: it answers. Its last known length is used meanwhile, so the
    /// lag is relative to it.
    pub target_unanswered_since: Option<Time>,
    /// When it was requested.
    pub created_at: Time,
    /// When the copy started.
    pub started_at: Option<Time>,
    /// When it ended, in success or failure.
    pub completed_at: Option<Time>,
    /// Why it failed, or why its last cutover was rolled back, withdrawn or vetoed.
    pub error: Option<String>,
    /// Violations that verifications found and that are neither refuted nor repaired, and what to do; they
    /// block the cutover.
    #[serde(default)]
    pub open_violation: Option<String>,
    /// Whether a cutover is requested and has not begun: until then it can be withdrawn.
    #[serde(default)]
    pub cutover_requested: bool,
    /// Hooks whose notification is outstanding, and why; it is retried. Not in lists.
    #[serde(default)]
    pub hooks: Option<String>,
    /// How hard it works, in percent of what it could: less than 100 while it gives way to writers. Not in lists.
    #[serde(default)]
    pub throttle_percent: Option<u32>,
    /// Why it gives way: `source_appends`, `target_appends`, `source_reads`, `read_back`, `target_writes` or
    /// `mirror_lag`. Not in lists.
    #[serde(default)]
    pub throttle_reason: Option<String>,
    /// Why it makes no progress at the moment: a fault after which the driver retries.
    /// `null` while it makes progress, and without a driver.
    #[serde(default)]
    pub waiting: Option<String>,
    /// Since when it waits.
    #[serde(default)]
    pub waiting_since: Option<Time>,
    /// Actions that its state allows: `cutover`, `withdraw`, `pause`, `resume`, `tune`, `verify`,
    /// `repair`, `return`, `acknowledge`, `abort`.
    #[serde(default)]
    pub allowed_actions: Vec<String>,
    /// The decisions of an operator that it waits for, each with the command: a manual cutover that is ready, a
    /// pause, a failure, an open violation. Empty: none.
    #[serde(default)]
    pub needs: Vec<String>,
    /// Its last cutover; `null`: none has begun.
    #[serde(default)]
    pub last_cutover: Option<Cutover>,
    /// Until when the tenant can return to the source with `return`; `null`: there is no open rollback window.
    #[serde(default)]
    pub return_until: Option<Time>,
}

/// One attempt to switch the tenant.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Cutover {
    /// When its intent was recorded: writers wait from here on.
    pub started_at: Time,
    /// `under_way`, `succeeded`, `timed_out` or `rolled_back`.
    pub outcome: String,
    /// The write pause in milliseconds: from its intent until a store took writes again, or until now.
    pub pause_ms: f64,
    /// The longest pause that was allowed, in milliseconds; after it the cutover is rolled back.
    pub deadline_ms: u64,
}

impl Migration {
    /// Whether it has changed since `before`; a newer reading alone is not a change.
    pub fn is_changed_from(&self, before: &Self) -> bool {
        let seen = Self {
            source_last_seen_at: before.source_last_seen_at,
            target_last_seen_at: before.target_last_seen_at,
            ..self.clone()
        };
        seen != *before
    }

    /// The stores that do not answer, and since when: their values are the last known ones.
    pub fn unanswered(&self) -> Vec<(&str, Time)> {
        let stores = [
            (&self.source_store, self.source_unanswered_since),
            (&self.target_store, self.target_unanswered_since),
        ];
        stores.into_iter().filter_map(|(store, since)| Some((store.as_str(), since?))).collect()
    }
}

/// One entry of a migration's log.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct LogEntry {
    /// Its number, from 1, without gaps.
    pub index: u64,
    /// When it was recorded.
    pub at: Time,
    /// The actor.
    pub actor: String,
    /// The reason that an operator gave.
    #[serde(default)]
    pub reason: Option<String>,
    /// The name of the fact.
    pub event: String,
    /// The other fields of the fact.
    pub details: serde_json::Map<String, Value>,
    /// The hash up to and including this entry.
    pub hash: String,
    /// How this entry differs from what was recorded, or what is missing before it; absent if nothing is
    /// wrong.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub chain_broken: Option<String>,
}

/// The options of a migration.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Options {
    /// Maximum number of events in a copy batch.
    pub batch_events: u32,
    /// Maximum size of a copy batch in bytes, approximately.
    pub batch_bytes: u32,
    /// Maximum copy rate, in events per second; 0: no limit.
    pub copy_rate_max: u32,
    /// Maximum copy rate, in bytes per second; 0: no limit.
    pub copy_bytes_rate_max: u32,
    /// The lag, in events, below which a cutover may start and above which writers are slowed down.
    pub lag_events_max: u32,
    /// `auto`, `manual`, or the earliest time of the cutover (RFC 3339).
    pub cutover: String,
    /// Maximum write pause, in milliseconds; a longer cutover is rolled back.
    pub cutover_timeout_ms: u32,
    /// When an append is acknowledged: once it is in the `source`, or also in the `target`.
    pub mirror_ack: String,
    /// Maximum time that an append waits for the target, in milliseconds.
    pub mirror_ack_timeout_ms: u32,
    /// The level of the verification before the cutover: `count`, `hash` or `full`.
    pub verification: String,
    /// How long to keep replicating to the old source after the cutover; `0`: not at all.
    pub rollback_window: Millis,
}

/// Options to change; missing ones stay.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct OptionsPatch {
    /// See [`Options::batch_events`].
    pub batch_events: Option<u32>,
    /// See [`Options::batch_bytes`].
    pub batch_bytes: Option<u32>,
    /// See [`Options::copy_rate_max`].
    pub copy_rate_max: Option<u32>,
    /// See [`Options::copy_bytes_rate_max`].
    pub copy_bytes_rate_max: Option<u32>,
    /// See [`Options::lag_events_max`].
    pub lag_events_max: Option<u32>,
    /// See [`Options::cutover`].
    pub cutover: Option<String>,
    /// See [`Options::cutover_timeout_ms`].
    pub cutover_timeout_ms: Option<u32>,
    /// See [`Options::mirror_ack`].
    pub mirror_ack: Option<String>,
    /// See [`Options::mirror_ack_timeout_ms`].
    pub mirror_ack_timeout_ms: Option<u32>,
    /// See [`Options::verification`].
    pub verification: Option<String>,
    /// See [`Options::rollback_window`].
    pub rollback_window: Option<Millis>,
}

impl OptionsPatch {
    /// Whether it changes nothing.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}
