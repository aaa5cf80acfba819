//! What a verification looks for and how it names what it finds.

use std::fmt;

use crate::stream::StreamName;

/// How deep a verification looks.
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
    /// A ledger does not say what its rows say.
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

/// One difference between what is and what must be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// Its kind.
    pub kind: ViolationType,
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
