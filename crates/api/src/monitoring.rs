//! Files for an operator's monitoring tools.

use serde::{Deserialize, Serialize};

/// The result of `monitoring export`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MonitoringExport {
    /// The folder.
    pub folder: String,
    /// The written files, relative to the folder.
    pub written: Vec<String>,
    /// Existing examples that were not overwritten.
    pub kept: Vec<String>,
}
