//! How long a migration was in each of its phases, computed from its log.

use crate::event::Timestamp;
use crate::migration::{Fact, Phase, State, transition};

/// A stay in one phase.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stay {
    /// Which phase.
    pub phase: Phase,
    /// When it was entered.
    pub from: Timestamp,
    /// When it was left; `None`: not yet.
    pub until: Option<Timestamp>,
}

/// The stays of a migration, in order; a phase that was entered twice is there twice. Facts that
/// cannot follow are passed over: a log that was written by the rules has none.
pub fn timeline<'a>(log: impl IntoIterator<Item = (Timestamp, &'a Fact)>) -> Vec<Stay> {
    let mut stays: Vec<Stay> = Vec::new();
    let mut state: Option<State> = None;
    for (at, fact) in log {
        let next = match (state, fact) {
            (None, Fact::Started { .. }) => State::Pending,
            (Some(state), fact) => transition(state, fact).unwrap_or(state),
            (None, _) => continue,
        };
        state = Some(next);
        match stays.last_mut() {
            Some(last) if last.phase == next.phase() => {}
            last => {
                if let Some(last) = last {
                    last.until = Some(at);
                }
                stays.push(Stay { phase: next.phase(), from: at, until: None });
            }
        }
    }
    stays
}
