//! The values of the file and then the environment, before they are validated as a whole.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::environment;
use super::file;
use super::keys::{self, Entry, THRESHOLDS};
use super::otlp::Standard;
use super::values::{Given, Values};
use super::{ConfigError, DEFAULT_FILE, Place};

/// The values of a configuration, and the problems of single values.
#[derive(Debug, Default)]
pub(super) struct Draft {
    /// Of the sections that are there once.
    pub(super) values: Values,
    /// Of the sections that are there more than once.
    pub(super) rows: BTreeMap<&'static str, Vec<Row>>,
    /// Where it comes from as a whole.
    pub(super) place: Place,
    pub(super) problems: Vec<ConfigError>,
    /// The variables of the OpenTelemetry standard.
    pub(super) standard: Standard,
}

/// One of the sections that are there more than once.
#[derive(Debug)]
pub(super) struct Row {
    pub(super) place: Place,
    pub(super) values: Values,
}

impl Draft {
    /// Reads `file`, or `./rehome.toml` if there is one, and then the environment. An error is one after
    /// which nothing else can be read; all others are in `problems`.
    pub(super) fn read(
        file: Option<&Path>,
        variables: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Self, ConfigError> {
        let variables: Vec<_> = variables.into_iter().collect();
        let standard = Standard::of(&variables);
        let variables = environment::ours(variables);
        let path = file.unwrap_or(Path::new(DEFAULT_FILE));
        let mut draft = match std::fs::read_to_string(path) {
            Ok(text) => file::read(path, &text)?,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                if file.is_some() || variables.is_empty() {
                    return Err(ConfigError::NoFile(path.to_owned()));
                }
                Self { place: Place::Environment, ..Self::default() }
            }
            Err(source) => return Err(ConfigError::Unreadable { path: path.to_owned(), source }),
        };
        draft.standard = standard;
        environment::apply(&mut draft, &variables);
        draft.check();
        Ok(draft)
    }

    /// The file, if there is one.
    pub(super) fn file(&self) -> Option<&PathBuf> {
        match &self.place {
            Place::File(path) => Some(path),
            _ => None,
        }
    }

    /// The problems of single values.
    fn check(&mut self) {
        let mut problems = Vec::new();
        let mut look = |values: &Values, entry: &Entry| {
            problems.extend(values.raw(entry).and_then(|given| given.check(entry).err()));
        };
        for entry in keys::entries() {
            look(&self.values, &entry);
            for row in self.rows(entry.section) {
                look(&row.values, &entry);
            }
        }
        self.problems.append(&mut problems);
        self.problems.sort_by_key(ConfigError::order);
    }

    /// The rows of a section that repeats.
    pub(super) fn rows(&self, section: &str) -> &[Row] {
        self.rows.get(section).map_or(&[], Vec::as_slice)
    }

    /// The thresholds that were set.
    pub(super) fn thresholds(&self) -> impl Iterator<Item = (&'static str, &Given)> {
        keys::of(THRESHOLDS).filter_map(|entry| Some((entry.name, self.values.raw(&entry)?)))
    }
}
