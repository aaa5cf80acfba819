//! A database with an owner that is no superuser.

use anyhow::Result;

use crate::Cluster;

/// An empty database of its own, and the role that owns it, which can do nothing elsewhere.
#[derive(Clone, Debug)]
pub struct Database {
    name: String,
    /// Of the server, or of each member of a cluster.
    ports: Vec<u16>,
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
        Database::make(name, vec![self.port()], tablespace, |statement| {
            self.sql("postgres", statement).map(drop)
        })
    }
}

impl Database {
    /// Makes the role and its database by statements of the administrator.
    pub(crate) fn make(
        name: String,
        ports: Vec<u16>,
        tablespace: Option<&str>,
        run: impl Fn(&str) -> Result<()>,
    ) -> Result<Self> {
        run(&format!("CREATE ROLE {name} LOGIN NOSUPERUSER NOCREATEDB PASSWORD '{PASSWORD}'"))?;
        let space = tablespace.map(|name| format!(" TABLESPACE {name}")).unwrap_or_default();
        run(&format!("CREATE DATABASE {name} OWNER {name}{space}"))?;
        Ok(Self { name, ports })
    }

    /// The name of the database and of the role.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The role's password.
    pub fn password(&self) -> &'static str {
        PASSWORD
    }

    /// The server's port on 127.0.0.1; of a cluster, its first member's.
    pub fn port(&self) -> u16 {
        self.ports[0]
    }

    /// The URL of the database for its owner; of a cluster, with all members, of which the primary is meant.
    pub fn url(&self) -> String {
        if let [port] = self.ports[..] {
            return self.url_at(port);
        }
        let name = &self.name;
        let members: Vec<String> =
            self.ports.iter().map(|port| format!("127.0.0.1:{port}")).collect();
        let members = members.join(",");
        format!(
            "postgres://{name}:{PASSWORD_IN_URLS}@{members}/{name}?target_session_attrs=read-write"
        )
    }

    /// The same by way of another port of 127.0.0.1: a proxy's or a pooler's.
    pub fn url_at(&self, port: u16) -> String {
        let name = &self.name;
        format!("postgres://{name}:{PASSWORD_IN_URLS}@127.0.0.1:{port}/{name}")
    }
}
