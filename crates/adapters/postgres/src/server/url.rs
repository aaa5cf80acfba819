//! The address of a database and the connection settings, in every form that libpq accepts
//! ("Connection Strings" in PostgreSQL's manual), with rehome-specific parameters.
//!
//! ```text
//! text ──forms──▶ keys and values ──┐
//!        pg_service.conf ──service──┼──parse──▶ PostgresUrl
//!             variables, PG* ───────┘            earlier ones win
//! ```
//!
//! | rehome-specific parameter | meaning |
//! |---|---|
//! | `schema` | the schema of the tables, default `rehome` |
//! | `pool_size` | maximum number of connections of one process, default 10 |
//! | `pooler` | `transaction`: the connection goes through a pooler in that mode, so no session settings and no named statements |
//! | `direct` | `HOST:PORT` of the server itself, bypassing the pooler, for `LISTEN` |
//! | `password_env` | the variable of the environment that has the password; else it is `PGPASSWORD` |
//!
//! libpq's parameters have libpq's meaning; those that are not supported are refused by name.
//! `target_session_attrs` is `read-write` for every value that a writable server meets: of
//! several hosts, the primary is used.

mod forms;
mod parse;
mod service;

use std::fmt;
use std::hash::{Hash, Hasher};
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio_postgres::Config;

use super::primary::Primary;
use super::tls::Tls;

/// The text is no such URL. The message never repeats what may be a password.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct InvalidUrl(String);

/// One of the servers that are tried.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Place {
    /// A name, an address, or the folder of a socket; empty where only `address` is given.
    pub(super) host: String,
    /// Its address, if the name need not be resolved.
    pub(super) address: Option<IpAddr>,
    pub(super) port: u16,
}

impl Place {
    /// Whether it is a socket of this machine.
    pub(super) fn is_socket(&self) -> bool {
        self.address.is_none() && self.host.starts_with('/')
    }

    /// Its name in messages and in passfiles.
    pub(super) fn name(&self) -> String {
        match self.address {
            Some(address) if self.host.is_empty() => address.to_string(),
            _ => self.host.clone(),
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = self.name();
        if name.contains(':') {
            write!(f, "[{name}]:{}", self.port)
        } else {
            write!(f, "{name}:{}", self.port)
        }
    }
}

/// The default schema of a guard, beside another library's tables.
const GUARD_SCHEMA: &str = "rehome_guard";
/// The default schema of publications.
const PUBLICATION_SCHEMA: &str = "rehome_published";

/// Where a database is and how it is talked to.
#[derive(Clone)]
pub struct PostgresUrl {
    /// Who, which database, and all that is the same for every server; no server.
    pub(super) config: Config,
    pub(super) places: Vec<Place>,
    /// Whether the servers are tried in another order each time.
    pub(super) shuffled: bool,
    /// Maximum time to connect to one server; `None`: the caller's default.
    pub(super) connect_timeout: Option<Duration>,
    pub(super) tls: Tls,
    user: String,
    database: String,
    schema: String,
    pool_size: usize,
    pooled: bool,
    direct: Option<Place>,
    pub(super) passfile: Option<PathBuf>,
    pub(super) password_env: Option<String>,
    /// What this process knows of its servers. All copies of the URL share it, so that a pool that is made anew begins
    /// with it.
    pub(super) primary: Arc<Primary>,
}

impl PostgresUrl {
    /// Whether the text is a connection string of keywords and values, `host=... dbname=...`.
    pub fn is_keywords(text: &str) -> bool {
        let key = text.split_once('=').map(|(key, _)| key.trim());
        key.is_some_and(parse::is_known)
    }

    /// The same, with rehome's tables in a schema of their own unless the URL names one.
    #[must_use]
    pub(crate) fn for_guard(mut self) -> Self {
        if self.schema == parse::SCHEMA {
            GUARD_SCHEMA.clone_into(&mut self.schema);
        }
        self
    }

    /// The same for a database where switches are published.
    #[must_use]
    pub(crate) fn for_publication(mut self) -> Self {
        if self.schema == parse::SCHEMA {
            PUBLICATION_SCHEMA.clone_into(&mut self.schema);
        }
        self
    }

    /// Whether it holds a password itself.
    pub fn has_password(&self) -> bool {
        self.config.get_password().is_some()
    }

    /// The schema's name as it is.
    pub(crate) fn schema(&self) -> &str {
        &self.schema
    }

    pub(super) fn pool_size(&self) -> usize {
        self.pool_size
    }

    /// Whether the connection goes through a pooler in transaction mode.
    pub(super) fn is_pooled(&self) -> bool {
        self.pooled
    }

    /// The same, of the server itself, past a pooler.
    pub(super) fn directly(&self) -> Self {
        match &self.direct {
            Some(place) => Self { places: vec![place.clone()], ..self.clone() },
            None => self.clone(),
        }
    }

    pub(super) fn user(&self) -> &str {
        &self.user
    }

    /// The database, which is called like the user if it is not named.
    pub(super) fn database(&self) -> &str {
        &self.database
    }
}

impl fmt::Display for PostgresUrl {
    /// Where it is, without the password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "postgres://{}@", self.user)?;
        for (i, place) in self.places.iter().enumerate() {
            let comma = if i > 0 { "," } else { "" };
            write!(f, "{comma}{place}")?;
        }
        write!(f, "/{}?schema={}", self.database, self.schema)
    }
}

impl fmt::Debug for PostgresUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Two are equal if they are about the same place.
impl PartialEq for PostgresUrl {
    fn eq(&self, other: &Self) -> bool {
        self.to_string() == other.to_string()
    }
}

impl Eq for PostgresUrl {}

impl Hash for PostgresUrl {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.to_string().hash(state);
    }
}

#[cfg(test)]
mod tests;
