//! `rehome monitoring ...`

use std::path::Path;

use rehome_app::config::ConfigError;
use rehome_app::{AppError, Config, Kind, export_monitoring};
use rehome_monitoring::Settings;

use crate::args::MonitoringCommand;
use crate::output::Out;

pub(super) fn run(
    out: Out,
    config: Option<&Path>,
    command: MonitoringCommand,
) -> Result<(), AppError> {
    let MonitoringCommand::Export { folder, thresholds, runbook_url } = command;
    let mut settings = configured(config)?;
    for threshold in &thresholds {
        let usage = |problem: String| AppError::new(Kind::Usage, "bad_threshold", problem);
        let (name, value) = threshold
            .split_once('=')
            .ok_or_else(|| usage(format!("--threshold {threshold}: must be NAME=VALUE")))?;
        let set = settings.thresholds.set(name, value);
        set.map_err(|problem| usage(format!("--threshold {threshold}: {problem}")))?;
    }
    if let Some(url) = runbook_url {
        settings.runbook = url;
    }
    let export = export_monitoring(&folder, &settings)?;
    out.show(&export, |export| {
        let written = export.written.iter().map(|file| format!("wrote {file}"));
        let kept = export.kept.iter().map(|file| format!("left  {file} as it was"));
        written.chain(kept).collect::<Vec<_>>().join("\n")
    })
}

/// What the configuration says; the defaults where there is none and none was named.
fn configured(file: Option<&Path>) -> Result<Settings, AppError> {
    if file.is_none() && matches!(Config::load(None), Err(ConfigError::NoFile(_))) {
        return Ok(Settings::default());
    }
    Ok(Config::load(file)?.alerts)
}
