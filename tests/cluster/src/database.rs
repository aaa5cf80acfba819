//! A database with an owner that is no superuser.

use anyhow::Result;

use crate::Cluster;

/// An empty database of its own, and the role that owns it, which can do nothing elsewhere.
#[derive(Clone, Debug)]
pub struct Database {
    name: String,
    port: u16,
}

/// What every owner's password is: quotes, spaces and signs as in a URL are in it, because in
/// production they are.
const PASSWORD: &str = "p@ss word/1";
const PASSWORD_IN_URLS: &str = "p%40ss%20word%2F1";

impl Cluster {
    /// Makes a database. Its owner's role has the same name.
    pub fn database(&self) -> Result<Database> {
        self.database_in(None)
    }

    pub(crate) fn database_in(&self, tablespace: Option<&str>) -> Result<Database> {
        let name = format!("test_{}", self.next_database());
        self.sql(
            "postgres",
            &format!("CREATE ROLE {name} LOGIN NOSUPERUSER NOCREATEDB PASSWORD '{PASSWORD}'"),
        )?;
        let space = tablespace.map(|name| format!(" TABLESPACE {name}")).unwrap_or_default();
        self.sql("postgres", &format!("CREATE DATABASE {name} OWNER {name}{space}"))?;
        Ok(Database { name, port: self.port() })
    }
}

impl Database {
    /// The name of the database and of the role.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The role's password.
    pub fn password(&self) -> &'static str {
        PASSWORD
    }

    /// The server's port on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The URL of the database for its owner.
    pub fn url(&self) -> String {
        self.url_at(self.port)
    }

    /// The same by way of another port of 127.0.0.1: a proxy's or a pooler's.
    pub fn url_at(&self, port: u16) -> String {
        let name = &self.name;
        format!("postgres://{name}:{PASSWORD_IN_URLS}@127.0.0.1:{port}/{name}")
    }
}
