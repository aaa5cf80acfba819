//! `[migration]`: the options of migrations, by the names that the file, the environment, the
//! command line and the API share.

use rehome_api::OptionsPatch;

use super::ConfigError;
use super::keys::migration;
use super::values::Values;

/// Defaults of migrations.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct MigrationDefaults {
    /// Those options that were set.
    pub options: OptionsPatch,
    /// Longest that an append of this process waits for a cutover, in milliseconds.
    pub write_pause_timeout_ms: Option<u32>,
    /// How long after a driving process last renewed its lease another process takes over,
    /// in milliseconds.
    pub lease_ttl_ms: Option<u32>,
    /// Whether migrations give way to writers.
    pub throttle: Option<bool>,
    /// How many times the quiet latency an append may take before they do.
    pub throttle_goal: Option<f64>,
    /// How far a replica may be behind before they do, in milliseconds.
    pub throttle_replica_lag_ms: Option<u32>,
}

impl MigrationDefaults {
    /// From the values that were set.
    pub(super) fn of(values: &Values) -> Result<Self, ConfigError> {
        Ok(Self {
            options: OptionsPatch {
                batch_events: values.value(&migration::BATCH_EVENTS)?,
                batch_bytes: values.value(&migration::BATCH_BYTES)?,
                copy_rate_max: values.value(&migration::COPY_RATE_MAX)?,
                copy_bytes_rate_max: values.value(&migration::COPY_BYTES_RATE_MAX)?,
                lag_events_max: values.value(&migration::LAG_EVENTS_MAX)?,
                cutover: values.value(&migration::CUTOVER)?,
                cutover_timeout_ms: values.value(&migration::CUTOVER_TIMEOUT_MS)?,
                mirror_ack: values.value(&migration::MIRROR_ACK)?,
                mirror_ack_timeout_ms: values.value(&migration::MIRROR_ACK_TIMEOUT_MS)?,
                verification: values.value(&migration::VERIFICATION)?,
                rollback_window: values.value(&migration::ROLLBACK_WINDOW)?,
            },
            write_pause_timeout_ms: values.value(&migration::WRITE_PAUSE_TIMEOUT_MS)?,
            lease_ttl_ms: values.value(&migration::LEASE_TTL_MS)?,
            throttle: values.value(&migration::THROTTLE)?,
            throttle_goal: values.value(&migration::THROTTLE_GOAL)?,
            throttle_replica_lag_ms: values.value(&migration::THROTTLE_REPLICA_LAG_MS)?,
        })
    }
}
