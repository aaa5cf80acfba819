//! The configuration in effect, key by key, with the source of each value. Without secrets.

use std::fmt;
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::draft::{Draft, Row};
use super::keys::{self, Entry, stores};
use super::values::{Given, Values};
use super::{ConfigError, Place, client};

/// All values of a configuration.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Report {
    /// The file; `None`: the environment is the whole configuration.
    pub file: Option<PathBuf>,
    /// Every key that has a value, in the order of the documentation.
    pub settings: Vec<Setting>,
}

/// The value of one key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Setting {
    /// The key, for example `server.bind`, `stores[shared].url` or `publish[1].kind`.
    pub key: String,
    /// The value as text, without secrets.
    pub value: String,
    /// The unit of the value, if it has one.
    #[serde(skip_serializing_if = "str::is_empty")]
    pub unit: &'static str,
    /// Where the value comes from.
    pub origin: Origin,
}

/// Where a value comes from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "from", rename_all = "lowercase")]
pub enum Origin {
    /// It is the default.
    Default,
    /// The file.
    File {
        /// The line of its value, from 1.
        line: usize,
    },
    /// The environment.
    Environment {
        /// The variable.
        variable: String,
    },
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File { line } => write!(f, "file, line {line}"),
            Self::Environment { variable } => f.write_str(variable),
        }
    }
}

impl Origin {
    fn of(place: &Place) -> Self {
        match place {
            Place::Line(_, line) => Self::File { line: *line },
            Place::Variable(variable) => Self::Environment { variable: variable.clone() },
            Place::File(_) => Self::File { line: 1 },
            Place::Default | Place::Environment | Place::Argument(_) => Self::Default,
        }
    }
}

/// Every value of the configuration that `file`, or `./rehome.toml`, and the environment make. Fails with the
/// first mistake; [`problems`](super::problems) lists all.
pub fn report(
    file: Option<&Path>,
    variables: impl IntoIterator<Item = (String, String)>,
) -> Result<Report, ConfigError> {
    let variables: Vec<_> = variables.into_iter().collect();
    let server = variables.iter().find(|(name, value)| name == client::SERVER && !value.is_empty());
    let server = server.map(|(_, value)| value.clone());
    let mut draft = Draft::read(file, variables)?;
    if !draft.problems.is_empty() {
        return Err(draft.problems.swap_remove(0));
    }
    let mut settings = Vec::new();
    for section in keys::sections() {
        if section.repeats {
            for (number, row) in draft.rows(section.name).iter().enumerate() {
                let name = format!("{}[{}]", section.name, name(row, number));
                let entries = keys::of(section.name);
                settings.extend(entries.filter_map(|entry| setting(&entry, &row.values, &name)));
            }
        } else {
            for entry in keys::of(section.name) {
                settings.extend(setting(&entry, &draft.values, section.name));
            }
        }
    }
    if let Some(url) = server {
        let set = Setting {
            key: format!("{}.{}", keys::client::URL.section, keys::client::URL.name),
            value: url,
            unit: "",
            origin: Origin::Environment { variable: client::SERVER.to_owned() },
        };
        settings.retain(|other| other.key != set.key);
        settings.push(set);
    }
    Ok(Report { file: draft.file().cloned(), settings })
}

/// What distinguishes a row from the others of its section.
fn name(row: &Row, number: usize) -> String {
    let named = |(name, given): (&str, &Given)| {
        [stores::ID.name, keys::auth_tokens::NAME.name].contains(&name).then(|| given.raw.join(""))
    };
    row.values.names().find_map(named).unwrap_or_else(|| (number + 1).to_string())
}

fn setting(entry: &Entry, values: &Values, section: &str) -> Option<Setting> {
    let (value, origin) = match values.raw(entry) {
        Some(given) => (entry.show(&given.raw, &given.folder), Origin::of(&given.place)),
        None => (entry.default()?, Origin::Default),
    };
    Some(Setting { key: format!("{section}.{}", entry.name), value, unit: entry.unit, origin })
}
