//! Documents that people and programs exchange with rehome: what `--json` prints, what a server
//! answers, and the lines of NDJSON that events travel in.
//!
//! Names of fields are contracts. Times are RFC 3339, UTC, with microseconds; what is not known is
//! `null`. This room imports nothing of ours: conversions live in the rooms that know both sides.

pub mod admin;
pub mod audit;
pub mod baseline;
pub mod checklist;
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
pub use migration::{LogEntry, Migration, Options, OptionsPatch};
pub use monitoring::MonitoringExport;
pub use plan::{Estimate, Finding, Plan, Probe, RateRange};
pub use problem::Problem;
pub use store::{
    CheckpointBeyondEnd, Recovery, StoreAdoption, StoreCheck, StoreCheckReport, Tenant,
    TenantInStore, TenantPurge, TranslatedPosition,
};
pub use time::Time;
pub use token::{Token, TokenCreate, TokenRotate, Tokens};
pub use transfer::{ExportReport, ImportReport};
pub use verification::{DamagedTenant, StoreVerification, Verification, Violation};
