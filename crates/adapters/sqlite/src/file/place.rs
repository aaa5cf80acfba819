//! The place of a file, and whether the file is still there.
//!
//! A process that continued with a file that was deleted or replaced would acknowledge lost
//! writes. The check costs a microsecond and opens nothing: closing a descriptor of the
//! file would drop this process's locks on it.

use std::path::{Path, PathBuf};

use rehome_ports::FaultKind;

use crate::error::FileError;

/// Where a file is and which one it was when it was opened.
#[derive(Clone, Debug)]
pub(super) struct Place {
    path: PathBuf,
    id: FileId,
}

#[cfg(unix)]
type FileId = (u64, u64);
#[cfg(not(unix))]
type FileId = ();

#[cfg(unix)]
fn file_id(metadata: &std::fs::Metadata) -> FileId {
    use std::os::unix::fs::MetadataExt;
    (metadata.dev(), metadata.ino())
}

#[cfg(not(unix))]
fn file_id(_: &std::fs::Metadata) -> FileId {}

/// The kind of file at a path.
pub(super) enum Found {
    Nothing,
    EmptyFile,
    File,
}

/// Checks without opening.
pub(super) fn look(path: &Path) -> Result<Found, FileError> {
    let metadata = match std::fs::metadata(path) {
        Ok(metadata) => metadata,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(Found::Nothing),
        Err(e) => return Err(FileError::Kind(FaultKind::Unreachable(e.to_string()))),
    };
    if !metadata.is_file() {
        let why = if metadata.is_dir() { "it is a folder" } else { "it is not a regular file" };
        return Err(FileError::Kind(FaultKind::Foreign(why.to_owned())));
    }
    Ok(if metadata.len() == 0 { Found::EmptyFile } else { Found::File })
}

/// Nothing is at `path`.
pub(super) fn missing(path: &Path) -> FileError {
    FileError::Kind(FaultKind::Missing(path.display().to_string()))
}

impl Place {
    /// Remembers which file is at `path` now.
    pub(super) fn remember(path: &Path) -> Result<Self, FileError> {
        let metadata = std::fs::metadata(path).map_err(|_| missing(path))?;
        Ok(Self { path: path.to_owned(), id: file_id(&metadata) })
    }

    /// Refuses to continue with a file that is no longer at its place.
    pub(super) fn check(&self) -> Result<(), FileError> {
        let metadata = std::fs::metadata(&self.path).map_err(|_| missing(&self.path))?;
        if file_id(&metadata) == self.id {
            return Ok(());
        }
        let why = "another file replaced it while this process was using it; restart the process";
        Err(FileError::Kind(FaultKind::Foreign(why.to_owned())))
    }
}
