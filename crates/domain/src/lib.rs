//! What a tenant's history, ledger, route and migration *are*, and every rule about them.
//!
//! This room is pure: no async, no clock, no serialisation, no I/O. Every function takes what it
//! needs to know and returns what should be true next; the rooms around it make it so.
//!
//! Start with [`ledger`] (the rules each store enforces), then [`route`] and [`migration`] (the
//! rules the control plane enforces), then [`migration::decide`] (what the driver does next).

pub mod append;
pub mod digest;
pub mod estimate;
pub mod event;
pub mod ids;
pub mod layout;
pub mod ledger;
pub mod loss;
pub mod migration;
pub mod route;
pub mod stream;
pub mod text;
pub mod verification;
