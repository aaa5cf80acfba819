//! The state of a migration.

use rehome_domain::ids::Epoch;
use rehome_domain::migration::{
    Cleanup, OldSource, OpenViolation, Repair, State, Violations, Working,
};
use serde::{Deserialize, Serialize};

use super::fact::FindingRecord;
use super::{Unreadable, unreadable, write};

#[derive(Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
enum StateRecord {
    Pending,
    BulkCopy,
    DualWrite {
        cutover_requested: bool,
    },
    CutoverPaused,
    PausedBulkCopy,
    PausedDualWrite {
        cutover_requested: bool,
    },
    Migrated {
        activated: bool,
        old_source: OldSourceRecord,
    },
    Failed {
        #[serde(default)]
        acknowledged: bool,
    },
    RolledBack {
        cleanup: CleanupRecord,
    },
}

#[derive(Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "snake_case")]
enum OldSourceRecord {
    Fenced { at: u64 },
    Window { m: u64 },
    Closing { m: u64 },
    Purged,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum CleanupRecord {
    Drop,
    DropAndPurge,
    Purge,
    Done,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum RepairRecord {
    NotRequested,
    Requested,
    CutBack,
}

#[derive(Serialize, Deserialize)]
struct OpenRecord {
    number: u32,
    repair: RepairRecord,
    #[serde(flatten)]
    finding: FindingRecord,
}

/// A state with violations. The tag is none of [`StateRecord`]'s: a rehome that does not know
/// violations cannot read the row, and so can neither cut over nor lose the open ones.
#[derive(Serialize, Deserialize)]
struct ViolatedRecord {
    state: ViolatedTag,
    found: u32,
    repairs: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    open: Option<OpenRecord>,
    is: StateRecord,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum ViolatedTag {
    Violated,
}

/// A state as one line of JSON, with what verifications found if they ever found anything.
pub fn write_state(state: State, violations: &Violations) -> String {
    if *violations == Violations::default() {
        return write(&StateRecord::from(state));
    }
    write(&ViolatedRecord {
        state: ViolatedTag::Violated,
        found: violations.found,
        repairs: violations.repairs,
        open: violations.open.as_ref().map(|open| OpenRecord {
            number: open.number,
            repair: match open.repair {
                Repair::NotRequested => RepairRecord::NotRequested,
                Repair::Requested => RepairRecord::Requested,
                Repair::CutBack => RepairRecord::CutBack,
            },
            finding: (&open.finding).into(),
        }),
        is: state.into(),
    })
}

impl From<State> for StateRecord {
    fn from(state: State) -> Self {
        match state {
            State::Pending => Self::Pending,
            State::Working(Working::BulkCopy) => Self::BulkCopy,
            State::Working(Working::DualWrite { cutover_requested }) => {
                Self::DualWrite { cutover_requested }
            }
            State::CutoverPaused => Self::CutoverPaused,
            State::Paused(Working::BulkCopy) => Self::PausedBulkCopy,
            State::Paused(Working::DualWrite { cutover_requested }) => {
                Self::PausedDualWrite { cutover_requested }
            }
            State::Migrated { activated, old_source } => Self::Migrated {
                activated,
                old_source: match old_source {
                    OldSource::Fenced { at } => OldSourceRecord::Fenced { at: at.0 },
                    OldSource::Window { m } => OldSourceRecord::Window { m: m.0 },
                    OldSource::Closing { m } => OldSourceRecord::Closing { m: m.0 },
                    OldSource::Purged => OldSourceRecord::Purged,
                },
            },
            State::Failed { acknowledged } => Self::Failed { acknowledged },
            State::RolledBack(cleanup) => Self::RolledBack {
                cleanup: match cleanup {
                    Cleanup::Drop { purge: false } => CleanupRecord::Drop,
                    Cleanup::Drop { purge: true } => CleanupRecord::DropAndPurge,
                    Cleanup::Purge => CleanupRecord::Purge,
                    Cleanup::Done => CleanupRecord::Done,
                },
            },
        }
    }
}

/// Reads what [`write_state`] wrote.
pub fn read_state(text: &str) -> Result<(State, Violations), Unreadable> {
    let what = "migration state";
    let plain = match serde_json::from_str::<StateRecord>(text) {
        Ok(record) => return Ok((record.into(), Violations::default())),
        Err(error) => error,
    };
    // The error is about the plain form, unless the text has the other one.
    let Ok(record) = serde_json::from_str::<ViolatedRecord>(text) else {
        return Err(unreadable(what, plain));
    };
    let open = record.open.map(|open| {
        Ok(OpenViolation {
            number: open.number,
            repair: match open.repair {
                RepairRecord::NotRequested => Repair::NotRequested,
                RepairRecord::Requested => Repair::Requested,
                RepairRecord::CutBack => Repair::CutBack,
            },
            finding: open.finding.try_into()?,
        })
    });
    let (found, repairs) = (record.found, record.repairs);
    Ok((record.is.into(), Violations { found, repairs, open: open.transpose()? }))
}

impl From<StateRecord> for State {
    fn from(record: StateRecord) -> Self {
        match record {
            StateRecord::Pending => Self::Pending,
            StateRecord::BulkCopy => Self::Working(Working::BulkCopy),
            StateRecord::DualWrite { cutover_requested } => {
                Self::Working(Working::DualWrite { cutover_requested })
            }
            StateRecord::CutoverPaused => Self::CutoverPaused,
            StateRecord::PausedBulkCopy => Self::Paused(Working::BulkCopy),
            StateRecord::PausedDualWrite { cutover_requested } => {
                State::Paused(Working::DualWrite { cutover_requested })
            }
            StateRecord::Migrated { activated, old_source } => Self::Migrated {
                activated,
                old_source: match old_source {
                    OldSourceRecord::Fenced { at } => OldSource::Fenced { at: Epoch(at) },
                    OldSourceRecord::Window { m } => OldSource::Window { m: Epoch(m) },
                    OldSourceRecord::Closing { m } => OldSource::Closing { m: Epoch(m) },
                    OldSourceRecord::Purged => OldSource::Purged,
                },
            },
            StateRecord::Failed { acknowledged } => Self::Failed { acknowledged },
            StateRecord::RolledBack { cleanup } => Self::RolledBack(match cleanup {
                CleanupRecord::Drop => Cleanup::Drop { purge: false },
                CleanupRecord::DropAndPurge => Cleanup::Drop { purge: true },
                CleanupRecord::Purge => Cleanup::Purge,
                CleanupRecord::Done => Cleanup::Done,
            }),
        }
    }
}
