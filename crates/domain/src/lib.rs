//! What a tenant's history, ledger, route and migration *are*, and every rule about them.
//!
//! This crate is pure: no async, no clock, no serialisation, no I/O. Functions take facts and return decisions;
//! the other crates carry them out.
//!
//! Start with [`ledger`] (the rules each store enforces), then [`route`] and [`migration`] (the
//! rules the control plane enforces), then [`migration::decide`] (the driver's next step).

pub mod append;
pub mod digest;
pub mod drain;
pub mod estimate;
pub mod event;
pub mod ids;
pub mod layout;
pub mod ledger;
pub mod loss;
pub mod migration;
pub mod removal;
pub mod route;
pub mod stream;
pub mod text;
pub mod verification;
