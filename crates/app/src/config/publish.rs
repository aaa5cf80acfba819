//! `[[publish]]`: the receivers of a tenant's switch.
//!
//! ```toml
//! [[publish]]
//! kind = "eventsource-py"            # the table tenant_routing of that library's router
//! url = "postgres://rehome@db/routing"
//! schema = "public"                  # of tenant_routing; this is the default
//! stores = { shared = "default" }    # the application's names of the stores, where they differ
//!
//! [[publish]]
//! kind = "sql"
//! url = "postgres://rehome@db/routing"
//! statements = ["UPDATE app.tenants SET store = $2 WHERE id = $1"]
//!
//! [[publish]]
//! kind = "http"
//! url = "https://orders.example/tenant-moved"
//! key_file = "publish.key"           # relative to this file; 32 bytes or more, mode 0600
//!
//! [[publish]]
//! kind = "command"
//! command = ["/usr/local/bin/tenant-moved", "--now"]
//! within = "10s"                     # the timeout
//! ```

use std::collections::{BTreeMap, HashSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rehome_domain::ids::StoreId;
use rehome_postgres::{PostgresUrl, Wording};

use super::draft::Row;
use super::keys::publish;
use super::values::Values;
use super::{ConfigError, Place, Url};
use crate::http::Endpoint;

/// One receiver.
#[derive(Clone, Debug)]
pub struct PublishConfig {
    /// Its kind and settings.
    pub way: PublishWay,
    /// What it calls our stores, where it differs.
    pub stores: BTreeMap<StoreId, String>,
    place: Place,
}

/// The ways to notify a receiver.
#[derive(Clone, Debug)]
pub enum PublishWay {
    /// By statements in a database.
    Database {
        /// The database; the schema in the URL is for rehome's own table there.
        url: Box<PostgresUrl>,
        /// The statements.
        wording: Wording,
    },
    /// By a request with a JSON document.
    Http {
        /// The receiver.
        endpoint: Endpoint,
        /// The file with the key by which the document is signed.
        key_file: Option<PathBuf>,
    },
    /// By a program.
    Command {
        /// The program and its arguments.
        command: Vec<String>,
        /// The timeout.
        within: Duration,
    },
}

impl PublishConfig {
    /// Whether there is a password in it.
    pub(super) fn holds_secret(&self) -> bool {
        match &self.way {
            PublishWay::Database { url, .. } => url.has_password(),
            PublishWay::Http { endpoint, .. } => endpoint.has_password(),
            PublishWay::Command { .. } => false,
        }
    }

    /// What it calls a store.
    pub(crate) fn store<'a>(&'a self, id: &'a StoreId) -> &'a str {
        self.stores.get(id).map_or(id.as_str(), String::as_str)
    }
}

/// The keys of each kind; those that none of them lists apply to all.
const KINDS: [(&str, &[&str]); 4] = [
    ("eventsource-py", &[publish::URL.name, publish::SCHEMA.name]),
    ("sql", &[publish::URL.name, publish::STATEMENTS.name]),
    ("http", &[publish::URL.name, publish::KEY_FILE.name]),
    ("command", &[publish::COMMAND.name, publish::WITHIN.name]),
];

/// One entry.
pub(super) fn of(Row { place, values }: &Row) -> Result<PublishConfig, ConfigError> {
    let missing = |key: &str| place.refuse(format!("publish.{key} is missing"));
    let kind = values.given(&publish::KIND)?.ok_or_else(|| missing("kind"))?;
    let Some((_, keys)) = KINDS.iter().find(|(name, _)| *name == kind.value) else {
        return Err(kind
            .place
            .refuse("publish.kind must be \"eventsource-py\", \"sql\", \"http\" or \"command\""));
    };
    let of_kinds = |name: &str| KINDS.iter().any(|(_, keys)| keys.contains(&name));
    let stray = values.names().find(|(name, _)| of_kinds(name) && !keys.contains(name));
    if let Some((name, given)) = stray {
        let why = format!("publish.{name} does not apply to kind \"{}\"", kind.value);
        return Err(given.place.refuse(why));
    }
    let way = match kind.value.as_str() {
        "eventsource-py" => {
            let schema = values.effective(&publish::SCHEMA)?;
            let url = database(values)?.ok_or_else(|| missing("url"))?;
            PublishWay::Database { url, wording: Wording::EventsourcePy { schema } }
        }
        "sql" => {
            let url = database(values)?.ok_or_else(|| missing("url"))?;
            let statements = values.value(&publish::STATEMENTS)?;
            let statements = statements.ok_or_else(|| missing("statements"))?;
            PublishWay::Database { url, wording: Wording::Statements(statements) }
        }
        "http" => {
            let url = values.given(&publish::URL)?.ok_or_else(|| missing("url"))?;
            let endpoint = Endpoint::parse(&url.value)
                .map_err(|problem| url.place.refuse(format!("publish.url {problem}")))?;
            PublishWay::Http { endpoint, key_file: values.value(&publish::KEY_FILE)? }
        }
        _ => {
            let command = values.value(&publish::COMMAND)?.ok_or_else(|| missing("command"))?;
            PublishWay::Command { command, within: values.effective(&publish::WITHIN)? }
        }
    };
    let stores = values.value(&publish::STORES)?.unwrap_or_default().into_iter().collect();
    Ok(PublishConfig { way, stores, place: place.clone() })
}

/// Refuses an entry that names a store that is not there.
pub(super) fn knows(entry: &PublishConfig, stores: &HashSet<StoreId>) -> Result<(), ConfigError> {
    let Some(unknown) = entry.stores.keys().find(|id| !stores.contains(*id)) else { return Ok(()) };
    let why = format!("publish.stores names \"{unknown}\", which is not the id of a store");
    Err(entry.place.refuse(why))
}

fn database(values: &Values) -> Result<Option<Box<PostgresUrl>>, ConfigError> {
    let Some(set) = values.given(&publish::URL)? else { return Ok(None) };
    let refuse = |problem: &str| set.place.refuse(format!("publish.url {problem}"));
    match Url::parse(&set.value, Path::new("")).map_err(|problem| refuse(&problem))? {
        Url::Postgres(url) => Ok(Some(url)),
        Url::Sqlite(_) => Err(refuse("must be a URL like \"postgres://USER@HOST/DATABASE\"")),
    }
}
