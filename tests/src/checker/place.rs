//! Where the rows are.

use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::Result;

use super::control::{Entry, Migration, Route};
use super::history::History;
use super::{Id, postgres, sqlite};

/// A database with a control plane or a store in it.
#[derive(Clone, Debug)]
pub enum Place {
    /// A file.
    Sqlite(PathBuf),
    /// A URL of a server's database, and the schema in it.
    Postgres {
        /// With user and password.
        url: String,
        /// Its name as it is.
        schema: String,
    },
}

/// All of a deployment.
#[derive(Clone, Debug)]
pub struct Places {
    /// The control plane's.
    pub control: Place,
    /// The stores', by their names.
    pub stores: BTreeMap<String, Place>,
}

impl Place {
    /// All that a store has of a tenant, of one snapshot.
    pub(super) fn history(&self, tenant: Id) -> Result<History> {
        match self {
            Self::Sqlite(path) => sqlite::history(path, tenant),
            Self::Postgres { url, schema } => postgres::history(url, schema, tenant),
        }
    }

    /// The tenant's route, if there is one.
    pub fn route(&self, tenant: Id) -> Result<Option<Route>> {
        match self {
            Self::Sqlite(path) => sqlite::route(path, tenant),
            Self::Postgres { url, schema } => postgres::route(url, schema, tenant),
        }
    }

    /// The tenant's migrations, oldest first.
    pub fn migrations(&self, tenant: Id) -> Result<Vec<Migration>> {
        match self {
            Self::Sqlite(path) => sqlite::migrations(path, tenant),
            Self::Postgres { url, schema } => postgres::migrations(url, schema, tenant),
        }
    }

    /// A migration's log, in its order.
    pub(super) fn log(&self, migration: Id) -> Result<Vec<Entry>> {
        match self {
            Self::Sqlite(path) => sqlite::log(path, migration),
            Self::Postgres { url, schema } => postgres::log(url, schema, migration),
        }
    }
}
