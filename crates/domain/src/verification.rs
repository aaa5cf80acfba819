//! The levels of a verification and its findings.

use std::fmt;

use crate::digest::Digest;
use crate::ledger::Head;
use crate::stream::StreamName;

/// The level of a verification.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Level {
    /// Heads, and per-stream counts and versions on both sides.
    Count,
    /// Both stores' rows re-read, both chains recomputed and compared with both ledgers.
    Hash,
    /// Event by event, field by field.
    Full,
}

impl Level {
    /// The name in output, metrics and configuration.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Count => "count",
            Self::Hash => "hash",
            Self::Full => "full",
        }
    }

    /// The level of that name.
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Count, Self::Hash, Self::Full].into_iter().find(|level| level.as_str() == text)
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The kinds of violation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ViolationType {
    /// The authority has an event that the other store has not.
    Missing,
    /// The other store has an event that the authority has not.
    Unexpected,
    /// The same event with another content.
    Content,
    /// Events in another order.
    Order,
    /// A stream's versions are not 1..n, or differ.
    Version,
    /// A ledger contradicts its rows.
    Ledger,
}

impl ViolationType {
    /// The name in output and metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::Unexpected => "unexpected",
            Self::Content => "content",
            Self::Order => "order",
            Self::Version => "version",
            Self::Ledger => "ledger",
        }
    }
}

/// In which of the two stores the damage is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Side {
    /// The two differ, and each is consistent in itself.
    Unknown,
    /// In the store that must be a prefix of the other: it can be cut back and copied again.
    Copy,
    /// In the store that has the authority: there is nothing to copy it from.
    Authority,
}

impl Side {
    /// The name in the log and in output.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Copy => "copy",
            Self::Authority => "authority",
        }
    }

    /// The side of that name.
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Unknown, Self::Copy, Self::Authority].into_iter().find(|side| side.as_str() == text)
    }
}

impl fmt::Display for Side {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Whether the last event matches the ledger. A store checks this before each append, so that it does
/// not continue a history on a ledger that was changed from outside. `last` is the stored digest
/// of the event at the head's position.
pub fn ends_as_said(head: Head, last: Option<Digest>) -> bool {
    match head.seq {
        0 => head == Head::EMPTY,
        _ => last == Some(head.digest),
    }
}

/// One difference between the actual and the expected state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// Its kind.
    pub kind: ViolationType,
    /// Where the damage is.
    pub side: Side,
    /// The position it is about, where it is about one.
    pub seq: Option<u64>,
    /// The stream it is about, where it is about one.
    pub stream: Option<StreamName>,
    /// What differs, without any payload.
    pub detail: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.kind.as_str())?;
        if let Some(seq) = self.seq {
            write!(f, " at seq {seq}")?;
        }
        if let Some(stream) = &self.stream {
            write!(f, " in stream {stream}")?;
        }
        write!(f, ": {}", self.detail)
    }
}

/// What a comparison of two histories covered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Coverage {
    /// The level.
    pub level: Level,
    /// The positions after this one...
    pub after: u64,
    /// ...up to this one...
    pub upto: u64,
    /// ...and whether it covered each of them, rather than a sample.
    pub whole: bool,
}

impl Coverage {
    /// Whether it would have found the finding of `other` again: at least as deep, at least as
    /// far, and nothing left out.
    pub fn includes(self, other: Self) -> bool {
        self.whole
            && self.level >= other.level
            && self.after <= other.after
            && self.upto >= other.upto
    }
}

/// The result of a comparison that found differences, as it is stored.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Finding {
    /// What was compared. A comparison that includes it and finds nothing refutes the finding.
    pub coverage: Coverage,
    /// How many violations were found.
    pub violations: u64,
    /// The first position that is damaged, as far as one is known.
    pub seq: Option<u64>,
    /// Where the damage is; the authority, if any of it is there.
    pub side: Side,
    /// The first violation, in words and without any payload.
    pub first: Box<str>,
}

impl Finding {
    /// Of one violation.
    pub fn of(violation: &Violation, coverage: Coverage) -> Self {
        Self {
            coverage,
            violations: 1,
            seq: violation.seq,
            side: violation.side,
            first: violation.to_string().into(),
        }
    }

    /// Merges both. If the later one includes the earlier one, it replaces it.
    #[must_use]
    pub fn and(&self, later: &Self) -> Self {
        if later.coverage.includes(self.coverage) {
            return later.clone();
        }
        let (a, b) = (self.coverage, later.coverage);
        Self {
            coverage: Coverage {
                level: a.level.max(b.level),
                after: a.after.min(b.after),
                upto: a.upto.max(b.upto),
                whole: a.whole && b.whole,
            },
            violations: self.violations.max(later.violations),
            seq: [self.seq, later.seq].into_iter().flatten().min(),
            side: self.side.max(later.side),
            first: later.first.clone(),
        }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { coverage, violations, first, .. } = self;
        let plural = if *violations == 1 { "" } else { "s" };
        write!(
            f,
            "{violations} open violation{plural} ({level}), the first: {first}",
            level = coverage.level
        )
    }
}
