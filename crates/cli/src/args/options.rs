//! Options of a migration, as flags.

use clap::Args;
use rehome_api::OptionsPatch;
use rehome_api::duration::Millis;
use rehome_app::{AppError, Kind};

/// The options of a migration; the rest comes from `[migration]` of the configuration.
#[derive(Debug, Default, Args)]
#[command(next_help_heading = "Options of the migration")]
pub(crate) struct OptionFlags {
    /// When to cut over: auto (as soon as possible), manual (on `migration cutover`), or not before a
    /// time.
    #[arg(long, num_args = 1..=2, value_names = ["auto|manual|at", "TIME"])]
    cutover: Option<Vec<String>>,
    /// Maximum copy rate, in events per second; 0: no limit.
    #[arg(long, value_name = "N")]
    copy_rate_max: Option<u32>,
    /// Maximum copy rate, in bytes per second; 0: no limit.
    #[arg(long, value_name = "N")]
    copy_bytes_rate_max: Option<u32>,
    /// Maximum number of events in a copy batch.
    #[arg(long, value_name = "N")]
    batch_events: Option<u32>,
    /// Maximum size of a copy batch, in bytes.
    #[arg(long, value_name = "N")]
    batch_bytes: Option<u32>,
    /// Maximum lag at which a cutover starts, in events.
    #[arg(long, value_name = "N")]
    lag_events_max: Option<u32>,
    /// Maximum write pause; a longer cutover is rolled back.
    #[arg(long, value_name = "MS")]
    cutover_timeout_ms: Option<u32>,
    /// When an append is acknowledged in dual write: once it is in the source, or also in the target.
    #[arg(long, value_name = "source|target", value_parser = ["source", "target"])]
    mirror_ack: Option<String>,
    /// Maximum time that an append waits for the target.
    #[arg(long, value_name = "MS")]
    mirror_ack_timeout_ms: Option<u32>,
    /// Level of the verification before the cutover.
    #[arg(long, value_name = "count|hash|full", value_parser = ["count", "hash", "full"])]
    verification: Option<String>,
    /// How long to keep replicating to the old source after the cutover, so that the tenant can return, like
    /// 1h or 7d; 0: not at all.
    #[arg(long, value_name = "DURATION")]
    rollback_window: Option<Millis>,
}

impl OptionFlags {
    /// The document of the given options.
    pub(crate) fn patch(self) -> Result<OptionsPatch, AppError> {
        Ok(OptionsPatch {
            batch_events: self.batch_events,
            batch_bytes: self.batch_bytes,
            copy_rate_max: self.copy_rate_max,
            copy_bytes_rate_max: self.copy_bytes_rate_max,
            lag_events_max: self.lag_events_max,
            cutover: self.cutover.as_deref().map(cutover).transpose()?,
            cutover_timeout_ms: self.cutover_timeout_ms,
            mirror_ack: self.mirror_ack,
            mirror_ack_timeout_ms: self.mirror_ack_timeout_ms,
            verification: self.verification,
            rollback_window: self.rollback_window,
        })
    }
}

fn cutover(words: &[String]) -> Result<String, AppError> {
    match words {
        [word] if word == "auto" || word == "manual" => Ok(word.clone()),
        [at, time] if at == "at" => Ok(time.clone()),
        _ => Err(AppError::new(
            Kind::Usage,
            "bad_option",
            "--cutover is auto, manual, or at and a time like 2024-06-15T02:00:00Z",
        )),
    }
}
