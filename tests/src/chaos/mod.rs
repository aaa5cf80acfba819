//! Chaos: real processes against real PostgreSQL servers, while a seeded script breaks things.
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
//! A tenant moves there and back. The script plays while it does; then everything is mended and the
//! migration must come to its end by itself. What was right in the end is decided by the checker,
//! which knows the records of writers, subscribers and readers, and the rows of the databases.
//!
//! | file | what it has |
//! |---|---|
//! | `stage` | three servers, and on them a deployment with its processes' proxies |
//! | `cast` | the processes: who is running, who was stopped, who has to be started again |
//! | `script` | what will be done and when, drawn from a seed |
//! | `play` | a tenant there and back, under a script |
//!
//! The seed repeats the script: what is done, to whom, how long after what came before. What the
//! processes have done by then is theirs.

mod cast;
mod draw;
mod play;
mod script;
mod stage;

pub use cast::{Cast, Who, Work};
pub use play::play;
pub use stage::{Load, Server, Servers, Stage};
