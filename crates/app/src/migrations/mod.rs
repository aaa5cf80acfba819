//! Migrations: what operators ask for, who works on it, and how it looks.
//!
//! A migration is worked on by whichever process holds its lease. What an operator asks for is a
//! fact in its log; the holder acts on it, and a process that asks and finds no holder does the
//! work itself.

mod look;
mod plan;
mod probe;
mod requests;
mod verify;
mod work;
mod worker;

pub(crate) use look::Lengths;
pub use plan::{EstimateRequest, estimate};
pub(crate) use requests::is_window_open;
pub use requests::{IdempotencyKey, Resumed, StartRequest};
pub use verify::VerifyRequest;
pub use work::{Goal, Worked};
