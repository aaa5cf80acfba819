//! Decorators that make a store or a control plane fail by script.
//!
//! A [`Script`] is shared between a decorator ([`FaultyStore`], [`FaultyControlPlane`]) and the
//! test that drives it. What can happen to a call, in this order:
//!
//! ```text
//!  call ──▶ gate before ──▶ slow ──▶ down? refuse? ──▶ inner ──▶ gate after ──▶ down? lose? ──▶ reply
//!             (waits)     (sleeps)    │ nothing was      │         (waits)       │
//!                                     ▼ applied          │                       ▼ it was applied,
//!                               Unreachable          may say no            Unreachable, the caller
//!                               applied: false       by its rules          cannot know: applied: true
//! ```
//!
//! Forced interleavings are built from gates: one process stops at a gate, others act, the
//! gate opens. Sleeps use tokio's time, so that a test with paused time does not wait.

mod control_plane;
mod fleet;
mod gate;
mod op;
mod script;
mod store;

pub use control_plane::FaultyControlPlane;
pub use fleet::FaultyFleet;
pub use gate::Gate;
pub use op::{ControlOp, Op, StoreOp};
pub use script::{Chances, Script};
pub use store::FaultyStore;
