//! Facts, and what a verification found.

use rehome_domain::ids::{Epoch, InvalidStoreId, MigrationId, StoreId};
use rehome_domain::ledger::Head;
use rehome_domain::migration::{Fact, RollBackReason};
use rehome_domain::verification::{Coverage, Finding, Side};
use serde::{Deserialize, Serialize};

use super::{OptionsRecord, Unreadable, read_level, unreadable, write};

#[derive(Serialize, Deserialize)]
#[serde(tag = "fact", rename_all = "snake_case")]
enum FactRecord {
    Started {
        migration: String,
        target: String,
        options: OptionsRecord,
    },
    CopyStarted,
    CopyCompleted {
        events: u64,
    },
    CutoverStarted {
        deadline_ms: u64,
    },
    Switched {
        seq: u64,
        digest: String,
    },
    CutoverRolledBack {
        timed_out: bool,
        reason: String,
    },
    Paused,
    Resumed,
    Failed {
        error: String,
    },
    Aborted {
        purge: bool,
    },
    WindowClosed,
    Recovered {
        store: String,
        n: u64,
        base: u64,
    },
    CutoverRequested,
    CutoverWithdrawn,
    CutoverVetoed {
        hook: String,
        why: String,
    },
    LeaseTaken {
        holder: String,
    },
    TargetActivated {
        epoch: u64,
    },
    ReadBack {
        seq: u64,
    },
    Verified {
        level: String,
        seq: u64,
        violations: u64,
        #[serde(default, skip_serializing_if = "is_zero")]
        after: u64,
        #[serde(default = "yes", skip_serializing_if = "is_yes")]
        whole: bool,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        refutes: Option<u32>,
    },
    Violated(FindingRecord),
    RepairRequested,
    RepairRefused {
        why: String,
    },
    CutBack {
        seq: u64,
        digest: String,
        events: u64,
    },
    ReplicaDropped,
    Purged {
        events: u64,
    },
    Tuned {
        #[serde(default, skip_serializing_if = "Option::is_none")]
        was: Option<OptionsRecord>,
        options: OptionsRecord,
    },
    Acknowledged,
}

/// A fact as one line of JSON.
pub fn write_fact(fact: &Fact) -> String {
    write(&FactRecord::from(fact))
}

/// Reads what [`write_fact`] wrote.
pub fn read_fact(text: &str) -> Result<Fact, Unreadable> {
    let record: FactRecord = serde_json::from_str(text).map_err(|e| unreadable("log entry", e))?;
    record.try_into()
}

impl From<&Fact> for FactRecord {
    fn from(fact: &Fact) -> Self {
        match fact {
            Fact::Started { migration, target, options } => Self::Started {
                migration: migration.to_string(),
                target: target.to_string(),
                options: options.into(),
            },
            Fact::CopyStarted => Self::CopyStarted,
            Fact::CopyCompleted { events } => Self::CopyCompleted { events: *events },
            Fact::CutoverStarted { deadline_ms } => {
                Self::CutoverStarted { deadline_ms: *deadline_ms }
            }
            Fact::Switched { head } => {
                Self::Switched { seq: head.seq, digest: head.digest.to_string() }
            }
            Fact::CutoverRolledBack { reason } => Self::CutoverRolledBack {
                timed_out: reason.is_timeout(),
                reason: reason.to_string(),
            },
            Fact::Paused => Self::Paused,
            Fact::Resumed => Self::Resumed,
            Fact::Failed { error } => Self::Failed { error: error.to_string() },
            Fact::Aborted { purge } => Self::Aborted { purge: *purge },
            Fact::WindowClosed => Self::WindowClosed,
            Fact::Recovered { store, n, base } => {
                Self::Recovered { store: store.to_string(), n: n.0, base: *base }
            }
            Fact::CutoverRequested => Self::CutoverRequested,
            Fact::CutoverWithdrawn => Self::CutoverWithdrawn,
            Fact::CutoverVetoed { hook, why } => {
                Self::CutoverVetoed { hook: hook.to_string(), why: why.to_string() }
            }
            Fact::LeaseTaken { holder } => Self::LeaseTaken { holder: holder.to_string() },
            Fact::TargetActivated { epoch } => Self::TargetActivated { epoch: epoch.0 },
            Fact::ReadBack { seq } => Self::ReadBack { seq: *seq },
            Fact::Verified { level, after, seq, whole, violations, refutes } => Self::Verified {
                level: level.as_str().to_owned(),
                seq: *seq,
                violations: *violations,
                after: *after,
                whole: *whole,
                refutes: *refutes,
            },
            Fact::Violated { finding } => Self::Violated(finding.into()),
            Fact::RepairRequested => Self::RepairRequested,
            Fact::RepairRefused { why } => Self::RepairRefused { why: why.to_string() },
            Fact::CutBack { to, events } => {
                Self::CutBack { seq: to.seq, digest: to.digest.to_string(), events: *events }
            }
            Fact::ReplicaDropped => Self::ReplicaDropped,
            Fact::Purged { events } => Self::Purged { events: *events },
            Fact::Tuned { was, options } => {
                Self::Tuned { was: was.as_ref().map(Into::into), options: options.into() }
            }
            Fact::Acknowledged => Self::Acknowledged,
        }
    }
}

impl TryFrom<FactRecord> for Fact {
    type Error = Unreadable;

    fn try_from(record: FactRecord) -> Result<Self, Unreadable> {
        let what = "log entry";
        let head = |seq, digest: String| {
            Ok(Head { seq, digest: digest.parse().map_err(|e| unreadable(what, e))? })
        };
        Ok(match record {
            FactRecord::Started { migration, target, options } => Self::Started {
                migration: migration.parse::<MigrationId>().map_err(|e| unreadable(what, e))?,
                target: target.parse::<StoreId>().map_err(|e| unreadable(what, e))?,
                options: options.try_into()?,
            },
            FactRecord::CopyStarted => Self::CopyStarted,
            FactRecord::CopyCompleted { events } => Self::CopyCompleted { events },
            FactRecord::CutoverStarted { deadline_ms } => Self::CutoverStarted { deadline_ms },
            FactRecord::Switched { seq, digest } => Self::Switched { head: head(seq, digest)? },
            FactRecord::CutoverRolledBack { timed_out: true, .. } => {
                Self::CutoverRolledBack { reason: RollBackReason::TimedOut }
            }
            FactRecord::CutoverRolledBack { timed_out: false, reason } => {
                Self::CutoverRolledBack { reason: RollBackReason::Failed(reason.into()) }
            }
            FactRecord::Paused => Self::Paused,
            FactRecord::Resumed => Self::Resumed,
            FactRecord::Failed { error } => Self::Failed { error: error.into() },
            FactRecord::Aborted { purge } => Self::Aborted { purge },
            FactRecord::WindowClosed => Self::WindowClosed,
            FactRecord::Recovered { store, n, base } => Self::Recovered {
                store: store.parse().map_err(|e: InvalidStoreId| unreadable(what, e))?,
                n: Epoch(n),
                base,
            },
            FactRecord::CutoverRequested => Self::CutoverRequested,
            FactRecord::CutoverWithdrawn => Self::CutoverWithdrawn,
            FactRecord::CutoverVetoed { hook, why } => {
                Self::CutoverVetoed { hook: hook.into(), why: why.into() }
            }
            FactRecord::LeaseTaken { holder } => Self::LeaseTaken { holder: holder.into() },
            FactRecord::TargetActivated { epoch } => Self::TargetActivated { epoch: Epoch(epoch) },
            FactRecord::ReadBack { seq } => Self::ReadBack { seq },
            FactRecord::Verified { level, seq, violations, after, whole, refutes } => {
                let level = read_level(&level)?;
                Self::Verified { level, after, seq, whole, violations, refutes }
            }
            FactRecord::Violated(finding) => Self::Violated { finding: finding.try_into()? },
            FactRecord::RepairRequested => Self::RepairRequested,
            FactRecord::RepairRefused { why } => Self::RepairRefused { why: why.into() },
            FactRecord::CutBack { seq, digest, events } => {
                Self::CutBack { to: head(seq, digest)?, events }
            }
            FactRecord::ReplicaDropped => Self::ReplicaDropped,
            FactRecord::Purged { events } => Self::Purged { events },
            FactRecord::Tuned { was, options } => Self::Tuned {
                was: was.map(TryInto::try_into).transpose()?,
                options: options.try_into()?,
            },
            FactRecord::Acknowledged => Self::Acknowledged,
        })
    }
}

const fn yes() -> bool {
    true
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "what serde calls")]
const fn is_yes(value: &bool) -> bool {
    *value
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "what serde calls")]
const fn is_zero(value: &u64) -> bool {
    *value == 0
}

#[derive(Serialize, Deserialize)]
pub(super) struct FindingRecord {
    level: String,
    after: u64,
    upto: u64,
    whole: bool,
    violations: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    seq: Option<u64>,
    side: String,
    first: String,
}

impl From<&Finding> for FindingRecord {
    fn from(finding: &Finding) -> Self {
        let Coverage { level, after, upto, whole } = finding.coverage;
        Self {
            level: level.as_str().to_owned(),
            after,
            upto,
            whole,
            violations: finding.violations,
            seq: finding.seq,
            side: finding.side.as_str().to_owned(),
            first: finding.first.to_string(),
        }
    }
}

impl TryFrom<FindingRecord> for Finding {
    type Error = Unreadable;

    fn try_from(record: FindingRecord) -> Result<Self, Unreadable> {
        let FindingRecord { level, after, upto, whole, violations, seq, side, first } = record;
        let side = Side::parse(&side).ok_or_else(|| unreadable("side of a violation", side))?;
        Ok(Self {
            coverage: Coverage { level: read_level(&level)?, after, upto, whole },
            violations,
            seq,
            side,
            first: first.into(),
        })
    }
}
