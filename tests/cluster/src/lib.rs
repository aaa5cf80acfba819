//! PostgreSQL servers for tests: each in a temporary folder, on a free port of the loopback
//! interface, never as root, and removed with the process that started it, however it ends.
//!
//! ```text
//!  test process ──pipe──▶ keeper (sh) ──▶ postgres
//!       │  end of the pipe: the keeper stops its server and removes the folder
//!       └── signals to the server's processes (pause, kill)
//! ```
//!
//! A test takes a database of its own in the server that all tests of its process share:
//!
//! ```no_run
//! let database = rehome_cluster::shared().database()?;
//! println!("{}", database.url());
//! # Ok::<(), anyhow::Error>(())
//! ```
//!
//! A test that stops, kills or fills a server starts one of its own with [`Cluster::start`].
//!
//! | file | contents |
//! |---|---|
//! | `install` | the location of PostgreSQL, and its user |
//! | `keeper` | the process between the test and a server, which outlives the test briefly |
//! | `cluster` | a server: begin, stop, kill, pause, SQL as its administrator |
//! | `disk` | a small disk that only one server sees, and that can be filled |
//! | `database` | a database with an owner that is no superuser |
//! | `kept` | any other server, kept in the same way |
//! | `patroni` | three servers with automatic failover, by Patroni and etcd |
//! | `pooler` | pgbouncer in transaction mode before a database |
//! | `proxy` | a TCP proxy that breaks connections on demand |
//!
//! This crate may not use another crate of the workspace, and no released crate may use it.

mod cluster;
mod database;
mod disk;
mod install;
mod keeper;
mod kept;
mod patroni;
mod pooler;
mod port;
mod proxy;

use std::sync::OnceLock;

pub use cluster::{Cluster, Options};
pub use database::Database;
pub use kept::{Kept, Recipe, free_port};
pub use patroni::{Member, Patroni};
pub use pooler::Pooler;
pub use proxy::{Direction, Proxy};

/// The server that all tests of this process share; the first call starts it.
///
/// # Panics
/// If there is no PostgreSQL or it cannot be started: a test that needs one fails.
pub fn shared() -> &'static Cluster {
    static SHARED: OnceLock<Result<Cluster, String>> = OnceLock::new();
    let shared = SHARED.get_or_init(|| {
        Cluster::start(&Options::default().in_memory().set("max_prepared_transactions", "20"))
            .map_err(|error| format!("{error:#}"))
    });
    shared.as_ref().unwrap_or_else(|error| panic!("no PostgreSQL for this test: {error}"))
}
