//! What can go wrong with a store or a control plane, sorted by what the caller does next.

use rehome_domain::ledger::Refused;

/// What a caller does about an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// Try again later; the cause may pass.
    Retry,
    /// Another process was first: read again and decide again.
    Conflict,
    /// The ledger's rules refused it: read the route again.
    Fenced,
    /// The cause will not pass.
    Fatal,
}

/// A fault of a store or a control plane, with what to do about it in its message.
#[derive(Debug, thiserror::Error)]
#[error("{what} {kind}{}", outcome(*.applied))]
pub struct Fault {
    /// What failed: `store "shared"` or `control plane`.
    pub what: String,
    /// The kind of the fault.
    pub kind: FaultKind,
    /// Whether the operation may have been applied all the same (the reply was lost).
    pub applied: bool,
    /// The driver's own error.
    #[source]
    pub source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

const fn outcome(applied: bool) -> &'static str {
    if applied { " (the reply was lost; whether it was applied is unknown)" } else { "" }
}

/// The kinds of fault.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FaultKind {
    /// It cannot be reached, or does not answer.
    #[error("cannot be reached: {0}")]
    Unreachable(String),
    /// Another process holds it for too long.
    #[error("is locked by another process")]
    Locked,
    /// It waits for others' transactions; which ones, and what to do.
    #[error("waits for others: {0}")]
    Waits(String),
    /// There is no room left.
    #[error("has no disk space left; free some and it continues")]
    Full,
    /// It fails, and nothing shows that what it holds is damaged: an operator's hand, a limit, a
    /// defect, an error that this rehome does not know.
    #[error("fails: {0}")]
    Failing(String),
    /// It accepts no writes.
    #[error("is read-only; make its file and folder writable")]
    ReadOnly,
    /// There is nothing at that place.
    #[error("does not exist at {0}; check its URL in the configuration")]
    Missing(String),
    /// What an administrator has to do first was not done yet.
    #[error("is not set up: {0}")]
    NotSetUp(String),
    /// It never accepts appends; who writes there.
    #[error("accepts no appends: {0}")]
    NotWritten(String),
    /// Something else is at that place.
    #[error("is not rehome's: {0}")]
    Foreign(String),
    /// It was written by a newer rehome.
    #[error("has format {found}, this rehome supports up to {known}; upgrade rehome")]
    NewerFormat {
        /// The oldest reader or writer that it requires.
        found: u32,
        /// What this rehome is.
        known: u32,
    },
    /// It belongs to another deployment.
    #[error("belongs to deployment {found}, not to {expected}; it is never touched")]
    OtherDeployment {
        /// Whose it is.
        found: String,
        /// Whose it should be.
        expected: String,
    },
    /// What it holds makes no sense.
    #[error("is corrupt: {0}")]
    Corrupt(String),
}

impl Fault {
    /// A fault without a cause below it.
    pub fn new(what: impl Into<String>, kind: FaultKind) -> Self {
        Self { what: what.into(), kind, applied: false, source: None }
    }

    /// The same, caused by `source`.
    #[must_use]
    pub fn caused_by(self, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self { source: Some(source.into()), ..self }
    }

    /// The same, with an unknown outcome.
    #[must_use]
    pub fn maybe_applied(self) -> Self {
        Self { applied: true, ..self }
    }

    /// What a caller does about it.
    pub const fn class(&self) -> Class {
        match self.kind {
            FaultKind::Unreachable(_)
            | FaultKind::Locked
            | FaultKind::Waits(_)
            | FaultKind::Full
            | FaultKind::Failing(_) => Class::Retry,
            FaultKind::ReadOnly
            | FaultKind::Missing(_)
            | FaultKind::NotSetUp(_)
            | FaultKind::NotWritten(_)
            | FaultKind::Foreign(_)
            | FaultKind::NewerFormat { .. }
            | FaultKind::OtherDeployment { .. }
            | FaultKind::Corrupt(_) => Class::Fatal,
        }
    }
}

impl Fault {
    /// Whether it shows that stored data is damaged. Any other fault, known or not, can end by time or by
    /// an operator; only damage ends a migration.
    pub const fn is_damage(&self) -> bool {
        matches!(self.kind, FaultKind::Corrupt(_))
    }
}

/// Why a store refused or failed.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The ledger's rules refused it; nothing was changed.
    #[error(transparent)]
    Refused(#[from] Refused),
    /// The store failed.
    #[error(transparent)]
    Fault(#[from] Fault),
}

impl StoreError {
    /// What a caller does about it.
    pub const fn class(&self) -> Class {
        match self {
            Self::Refused(refused) => match refused.why {
                rehome_domain::ledger::Refusal::NotAtHead => Class::Conflict,
                rehome_domain::ledger::Refusal::BrokenChain
                | rehome_domain::ledger::Refusal::HistoryMissing
                | rehome_domain::ledger::Refusal::BehindBase => Class::Fatal,
                _ => Class::Fenced,
            },
            Self::Fault(fault) => fault.class(),
        }
    }

    /// Whether the store's data is damaged, or contradicts the ledger: waiting does not help.
    pub const fn is_damage(&self) -> bool {
        match self {
            Self::Refused(_) => matches!(self.class(), Class::Fatal),
            Self::Fault(fault) => fault.is_damage(),
        }
    }

    /// The refusal, if it is one.
    pub const fn refused(&self) -> Option<&Refused> {
        match self {
            Self::Refused(refused) => Some(refused),
            Self::Fault(_) => None,
        }
    }

    /// Whether the operation may have been applied although it failed.
    pub const fn maybe_applied(&self) -> bool {
        matches!(self, Self::Fault(Fault { applied: true, .. }))
    }
}
