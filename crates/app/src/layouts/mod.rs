//! Layouts: the mapping of columns in another library's table, as files, with checks and drafts.
//!
//! | file | contents |
//! |---|---|
//! | `file` | TOML to a layout |
//! | `text` | a layout to TOML |
//! | `check` | how a table differs from a layout |
//! | `guess` | a draft from a table's description |
//!
//! The keys of the file are in `docs/layouts.md`.

mod check;
mod file;
mod guess;
#[cfg(test)]
mod tests;
mod text;

use std::path::{Path, PathBuf};

use rehome_api::LayoutFile;
use rehome_domain::layout::{BUILT_IN, BesideKind, Layout};

use crate::config::{ConfigError, Place};
use crate::error::{AppError, Kind};

pub use check::check;
pub use guess::guess;

/// What a table beside the events holds, and the word for it.
const KINDS: [(BesideKind, &str); 4] = [
    (BesideKind::Checkpoints, "checkpoints"),
    (BesideKind::Snapshots, "snapshots"),
    (BesideKind::Outbox, "outbox"),
    (BesideKind::Streams, "streams"),
];

/// How a layout is named where one is configured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum LayoutSource {
    /// One that comes with rehome.
    Named(String),
    /// A file.
    File(PathBuf),
}

impl LayoutSource {
    /// What ends in `.toml` or has a folder before it is a file, relative to `folder`.
    pub(crate) fn parse(text: &str, folder: &Path) -> Self {
        let path = Path::new(text);
        if path.extension().is_some_and(|it| it == "toml") || text.contains('/') {
            Self::File(folder.join(path))
        } else {
            Self::Named(text.to_owned())
        }
    }

    /// The layout. `place` is where it is named.
    pub(crate) fn layout(&self, place: &Place) -> Result<Layout, ConfigError> {
        match self {
            Self::Named(name) => Layout::built_in(name).ok_or_else(|| {
                place.refuse(format!(
                    "stores.layout: there is no built-in layout \"{name}\"; the built-in ones are {}; the name of a \
                     file ends in .layout.toml",
                    BUILT_IN.join(", ")
                ))
            }),
            Self::File(path) => {
                let text = std::fs::read_to_string(path).map_err(|error| {
                    place.refuse(format!(
                        "stores.layout: {} cannot be read: {error}",
                        path.display()
                    ))
                })?;
                file::read(path, &text)
            }
        }
    }
}

/// Reads the file of a layout; a name that comes with rehome is that layout.
pub fn load(path: &Path) -> Result<Layout, ConfigError> {
    if let Some(layout) = path.to_str().and_then(Layout::built_in) {
        return Ok(layout);
    }
    let text = std::fs::read_to_string(path)
        .map_err(|error| Place::File(path.to_owned()).refuse(format!("cannot be read: {error}")))?;
    file::read(path, &text)
}

/// The layouts that come with rehome.
pub fn list() -> Vec<LayoutFile> {
    BUILT_IN.iter().filter_map(|name| Layout::built_in(name)).map(|it| document(&it)).collect()
}

/// One that comes with rehome.
pub fn show(name: &str) -> Result<LayoutFile, AppError> {
    let layout = Layout::built_in(name).ok_or_else(|| {
        let known = BUILT_IN.join(", ");
        let why = format!("no layout \"{name}\" comes with rehome; those that do: {known}");
        AppError::new(Kind::NotFound, "unknown_layout", why)
    })?;
    Ok(document(&layout))
}

fn document(layout: &Layout) -> LayoutFile {
    LayoutFile {
        name: layout.name.clone(),
        schema: layout.schema.clone(),
        table: layout.table.clone(),
        toml: text::layout(layout, |_| String::new()),
    }
}
