//! Options of a migration.

use rehome_domain::event::Timestamp;
use rehome_domain::migration::{CutoverPolicy, MirrorAck, Options};
use serde::{Deserialize, Serialize};

use super::{Unreadable, read_level, unreadable, write};

#[derive(Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct OptionsRecord {
    batch_events: u32,
    batch_bytes: u32,
    copy_rate_max: u32,
    copy_bytes_rate_max: u32,
    lag_events_max: u32,
    cutover: String,
    cutover_at: Option<i64>,
    cutover_timeout_ms: u32,
    mirror_ack: String,
    mirror_ack_timeout_ms: u32,
    verification: String,
    rollback_window_ms: u64,
}

impl Default for OptionsRecord {
    fn default() -> Self {
        Self::from(&Options::default())
    }
}

impl From<&Options> for OptionsRecord {
    fn from(options: &Options) -> Self {
        let (cutover, cutover_at) = match options.cutover {
            CutoverPolicy::Auto => ("auto", None),
            CutoverPolicy::Manual => ("manual", None),
            CutoverPolicy::At(time) => ("at", Some(time.micros())),
        };
        let mirror_ack = match options.mirror_ack {
            MirrorAck::Source => "source",
            MirrorAck::Target => "target",
        };
        Self {
            batch_events: options.batch_events,
            batch_bytes: options.batch_bytes,
            copy_rate_max: options.copy_rate_max,
            copy_bytes_rate_max: options.copy_bytes_rate_max,
            lag_events_max: options.lag_events_max,
            cutover: cutover.to_owned(),
            cutover_at,
            cutover_timeout_ms: options.cutover_timeout_ms,
            mirror_ack: mirror_ack.to_owned(),
            mirror_ack_timeout_ms: options.mirror_ack_timeout_ms,
            verification: options.verification.as_str().to_owned(),
            rollback_window_ms: options.rollback_window_ms,
        }
    }
}

impl TryFrom<OptionsRecord> for Options {
    type Error = Unreadable;

    fn try_from(record: OptionsRecord) -> Result<Self, Unreadable> {
        let options = Self {
            batch_events: record.batch_events,
            batch_bytes: record.batch_bytes,
            copy_rate_max: record.copy_rate_max,
            copy_bytes_rate_max: record.copy_bytes_rate_max,
            lag_events_max: record.lag_events_max,
            cutover: match (record.cutover.as_str(), record.cutover_at) {
                ("auto", _) => CutoverPolicy::Auto,
                ("manual", _) => CutoverPolicy::Manual,
                ("at", Some(micros)) => CutoverPolicy::At(Timestamp::from_micros(micros)),
                (other, _) => return Err(unreadable("cutover policy", other)),
            },
            cutover_timeout_ms: record.cutover_timeout_ms,
            mirror_ack: match record.mirror_ack.as_str() {
                "source" => MirrorAck::Source,
                "target" => MirrorAck::Target,
                other => return Err(unreadable("mirror_ack", other)),
            },
            mirror_ack_timeout_ms: record.mirror_ack_timeout_ms,
            verification: read_level(&record.verification)?,
            rollback_window_ms: record.rollback_window_ms,
        };
        options.check().map_err(|e| unreadable("options", e))
    }
}

/// Options as one line of JSON.
pub fn write_options(options: &Options) -> String {
    write(&OptionsRecord::from(options))
}

/// Reads what [`write_options`] wrote.
pub fn read_options(text: &str) -> Result<Options, Unreadable> {
    let record: OptionsRecord = serde_json::from_str(text).map_err(|e| unreadable("options", e))?;
    record.try_into()
}
