//! Requests of operators: each action with its reason, which the migration's log records.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use crate::duration::Millis;
use crate::migration::{LogEntry, Migration, OptionsPatch};

/// A migration to start.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct MigrationStart {
    /// The tenant.
    pub tenant_id: Uuid,
    /// The target store.
    #[schema(example = "dedicated")]
    pub target_store: String,
    /// The options; missing ones come from the server's configuration.
    #[serde(default)]
    pub options: OptionsPatch,
    /// The reason, for the migration's log.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(max_length = 200)]
    pub reason: Option<String>,
}

/// A page of migrations.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct MigrationPage {
    /// The migrations, newest first.
    pub migrations: Vec<Migration>,
    /// The `cursor` of the next page; `null` on the last page.
    pub next_cursor: Option<Uuid>,
}

/// A page of a migration's log.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct LogPage {
    /// The entries, in order.
    pub entries: Vec<LogEntry>,
    /// The `after` of the next page.
    pub next_after: u64,
}

/// The reason for an action.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Reason {
    /// The reason, for the migration's log.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(max_length = 200)]
    pub reason: Option<String>,
}

/// A migration to resume.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Resume {
    /// For a migrated one: keep replicating to the old source until the rollback window ends.
    #[serde(default)]
    pub keep_window: bool,
    /// The reason, for the migration's log.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(max_length = 200)]
    pub reason: Option<String>,
}

/// A migration to abort.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Abort {
    /// Remove the copied events from the target.
    #[serde(default)]
    pub purge_target: bool,
    /// The reason, for the migration's log.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(max_length = 200)]
    pub reason: Option<String>,
}

/// Parameters of a verification.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Verify {
    /// The level: `count`, `hash` or `full`; default `full`.
    #[serde(default)]
    #[schema(pattern = "^(count|hash|full)$")]
    pub level: Option<String>,
    /// The fraction of the history to compare, above 0 and at most 1; default 1.
    #[serde(default)]
    pub sample: Option<f64>,
    /// Start after this position.
    #[serde(default)]
    pub after_seq: u64,
    /// Maximum read rate, in events per second; 0: no limit.
    #[serde(default)]
    pub rate_max: u32,
    /// The reason, for the migration's log.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(max_length = 200)]
    pub reason: Option<String>,
}

/// A running verification; the migration's log will have its result.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Verifying {
    /// The migration.
    pub migration_id: Uuid,
    /// `running`.
    pub state: String,
}

/// A tenant to return to its previous store.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Return {
    /// The options; missing ones come from the server's configuration.
    #[serde(default)]
    pub options: OptionsPatch,
    /// The reason, for the migration's log.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(max_length = 200)]
    pub reason: Option<String>,
}

/// Options to change, and the reason.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct Tuning {
    /// The options; missing ones stay.
    #[serde(flatten)]
    pub options: OptionsPatch,
    /// The reason, for the migration's log.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(max_length = 200)]
    pub reason: Option<String>,
}

impl<'de> Deserialize<'de> for Tuning {
    /// Parsed as one object without unknown keys; a flattened struct could not refuse them.
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        use serde::de::Error as _;
        let mut fields = serde_json::Map::deserialize(from)?;
        let reason = fields.remove("reason").map(serde_json::from_value).transpose();
        let options = serde_json::from_value(serde_json::Value::Object(fields));
        Ok(Self {
            options: options.map_err(D::Error::custom)?,
            reason: reason.map_err(D::Error::custom)?.flatten(),
        })
    }
}

/// A possible migration.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PlanRequest {
    /// The tenant.
    pub tenant_id: Uuid,
    /// The target store.
    #[schema(example = "dedicated")]
    pub target_store: String,
}

/// Inputs of an estimate; missing ones have the default of the monitoring contract.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct EstimateRequest {
    /// Events to copy.
    pub total_events: u64,
    /// Copy rate, in events per second.
    #[serde(default)]
    pub copy_rate_per_second: Option<f64>,
    /// Lag, in events, when mirroring starts.
    #[serde(default)]
    pub dual_write_lag_events: Option<u64>,
    /// Write pause, in seconds.
    #[serde(default)]
    pub cutover_pause_seconds: Option<f64>,
    /// Safety factor on the sum.
    #[serde(default)]
    pub buffer_factor: Option<f64>,
    /// Write rate of the tenant, in events per second.
    #[serde(default)]
    pub write_rate_per_second: Option<f64>,
}

/// A tenant to probe, for an estimate of its migration.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ProbeRequest {
    /// The tenant.
    pub tenant_id: Uuid,
    /// The target store.
    #[schema(example = "dedicated")]
    pub target_store: String,
    /// Copy rate, in events per second, instead of that of earlier migrations.
    #[serde(default)]
    pub copy_rate_per_second: Option<f64>,
    /// Lag, in events, when mirroring starts.
    #[serde(default)]
    pub dual_write_lag_events: Option<u64>,
    /// Write pause, in seconds.
    #[serde(default)]
    pub cutover_pause_seconds: Option<f64>,
    /// Safety factor on the sum.
    #[serde(default)]
    pub buffer_factor: Option<f64>,
    /// Write rate of the tenant, in events per second, instead of the measured one.
    #[serde(default)]
    pub write_rate_per_second: Option<f64>,
}

/// A baseline to record.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct BaselineRequest {
    /// How long to measure: 1s to 1h; default 10s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub window: Option<Millis>,
}

/// A baseline that is being measured.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct TakingBaseline {
    /// The migration.
    pub migration_id: Uuid,
    /// `running`.
    pub state: String,
}

/// The process that works on a migration.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Worker {
    /// The process, by its lease; `null` if there is none.
    pub holder: Option<String>,
}

/// A copy to purge that a tenant left behind.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Purge {
    /// The store.
    #[schema(example = "shared")]
    pub store: String,
    /// Close the rollback window: the tenant cannot return afterwards.
    #[serde(default)]
    pub close_window: bool,
    /// The reason, for the log of the tenant's last migration.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(max_length = 200)]
    pub reason: Option<String>,
}

/// A tenant to remove.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RemoveTenant {
    /// The number of events that it has, as a confirmation: with any other number nothing is removed. Without it
    /// nothing is changed, and the answer has the number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(example = 1200)]
    pub events: Option<u64>,
    /// The reason, for the log line about the removal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(max_length = 200)]
    pub reason: Option<String>,
}

/// Checkpoints to copy from one store to another.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct MoveCheckpoints {
    /// The store to read them from.
    #[schema(example = "shared")]
    pub from: String,
    /// The store to write them to.
    #[schema(example = "dedicated")]
    pub to: String,
    /// The reason, for the log of the tenant's last migration.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(max_length = 200)]
    pub reason: Option<String>,
}

/// A tenant whose guard to remove.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Unguard {
    /// The reason, for the log of the tenant's last migration.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(max_length = 200)]
    pub reason: Option<String>,
}

/// What to recover after the control plane was restored from a backup.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RecoverRequest {
    /// Only this tenant.
    #[serde(default)]
    pub tenant_id: Option<Uuid>,
    /// The store with the authority, where the stores leave it open.
    #[serde(default)]
    pub store: Option<String>,
    /// Update the control plane; without it nothing is changed.
    #[serde(default)]
    pub apply: bool,
    /// The tenant, whose store has lost events, continues from the named store with the events there.
    #[serde(default)]
    pub accept_loss: bool,
    /// The reason, for the logs of the tenants' last migrations.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(max_length = 200)]
    pub reason: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tuning_is_one_object_and_refuses_what_it_does_not_know() {
        let tuning: Tuning =
            serde_json::from_str(r#"{"copy_rate_max":5,"reason":"a noisy disk"}"#).unwrap();
        assert_eq!(tuning.options.copy_rate_max, Some(5));
        assert_eq!(tuning.reason.as_deref(), Some("a noisy disk"));
        for bad in [r#"{"copy_rates_max":5}"#, r#"{"reason":5}"#, "5", r#"{"copy_rate_max":"x"}"#] {
            assert!(serde_json::from_str::<Tuning>(bad).is_err(), "{bad}");
        }
    }
}
