//! Stores and the control plane in SQLite files: [`SqliteStore`] and [`SqliteControlPlane`].
//!
//! ```text
//! ledger_store, control_plane   the ports; each operation is one short transaction
//! adopted                       the port over another program's table, with a guard beside it
//!        rows                   row <-> domain
//!        file                   one file: a writer thread, readers, a checkpointer
//!        schema                 tables, formats, and the checks before a file is touched
//!        error                  SQLite's errors -> messages for operators
//! source                         rows of another program's file, for an import
//! plain                          another program, for demonstrations
//! ```
//!
//! The rules are not here. An operation reads the row under the write lock, calls
//! [`rehome_domain`] and writes the result. This crate imports `domain` and `ports` and never
//! the engine.
//!
//! **Requirements.** The file, with its `-wal` and `-shm`, must be on a local
//! disk (not on a network file system, whose locks and shared memory are unreliable). One process
//! writes at a time; a process that is stopped inside a write transaction holds the file until it
//! continues or dies. Nothing but SQLite may open the file in a process that uses it: closing any
//! descriptor of it drops the process's locks.

mod adopted;
mod control_plane;
mod error;
mod file;
mod ledger_store;
pub mod plain;
mod rows;
mod schema;
mod source;

pub use adopted::{Adoption, SqliteAdopted};
pub use control_plane::SqliteControlPlane;
pub use file::{FileOptions, files};
pub use ledger_store::{SqliteStore, SqliteStoreOptions};
pub use source::SqliteSource;
