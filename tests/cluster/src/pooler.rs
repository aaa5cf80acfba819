//! pgbouncer in transaction mode before a database: each transaction of a client runs on whichever
//! server connection is free, and nothing of a session outlives it.

use anyhow::Result;

use crate::Database;
use crate::install;
use crate::kept::{Kept, Recipe};

/// pgbouncer reads a port only from its configuration, and not every version handles SIGQUIT.
const START: &str = "echo \"listen_port = $1\" | cat settings - >pgbouncer.ini && \
     exec env --default-signal=QUIT \"$PROGRAM\" pgbouncer.ini";

/// A running pgbouncer, which is removed like a server: when it is dropped, or this process ends.
#[derive(Debug)]
pub struct Pooler(Kept);

impl Pooler {
    /// Starts one before `database`, with at most this many connections to its server. It accepts the
    /// database's owner, with the same password; [`Database::url_at`] its port is the address through it.
    pub fn start(database: &Database, server_connections: u32) -> Result<Self> {
        Self::start_with(database, server_connections, "")
    }

    /// The same with more lines in its configuration; of two with one name, the later counts.
    pub fn start_with(database: &Database, server_connections: u32, lines: &str) -> Result<Self> {
        let settings = settings(database, server_connections) + lines + "\n";
        let files = [("settings", settings), ("users", owner(database))];
        let recipe = Recipe {
            name: "pooler",
            program: &install::pgbouncer()?,
            script: START,
            files: &files,
            ready: "process up",
        };
        Kept::start_as(install::other_than_root()?, &recipe).map(Self)
    }

    /// Where it listens, on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.0.port()
    }
}

/// Nothing is set that a pooler in production would not have as well.
fn settings(database: &Database, server_connections: u32) -> String {
    format!(
        "[databases]\n{} = host=127.0.0.1 port={}\n\
         [pgbouncer]\npool_mode = transaction\ndefault_pool_size = {server_connections}\n\
         auth_type = scram-sha-256\nauth_file = users\nunix_socket_dir =\n\
         listen_addr = 127.0.0.1\n",
        database.name(),
        database.port(),
    )
}

/// A line of the file of users: name and password.
fn owner(database: &Database) -> String {
    let password = database.password().replace('"', "\"\"");
    format!("\"{}\" \"{password}\"\n", database.name())
}
