//! What operators send: each action with its reason, which stays in the migration's log.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use crate::duration::Millis;
use crate::migration::{LogEntry, Migration, OptionsPatch};

/// A migration to be started.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct MigrationStart {
    /// Whose history.
    pub tenant_id: Uuid,
    /// To which store.
    #[schema(example = "dedicated")]
    pub target_store: String,
    /// What is not named comes from the server's configuration.
    #[serde(default)]
    pub options: OptionsPatch,
    /// Why, for the migration's log.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(max_length = 200)]
    pub reason: Option<String>,
}

/// A part of the migrations.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct MigrationPage {
    /// Newest first.
    pub migrations: Vec<Migration>,
    /// What to give as `cursor` for what comes next; `null`: that was all.
    pub next_cursor: Option<Uuid>,
}

/// A part of a migration's log.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct LogPage {
    /// In their order.
    pub entries: Vec<LogEntry>,
    /// What to give as `after` for what comes next.
    pub next_after: u64,
}

/// Why something is done.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Reason {
    /// Why, for the migration's log.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(max_length = 200)]
    pub reason: Option<String>,
}

/// A migration to go on.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Resume {
    /// Of one that is migrated: keep the old source level until the rollback window ends.
    #[serde(default)]
    pub keep_window: bool,
    /// Why, for the migration's log.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(max_length = 200)]
    pub reason: Option<String>,
}

/// A migration to be given up.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Abort {
    /// Remove what was copied to the target.
    #[serde(default)]
    pub purge_target: bool,
    /// Why, for the migration's log.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(max_length = 200)]
    pub reason: Option<String>,
}

/// How to verify.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Verify {
    /// How deep: `count`, `hash` or `full`, which it is if it is not given.
    #[serde(default)]
    #[schema(pattern = "^(count|hash|full)$")]
    pub level: Option<String>,
    /// The part of the history to look at, above 0 and at most 1; 1 if it is not given.
    #[serde(default)]
    pub sample: Option<f64>,
    /// Begin after this position.
    #[serde(default)]
    pub after_seq: u64,
    /// Read at most so many events per second; 0: no limit.
    #[serde(default)]
    pub rate_max: u32,
    /// Why, for the migration's log.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(max_length = 200)]
    pub reason: Option<String>,
}

/// A verification that goes on; the migration's log will say what it found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Verifying {
    /// Of which migration.
    pub migration_id: Uuid,
    /// `running`.
    pub state: String,
}

/// A tenant to return to where it came from.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Return {
    /// What is not named comes from the server's configuration.
    #[serde(default)]
    pub options: OptionsPatch,
    /// Why, for the migration's log.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(max_length = 200)]
    pub reason: Option<String>,
}

/// Options to be changed, and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct Tuning {
    /// What is not named stays as it is.
    #[serde(flatten)]
    pub options: OptionsPatch,
    /// Why, for the migration's log.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(max_length = 200)]
    pub reason: Option<String>,
}

impl<'de> Deserialize<'de> for Tuning {
    /// As one object, of which nothing may be unknown; what is flattened could not refuse that.
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

/// A migration that could be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PlanRequest {
    /// Whose history.
    pub tenant_id: Uuid,
    /// To which store.
    #[schema(example = "dedicated")]
    pub target_store: String,
}

/// What to estimate from; what is not named has the monitoring guide's default.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct EstimateRequest {
    /// Events to copy.
    pub total_events: u64,
    /// Copied per second.
    #[serde(default)]
    pub copy_rate_per_second: Option<f64>,
    /// Lag, in events, when mirroring begins.
    #[serde(default)]
    pub dual_write_lag_events: Option<u64>,
    /// Seconds of pause.
    #[serde(default)]
    pub cutover_pause_seconds: Option<f64>,
    /// Factor on the sum.
    #[serde(default)]
    pub buffer_factor: Option<f64>,
    /// Written by the tenant per second meanwhile.
    #[serde(default)]
    pub write_rate_per_second: Option<f64>,
}

/// A tenant to be looked at, for how long its migration would take.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ProbeRequest {
    /// Whose history.
    pub tenant_id: Uuid,
    /// To which store.
    #[schema(example = "dedicated")]
    pub target_store: String,
    /// Copied per second, instead of what earlier migrations tell.
    #[serde(default)]
    pub copy_rate_per_second: Option<f64>,
    /// Lag, in events, when mirroring begins.
    #[serde(default)]
    pub dual_write_lag_events: Option<u64>,
    /// Seconds of pause.
    #[serde(default)]
    pub cutover_pause_seconds: Option<f64>,
    /// Factor on the sum.
    #[serde(default)]
    pub buffer_factor: Option<f64>,
    /// Written by the tenant per second, instead of what is seen.
    #[serde(default)]
    pub write_rate_per_second: Option<f64>,
}

/// A baseline to be taken.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct BaselineRequest {
    /// How long to watch: 1s to 1h; 10s if it is not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub window: Option<Millis>,
}

/// A baseline that is being taken.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct TakingBaseline {
    /// Of which migration.
    pub migration_id: Uuid,
    /// `running`.
    pub state: String,
}

/// Who works on a migration.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Worker {
    /// The process, by its lease; `null`: nobody.
    pub holder: Option<String>,
}

/// A copy to be removed that a tenant left behind.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Purge {
    /// From which store.
    #[schema(example = "shared")]
    pub store: String,
    /// Give up the return that the rollback window holds open.
    #[serde(default)]
    pub close_window: bool,
    /// Why, for the log of the tenant's last migration.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(max_length = 200)]
    pub reason: Option<String>,
}

/// What to recover after the control plane lost time.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RecoverRequest {
    /// Only this tenant.
    #[serde(default)]
    pub tenant_id: Option<Uuid>,
    /// Where the authority is, where the stores do not say it clearly.
    #[serde(default)]
    pub store: Option<String>,
    /// Raise the control plane to what was found; without it nothing is changed.
    #[serde(default)]
    pub apply: bool,
    /// Why, for the logs of the tenants' last migrations.
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
