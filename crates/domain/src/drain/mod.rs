//! A drain: stores are emptied, tenant by tenant. Each move in it is an ordinary migration.
//!
//! ```text
//!           ┌──▶ paused ──┐            waiting ──▶ moving ──▶ moved
//!           │             ▼               ▲          │
//! start ──▶ running ◀─────┘               │          ▼
//!           │  │  ▲                     again ◀── set aside ──▶ (at the end of its tries)
//!           │  │  └─ retry ─┐
//!           │  └──▶ finished┘          stays: pinned, excluded, of another drain, gone elsewhere
//!           ▼
//!       cancelling ──▶ cancelled
//! ```
//!
//! The left diagram is the drain, the right one is each of its tenants. Every transition is a
//! [`Fact`]; [`apply`] defines which fact may follow. [`decide`] returns the next steps of a process that works on the
//! drain.

mod decide;
mod fact;
mod notice;
mod placement;
mod settings;
mod state;
mod tally;
#[cfg(test)]
mod tests;
mod transition;
mod window;

pub use decide::{Hands, Move, Seen, Step, decide, share};
pub use fact::Fact;
pub use notice::Notice;
pub use placement::{Report, Unplaced, place};
pub use settings::{InvalidSettings, Limits, Order, Placement, Settings, Target};
pub use state::{Counts, Drain, Halt, State, Stay, Tenant, TenantState};
pub use tally::Tally;
pub use transition::{Refusal, apply};
pub use window::{BadWindow, LocalTime, Window};
