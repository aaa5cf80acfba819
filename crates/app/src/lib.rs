//! The composition root: configuration, stores by URL, and the use cases that the command and the
//! server both offer.
//!
//! ```text
//! config ──▶ deployment (control plane, stores, engine)
//!                 ▲
//!    transfer, migrations, drains, tenants, stores, tokens, recover: the use cases, functions over a deployment
//!                 │
//!                 ▼ documents of rehome_api, errors with an exit code
//! ```
//!
//! `rehome_observe` is built on this room and watches what it does; the server and the command are
//! built on both. Nothing here knows how an answer is shown.

pub mod adoption;
pub mod anchors;
pub mod certificates;
pub mod config;
mod delivery;
pub mod deployment;
mod documents;
pub mod drains;
pub mod driving;
pub mod error;
mod hooks;
pub mod http;
pub mod idempotency;
pub mod init;
pub mod key;
pub mod layouts;
pub mod lists;
pub mod losses;
pub mod migrations;
pub mod oidc;
pub mod options;
mod publication;
pub mod recover;
mod routes;
pub mod store_verify;
pub mod store_watch;
pub mod stores;
pub mod tenants;
pub mod token_registry;
pub mod tokens;
pub mod transfer;

pub use config::Config;
pub use deployment::{Access, Deployment};
pub use error::{AppError, Kind};
pub use lists::{MigrationsWanted, TenantsWanted};
pub use recover::RecoverRequest;
pub use store_verify::{Cursor, StoreVerifyRequest};
pub use tenants::unfinished_removal;
pub use tokio_util::sync::CancellationToken;
