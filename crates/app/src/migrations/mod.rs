//! Migrations: operators' requests, the work, and documents.
//!
//! The process that holds a migration's lease drives it. An operator's request is a
//! fact in its log; the holder acts on it, and if there is no holder, the requesting process
//! drives it.

mod plan;
mod probe;
mod queries;
mod rate;
mod requests;
mod verify;
mod work;
mod worker;

pub use plan::{EstimateRequest, estimate};
pub use queries::Lengths;
pub use rate::{LIVE_WITHIN, RATE_WINDOW, WriteRate, history_length, rate_lately};
pub(crate) use requests::is_window_open;
pub use requests::{IdempotencyKey, Resumed, StartRequest, Started};
pub use verify::VerifyRequest;
pub use work::{Goal, Worked};
