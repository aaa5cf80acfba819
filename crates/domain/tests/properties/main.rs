//! Properties of the domain's rules.
//!
//! [`schedules`] is the widest: whole tenants, stores and migrations, with every message late,
//! twice or never. [`mistakes`] are the single schedules that earlier drafts got wrong. The others
//! take one rule each.

// The helpers are test code too.
#![allow(clippy::unwrap_used)]

mod append;
mod decide;
mod digest;
mod estimate;
mod facts;
mod findings;
mod kit;
mod layouts;
mod ledger;
mod migration;
mod mistakes;
mod names;
mod removal;
mod schedules;
mod violations;
