//! `[migration]`: the options of migrations, by the names that the file, the environment, the
//! command line and the API share.

use rehome_api::OptionsPatch;
use rehome_api::duration::Millis;

use super::table::Table;
use super::{ConfigError, Set};
use crate::options;

/// What a migration runs with unless it is told otherwise.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MigrationDefaults {
    /// Those options that were set.
    pub options: OptionsPatch,
    /// Longest that an append of this process waits for a cutover, in milliseconds.
    pub write_pause_timeout_ms: Option<u32>,
    /// How long after the last sign of a process that works on a migration another one takes over,
    /// in milliseconds.
    pub lease_ttl_ms: Option<u32>,
}

/// The keys, what they must be, and whether they are numbers.
const KEYS: [(&str, &str, bool); 13] = [
    ("batch_events", COUNT, true),
    ("batch_bytes", COUNT, true),
    ("copy_rate_max", COUNT, true),
    ("copy_bytes_rate_max", COUNT, true),
    ("lag_events_max", COUNT, true),
    ("cutover", "\"auto\", \"manual\" or a time like \"2024-06-15T02:00:00Z\"", false),
    ("cutover_timeout_ms", COUNT, true),
    ("write_pause_timeout_ms", COUNT, true),
    ("lease_ttl_ms", COUNT, true),
    ("mirror_ack", "\"source\" or \"target\"", false),
    ("mirror_ack_timeout_ms", COUNT, true),
    ("verification", "\"count\", \"hash\" or \"full\"", false),
    ("rollback_window", "a duration like \"1h\"", false),
];

const COUNT: &str = "a whole number from 0 to 4294967295";

impl MigrationDefaults {
    pub(super) fn read(mut table: Table<'_>) -> Result<Self, ConfigError> {
        let mut defaults = Self::default();
        for (key, wanted, is_number) in KEYS {
            if let Some(set) = table.plain(key, wanted, is_number)? {
                defaults.set(key, &set)?;
            }
        }
        table.end()?;
        Ok(defaults)
    }

    /// Whether there is such a key.
    pub(super) fn key(name: &str) -> Option<&'static str> {
        KEYS.iter().map(|(key, ..)| *key).find(|key| *key == name)
    }

    /// Sets one key from its text, wherever it comes from.
    pub(super) fn set(&mut self, key: &'static str, set: &Set<String>) -> Result<(), ConfigError> {
        let wanted =
            KEYS.iter().find(|(name, ..)| *name == key).map_or("", |(_, wanted, _)| wanted);
        let bad = || set.place.refuse(format!("migration.{key} must be {wanted}"));
        let number = || set.value.parse::<u32>().map(Some).map_err(|_| bad());
        let text = || Some(set.value.clone());
        let options = &mut self.options;
        match key {
            "batch_events" => options.batch_events = number()?,
            "batch_bytes" => options.batch_bytes = number()?,
            "copy_rate_max" => options.copy_rate_max = number()?,
            "copy_bytes_rate_max" => options.copy_bytes_rate_max = number()?,
            "lag_events_max" => options.lag_events_max = number()?,
            "cutover" => options.cutover = text(),
            "cutover_timeout_ms" => options.cutover_timeout_ms = number()?,
            "mirror_ack" => options.mirror_ack = text(),
            "mirror_ack_timeout_ms" => options.mirror_ack_timeout_ms = number()?,
            "verification" => options.verification = text(),
            "rollback_window" => {
                options.rollback_window = Some(set.value.parse::<Millis>().map_err(|_| bad())?);
            }
            "lease_ttl_ms" => {
                self.lease_ttl_ms = number()?;
                if self.lease_ttl_ms.is_some_and(|ms| !(300..=600_000).contains(&ms)) {
                    return Err(set.place.refuse(format!("migration.{key} must be 300 to 600000")));
                }
            }
            _ => {
                self.write_pause_timeout_ms = number()?;
                if self.write_pause_timeout_ms.is_some_and(|ms| !(1..=600_000).contains(&ms)) {
                    return Err(set.place.refuse(format!("migration.{key} must be 1 to 600000")));
                }
            }
        }
        // The option by itself, so that the message has its place.
        options::apply(rehome_domain::migration::Options::default(), options)
            .map_err(|problem| set.place.refuse(format!("migration.{problem}")))?;
        Ok(())
    }
}
