//! A migration, everywhere it is shown.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::duration::Millis;
use crate::time::Time;

/// A migration and how far it is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Migration {
    /// Which.
    pub id: Uuid,
    /// Whose history moves.
    pub tenant_id: Uuid,
    /// From.
    pub source_store: String,
    /// To.
    pub target_store: String,
    /// `pending`, `bulk_copy`, `dual_write`, `cutover_paused`, `migrated`, `failed`, `rolled_back`
    /// or `paused`.
    pub state: String,
    /// From 0 to 100.
    pub progress_percent: Option<f64>,
    /// Events of the history that are in the target.
    pub events_copied: Option<u64>,
    /// Events of the history that have to be.
    pub events_total: Option<u64>,
    /// Events that the target is behind.
    pub sync_lag_events: Option<u64>,
    /// Copied per second, lately.
    pub rate_events_per_s: Option<f64>,
    /// Seconds until all is copied at that rate.
    pub eta_seconds: Option<f64>,
    /// Up to where the target was read back from its disk and found to be the source's.
    pub read_back_seq: Option<u64>,
    /// When the source's length was read that these numbers are from; `null`: never.
    pub source_last_seen_at: Option<Time>,
    /// When the target's length was read that these numbers are from; `null`: never.
    pub target_last_seen_at: Option<Time>,
    /// Since when the source does not answer; `null`: it answers, or is not needed. Its last known length
    /// counts meanwhile.
    pub source_unanswered_since: Option<Time>,
    /// Since when the target does not answer; `null`: it answers. Its last known length counts meanwhile: the
    /// lag is what the source has more than that.
    pub target_unanswered_since: Option<Time>,
    /// When it was asked for.
    pub created_at: Time,
    /// When the copy began.
    pub started_at: Option<Time>,
    /// When it came to its end, good or bad.
    pub completed_at: Option<Time>,
    /// Why it failed, or why its last cutover was rolled back.
    pub error: Option<String>,
    /// What verifications found and nothing has refuted or repaired, and what to do about it: there is
    /// no cutover with it.
    #[serde(default)]
    pub open_violation: Option<String>,
    /// What keeps it from getting further at the moment: a fault that is waited out and tried again.
    /// `null` while it gets further, and where nobody works on it.
    #[serde(default)]
    pub waiting: Option<String>,
    /// Since when.
    #[serde(default)]
    pub waiting_since: Option<Time>,
}

impl Migration {
    /// Whether it has changed since `before`: that it was merely looked at again is no change.
    pub fn is_changed_from(&self, before: &Self) -> bool {
        let seen = Self {
            source_last_seen_at: before.source_last_seen_at,
            target_last_seen_at: before.target_last_seen_at,
            ..self.clone()
        };
        seen != *before
    }

    /// The stores that do not answer, and since when: what is shown of them is as last known.
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
    /// From 1, without gaps.
    pub index: u64,
    /// When it was recorded.
    pub at: Time,
    /// Who said so.
    pub actor: String,
    /// Why, by an operator's word.
    #[serde(default)]
    pub reason: Option<String>,
    /// What happened.
    pub event: String,
    /// The rest of what is known about it.
    pub details: serde_json::Map<String, Value>,
    /// The hash chain up to and including this entry.
    pub hash: String,
    /// How this entry is not the one that was recorded, or what is missing before it; not there where all is
    /// well.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub chain_broken: Option<String>,
}

/// What a migration runs with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Options {
    /// Most events of one copy batch.
    pub batch_events: u32,
    /// Most bytes of one copy batch, roughly.
    pub batch_bytes: u32,
    /// Most events copied per second; 0: no limit.
    pub copy_rate_max: u32,
    /// Most bytes copied per second; 0: no limit.
    pub copy_bytes_rate_max: u32,
    /// The lag, in events, under which a cutover may begin and over which writers are held back.
    pub lag_events_max: u32,
    /// `auto`, `manual`, or the time (RFC 3339) from which it may begin.
    pub cutover: String,
    /// Longest write pause, in milliseconds, before the cutover is rolled back.
    pub cutover_timeout_ms: u32,
    /// What a writer's answer waits for: `source` or `target`.
    pub mirror_ack: String,
    /// Longest wait of a writer for the target, in milliseconds.
    pub mirror_ack_timeout_ms: u32,
    /// How deep the history is verified before the cutover: `count`, `hash` or `full`.
    pub verification: String,
    /// How long the old source is kept level after the cutover; `0`: not at all.
    pub rollback_window: Millis,
}

/// Options to be changed; what is not named stays as it is.
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
    /// Whether nothing is to be changed.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}
