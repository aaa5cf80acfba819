//! `[[publish]]`: who is told that a tenant was switched.
//!
//! ```toml
//! [[publish]]
//! kind = "eventsource-py"            # the table tenant_routing of that library's router
//! url = "postgres://rehome@db/routing"
//! schema = "public"                  # of tenant_routing; this is the default
//! stores = { shared = "default" }    # what the application calls our stores, where it differs
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
//! within = "10s"                     # how long it may take
//! ```

use std::collections::{BTreeMap, HashSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rehome_api::duration::Millis;
use rehome_domain::ids::StoreId;
use rehome_postgres::{PostgresUrl, Wording};

use super::table::Table;
use super::{ConfigError, Place, Set, Url};
use crate::monitoring::Endpoint;

/// How long a command may take.
const WITHIN: Duration = Duration::from_secs(10);

/// One that is told.
#[derive(Clone, Debug)]
pub struct PublishConfig {
    /// How.
    pub way: PublishWay,
    /// What it calls our stores, where it differs.
    pub stores: BTreeMap<StoreId, String>,
    place: Place,
}

/// How somebody is told.
#[derive(Clone, Debug)]
pub enum PublishWay {
    /// By statements in a database.
    Database {
        /// Which; the schema in it is for what is kept there of ours.
        url: Box<PostgresUrl>,
        /// The statements.
        wording: Wording,
    },
    /// By a request with a JSON document.
    Http {
        /// To whom.
        endpoint: Endpoint,
        /// The file with the key by which the document is signed.
        key_file: Option<PathBuf>,
    },
    /// By a program.
    Command {
        /// The program and its arguments.
        command: Vec<String>,
        /// How long it may take.
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

/// One entry.
pub(super) fn read(
    place: &Place,
    mut table: Table<'_>,
    folder: &Path,
) -> Result<PublishConfig, ConfigError> {
    let missing = |key: &str| place.refuse(format!("publish.{key} is missing"));
    let kind = table.text("kind")?.ok_or_else(|| missing("kind"))?;
    let way = match kind.value.as_str() {
        "eventsource-py" => {
            let url = database(&mut table, folder)?.ok_or_else(|| missing("url"))?;
            let schema = table.text("schema")?.map_or_else(|| "public".to_owned(), |set| set.value);
            PublishWay::Database { url, wording: Wording::EventsourcePy { schema } }
        }
        "sql" => {
            let url = database(&mut table, folder)?.ok_or_else(|| missing("url"))?;
            let statements = table.texts("statements")?.ok_or_else(|| missing("statements"))?;
            not_empty("statements", &statements)?;
            PublishWay::Database { url, wording: Wording::Statements(statements.value) }
        }
        "http" => {
            let url = table.text("url")?.ok_or_else(|| missing("url"))?;
            let endpoint = Endpoint::parse(&url.value)
                .map_err(|problem| url.place.refuse(format!("publish.url {problem}")))?;
            let key_file = table.text("key_file")?.map(|set| folder.join(set.value));
            PublishWay::Http { endpoint, key_file }
        }
        "command" => {
            let command = table.texts("command")?.ok_or_else(|| missing("command"))?;
            not_empty("command", &command)?;
            let within = table.text("within")?.map(|set| duration(&set)).transpose()?;
            PublishWay::Command { command: command.value, within: within.unwrap_or(WITHIN) }
        }
        _ => {
            return Err(kind.place.refuse(
                "publish.kind must be \"eventsource-py\", \"sql\", \"http\" or \"command\"",
            ));
        }
    };
    let stores = table.table("stores")?.map(names).transpose()?.unwrap_or_default();
    table.end()?;
    Ok(PublishConfig { way, stores, place: place.clone() })
}

/// The entries, whose stores have to be there.
pub(super) fn whole(
    entries: Vec<PublishConfig>,
    stores: &HashSet<StoreId>,
) -> Result<Vec<PublishConfig>, ConfigError> {
    for entry in &entries {
        if let Some(unknown) = entry.stores.keys().find(|id| !stores.contains(*id)) {
            let why = format!("publish.stores names \"{unknown}\", which is not the id of a store");
            return Err(entry.place.refuse(why));
        }
    }
    Ok(entries)
}

fn names(table: Table<'_>) -> Result<BTreeMap<StoreId, String>, ConfigError> {
    let mut names = BTreeMap::new();
    for (key, set) in table.all_texts()? {
        let id = key
            .parse()
            .map_err(|problem| set.place.refuse(format!("publish.stores: {problem}")))?;
        names.insert(id, set.value);
    }
    Ok(names)
}

fn database(table: &mut Table<'_>, folder: &Path) -> Result<Option<Box<PostgresUrl>>, ConfigError> {
    let Some(set) = table.text("url")? else { return Ok(None) };
    let refuse = |problem: &str| set.place.refuse(format!("publish.url {problem}"));
    match Url::parse(&set.value, folder).map_err(|problem| refuse(&problem))? {
        Url::Postgres(url) => Ok(Some(url)),
        Url::Sqlite(_) => Err(refuse("must be a url like \"postgres://USER@HOST/DATABASE\"")),
    }
}

fn not_empty(key: &str, set: &Set<Vec<String>>) -> Result<(), ConfigError> {
    if set.value.is_empty() || set.value.iter().any(|text| text.trim().is_empty()) {
        return Err(set.place.refuse(format!("publish.{key} must not be empty")));
    }
    Ok(())
}

fn duration(set: &Set<String>) -> Result<Duration, ConfigError> {
    const WANTED: &str = "publish.within must be a duration like \"10s\", at most 10 minutes";
    let millis = set.value.parse::<Millis>().ok().filter(|ms| (1..=600_000).contains(&ms.0));
    millis.map(|ms| Duration::from_millis(ms.0)).ok_or_else(|| set.place.refuse(WANTED))
}
