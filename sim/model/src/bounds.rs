//! The size of a run: the model is exhaustive within these bounds and shows nothing
//! beyond them.

use rehome_domain::migration::Options;

use crate::rule::Rule;

/// Where a run begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Begin {
    /// The tenant does not exist yet.
    New,
    /// The tenant lives in store A.
    Living,
    /// The tenant lives in store A, and store B holds another history under its name.
    Foreign,
    /// A migration from A to B is in dual_write.
    Mirroring,
}

/// What may still happen in a run. Each is used up by happening.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Left {
    /// Cutovers that begin.
    pub cutovers: u8,
    /// Migrations that operators start.
    pub starts: u8,
    /// Migrations that operators abort.
    pub aborts: u8,
    /// Windows that operators close.
    pub closes: u8,
    /// Migrations that operators pause; resuming is always possible.
    pub pauses: u8,
    /// Migrations that fail.
    pub fails: u8,
    /// Purges of an old copy that operators request.
    pub purges: u8,
    /// Removals of the tenant that operators request, or continue.
    pub removals: u8,
    /// Calls whose callers time out, and that arrive later or never: refusals, lost
    /// replies, and late calls.
    pub lost: u8,
    /// Processes that die and are started again.
    pub crashes: u8,
    /// Stores that lose what they hold.
    pub losses: u8,
    /// Cutovers that operators withdraw; to ask for one again is always possible.
    pub withdrawals: u8,
    /// Violations that are found in the copy; to repair it is always possible then.
    pub findings: u8,
}

/// The size of a run.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// What it is called.
    pub name: &'static str,
    /// Where it begins.
    pub begin: Begin,
    /// Routers that append: 0, 1 or 2.
    pub routers: usize,
    /// Coordinators: 1 or 2.
    pub drivers: usize,
    /// Whether a subscriber follows the feed.
    pub reader: bool,
    /// Events that writers have; every second one with an expected version.
    pub writes: u8,
    /// Whether migrations keep a rollback window.
    pub window: bool,
    /// Whether an abort removes the copied events.
    pub purge: bool,
    /// What may happen.
    pub left: Left,
    /// The rule that is left out, if one is.
    pub without: Option<Rule>,
}

impl Bounds {
    /// A run with one of each process, and nothing that disturbs it.
    pub const fn plain(name: &'static str, begin: Begin) -> Self {
        Self {
            name,
            begin,
            routers: 1,
            drivers: 1,
            reader: false,
            writes: 1,
            window: false,
            purge: false,
            left: Left {
                cutovers: 1,
                starts: 0,
                aborts: 0,
                closes: 0,
                pauses: 0,
                fails: 0,
                purges: 0,
                removals: 0,
                lost: 0,
                crashes: 0,
                losses: 0,
                withdrawals: 0,
                findings: 0,
            },
            without: None,
        }
    }

    /// The same run with a rule left out.
    #[must_use]
    pub const fn without(self, rule: Rule) -> Self {
        Self { without: Some(rule), ..self }
    }

    /// What migrations run with.
    pub(crate) fn options(&self) -> Options {
        Options { rollback_window_ms: u64::from(self.window), ..Options::default() }
    }
}
