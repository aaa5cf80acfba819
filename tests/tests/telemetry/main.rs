//! What people and programs read of a migration, from real processes: spans over OTLP, and log lines.

mod collector;
mod harness;
mod logs;
mod metrics;
mod outages;
mod query;
mod secure;
mod traces;
mod tree;
