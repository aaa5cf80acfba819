//! The keys of the configuration: each is written down once, in [`table`].
//!
//! ```text
//! table ──▶ file, environment ──▶ values ──▶ the structs of this module's parent
//!   ├─────▶ `rehome config show`
//!   ├─────▶ `rehome init`
//!   └─────▶ docs/configuration.md
//! ```

mod kind;
mod table;

use std::path::Path;

use rehome_dashboards::Thresholds;

pub(super) use kind::Kind;
pub(super) use table::{
    audit, auth_certificates, auth_issuers, auth_roles, auth_tokens, client, control_plane, hooks,
    migration, monitoring, publish, server, stores, telemetry,
};

/// The section of the thresholds, whose table is that of `rehome_dashboards`.
pub(super) const THRESHOLDS: &str = "monitoring.thresholds";

/// The form of a value in a file. In the environment all values are texts; a list is separated by commas.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    /// A string.
    Text,
    /// A whole number.
    Number,
    /// A number, with a fraction or without.
    Decimal,
    /// `true` or `false`.
    Flag,
    /// A list of strings, or one string.
    List,
    /// A table of strings.
    Map,
}

impl Shape {
    /// As the documentation names it.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Text => "string",
            Self::Number => "integer",
            Self::Decimal => "number",
            Self::Flag => "boolean",
            Self::List => "list of strings",
            Self::Map => "table of strings",
        }
    }
}

/// A section of the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Section {
    /// Its name, as in brackets.
    pub(super) name: &'static str,
    /// Whether it may be there more than once: `[[name]]`.
    pub(super) repeats: bool,
    /// What it is about.
    pub(super) doc: &'static str,
}

/// One key, for what treats all of them alike.
#[derive(Clone, Copy)]
pub(super) struct Entry {
    /// The section.
    pub(super) section: &'static str,
    /// The key in it.
    pub(super) name: &'static str,
    /// The form of its value.
    pub(super) shape: Shape,
    /// What its value may be: continues "must be".
    pub(super) wanted: fn() -> String,
    /// The unit of the value; empty: it has none, or the value names it.
    pub(super) unit: &'static str,
    /// What it is for.
    pub(super) doc: &'static str,
    default: fn() -> Option<String>,
    check: Check,
    show: Show,
}

/// Reports the problem of a value, if any.
#[derive(Clone, Copy)]
enum Check {
    By(fn(&[String], &Path) -> Result<(), String>),
    Threshold,
}

/// Formats a value for people, without secrets.
type Show = fn(&[String], &Path) -> String;

impl Entry {
    /// `section.name`.
    pub(super) fn path(&self) -> String {
        format!("{}.{}", self.section, self.name)
    }

    /// The environment variable that sets it; `None` in a section that repeats, except that keys of
    /// stores have one.
    pub(super) fn variable(&self) -> Option<String> {
        let upper = |text: &str| text.to_ascii_uppercase().replace('.', "_");
        match sections().find(|section| section.name == self.section) {
            Some(Section { name: "stores", .. }) if self.name == "id" => None,
            Some(Section { name: "stores", .. }) => {
                Some(format!("REHOME_STORES_<ID>_{}", upper(self.name)))
            }
            Some(Section { repeats: true, .. }) => None,
            _ => Some(format!("REHOME_{}_{}", upper(self.section), upper(self.name))),
        }
    }

    /// The value where none is set, as it would be written; `None`: there is none.
    pub(super) fn default(&self) -> Option<String> {
        match self.check {
            Check::By(_) => (self.default)(),
            Check::Threshold => {
                let all = Thresholds::default().list();
                all.into_iter().find(|known| known.name == self.name).map(|known| known.value)
            }
        }
    }

    /// The problem of a value, as a text to follow the key.
    pub(super) fn check(&self, raw: &[String], folder: &Path) -> Result<(), String> {
        match self.check {
            Check::By(check) => check(raw, folder),
            Check::Threshold => {
                let text = raw.first().map_or("", String::as_str);
                let set = Thresholds::default().set(self.name, text);
                set.map_err(|problem| {
                    let problem = problem.to_string();
                    problem.strip_prefix(self.name).unwrap_or(&problem).trim().to_owned()
                })
            }
        }
    }

    /// A value for people, without secrets.
    pub(super) fn show(&self, raw: &[String], folder: &Path) -> String {
        (self.show)(raw, folder)
    }
}

/// A key, and the type of its value.
pub(super) struct Key<T: 'static> {
    pub(super) section: &'static str,
    pub(super) name: &'static str,
    pub(super) kind: Kind<T>,
    pub(super) default: fn() -> Option<String>,
}

/// All sections, in the order of the documentation.
pub(super) fn sections() -> impl Iterator<Item = Section> {
    let thresholds = Section {
        name: THRESHOLDS,
        repeats: false,
        doc: "When the alerts fire that `rehome monitoring export` writes.",
    };
    table::SECTIONS.iter().copied().chain([thresholds])
}

/// All keys, in the order of the documentation.
pub(super) fn entries() -> impl Iterator<Item = Entry> {
    table::ENTRIES.iter().copied().chain(thresholds())
}

/// The keys of one section.
pub(super) fn of(section: &str) -> impl Iterator<Item = Entry> + '_ {
    entries().filter(move |entry| entry.section == section)
}

fn thresholds() -> impl Iterator<Item = Entry> {
    use rehome_dashboards::Kind::{Count, Duration, Latency};
    Thresholds::default().list().into_iter().map(|known| Entry {
        section: THRESHOLDS,
        name: known.name,
        shape: match known.kind {
            Count => Shape::Number,
            Duration | Latency => Shape::Text,
        },
        wanted: match known.kind {
            Count => || "a whole number".to_owned(),
            Duration | Latency => || "a duration like \"15m\"".to_owned(),
        },
        default: || None,
        unit: "",
        doc: known.help,
        check: Check::Threshold,
        show: kind::plain,
    })
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn every_key_is_there_once_belongs_to_a_section_and_is_described() {
        let sections: HashSet<_> = sections().map(|section| section.name).collect();
        let mut seen = HashSet::new();
        let mut variables = HashSet::new();
        for entry in entries() {
            assert!(seen.insert(entry.path()), "{} is there twice", entry.path());
            assert!(sections.contains(entry.section), "{}", entry.path());
            assert!(entry.doc.trim().len() > 10, "{} is not described", entry.path());
            if let Some(variable) = entry.variable() {
                assert!(variables.insert(variable.clone()), "{variable} means two keys");
            }
        }
    }

    #[test]
    fn every_default_is_a_value_that_may_be_set() {
        let defaults = entries().filter_map(|entry| Some((entry, entry.default()?)));
        let mut count = 0;
        for (entry, default) in defaults {
            let raw = std::slice::from_ref(&default);
            assert_eq!(entry.check(raw, Path::new("")), Ok(()), "{} = {default}", entry.path());
            count += 1;
        }
        assert!(count > 40, "{count}");
    }
}
