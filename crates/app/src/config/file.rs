//! The file, section by section, as the table of keys has them.

use std::path::Path;

use super::draft::{Draft, Row};
use super::keys::{self, Section};
use super::table::{Source, Table};
use super::values::{Given, Values};
use super::{ConfigError, Place};

/// Reads a file. An error is one after which nothing else can be read.
pub(super) fn read(path: &Path, text: &str) -> Result<Draft, ConfigError> {
    let mut root = Source { path, text }.root()?;
    let folder = path.parent().unwrap_or(Path::new(""));
    let draft = Draft { place: Place::File(path.to_owned()), ..Draft::default() };
    let mut reading = Reading { folder, draft };
    let mut seen = Vec::new();
    for section in keys::sections() {
        let top = section.name.split('.').next().unwrap_or_default();
        if !seen.contains(&top) {
            seen.push(top);
            reading.top(top, &mut root);
        }
    }
    reading.draft.problems.extend(root.unknown());
    Ok(reading.draft)
}

struct Reading<'a> {
    folder: &'a Path,
    draft: Draft,
}

impl Reading<'_> {
    /// What the file has under a name: a section, sections within it, or rows.
    fn top(&mut self, top: &'static str, root: &mut Table<'_>) {
        let own = keys::sections().find(|section| section.name == top);
        if own.is_some_and(|section| section.repeats) {
            self.rows(top, top, root);
            return;
        }
        let table = root.table(top);
        let Some(mut table) = self.ok(table).flatten() else { return };
        if own.is_some() {
            let values = std::mem::take(&mut self.draft.values);
            self.draft.values = self.values(top, &mut table, values);
        }
        for Section { name, repeats, .. } in keys::sections() {
            let Some(within) = name.strip_prefix(top).and_then(|rest| rest.strip_prefix('.'))
            else {
                continue;
            };
            if repeats {
                self.rows(name, within, &mut table);
            } else {
                let within = table.table(within);
                let Some(mut within) = self.ok(within).flatten() else { continue };
                let values = std::mem::take(&mut self.draft.values);
                self.draft.values = self.values(name, &mut within, values);
                self.draft.problems.extend(within.unknown());
            }
        }
        self.draft.problems.extend(table.unknown());
    }

    /// The rows of a section that repeats.
    fn rows(&mut self, section: &'static str, key: &'static str, parent: &mut Table<'_>) {
        let tables = parent.tables(key);
        for (place, mut table) in self.ok(tables).unwrap_or_default() {
            let values = self.values(section, &mut table, Values::default());
            self.draft.problems.extend(table.unknown());
            self.draft.rows.entry(section).or_default().push(Row { place, values });
        }
    }

    /// Removes the keys of a section from its table.
    fn values(&mut self, section: &str, table: &mut Table<'_>, mut values: Values) -> Values {
        for entry in keys::of(section) {
            let raw = table.raw(&entry);
            if let Some(set) = self.ok(raw).flatten() {
                let folder = self.folder.to_owned();
                values.set(&entry, Given { raw: set.value, place: set.place, folder });
            }
        }
        values
    }

    fn ok<T>(&mut self, read: Result<T, ConfigError>) -> Option<T> {
        read.map_err(|problem| self.draft.problems.push(problem)).ok()
    }
}
