//! Chaos: real processes and real PostgreSQL servers, while a seeded script causes faults.
//!
//! ```text
//!  application 0 ─┐ writers, subscriber, reader      each process has a proxy of its own
//!  application 1 ─┤                                  before each server:
//!  driver 2 ──────┼──▶ proxies ──▶ shared, dedicated, control
//!  driver 3 ──────┘
//!        ▲                ▲                ▲
//!        └── kill, stop   └── cut, refuse, └── restart, kill, pause       ◀── script ◀── seed
//!                             stall, lose
//! ```
//!
//! A tenant moves there and back while the script runs; then all faults are repaired and the
//! migration must finish on its own. The checker decides whether the result is right,
//! from the records of writers, subscribers and readers, and the rows of the databases.
//!
//! | file | what it has |
//! |---|---|
//! | `servers` | three servers; a cluster with failover may replace one |
//! | `cluster` | on them a deployment with its processes' proxies |
//! | `processes` | the processes: which run, which are stopped, which must be started again |
//! | `script` | the faults and their times, drawn from a seed |
//! | `runner` | a tenant there and back, during a script |
//! | `failover` | a tenant there, while the server of one role fails over |
//!
//! The seed repeats the script: each fault, its process, and the time after the previous one. The
//! progress of the processes at that time varies.

mod cluster;
mod draw;
mod failover;
mod processes;
mod runner;
mod script;
mod servers;

pub use cluster::{Load, Stage};
pub use failover::{Failover, all_failovers, play_failover, some_failovers};
pub use processes::{Cast, Who, Work};
pub use runner::play;
pub use servers::{Server, Servers};
