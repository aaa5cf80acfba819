//! How facts, states and options are written down by every control plane, and the chain over the
//! log.
//!
//! Domain types are not serialisable; these are their mirror images. A record written once must
//! be readable for ever: fields are added with a default, never renamed.

use rehome_domain::digest::{Digest, sha256};
use rehome_domain::event::Timestamp;
use rehome_domain::ids::{Epoch, InvalidStoreId, MigrationId, StoreId};
use rehome_domain::ledger::Head;
use rehome_domain::migration::{
    Cleanup, CutoverPolicy, Fact, MirrorAck, OldSource, OpenViolation, Options, Repair,
    RollBackReason, State, Violations, Working,
};
use rehome_domain::verification::{Coverage, Finding, Level, Side};
use serde::{Deserialize, Serialize};

/// A record that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("cannot read the {what}: {why}")]
pub struct Unreadable {
    /// What it should be.
    pub what: &'static str,
    /// What is wrong.
    pub why: String,
}

fn unreadable(what: &'static str, why: impl std::fmt::Display) -> Unreadable {
    Unreadable { what, why: format!("{why}") }
}

fn write(record: &impl Serialize) -> String {
    serde_json::to_string(record).expect("records have text keys and no maps that could fail")
}

/// The hash of a log entry: SHA-256(previous ‖ u64 index ‖ i64 at ‖ str actor ‖ str fact), numbers
/// big-endian, `str` a u32 length and the bytes, `fact` the text of [`write_fact`].
pub fn log_hash(previous: &Digest, index: u64, at: Timestamp, actor: &str, fact: &str) -> Digest {
    let length = |text: &str| u32::try_from(text.len()).unwrap_or(u32::MAX).to_be_bytes();
    sha256(&[
        previous.as_bytes(),
        &index.to_be_bytes(),
        &at.micros().to_be_bytes(),
        &length(actor),
        actor.as_bytes(),
        &length(fact),
        fact.as_bytes(),
    ])
}

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
struct FindingRecord {
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

fn read_level(text: &str) -> Result<Level, Unreadable> {
    Level::parse(text).ok_or_else(|| unreadable("verification level", text))
}

#[derive(Serialize, Deserialize)]
#[serde(default)]
struct OptionsRecord {
    batch_events: u32,
    batch_bytes: u32,
    copy_rate_max: u32,
    copy_bytes_rate_max: u32,
    lag_events_max: u32,
    cutover: String,
    cutover_at: Option<i64>,
    cutover_timeout_ms: u32,
    mirror_ack: String,
    mirror_ack_timeout_ms: u32,
    verification: String,
    rollback_window_ms: u64,
}

impl Default for OptionsRecord {
    fn default() -> Self {
        Self::from(&Options::default())
    }
}

impl From<&Options> for OptionsRecord {
    fn from(options: &Options) -> Self {
        let (cutover, cutover_at) = match options.cutover {
            CutoverPolicy::Auto => ("auto", None),
            CutoverPolicy::Manual => ("manual", None),
            CutoverPolicy::At(time) => ("at", Some(time.micros())),
        };
        let mirror_ack = match options.mirror_ack {
            MirrorAck::Source => "source",
            MirrorAck::Target => "target",
        };
        Self {
            batch_events: options.batch_events,
            batch_bytes: options.batch_bytes,
            copy_rate_max: options.copy_rate_max,
            copy_bytes_rate_max: options.copy_bytes_rate_max,
            lag_events_max: options.lag_events_max,
            cutover: cutover.to_owned(),
            cutover_at,
            cutover_timeout_ms: options.cutover_timeout_ms,
            mirror_ack: mirror_ack.to_owned(),
            mirror_ack_timeout_ms: options.mirror_ack_timeout_ms,
            verification: options.verification.as_str().to_owned(),
            rollback_window_ms: options.rollback_window_ms,
        }
    }
}

impl TryFrom<OptionsRecord> for Options {
    type Error = Unreadable;

    fn try_from(record: OptionsRecord) -> Result<Self, Unreadable> {
        let options = Self {
            batch_events: record.batch_events,
            batch_bytes: record.batch_bytes,
            copy_rate_max: record.copy_rate_max,
            copy_bytes_rate_max: record.copy_bytes_rate_max,
            lag_events_max: record.lag_events_max,
            cutover: match (record.cutover.as_str(), record.cutover_at) {
                ("auto", _) => CutoverPolicy::Auto,
                ("manual", _) => CutoverPolicy::Manual,
                ("at", Some(micros)) => CutoverPolicy::At(Timestamp::from_micros(micros)),
                (other, _) => return Err(unreadable("cutover policy", other)),
            },
            cutover_timeout_ms: record.cutover_timeout_ms,
            mirror_ack: match record.mirror_ack.as_str() {
                "source" => MirrorAck::Source,
                "target" => MirrorAck::Target,
                other => return Err(unreadable("mirror_ack", other)),
            },
            mirror_ack_timeout_ms: record.mirror_ack_timeout_ms,
            verification: read_level(&record.verification)?,
            rollback_window_ms: record.rollback_window_ms,
        };
        options.check().map_err(|e| unreadable("options", e))
    }
}

/// Options as one line of JSON.
pub fn write_options(options: &Options) -> String {
    write(&OptionsRecord::from(options))
}

/// Reads what [`write_options`] wrote.
pub fn read_options(text: &str) -> Result<Options, Unreadable> {
    let record: OptionsRecord = serde_json::from_str(text).map_err(|e| unreadable("options", e))?;
    record.try_into()
}

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

/// A state with what verifications found. The tag is none of [`StateRecord`]'s: a rehome that knows no
/// violations cannot read the row, and so can neither cut over nor forget what is open.
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
    // What is wrong is told of the plain form, unless the text is of the other one.
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
