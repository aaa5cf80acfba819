//! Values of keys, as they were set in a file and in the environment, and the defaults of the others.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::keys::{Entry, Key};
use super::{ConfigError, Place, Set};

/// The values that were set, of one section or of several.
#[derive(Clone, Debug, Default)]
pub(crate) struct Values {
    set: BTreeMap<(&'static str, &'static str), Given>,
    /// The keys that were read.
    #[cfg(test)]
    pub(super) read: std::cell::RefCell<std::collections::BTreeSet<String>>,
}

/// A value as it was set.
#[derive(Clone, Debug)]
pub(super) struct Given {
    pub(super) raw: Vec<String>,
    pub(super) place: Place,
    /// What relative paths in it are relative to.
    pub(super) folder: PathBuf,
}

impl Given {
    /// The problem with it, if any.
    pub(super) fn check(&self, entry: &Entry) -> Result<(), ConfigError> {
        let checked = entry.check(&self.raw, &self.folder);
        checked.map_err(|problem| self.place.refuse(format!("{} {problem}", entry.path())))
    }
}

impl Values {
    /// Sets a key. An invalid value is detected when it is read, and by [`Given::check`].
    pub(super) fn set(&mut self, entry: &Entry, given: Given) {
        self.set.insert((entry.section, entry.name), given);
    }

    /// Unsets a key.
    pub(super) fn unset<T>(&mut self, key: &Key<T>) {
        self.set.remove(&(key.section, key.name));
    }

    /// The raw value of a key.
    pub(super) fn raw(&self, entry: &Entry) -> Option<&Given> {
        self.set.get(&(entry.section, entry.name))
    }

    /// The same by its key.
    pub(super) fn raw_of<T>(&self, key: &Key<T>) -> Option<&Given> {
        self.set.get(&(key.section, key.name))
    }

    /// Everything that was set, in no order that means anything.
    pub(super) fn names(&self) -> impl Iterator<Item = (&'static str, &Given)> {
        self.set.iter().map(|((_, name), given)| (*name, given))
    }

    /// The value of a key where it was set.
    pub(super) fn given<T>(&self, key: &Key<T>) -> Result<Option<Set<T>>, ConfigError> {
        #[cfg(test)]
        self.read.borrow_mut().insert(format!("{}.{}", key.section, key.name));
        let Some(given) = self.set.get(&(key.section, key.name)) else { return Ok(None) };
        let value = parse(key, &given.raw, &given.folder).map_err(|problem| {
            given.place.refuse(format!("{}.{} {problem}", key.section, key.name))
        })?;
        Ok(Some(Set { value, place: given.place.clone() }))
    }

    /// The same without its place.
    pub(super) fn value<T>(&self, key: &Key<T>) -> Result<Option<T>, ConfigError> {
        Ok(self.given(key)?.map(|set| set.value))
    }

    /// The value of a key, or its default.
    pub(super) fn effective<T>(&self, key: &Key<T>) -> Result<T, ConfigError> {
        if let Some(value) = self.value(key)? {
            return Ok(value);
        }
        let refuse = |problem: String| {
            Place::Default.refuse(format!("{}.{} {problem}", key.section, key.name))
        };
        let default = (key.default)().ok_or_else(|| refuse("is missing".to_owned()))?;
        parse(key, &[default], Path::new("")).map_err(refuse)
    }
}

fn parse<T>(key: &Key<T>, raw: &[String], folder: &Path) -> Result<T, String> {
    let value = (key.kind.parse)(raw, folder)?;
    (key.kind.also)(&value)?;
    Ok(value)
}
