//! `[monitoring.thresholds]` and `monitoring.runbook_url`: when the alerts fire that `monitoring export`
//! writes, and where their runbook is.

use rehome_monitoring::{Kind, Settings, Thresholds};

use super::table::Table;
use super::{ConfigError, Set};

pub(super) fn thresholds(
    table: Option<Table<'_>>,
    settings: &mut Settings,
) -> Result<(), ConfigError> {
    let Some(mut table) = table else { return Ok(()) };
    for known in Thresholds::default().list() {
        let (wanted, is_number) = match known.kind {
            Kind::Count => ("a whole number", true),
            Kind::Duration | Kind::Latency => ("a duration like \"15m\"", false),
        };
        if let Some(set) = table.plain(known.name, wanted, is_number)? {
            threshold(settings, known.name, &set)?;
        }
    }
    table.end()
}

pub(super) fn threshold(
    settings: &mut Settings,
    name: &str,
    set: &Set<String>,
) -> Result<(), ConfigError> {
    let refuse = |problem| set.place.refuse(format!("monitoring.thresholds: {problem}"));
    settings.thresholds.set(name, &set.value).map_err(refuse)
}
