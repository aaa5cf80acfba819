//! A simulator of the real engine: several processes, each a whole [`rehome_engine::Engine`], over two
//! stores and a control plane in memory, in one thread and in virtual time.
//!
//! ```text
//! seed ──▶ plan: what operators do and when, and the fault of each call
//!            │
//!            ▼
//!   process p1 ─┐  every call: asleep? dead? refused? lost? late?
//!   process p2 ─┼──────▶ call ──▶ stores, control plane ──▶ trace, coverage
//!   process p3 ─┘
//!      ▲
//!   clients: writers, readers, a subscriber ──▶ book: their replies, and whether they can be true
//! ```
//!
//! The same seed gives the same trace, call by call. That depends on four things: the runtime has one
//! thread and its clock is virtual; the engine draws no random numbers; every delay and fault is drawn from the
//! seed by the name of its call; and random ids appear in the trace by the order
//! of their first use. So a fault can be removed without changing all the others, and a failing
//! run can be reduced to the few that it needs.

mod call;
mod clients;
mod cluster;
mod control;
pub mod coverage;
mod dice;
mod faults;
mod life;
mod liveness;
pub mod mutant;
mod operator;
mod oracle;
pub mod plan;
mod process;
mod run;
mod shrink;
mod store;
mod trace;
mod watch;

pub use run::{Outcome, run, run_with};
pub use shrink::{Shrunk, shrink};
