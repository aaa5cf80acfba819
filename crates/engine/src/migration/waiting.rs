//! Why a migration makes no progress at the moment: stored in a memo, so that every process of the
//! deployment can show it, and removed when the work continues.

use rehome_domain::event::Timestamp;
use rehome_domain::ids::MigrationId;
use rehome_ports::{ControlError, ControlPlane, Memo};
use tokio::time::{Duration, Instant};

use crate::Engine;

/// The memo's name.
const MEMO: &str = Waiting::MEMO;
/// A reason that changes is written down no more often than this.
const EVERY: Duration = Duration::from_secs(1);

/// What a migration waits for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Waiting {
    /// Since when, by the clock of the process that works on it.
    pub since: Timestamp,
    /// For what: the fault, as it was last reported.
    pub why: String,
}

impl Waiting {
    /// The name of the memo.
    pub const MEMO: &str = "waiting";

    /// Parses a memo of that name.
    pub fn of_memo(memo: &Memo) -> Option<Self> {
        Self::read(&memo.text)
    }

    /// What the migration waits for, by its driver's memo.
    pub async fn of(
        control: &dyn ControlPlane,
        id: MigrationId,
    ) -> Result<Option<Self>, ControlError> {
        Ok(control.memo(id, MEMO).await?.and_then(|memo| Self::read(&memo.text)))
    }

    /// `MICROSECONDS WHY`; an empty text: it does not wait.
    fn read(text: &str) -> Option<Self> {
        let (since, why) = text.split_once(' ')?;
        Some(Self { since: Timestamp::from_micros(since.parse().ok()?), why: why.to_owned() })
    }

    fn write(&self) -> String {
        format!("{} {}", self.since.micros(), self.why)
    }
}

/// What one driver has written down.
#[derive(Debug, Default)]
pub(super) struct Notes {
    /// Whether the memo is known: what a driver before this one wrote is read first.
    known: bool,
    /// The content of the memo.
    written: Option<Waiting>,
    at: Option<Instant>,
}

impl Notes {
    /// The work waits. A memo that cannot be written now is written the next time.
    pub(super) async fn waits(&mut self, engine: &Engine, id: MigrationId, why: &str) {
        let held = self.written.clone();
        let told = held.as_ref().is_some_and(|held| held.why == why);
        let young = self.at.is_some_and(|at| at.elapsed() < EVERY);
        if told || (held.is_some() && young) {
            return;
        }
        let since = held.map_or_else(|| engine.clock.now(), |held| held.since);
        self.put(engine, id, Some(Waiting { since, why: why.to_owned() })).await;
    }

    /// The work continues.
    pub(super) async fn goes_on(&mut self, engine: &Engine, id: MigrationId) {
        if !self.known {
            // One that cannot be read now is read the next time.
            let Ok(before) = Waiting::of(&*engine.control, id).await else { return };
            (self.known, self.written) = (true, before);
        }
        if self.written.is_some() {
            self.put(engine, id, None).await;
        }
    }

    async fn put(&mut self, engine: &Engine, id: MigrationId, waiting: Option<Waiting>) {
        let text = waiting.as_ref().map(Waiting::write).unwrap_or_default();
        let memo = Memo { at: engine.clock.now(), text };
        if engine.control.set_memo(id, MEMO, &memo).await.is_ok() {
            (self.known, self.written) = (true, waiting);
            self.at = Some(Instant::now());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_is_read_and_nothing_is_read_as_nothing() {
        let since = Timestamp::from_micros(1_800_000_000_000_000);
        let waiting = Waiting { since, why: "store \"b\" is read-only".to_owned() };
        assert_eq!(Waiting::read(&waiting.write()), Some(waiting));
        for text in ["", "later", "x y"] {
            assert_eq!(Waiting::read(text), None, "{text}");
        }
    }
}
