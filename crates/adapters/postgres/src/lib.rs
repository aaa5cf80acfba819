//! Stores and the control plane in PostgreSQL, version 14 or newer.
//!
//! ```text
//! ledger_store, control_plane   the ports
//!        notices                notifications of routes, by LISTEN and NOTIFY
//!        rows                   row <-> domain
//!        publish                reporting a switch to an application's own tables
//!        plain                  another program, for demonstrations
//!        source                 rows of another program's table or query, for an import
//!        catalog                other programs' tables, and obstacles to adopting one
//!        server                 one server: URL, TLS, a pool of connections, transactions
//!        schema                 tables, functions, formats, and the checks before they are touched
//!        error                  PostgreSQL's errors -> messages for operators
//! ```
//!
//! This crate imports `domain` and `ports` and never the engine.
//!
//! **Requirements.** A UTF-8 database and a role that may create a schema in it,
//! or that owns an empty one; no superuser. Everything is in that one schema.

mod adopted;
pub mod catalog;
mod control_plane;
mod error;
mod ledger_store;
mod notices;
pub mod plain;
mod publish;
mod rows;
mod schema;
mod server;
mod source;

pub use adopted::{Adoption, PgAdopted};
pub use control_plane::PgControlPlane;
pub use ledger_store::{PgStore, PgStoreOptions};
pub use publish::{PgPublisher, Published, Switch, Wording};
pub use server::{InvalidUrl, PostgresOptions, PostgresUrl};
pub use source::{PgSource, PgSourceOf};
