//! The composition root: configuration, stores by URL, and the use cases that the command and the
//! server both offer.
//!
//! ```text
//! config ──▶ deployment (control plane, stores, engine)
//!                 ▲
//!    transfer, migrations, tenants, stores, health, load: the use cases, one file each
//!                 │
//!                 ▼ documents of rehome_api, errors with an exit code
//! ```
//!
//! This room may use every other one but the server and the command; nothing here knows how an
//! answer is shown.

mod adoption;
pub mod audit;
mod baseline;
mod checklist;
pub mod config;
pub mod deployment;
mod documents;
pub mod error;
mod export_monitoring;
pub mod health;
pub mod history;
mod key;
pub mod layouts;
pub mod load;
mod losses;
mod measured;
pub mod migrations;
pub mod monitoring;
pub mod options;
mod publication;
pub mod quickstart;
mod recover;
mod routes;
mod scrape;
mod store_verify;
mod store_watch;
mod stores;
pub mod telemetry;
mod tenants;
pub mod tokens;
pub mod transfer;

pub use baseline::baseline_missing;
pub use config::Config;
pub use deployment::{Access, Deployment};
pub use error::{AppError, Kind};
pub use export_monitoring::export_monitoring;
pub use recover::RecoverRequest;
pub use scrape::Reachable;
pub use store_verify::{Cursor, StoreVerifyRequest};
pub use tokio_util::sync::CancellationToken;
