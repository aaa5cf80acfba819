//! The actions that a migration's state allows: the single source for documents, console and command.

use std::fmt;

use super::transition::is_next;
use super::{Fact, Migration, OldSource, Phase, State};

/// An action of an operator on a migration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Action {
    /// To switch the tenant to the target now.
    CutOver,
    /// To take the cutover back before it begins.
    Withdraw,
    /// To stop the work.
    Pause,
    /// Resume it.
    Resume,
    /// To change its options.
    Tune,
    /// To compare the two stores.
    Verify,
    /// To cut the copy back to before the damage, and to copy again.
    Repair,
    /// To move the tenant back to the old store, within the rollback window.
    Return,
    /// Acknowledge its failure, or its open violations.
    Acknowledge,
    /// To give it up; the tenant stays at the source.
    Abort,
}

impl Action {
    /// All actions, in the order in which they are offered.
    pub const ALL: [Self; 10] = [
        Self::CutOver,
        Self::Withdraw,
        Self::Pause,
        Self::Resume,
        Self::Verify,
        Self::Repair,
        Self::Return,
        Self::Acknowledge,
        Self::Tune,
        Self::Abort,
    ];

    /// Its word in documents, paths and commands.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::CutOver => "cutover",
            Self::Withdraw => "withdraw",
            Self::Pause => "pause",
            Self::Resume => "resume",
            Self::Tune => "tune",
            Self::Verify => "verify",
            Self::Repair => "repair",
            Self::Return => "return",
            Self::Acknowledge => "acknowledge",
            Self::Abort => "abort",
        }
    }

    /// The action of that word.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|action| action.as_str() == text)
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The actions that are allowed now. `is_last`: it is the last migration of its tenant.
///
/// The fact of each action is tried on the current rows: an action is offered if and only if the control plane
/// would accept its fact. Exceptions record no fact, or not at once: verifying, returning, and aborting a cutover, which
/// waits for its end.
pub fn allowed_actions(migration: &Migration, is_last: bool) -> Vec<Action> {
    let is_allowed = |action: &Action| {
        let state = migration.state;
        let records = |fact: &Fact| is_next(migration, is_last, fact).is_ok();
        match action {
            Action::CutOver => records(&Fact::CutoverRequested),
            Action::Withdraw => records(&Fact::CutoverWithdrawn),
            Action::Pause => records(&Fact::Paused),
            Action::Resume => records(&Fact::Resumed),
            Action::Tune => {
                records(&Fact::Tuned { options: migration.options, was: Some(migration.options) })
            }
            Action::Repair => records(&Fact::RepairRequested),
            Action::Acknowledge => records(&Fact::Acknowledged),
            Action::Abort => {
                records(&Fact::Aborted { purge: false })
                    || is_last && state.phase() == Phase::CutoverPaused
            }
            Action::Verify => {
                matches!(state.phase(), Phase::DualWrite | Phase::Paused | Phase::Migrated)
            }
            Action::Return => {
                let in_window =
                    matches!(state, State::Migrated { old_source: OldSource::Window { .. }, .. });
                is_last && in_window
            }
        }
    };
    Action::ALL.into_iter().filter(is_allowed).collect()
}
