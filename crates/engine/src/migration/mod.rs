//! Driving migrations: operators' requests, the processes that work on them, and the work.

mod anchors;
mod control_time;
mod driver;
mod operations;
mod plan;
mod removal;
mod renewals;
mod steps;
mod supervisor;
pub(crate) mod tables;
mod verification;
mod waiting;
mod worker;

pub use operations::{OperationError, Operations};
pub use plan::{Finding, Plan, PlanRequest};
pub use removal::{Removable, Removed};
pub(crate) use renewals::Renewals;
pub use supervisor::{DriveError, Supervised, Supervisor};
pub use verification::Verification;
pub use waiting::Waiting;
