//! Documents that people and programs exchange with rehome: the output of `--json`, the responses of a
//! server, and events as lines of NDJSON.
//!
//! Field names are contracts. Times are RFC 3339, UTC, with microseconds; unknown values are
//! `null`. This crate imports no other crate of rehome: conversions are in the crates that know both sides.

pub mod admin;
pub mod audit;
pub mod baseline;
pub mod checklist;
pub mod drain;
pub mod duration;
pub mod error;
mod fields;
pub mod gateway;
pub mod health;
pub mod layout;
pub mod liveness;
pub mod migration;
pub mod monitoring;
pub mod ndjson;
pub mod number;
pub mod plan;
pub mod problem;
pub mod store;
pub mod time;
pub mod token;
pub mod transfer;
pub mod verification;

pub use baseline::Baseline;
pub use checklist::{Checklist, ChecklistItem, ChecklistPhase, ItemStatus};
pub use error::{ErrorBody, ErrorDocument};
pub use health::{HealthReport, HealthStatus};
pub use layout::{LayoutCheck, LayoutColumn, LayoutFile, LayoutFinding, LayoutGuess};
pub use migration::{Cutover, LogEntry, Migration, Options, OptionsPatch};
pub use monitoring::MonitoringExport;
pub use plan::{Estimate, Finding, Plan, Probe, RateRange};
pub use problem::Problem;
pub use store::{
    CheckpointBeyondEnd, MovedCheckpoint, MovedCheckpoints, Recovery, StoreAdoption, StoreCheck,
    StoreCheckReport, Tenant, TenantInStore, TenantPurge, TenantRemoval, TenantUnguarded,
    TranslatedPosition,
};
pub use time::Time;
pub use token::{Token, TokenCreate, TokenRotate, Tokens};
pub use transfer::{ExportReport, ImportLook, ImportReport, VerifiedImport};
pub use verification::{DamagedTenant, StoreVerification, Verification, Violation};
