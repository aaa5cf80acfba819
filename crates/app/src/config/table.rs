//! A table of a TOML file, consumed key by key: the rest is unknown.

use std::path::Path;

use toml::Spanned;
use toml::de::{DeString, DeTable, DeValue};

use super::keys::{Entry, Shape};
use super::{ConfigError, Place, Set};

/// The file that a table is in, for messages.
#[derive(Clone, Copy)]
pub(crate) struct Source<'a> {
    pub(crate) path: &'a Path,
    pub(crate) text: &'a str,
}

impl<'a> Source<'a> {
    /// The whole file.
    pub(crate) fn root(self) -> Result<Table<'a>, ConfigError> {
        let root = DeTable::parse(self.text).map_err(|error| {
            let whole = Place::File(self.path.to_owned());
            let place = error.span().map_or(whole, |span| self.at(span.start));
            // Only the parser's words: its display would repeat the line, which may hold a secret.
            place.refuse(format!("not TOML: {}", error.message()))
        })?;
        Ok(Table::new(self, "", root.into_inner()))
    }

    /// The place of a byte of the file.
    pub(crate) fn at(&self, byte: usize) -> Place {
        let before = &self.text.as_bytes()[..byte.min(self.text.len())];
        let line = before.split(|byte| *byte == b'\n').count();
        Place::Line(self.path.to_owned(), line)
    }
}

/// A value that is a string or a table.
pub(crate) enum TextOrTable<'a> {
    Text(Set<String>),
    Table(Place, Table<'a>),
}

/// A table whose keys are consumed one by one.
pub(crate) struct Table<'a> {
    source: Source<'a>,
    /// Its name, with a dot behind it; empty for the whole file.
    name: String,
    entries: DeTable<'a>,
    known: Vec<&'static str>,
}

impl<'a> Table<'a> {
    pub(crate) fn new(source: Source<'a>, name: &str, entries: DeTable<'a>) -> Self {
        let name = if name.is_empty() { String::new() } else { format!("{name}.") };
        Self { source, name, entries, known: Vec::new() }
    }

    fn take(&mut self, key: &'static str) -> Option<(Place, DeValue<'a>)> {
        self.known.push(key);
        let (_, value) = self.entries.remove_entry(key)?;
        let place = self.source.at(value.span().start);
        Some((place, value.into_inner()))
    }

    fn refuse(&self, place: &Place, key: &str, problem: &str) -> ConfigError {
        place.refuse(format!("{}{key} {problem}", self.name))
    }

    pub(crate) fn text(&mut self, key: &'static str) -> Result<Option<Set<String>>, ConfigError> {
        let Some((place, value)) = self.take(key) else { return Ok(None) };
        match value {
            DeValue::String(text) => Ok(Some(Set { value: text.into_owned(), place })),
            other => Err(self.refuse(&place, key, &must_be("a string", &other))),
        }
    }

    pub(crate) fn boolean(&mut self, key: &'static str) -> Result<Option<Set<bool>>, ConfigError> {
        let Some((place, value)) = self.take(key) else { return Ok(None) };
        match value {
            DeValue::Boolean(value) => Ok(Some(Set { value, place })),
            other => Err(self.refuse(&place, key, &must_be("true or false", &other))),
        }
    }

    /// A whole number, as text.
    pub(crate) fn number(
        &mut self,
        key: &'static str,
        wanted: &str,
    ) -> Result<Option<Set<String>>, ConfigError> {
        let Some((place, value)) = self.take(key) else { return Ok(None) };
        match texts(Shape::Number, &value) {
            Some(texts) => Ok(Some(Set { value: texts.concat(), place })),
            None => Err(self.refuse(&place, key, &must_be(wanted, &value))),
        }
    }

    /// The value of a key of the configuration as texts: one, but of a list or a map any number.
    pub(super) fn raw(&mut self, entry: &Entry) -> Result<Option<Set<Vec<String>>>, ConfigError> {
        let Some((place, value)) = self.take(entry.name) else { return Ok(None) };
        let wanted = match entry.shape {
            Shape::Decimal => "a number".to_owned(),
            _ => (entry.wanted)(),
        };
        match texts(entry.shape, &value) {
            Some(value) => Ok(Some(Set { value, place })),
            None => Err(self.refuse(&place, entry.name, &must_be(&wanted, &value))),
        }
    }

    pub(crate) fn table(&mut self, key: &'static str) -> Result<Option<Table<'a>>, ConfigError> {
        let Some((place, value)) = self.take(key) else { return Ok(None) };
        match value {
            DeValue::Table(entries) => {
                Ok(Some(Table::new(self.source, &format!("{}{key}", self.name), entries)))
            }
            other => Err(self.refuse(&place, key, &must_be("a table", &other))),
        }
    }

    pub(crate) fn text_or_table(
        &mut self,
        key: &'static str,
    ) -> Result<Option<TextOrTable<'a>>, ConfigError> {
        let Some((place, value)) = self.take(key) else { return Ok(None) };
        Ok(Some(match value {
            DeValue::String(text) => TextOrTable::Text(Set { value: text.into_owned(), place }),
            DeValue::Table(entries) => {
                let table = Table::new(self.source, &format!("{}{key}", self.name), entries);
                TextOrTable::Table(place, table)
            }
            other => return Err(self.refuse(&place, key, &must_be("a string or a table", &other))),
        }))
    }

    /// `[[key]]`, each with its place.
    pub(crate) fn tables(
        &mut self,
        key: &'static str,
    ) -> Result<Vec<(Place, Table<'a>)>, ConfigError> {
        let Some((place, value)) = self.take(key) else { return Ok(Vec::new()) };
        let DeValue::Array(array) = value else {
            let problem = format!("must be written as [[{key}]], one section for each");
            return Err(self.refuse(&place, key, &problem));
        };
        let each = array.into_iter().map(|value: Spanned<DeValue<'a>>| {
            let place = self.source.at(value.span().start);
            match value.into_inner() {
                DeValue::Table(entries) => Ok((place, Table::new(self.source, key, entries))),
                other => Err(self.refuse(&place, key, &must_be("a table", &other))),
            }
        });
        each.collect()
    }

    /// A list of strings, or a string.
    pub(crate) fn texts(
        &mut self,
        key: &'static str,
    ) -> Result<Option<Set<Vec<String>>>, ConfigError> {
        let Some((place, value)) = self.take(key) else { return Ok(None) };
        let texts: Option<Vec<_>> = match &value {
            DeValue::String(text) => Some(vec![text.clone().into_owned()]),
            DeValue::Array(array) => {
                array.iter().map(|item| item.get_ref().as_str().map(str::to_owned)).collect()
            }
            _ => None,
        };
        match texts {
            Some(value) => Ok(Some(Set { value, place })),
            None => Err(self.refuse(&place, key, &must_be("a list of strings", &value))),
        }
    }

    /// Refuses the keys that were not consumed.
    pub(crate) fn end(self) -> Result<(), ConfigError> {
        self.unknown().into_iter().next().map_or(Ok(()), Err)
    }

    /// The keys that were not consumed, in the order of the file.
    pub(crate) fn unknown(self) -> Vec<ConfigError> {
        let mut keys: Vec<_> = self.entries.iter().map(|(key, _)| key).collect();
        keys.sort_by_key(|key| key.span().start);
        let known = self.known.join(", ");
        let refuse = |key: &Spanned<DeString<'_>>| {
            let (name, place) = (&self.name, self.source.at(key.span().start));
            place
                .refuse(format!("unknown key {name}{}; the known keys are: {known}", key.get_ref()))
        };
        keys.into_iter().map(refuse).collect()
    }
}

/// A value of this shape as texts; `None`: it has another one.
fn texts(shape: Shape, value: &DeValue<'_>) -> Option<Vec<String>> {
    let number = |text: &str| vec![text.replace('_', "")];
    match (shape, value) {
        (Shape::Text | Shape::List, DeValue::String(text)) => Some(vec![text.clone().into_owned()]),
        (Shape::Number | Shape::Decimal, DeValue::Integer(integer)) if integer.radix() == 10 => {
            Some(number(integer.as_str()))
        }
        (Shape::Decimal, DeValue::Float(float)) => Some(number(float.as_str())),
        (Shape::Flag, DeValue::Boolean(flag)) => Some(vec![flag.to_string()]),
        (Shape::List, DeValue::Array(array)) => {
            array.iter().map(|item| item.get_ref().as_str().map(str::to_owned)).collect()
        }
        (Shape::Map, DeValue::Table(entries)) => {
            let mut texts = Vec::new();
            for (key, value) in entries {
                texts.push(key.get_ref().to_string());
                texts.push(value.get_ref().as_str()?.to_owned());
            }
            Some(texts)
        }
        _ => None,
    }
}

fn must_be(wanted: &str, value: &DeValue<'_>) -> String {
    let found = match value {
        DeValue::String(_) => "a string",
        DeValue::Integer(_) => "an integer",
        DeValue::Float(_) => "a float",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "an array",
        DeValue::Table(_) => "a table",
    };
    format!("must be {wanted}, not {found}")
}
