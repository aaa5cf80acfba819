//! `[audit]`: how exported logs are signed.
//!
//! ```toml
//! [audit]
//! key_file = "audit.key"             # relative to this file; 32 bytes or more, mode 0600
//! ```

use std::path::{Path, PathBuf};

use super::ConfigError;
use super::table::Table;

/// The keys of the section.
const KEY_FILE: &str = "key_file";

/// The file of the key, if there is one.
pub(super) fn read(mut table: Table<'_>, folder: &Path) -> Result<Option<PathBuf>, ConfigError> {
    let file = table.text(KEY_FILE)?.map(|set| folder.join(set.value));
    table.end()?;
    Ok(file)
}

/// Whether there is such a key.
pub(super) fn is_key(name: &str) -> bool {
    name == KEY_FILE
}
