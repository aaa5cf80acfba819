//! `rehome monitoring ...`

use std::path::Path;

use rehome_app::config::ConfigError;
use rehome_app::{AppError, Config, Kind};
use rehome_dashboards::Settings;
use rehome_observe::export_monitoring;

use crate::args::MonitoringCommand;
use crate::output::Out;

pub(super) fn run(
    out: Out,
    config: Option<&Path>,
    command: MonitoringCommand,
) -> Result<(), AppError> {
    let MonitoringCommand::Export { folder, thresholds, runbook_url, token_file } = command;
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
    // Prometheus takes a relative path from where its configuration is.
    settings.token_file = token_file
        .map(|file| std::path::absolute(&file).unwrap_or(file).to_string_lossy().into_owned());
    let export = export_monitoring(&folder, &settings)?;
    out.show(&export, |export| {
        let written = export.written.iter().map(|file| format!("wrote {file}"));
        let kept = export.kept.iter().map(|file| format!("kept  {file}"));
        written.chain(kept).collect::<Vec<_>>().join("\n")
    })
}

/// The configured settings; the defaults if there is no configuration and none was named.
fn configured(file: Option<&Path>) -> Result<Settings, AppError> {
    if file.is_none() && matches!(Config::load(None), Err(ConfigError::NoFile(_))) {
        return Ok(Settings::default());
    }
    Ok(Config::load(file)?.alerts)
}
