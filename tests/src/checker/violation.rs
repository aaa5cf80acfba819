//! What must not be, by name.

use std::fmt;

use super::{Id, hex};

/// One thing that must not be.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the fields are where it is")]
pub enum Violation {
    /// Acknowledged and not there.
    Lost { event: Id, seq: u64 },
    /// Acknowledged at another stream, version or position.
    Elsewhere { event: Id, said: u64, is: u64 },
    /// There more than once.
    Twice { event: Id, times: usize },
    /// In no record.
    NobodySent { event: Id, seq: u64 },
    /// Stored, although it was refused to its writer.
    Refused { event: Id, seq: u64 },
    /// With other content, or in another stream, than it was sent with.
    Altered { event: Id, seq: u64 },
    /// A part of an append, or an append with something between its events.
    NotWhole { event: Id, seq: u64 },
    /// Sent after an event was acknowledged that lies behind it.
    BeforeItsTime { event: Id, seq: u64, answered: u64 },
    /// A position that no row has.
    Gap { store: String, seq: u64 },
    /// A version of a stream that no row has, or that two have.
    VersionGap { store: String, stream: String, version: u64 },
    /// The row's digest is not what its content gives.
    Chain { store: String, seq: u64 },
    /// The ledger, or a stream's row, does not agree with the events.
    LedgerLies { store: String, what: &'static str },
    /// Not the beginning of the authority's history.
    NotAPrefix { store: String, seq: u64 },
    /// Not exactly one active ledger, or not the one that the route names.
    Authorities { route: String, active: String, epoch: u64 },
    /// The authority holds less than was there at the switch.
    BelowBase { base: u64, seq: u64 },
    /// A ledger has an epoch that the control plane never handed out.
    NeverHandedOut { store: String, epoch: u64, n: u64 },
    /// A migration's log has a gap, or its chain does not hold.
    Log { migration: Id, entry: u64 },
    /// A subscriber was handed something else than what comes next, or did not come to the end.
    Subscriber { name: String, saw: u64, expected: u64, what: &'static str },
    /// A subscriber or reader saw an event that the authority does not have there.
    SawAnother { subscriber: String, seq: u64, event: Id },
    /// A reader saw less than it had seen before.
    Backwards { before: u64, after: u64 },
    /// A read saw less than was acknowledged to others before it began.
    Missed { seq: u64, told: u64 },
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Lost { event, seq } => {
                write!(f, "lost: event {} was acknowledged at {seq}", hex(event))
            }
            Self::Elsewhere { event, said, is } => {
                write!(f, "elsewhere: event {} was acknowledged at {said}, is at {is}", hex(event))
            }
            Self::Twice { event, times } => {
                write!(f, "twice: event {} is there {times} times", hex(event))
            }
            Self::NobodySent { event, seq } => {
                write!(f, "nobody sent: event {} at {seq}", hex(event))
            }
            Self::Refused { event, seq } => {
                write!(f, "refused, and there: event {} at {seq}", hex(event))
            }
            Self::Altered { event, seq } => write!(f, "altered: event {} at {seq}", hex(event)),
            Self::NotWhole { event, seq } => {
                write!(f, "not whole: the append of event {} at {seq}", hex(event))
            }
            Self::BeforeItsTime { event, seq, answered } => write!(
                f,
                "before its time: event {} at {seq} was sent after {answered} was acknowledged",
                hex(event)
            ),
            Self::Gap { store, seq } => write!(f, "gap: store {store} has nothing at {seq}"),
            Self::VersionGap { store, stream, version } => {
                write!(f, "version gap: stream {stream} in store {store} at version {version}")
            }
            Self::Chain { store, seq } => {
                write!(f, "chain: the row at {seq} in store {store} has another digest")
            }
            Self::LedgerLies { store, what } => write!(f, "ledger lies: store {store}: {what}"),
            Self::NotAPrefix { store, seq } => {
                write!(f, "not a prefix: store {store} leaves the authority's history at {seq}")
            }
            Self::Authorities { route, active, epoch } => write!(
                f,
                "authorities: the route names {route}; active are [{active}], its ledger is at \
                 epoch {epoch}"
            ),
            Self::BelowBase { base, seq } => {
                write!(f, "below base: {seq} events, {base} were there at the switch")
            }
            Self::NeverHandedOut { store, epoch, n } => {
                write!(f, "never handed out: store {store} is at epoch {epoch}, the highest is {n}")
            }
            Self::Log { migration, entry } => {
                write!(f, "log: entry {entry} of migration {}", hex(migration))
            }
            Self::Subscriber { name, saw, expected, what } => {
                write!(f, "subscriber: {name} at {saw} instead of {expected}, {what}")
            }
            Self::SawAnother { subscriber, seq, event } => {
                write!(f, "saw another: {subscriber} saw event {} at {seq}", hex(event))
            }
            Self::Backwards { before, after } => {
                write!(f, "backwards: a reader saw {after} events, and {before} before that")
            }
            Self::Missed { seq, told } => {
                write!(f, "missed: a read saw {seq} events when {told} were told to others before")
            }
        }
    }
}
