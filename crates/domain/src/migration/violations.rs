//! The violations of a migration: which are open, what closes them, and their repair.
//!
//! ```text
//!            violated                     repair_requested            cut_back
//!   none ──────────────▶ open, not asked ─────────────────▶ asked ──────────────▶ cut back
//!    ▲                     ▲ │  ▲                             │                     │ │
//!    │                     │ │  └──────── repair_refused ─────┘                     │ │
//!    │                     └─┼───────────────────── violated ───────────────────────┘ │
//!    └── verified, clean ────┴─────────────── verified, clean ────────────────────────┘
//! ```
//!
//! While one is open no cutover is requested, started or committed. Only a verification closes it that
//! *started* after it was recorded: one that was already running may have read the damaged rows before
//! they were damaged.

use std::fmt;

use crate::ids::MigrationId;
use crate::verification::{Finding, Side};

/// The differences found between a migration's two histories, and the state of their repair.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Violations {
    /// Findings recorded so far; the number of the last one.
    pub found: u32,
    /// Repairs that cut the copy back so far.
    pub repairs: u32,
    /// The open violation.
    pub open: Option<OpenViolation>,
}

/// A finding that nothing has refuted yet.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct OpenViolation {
    /// Which of the migration's findings, from 1. A verification names the one that it refutes.
    pub number: u32,
    /// The finding. Several findings are merged: the deepest level, the whole range.
    pub finding: Finding,
    /// How far its repair is.
    pub repair: Repair,
}

/// How far a repair is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Repair {
    /// No repair was requested, or it was refused.
    NotRequested,
    /// An operator has requested it; the copy is to be cut back, or is being cut back.
    Requested,
    /// The copy was cut back to before the damage; it is copied again and then verified.
    CutBack,
}

impl Violations {
    /// One more finding. It opens a violation, or adds to the one that is open.
    pub(super) fn record(&mut self, finding: &Finding) {
        self.found += 1;
        let (finding, repair) = match self.open.take() {
            None => (finding.clone(), Repair::NotRequested),
            Some(open) => {
                // A copy that is being cut back stays so; one that was cut back needs it again.
                let repair = match open.repair {
                    Repair::Requested => Repair::Requested,
                    Repair::NotRequested | Repair::CutBack => Repair::NotRequested,
                };
                (open.finding.and(finding), repair)
            }
        };
        self.open = Some(OpenViolation { number: self.found, finding, repair });
    }
}

impl OpenViolation {
    /// Whether the copy was cut back and only its verification is left.
    pub fn is_cut_back(&self) -> bool {
        self.repair == Repair::CutBack
    }

    /// The finding, and what an operator can do about it.
    pub fn advice(&self, id: MigrationId) -> String {
        format!("{}; {}", self.finding, Next { open: self, id })
    }
}

struct Next<'a> {
    open: &'a OpenViolation,
    id: MigrationId,
}

impl fmt::Display for Next<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { open, id } = self;
        let level = open.finding.coverage.level;
        match (open.repair, open.finding.side) {
            (Repair::Requested, _) => write!(
                f,
                "the damaged part of the copy is being removed; `rehome migration watch {id}` \
                 shows the progress"
            ),
            (Repair::CutBack, _) => write!(
                f,
                "the damaged part of the copy was removed; it is verified once it has caught up; \
                 `rehome migration watch {id}` shows the progress"
            ),
            (Repair::NotRequested, Side::Authority) => write!(
                f,
                "the damage is in the authority's own rows, so copying again cannot repair it: \
                 restore them there, then close it with `rehome migration verify {id} --level {level}`, \
                 or abort with `rehome migration abort {id}`"
            ),
            (Repair::NotRequested, Side::Copy | Side::Unknown) => write!(
                f,
                "`rehome migration repair {id}` removes the damaged part of the copy and copies \
                 it again, `rehome migration verify {id} --level {level}` closes it if the stores \
                 are equal again, `rehome migration abort {id}` aborts the migration"
            ),
        }
    }
}
