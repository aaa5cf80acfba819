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

pub use plan::{EstimateRequest, estimate, plan};
pub use probe::probe;
pub use queries::{
    Lengths, cutovers, lease, lease_of_another, lengths, list, log, options_of, read_log, revision,
    show, watch,
};
pub use rate::{LIVE_WITHIN, RATE_WINDOW, WriteRate, history_length, rate_lately};
pub(crate) use requests::is_window_open;
pub use requests::{
    Resumed, StartRequest, Started, abort, acknowledge, options, pause, repair, request_cutover,
    resume, start, start_return, tune, withdraw_cutover,
};
pub use verify::{VerifyRequest, verify};
pub use work::{Goal, Worked, can_clean_up, clean_up, outcome, work, worker};
