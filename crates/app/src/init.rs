//! A new deployment: its configuration file, its control plane and its stores.

use std::io::{ErrorKind, Write as _};
use std::path::Path;

use rehome_ports::private;
use serde::Serialize;

use crate::config::{Config, Template};
use crate::deployment::{Access, Deployment};
use crate::error::AppError;

/// The created files and stores.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Initialized {
    /// The configuration file.
    pub config: String,
    /// The url of the control plane.
    pub control_plane: String,
    /// The ids of the stores.
    pub stores: Vec<String>,
}

/// Writes the file and makes the control plane and the stores that it names, unless they are there. Refuses
/// to change a file that is there. Where a store or the control plane cannot be made, the file is removed
/// again.
pub async fn init(path: &Path, template: &Template) -> Result<Initialized, AppError> {
    let unwritable = |error: std::io::Error| {
        let message = format!("{} cannot be written: {error}", path.display());
        AppError::failed("unwritable_file", message)
    };
    let mut file = private::options().write(true).create_new(true).open(path).map_err(|error| {
        if error.kind() == ErrorKind::AlreadyExists {
            let message = format!(
                "{} exists and was not changed; name another file with --config, or print its settings with \
                 `rehome config show`",
                path.display()
            );
            return AppError::refused(message);
        }
        unwritable(error)
    })?;
    let made = async {
        file.write_all(template.text().as_bytes()).map_err(unwritable)?;
        make(path).await
    };
    let made = made.await;
    if made.is_err() {
        // It is rehome's own, and incomplete.
        let _ = std::fs::remove_file(path);
    }
    made
}

async fn make(path: &Path) -> Result<Initialized, AppError> {
    let config = Config::load_from(Some(path), [])?;
    let deployment = Deployment::open(&config, Access::Create).await?;
    for store in &config.stores {
        deployment.reach(&store.id).await?;
    }
    deployment.close().await;
    Ok(Initialized {
        config: path.display().to_string(),
        control_plane: config.control_plane.to_string(),
        stores: config.stores.iter().map(|store| store.id.to_string()).collect(),
    })
}
