//! Hooks: what operators run or call before and after the steps of a migration.
//!
//! ```text
//! before_start, before_cutover   the step waits for them, and they may veto it
//! all others                     deliveries of log entries, each at least once, in the order of the log,
//!                                by the migration's driver; nothing waits for them
//! ```

mod courier;

use std::fmt;

use async_trait::async_trait;
use rehome_domain::event::Timestamp;
use rehome_domain::ids::{Epoch, MigrationId, StoreId, TenantId};
use rehome_domain::migration::Fact;
use rehome_ports::{ControlError, LogEntry};

pub(crate) use courier::Courier;
pub use courier::Deliveries;

use crate::Engine;

/// What a hook is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum On {
    /// A migration is about to start.
    BeforeStart,
    /// A cutover is about to begin.
    BeforeCutover,
    /// A migration has started.
    AfterStart,
    /// The target accepts the tenant's appends.
    AfterSwitch,
    /// The tenant has returned to the source of its last migration.
    Returned,
    /// A migration has failed.
    Failed,
    /// A cutover was rolled back.
    RolledBack,
    /// A migration was aborted.
    Aborted,
}

impl On {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::BeforeStart,
        Self::BeforeCutover,
        Self::AfterStart,
        Self::AfterSwitch,
        Self::Returned,
        Self::Failed,
        Self::RolledBack,
        Self::Aborted,
    ];

    /// The word in the configuration and in documents.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::BeforeStart => "before_start",
            Self::BeforeCutover => "before_cutover",
            Self::AfterStart => "after_start",
            Self::AfterSwitch => "after_switch",
            Self::Returned => "returned",
            Self::Failed => "failed",
            Self::RolledBack => "rolled_back",
            Self::Aborted => "aborted",
        }
    }

    /// The occasion of that word.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|on| on.as_str() == text)
    }

    /// Whether it is waited for, and may veto.
    pub const fn is_before(self) -> bool {
        matches!(self, Self::BeforeStart | Self::BeforeCutover)
    }
}

impl fmt::Display for On {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A step that a hook receives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Occasion {
    /// What for.
    pub on: On,
    /// Whose history moves.
    pub tenant: TenantId,
    /// From where.
    pub from: StoreId,
    /// To where.
    pub to: StoreId,
    /// By which migration.
    pub migration: MigrationId,
    /// Increases from one migration of a tenant to the next. Of a switch it is the epoch at which the target accepts appends.
    pub epoch: Epoch,
    /// The entry of the migration's log; 0 for what has not happened yet.
    pub entry: u64,
    /// When it happened, or when it is about to.
    pub at: Timestamp,
    /// Who did it, or is about to.
    pub actor: String,
    /// Why, where that is on record.
    pub why: Option<String>,
}

/// A hook has something against it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("vetoed by hook {hook}: {why}")]
pub struct Veto {
    /// The hook's name.
    pub hook: String,
    /// Its reason.
    pub why: String,
}

/// The hooks of a deployment.
#[async_trait]
pub trait Hooks: Send + Sync {
    /// Calls every hook for this occasion, which precedes a step. Stops at the first veto.
    async fn ask(&self, occasion: &Occasion) -> Result<(), Veto>;

    /// The names of the hooks for what has happened.
    fn listeners(&self) -> Vec<String>;

    /// Whether the hook of that name is for it.
    fn hears(&self, name: &str, on: On) -> bool;

    /// Notifies one hook, and comes back when it has acknowledged. May be called again for the same occasion,
    /// by any process.
    async fn notify(&self, name: &str, occasion: &Occasion) -> Result<(), String>;
}

/// What an entry of a log is to hooks, with the epoch and the reason where it has one. `before`: the entries before it.
fn happened(before: &[LogEntry], entry: &LogEntry) -> Option<(On, Option<Epoch>, Option<String>)> {
    match &entry.fact {
        Fact::Started { .. } => Some((On::AfterStart, None, None)),
        Fact::TargetActivated { epoch } => {
            // A later process that finds it missing records it again.
            let noted = |entry: &LogEntry| matches!(entry.fact, Fact::TargetActivated { .. });
            let first = !before.iter().any(noted);
            first.then_some((On::AfterSwitch, Some(*epoch), None))
        }
        Fact::Failed { error } => Some((On::Failed, None, Some(error.to_string()))),
        Fact::CutoverRolledBack { reason } => {
            Some((On::RolledBack, None, Some(reason.to_string())))
        }
        Fact::Aborted { .. } => Some((On::Aborted, None, None)),
        _ => None,
    }
}

impl Engine {
    /// Which hooks of this deployment are not notified yet of what has happened to the migration, and why.
    pub async fn undelivered(&self, id: MigrationId) -> Result<Option<String>, ControlError> {
        if !Courier::is_needed(self) {
            return Ok(None);
        }
        let memo = self.control.memo(id, Deliveries::MEMO).await?;
        Ok(memo.as_ref().and_then(Deliveries::of_memo).and_then(|deliveries| deliveries.failing()))
    }
}

#[cfg(test)]
mod tests {
    use rehome_domain::digest::Digest;
    use rehome_domain::migration::RollBackReason;

    use super::*;

    fn log(facts: Vec<Fact>) -> Vec<LogEntry> {
        let entry = |(index, fact)| LogEntry {
            index,
            at: Timestamp::from_micros(1),
            actor: "ops".to_owned(),
            fact,
            text: String::new(),
            hash: Digest::EMPTY,
        };
        (1..).zip(facts).map(entry).collect()
    }

    #[test]
    fn a_log_is_read_as_what_hooks_are_for() {
        let activated = Fact::TargetActivated { epoch: Epoch(4) };
        let log = log(vec![
            Fact::CopyStarted,
            Fact::CutoverRolledBack { reason: RollBackReason::TimedOut },
            Fact::CutoverRequested,
            activated.clone(),
            activated,
            Fact::Failed { error: "damage".into() },
            Fact::Aborted { purge: true },
        ]);
        let read = |(at, entry)| happened(&log[..at], entry).map(|(on, epoch, _)| (on, epoch));
        let read: Vec<_> = log.iter().enumerate().filter_map(read).collect();
        let wanted = [
            (On::RolledBack, None),
            (On::AfterSwitch, Some(Epoch(4))),
            (On::Failed, None),
            (On::Aborted, None),
        ];
        assert_eq!(read, wanted);
    }

    #[test]
    fn words_are_read_as_they_are_written() {
        for on in On::ALL {
            assert_eq!(On::parse(on.as_str()), Some(on));
            assert_eq!(on.is_before(), on.as_str().starts_with("before_"), "{on}");
        }
        assert_eq!(On::parse("after_lunch"), None);
    }
}
