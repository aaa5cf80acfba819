//! The fault of one call of one process.

use std::fmt;

use crate::dice::Dice;

/// What a call is made to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    /// Store `a`.
    A,
    /// Store `b`.
    B,
    /// The control plane.
    Control,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::A => "a",
            Self::B => "b",
            Self::Control => "control",
        })
    }
}

/// One call, by who made it, of what, and how many of its kind there were before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct CallId {
    /// The process, counted from 1; its later lives continue the count.
    pub process: usize,
    /// The called operation.
    pub place: Place,
    /// The operation, or the fact to be recorded.
    pub op: &'static str,
    /// From 1.
    pub nth: u64,
}

impl fmt::Display for CallId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "p{} {}.{}#{}", self.process, self.place, self.op, self.nth)
    }
}

/// A fault of a call. Times are milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It never arrives; the caller gets an error.
    Refused,
    /// It is applied, and its reply is lost.
    Lost,
    /// It is on its way for so long, also when the caller has given it up.
    Late(u64),
    /// The process dies before it is sent.
    KilledBefore,
    /// The process dies after it was applied, before the reply arrives.
    KilledAfter,
    /// The process sleeps before it is sent.
    AsleepBefore(u64),
    /// The process sleeps after it was applied, before the reply arrives.
    AsleepAfter(u64),
}

impl Fate {
    /// Its kind, for coverage.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Refused => "refused",
            Self::Lost => "reply lost",
            Self::Late(_) => "late",
            Self::KilledBefore => "killed before",
            Self::KilledAfter => "killed after",
            Self::AsleepBefore(_) => "asleep before",
            Self::AsleepAfter(_) => "asleep after",
        }
    }

    /// Drawn for a call. `scale`, in percent: how rough the run is.
    pub(crate) fn draw(
        mut dice: Dice,
        call: &CallId,
        scale: u64,
        favourite: &Favourite,
    ) -> Option<Self> {
        let is_favourite = favourite.steps.contains(&call.op);
        // Steps of the protocol are rare, and often get a fault; frequent calls do not.
        let chance = match call.op {
            _ if is_favourite => 550,
            "fence" | "switched" | "cutover_rolled_back" | "create_route" => 250,
            _ if is_step(call) => 110,
            _ => 6,
        };
        if !dice.permille(chance * scale / 100) {
            return None;
        }
        let manner = favourite.manner.filter(|_| is_favourite);
        let very = manner.is_some() || dice.permille(300);
        let long = dice.between(50, if very { LATE_MS_MAX } else { 1_500 });
        let drawn = dice.throw() % 16;
        Some(match manner.unwrap_or(drawn) {
            0..LOST => Self::Refused,
            LOST..LATE => Self::Lost,
            LATE..9 => Self::Late(long),
            9..11 => Self::KilledBefore,
            11..13 => Self::KilledAfter,
            ASLEEP_BEFORE => Self::AsleepBefore(long),
            _ => Self::AsleepAfter(long),
        })
    }
}

/// The steps that get a fault more often than not in a run.
#[derive(Clone, Copy, Debug)]
pub struct Favourite {
    /// Operations, or facts to be recorded.
    pub(crate) steps: [&'static str; 2],
    /// By what, in sixteenths as [`Fate::draw`] reads them; `None`: by anything.
    pub(crate) manner: Option<u64>,
}

impl Favourite {
    /// Drawn for a run; in half of them the steps get the same fault repeatedly.
    pub(crate) fn draw(dice: Dice) -> Self {
        let manners = [None, None, None, Some(LOST), Some(LATE), Some(ASLEEP_BEFORE)];
        let manner = dice.of("manner").pick(&manners);
        let mut steps = dice.of("favourite");
        Self { steps: [steps.pick(&STEPS), steps.pick(&STEPS)], manner }
    }
}

/// Longest that a call is on its way, or its process asleep over it, in milliseconds.
pub(crate) const LATE_MS_MAX: u64 = 4_000;

const LOST: u64 = 3;
const LATE: u64 = 6;
const ASLEEP_BEFORE: u64 = 13;

/// The steps that a run may have as its favourite.
const STEPS: [&str; 16] = [
    "create_route",
    "mark_created",
    "started",
    "copy_started",
    "copy_completed",
    "cutover_started",
    "fence",
    "switched",
    "cutover_rolled_back",
    "activate",
    "target_activated",
    "adopt",
    "drop_replica",
    "replica_dropped",
    "purge",
    "purged",
];

/// Whether the call is a step of the protocol, and not one of the many reads and appends.
fn is_step(call: &CallId) -> bool {
    !matches!(
        call.op,
        "append"
            | "extend"
            | "ledger"
            | "read_feed"
            | "read_stream"
            | "digest_at"
            | "streams"
            | "route"
            | "migration"
            | "migrations"
            | "lease"
            | "lease_holder"
            | "marks"
            | "set_marks"
            | "set_checkpoint"
    )
}

impl fmt::Display for Fate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())?;
        match self {
            Self::Late(ms) | Self::AsleepBefore(ms) | Self::AsleepAfter(ms) => {
                write!(f, " for {ms} ms")
            }
            _ => Ok(()),
        }
    }
}
