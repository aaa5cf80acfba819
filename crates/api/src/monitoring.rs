//! What was written for an operator's own tools.

use serde::{Deserialize, Serialize};

/// What `monitoring export` did.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MonitoringExport {
    /// Where the files are.
    pub folder: String,
    /// The files that were written, below the folder.
    pub written: Vec<String>,
    /// Examples that were there already and were left as they are.
    pub kept: Vec<String>,
}
