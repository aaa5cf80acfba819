//! Driving migrations: what operators ask for, who works on it, and the work.

mod caretaker;
mod control_time;
mod driver;
mod operations;
mod plan;
mod renewals;
mod steps;
mod supervisor;
mod verification;
mod waiting;

pub use operations::{OperationError, Operations};
pub use plan::{Finding, Plan, PlanRequest};
pub(crate) use renewals::Renewals;
pub use supervisor::{DriveError, Supervised, Supervisor};
pub use verification::Verification;
pub use waiting::Waiting;
