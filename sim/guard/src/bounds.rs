//! The size of a run: the model is exhaustive within these bounds and shows nothing
//! beyond them.

use crate::rule::Rule;

/// What may still happen in a run. Each is used up by happening.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Left {
    /// Rows that writers insert under READ COMMITTED.
    pub writes: u8,
    /// Rows that writers insert under REPEATABLE READ.
    pub repeatable: u8,
    /// Migrations that begin.
    pub starts: u8,
    /// Cutovers that begin, returns among them.
    pub cutovers: u8,
    /// Migrations that are aborted.
    pub aborts: u8,
    /// Stores that are unguarded.
    pub releases: u8,
    /// Crashes of a database.
    pub crashes: u8,
    /// Number of times that the triggers are disabled for a while, or a table with rows is attached.
    pub bypasses: u8,
    /// Rows that writers of other tenants insert.
    pub others: u8,
    /// Cutovers of another tenant, in the opposite direction.
    pub opposite: u8,
}

/// The size of a run.
#[derive(Clone, Copy, Debug)]
#[allow(clippy::struct_excessive_bools, reason = "each is a choice of its own")]
pub struct Bounds {
    /// What it is called.
    pub name: &'static str,
    /// Writers that have a transaction open at the same time: 1 to 3.
    pub writers: usize,
    /// Streams that they write to: rows of one stream wait for each other.
    pub streams: u8,
    /// Whether a writer may go to the store that does not have the authority.
    pub astray: bool,
    /// Whether a projection reads by position.
    pub reader: bool,
    /// Whether writers lock the whole table before they draw a position, and readers rely on it: they find positions in the
    /// order of commits, and look at nothing else.
    pub locks_table: bool,
    /// Whether the projection reads at the target from the beginning: one of all tenants.
    pub reads_target: bool,
    /// What may happen.
    pub left: Left,
    /// The rule that is left out, if one is.
    pub without: Option<Rule>,
}

impl Bounds {
    /// The same run without that rule.
    #[must_use]
    pub const fn without(mut self, rule: Rule) -> Self {
        self.without = Some(rule);
        self
    }

    /// Whether the rule is in place.
    pub fn keeps(&self, rule: Rule) -> bool {
        self.without != Some(rule)
    }
}
