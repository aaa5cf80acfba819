//! `[monitoring.thresholds]` and `monitoring.runbook_url`: when the alerts fire that `monitoring export`
//! writes, and where their runbook is.

use rehome_dashboards::Settings;

use super::ConfigError;
use super::draft::Draft;
use super::keys::{THRESHOLDS, monitoring};

/// From the values that were set, and the defaults of the others.
pub(super) fn settings(draft: &Draft) -> Result<Settings, ConfigError> {
    let runbook = draft.values.effective(&monitoring::RUNBOOK_URL)?;
    let mut settings = Settings { runbook, ..Settings::default() };
    for (name, given) in draft.thresholds() {
        let text = given.raw.first().map_or("", String::as_str);
        let refuse = |problem| given.place.refuse(format!("{THRESHOLDS}: {problem}"));
        settings.thresholds.set(name, text).map_err(refuse)?;
    }
    Ok(settings)
}
