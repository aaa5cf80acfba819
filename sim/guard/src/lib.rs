//! A model of the guard on a table that is not ours, checked exhaustively within bounds.
//!
//! The writers are an application's transactions. They know nothing of rehome, carry no epoch, and may
//! stop, roll back or die anywhere. What keeps a tenant whole are triggers, a lock, and the order in
//! which a driver does things. The model has two databases with the parts of PostgreSQL that decide:
//! snapshots, sequences that no snapshot hides, table locks, a fair advisory lock, transaction ids.
//!
//! ```text
//!   writer           reader           migration          each step: one statement, one transaction
//!      └───────────────┼──────────────────┘
//!                    world
//!                   database × 2       rows, numbers, arrivals, role, floor
//! ```
//!
//! [`model`] has the properties. [`scenarios`] has the bounds of the runs, and every [`rule::Rule`] names the
//! run that misses it. What coordinators, routers and the control plane do to each other is in the
//! model of the protocol (`sim/model`); here there is one driver, and it never sleeps between two steps
//! that belong together.
//!
//! This room knows the checker and nothing of ours.

pub mod bounds;
pub mod check;
pub mod database;
mod migration;
pub mod model;
mod reader;
pub mod rule;
pub mod scenarios;
pub mod world;
pub mod writer;
