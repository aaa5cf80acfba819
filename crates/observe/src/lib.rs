//! The state of a running deployment: health, checklists, baselines, charts, metrics, spans, audit.
//!
//! ```text
//!              ┌── engine's signals ──▶ metrics, history, stats, spans, log lines
//! Observed ────┤
//! (deployment) ├── stores, control plane ──▶ health, baseline, audit, reachable
//!              └── Prometheus, Grafana, Loki, ... (tools) ──▶ checklist, firing
//! ```
//!
//! [`Observed`] holds a [`Deployment`](rehome_app::Deployment) and its observers. Each module below it gets
//! the deployment and the observers that it needs, never [`Observed`]: so none of them depends on all.
//! This crate depends on `rehome_app`, and `rehome_app` does not depend on it.

mod audit;
mod baseline;
mod checklist;
mod drains;
mod export;
mod health;
mod history;
mod observed;
mod removals;
mod scrape;
mod stats;
mod store_checks;
pub mod telemetry;
mod tools;

pub use audit::{AuditExport, Exported};
pub use baseline::baseline_missing;
pub use export::export_monitoring;
pub use history::{History, Sample};
pub use observed::Observed;
pub use scrape::Reachable;
pub use tools::{Firing, FiringAlert};
