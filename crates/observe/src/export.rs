//! Writes the files for an operator's own tools.

use std::fs;
use std::path::Path;

use rehome_api::MonitoringExport;
use rehome_dashboards::{Settings, files};

use rehome_app::AppError;

/// Writes rules and dashboards below `folder`, and the examples that are not there yet: those are the
/// operator's once they exist.
pub fn export_monitoring(folder: &Path, settings: &Settings) -> Result<MonitoringExport, AppError> {
    let mut export =
        MonitoringExport { folder: folder.display().to_string(), ..Default::default() };
    for file in files(settings) {
        let path = folder.join(file.path);
        if file.is_example && path.exists() {
            export.kept.push(file.path.to_owned());
            continue;
        }
        let written = match path.parent() {
            Some(parent) => fs::create_dir_all(parent).and_then(|()| fs::write(&path, &file.text)),
            None => fs::write(&path, &file.text),
        };
        written.map_err(|error| {
            let message = format!("{} cannot be written: {error}", path.display());
            AppError::failed("unwritable_file", message)
        })?;
        export.written.push(file.path.to_owned());
    }
    Ok(export)
}
