//! A model of the protocol, checked exhaustively within bounds.
//!
//! Two stores, the control plane, routers, a subscriber, coordinators and an operator; any of them
//! may sleep anywhere, die anywhere, lose a reply, or have a call arrive late. Stores and the
//! control plane run the domain's own code: [`store`] calls `rehome_domain::ledger` and
//! `append`, [`control`] calls `migration::apply`, and a coordinator calls `migration::decide`. The
//! order of remote calls is written a second time, and each file that does so names the engine's file.
//!
//! ```text
//!   router  reader  driver  operator      each: call() -> Call, resume(Answer)
//!      └───────┴───┬───┴───────┘
//!                world                    performs calls, loses them, lets them arrive late
//!            ┌─────┴─────┐
//!          store      control             the domain's functions, and the rule that is left out
//! ```
//!
//! [`model`] has the properties; number seven runs a [`finish`]er from every state. [`scenarios`]
//! has the bounds of the runs, and for every [`rule::Rule`] the run that fails without it.
//!
//! This crate imports the domain and the checker, and no other crate of rehome.

pub mod bounds;
pub mod call;
pub mod check;
pub mod control;
pub mod driver;
mod finish;
pub mod kept;
pub mod model;
pub mod names;
pub mod operator;
pub mod reader;
pub mod remover;
pub mod router;
pub mod rule;
pub mod scenarios;
pub mod store;
mod tell;
pub mod world;
