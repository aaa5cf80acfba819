//! Where an import from a table got to, in a file that a later run reads.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use rehome_domain::digest::sha256;
use rehome_ports::private;
use serde::{Deserialize, Serialize};

use crate::error::AppError;

/// The file.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Content {
    /// SHA-256 of the source's name and of the query, in hex.
    source: String,
    /// All rows up to this position are in the stores.
    position: i64,
}

/// Where reading continues.
pub(super) struct State {
    path: PathBuf,
    source: String,
    position: i64,
}

impl State {
    /// Reads the file, if it exists. `what` names the source and the query.
    pub(super) fn open(path: &Path, what: &[&str]) -> Result<Self, AppError> {
        let parts: Vec<&[u8]> = what.iter().flat_map(|part| [part.as_bytes(), b"\0"]).collect();
        let source = sha256(&parts).to_string();
        let fail =
            |why: String| AppError::failed("bad_state_file", format!("{}: {why}", path.display()));
        let position = match fs::read_to_string(path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => -1,
            Err(error) => return Err(fail(format!("cannot be read: {error}"))),
            Ok(text) => {
                let content: Content = serde_json::from_str(&text).map_err(|_| {
                    fail("is not a file of `import --state`; name another".to_owned())
                })?;
                if content.source != source {
                    let why = "belongs to an import from another table or query; name another file";
                    return Err(fail(why.to_owned()));
                }
                content.position
            }
        };
        Ok(Self { path: path.to_owned(), source, position })
    }

    /// All rows up to here are in the stores.
    pub(super) fn position(&self) -> i64 {
        self.position
    }

    /// Writes the file anew: after a crash it is the old one or the new one.
    pub(super) fn save(&mut self, position: i64) -> Result<(), AppError> {
        if position <= self.position {
            return Ok(());
        }
        self.position = position;
        let content = Content { source: self.source.clone(), position };
        let text = serde_json::to_vec(&content).unwrap_or_default();
        let aside = self.path.with_extension("tmp");
        let write = || {
            let mut file =
                private::options().write(true).create(true).truncate(true).open(&aside)?;
            file.write_all(&text)?;
            file.sync_all()?;
            fs::rename(&aside, &self.path)
        };
        write().map_err(|error| {
            AppError::failed(
                "bad_state_file",
                format!("{} cannot be written: {error}", self.path.display()),
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_position_is_kept_and_only_for_the_source_that_it_is_of() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("import.state");
        let mut state = State::open(&path, &["db", "query"]).unwrap();
        assert_eq!(state.position(), -1);
        state.save(41).unwrap();
        state.save(7).unwrap();
        assert_eq!(State::open(&path, &["db", "query"]).unwrap().position(), 41);
        for other in [["db", "other"], ["dbq", "uery"]] {
            let error = State::open(&path, &other).err().unwrap().to_string();
            assert!(error.contains("another table"), "{error}");
        }
        std::fs::write(&path, "{}").unwrap();
        let error = State::open(&path, &["db", "query"]).err().unwrap().to_string();
        assert!(error.contains("is not a file of"), "{error}");
    }
}
