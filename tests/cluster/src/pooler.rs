//! pgbouncer in transaction mode before a database: each transaction of a client runs on whichever
//! server connection is free, and nothing of a session outlives it.

use std::fs;
use std::path::Path;

use anyhow::{Result, bail};

use crate::Database;
use crate::cluster::{PORTS_TRIED, folder, owned_by, state_of, tail, wait_for};
use crate::install::{self, command_as};
use crate::keeper::Keeper;
use crate::port;

/// The keeper gives a port as PostgreSQL takes it, `-p PORT`, and pgbouncer takes one from its
/// configuration alone. A shell lets what it runs in the background ignore SIGQUIT, by which the keeper
/// ends it, and not every pgbouncer has a handler of its own.
const START: &str = "echo \"listen_port = $1\" | cat settings - >pgbouncer.ini && \
     exec env --default-signal=QUIT \"$PGBOUNCER\" pgbouncer.ini";

/// A running pgbouncer, which goes as a server of ours does: when it is dropped, or this process ends.
#[derive(Debug)]
pub struct Pooler {
    _keeper: Keeper,
    port: u16,
}

impl Pooler {
    /// Starts one before `database`, with at most so many connections to its server. It lets in the
    /// database's owner, by the same password; [`Database::url_at`] its port is the way through it.
    pub fn start(database: &Database, server_connections: u32) -> Result<Self> {
        let program = install::pgbouncer()?;
        let user = install::other_than_root()?;
        let folder = folder("rehome-pooler-", user, false)?;
        let settings = settings(database, server_connections);
        for (name, content) in [("settings", settings), ("users", owner(database))] {
            fs::write(folder.join(name), content)?;
            owned_by(user, &folder.join(name))?;
        }
        let mut shell = command_as(user, Path::new("/bin/sh"));
        shell.current_dir(&folder).env("PGBOUNCER", program);
        let start = [Path::new("/bin/sh"), Path::new("-c"), Path::new(START)];
        let mut keeper = Keeper::start(shell, &folder, &start)?;
        for _ in 0..PORTS_TRIED {
            let (port, _) = port::listen()?;
            if begin(&mut keeper, &folder, port)? {
                return Ok(Self { _keeper: keeper, port });
            }
            if !tail(&folder).contains("Address already in use") {
                bail!("the pooler does not start:\n{}", tail(&folder));
            }
        }
        bail!("no free port for a pooler")
    }

    /// Where it listens, on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }
}

/// Whether it is there and takes connections; else it has ended.
fn begin(keeper: &mut Keeper, folder: &Path, port: u16) -> Result<bool> {
    let pooler = keeper.begin(port)?;
    wait_for("the pooler to begin", || {
        if matches!(state_of(pooler), None | Some('Z')) {
            return Ok(Some(false));
        }
        Ok(tail(folder).contains("process up").then_some(true))
    })
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
