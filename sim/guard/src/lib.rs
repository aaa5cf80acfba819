//! A model of the guard on another library's table, checked exhaustively within bounds.
//!
//! The writers are an application's transactions. They do not use rehome, carry no epoch, and may
//! stop, roll back or die anywhere. A tenant is protected by triggers, a lock, and the order of
//! a driver's steps. The model has two databases with the relevant parts of PostgreSQL:
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
//! run that fails without it. The interaction of coordinators, routers and the control plane is in the
//! model of the protocol (`sim/model`); here there is one driver, and it never sleeps between two steps
//! that belong together.
//!
//! This crate imports the checker and no crate of rehome.

pub mod bounds;
pub mod check;
pub mod database;
mod migration;
pub mod model;
mod reader;
pub mod rule;
pub mod scenarios;
pub mod table;
pub mod world;
pub mod writer;
