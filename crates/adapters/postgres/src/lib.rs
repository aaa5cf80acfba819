//! Stores and the control plane in PostgreSQL, version 14 or newer.
//!
//! ```text
//! ledger_store, control_plane   the ports
//!        notices                news of routes, by LISTEN and NOTIFY
//!        rows                   row <-> domain
//!        publish                telling an application's own tables of a switch
//!        catalog                tables that are not ours, and what stands in the way of adopting one
//!        server                 one server: URL, TLS, a pool of connections, transactions
//!        schema                 tables, functions, formats, and the checks before they are touched
//!        error                  what PostgreSQL says -> what an operator reads
//! ```
//!
//! This room imports `domain` and `ports` and never the engine.
//!
//! **What PostgreSQL is asked for.** A database in UTF-8 and a role that may create a schema in it,
//! or that owns an empty one; no superuser. Everything lies in that one schema.

mod adopted;
pub mod catalog;
mod control_plane;
mod error;
mod ledger_store;
mod notices;
mod publish;
mod rows;
mod schema;
mod server;

pub use adopted::{Adoption, PgAdopted};
pub use control_plane::PgControlPlane;
pub use ledger_store::{PgStore, PgStoreOptions};
pub use publish::{PgPublisher, Published, Switch, Wording};
pub use server::{InvalidUrl, PostgresOptions, PostgresUrl};
