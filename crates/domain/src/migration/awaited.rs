//! What a migration waits for that only an operator decides.

use super::{CutoverPolicy, Migration, Repair, State, Working};
use crate::ids::MigrationId;

/// A decision that a migration waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Awaited {
    /// The cutover is manual, and the copy is ready for it.
    Cutover,
    /// An operator paused it.
    Resume,
    /// It failed, and the failure is not acknowledged.
    Failure,
    /// A violation is open, and no repair is requested.
    Violation,
}

/// The decisions that a migration waits for. `is_caught_up`: the lag and what is left to read back are within the
/// bound under which a cutover may begin.
pub fn awaited(migration: &Migration, is_caught_up: bool) -> Vec<Awaited> {
    let open = migration.violations.open.as_ref();
    let decision = match migration.state {
        State::Paused(_) => Some(Awaited::Resume),
        State::Failed { acknowledged: false } => Some(Awaited::Failure),
        State::Working(Working::DualWrite { cutover_requested: false })
            if migration.options.cutover == CutoverPolicy::Manual
                && is_caught_up
                && open.is_none() =>
        {
            Some(Awaited::Cutover)
        }
        _ => None,
    };
    let violation =
        open.filter(|open| open.repair == Repair::NotRequested).map(|_| Awaited::Violation);
    decision.into_iter().chain(violation).collect()
}

impl Awaited {
    /// What is awaited of the operator, with the command.
    pub fn advice(self, migration: &Migration) -> String {
        let id: MigrationId = migration.id;
        match self {
            Self::Cutover => {
                format!("ready to switch: `rehome migration cutover {id}` begins the cutover")
            }
            Self::Resume => format!("paused: `rehome migration resume {id}` continues it"),
            // Only damage, or histories that differ, end a migration.
            Self::Failure => format!(
                "failed, and the tenant is served by {source}: `rehome store verify {source}` and \
                 `rehome store verify {target}` show which store is damaged, `rehome migration abort \
                 {id}` ends the migration, `rehome migration acknowledge {id}` silences the alert",
                source = migration.source,
                target = migration.target
            ),
            Self::Violation => {
                let open = migration.violations.open.as_ref();
                open.map(|open| open.advice(id)).unwrap_or_default()
            }
        }
    }
}
