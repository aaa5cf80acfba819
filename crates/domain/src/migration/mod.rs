//! A migration: its state, the facts of its log, the transitions, and what to do next.
//!
//! ```text
//! pending ──▶ bulk_copy ──▶ dual_write ──▶ cutover_paused ──▶ migrated
//!    │           │  ▲          │  ▲  ▲           │
//!    │           ▼  │          ▼  │  └───────────┘ roll back of the cutover
//!    │          paused ◀──────paused
//!    ▼           ▼             ▼
//!  failed ◀──────┴─────────────┘        abort, from all but cutover_paused ──▶ rolled_back
//! ```
//!
//! A repair leads back: from `bulk_copy`, `dual_write` and `failed` to `pending`, with a shorter copy and
//! an epoch of its own; see [`Violations`].
//!
//! Three words, three things: a cutover *rolls back*, a migration is *aborted*, a tenant *returns*.

mod action;
mod awaited;
mod decide;
mod fact;
mod options;
mod state;
mod tally;
mod timeline;
mod transition;
mod violations;
mod wanted;

pub use action::{Action, allowed_actions};
pub use awaited::{Awaited, awaited};
pub use decide::{Command, Observation, decide, return_until, window_is_over};
pub use fact::{Fact, RollBackReason};
pub use options::{CutoverPolicy, InvalidOption, MirrorAck, Options};
pub use state::{Cleanup, Migration, OldSource, Phase, State, Working};
pub use tally::{Cutover, CutoverOutcome, Tally};
pub use timeline::{Stay, timeline};
pub use transition::{Refusal, apply, arrives, fold, has_leapt, recovered, transition};
pub use violations::{OpenViolation, Repair, Violations};
pub use wanted::Undone;
