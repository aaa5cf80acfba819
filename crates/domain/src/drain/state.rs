//! The states of a drain and of its tenants.

use std::fmt;

use super::Settings;
use crate::event::Timestamp;
use crate::ids::{DrainId, MigrationId, StoreId, TenantId};

/// The state of a drain. Each variant names who leaves it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum State {
    /// Tenants are moved; left by an operator, by a spent budget, or when no tenant is left to move.
    Running,
    /// No move and no cutover starts; running moves continue. Left by an operator.
    Paused(Halt),
    /// No move starts, and running moves are aborted; left when no move is running.
    Cancelling,
    /// It was cancelled.
    Cancelled,
    /// No tenant is left to move. An operator may retry those that were set aside.
    Finished,
}

/// Why a drain is paused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Halt {
    /// An operator paused it.
    Operator,
    /// Its budget of failures is spent.
    Budget,
}

impl State {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::Running,
        Self::Paused(Halt::Operator),
        Self::Paused(Halt::Budget),
        Self::Cancelling,
        Self::Cancelled,
        Self::Finished,
    ];

    /// The name in output, metrics and records.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Paused(Halt::Operator) => "paused",
            Self::Paused(Halt::Budget) => "budget_spent",
            Self::Cancelling => "cancelling",
            Self::Cancelled => "cancelled",
            Self::Finished => "finished",
        }
    }

    /// The state as part of a sentence.
    pub const fn in_words(self) -> &'static str {
        match self {
            Self::Paused(Halt::Budget) => "paused, because too many tenants failed",
            Self::Cancelling => "being cancelled",
            _ => self.as_str(),
        }
    }

    /// The state of that name.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.as_str() == text)
    }

    /// The drain has ended, unless an operator requests more.
    pub const fn is_over(self) -> bool {
        matches!(self, Self::Cancelled | Self::Finished)
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The number of tenants and events in each state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Tenants that have not started.
    pub waiting: u64,
    /// Tenants that were set aside and are tried again.
    pub again: u64,
    /// Tenants whose migration is at work.
    pub moving: u64,
    /// Tenants that are at their targets.
    pub moved: u64,
    /// Tenants that were tried as often as they may be.
    pub set_aside: u64,
    /// Tenants that are not to be moved.
    pub stays: u64,
    /// Events of those that are to be moved, as counted when the drain began.
    pub events: u64,
    /// Events of those that were moved.
    pub events_moved: u64,
}

impl Counts {
    /// Tenants that are to be moved.
    pub const fn to_move(&self) -> u64 {
        self.waiting + self.again + self.moving + self.moved + self.set_aside
    }

    /// Tenants that are still to be moved.
    pub const fn left(&self) -> u64 {
        self.waiting + self.again + self.moving
    }
}

/// A drain as the control plane stores it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Drain {
    /// Its id.
    pub id: DrainId,
    /// How many facts its log has.
    pub entries: u64,
    /// Its state.
    pub state: State,
    /// What it runs with.
    pub settings: Settings,
    /// The number of tenants in each state.
    pub counts: Counts,
    /// Failures since it was started or resumed.
    pub failures: u32,
    /// The minute, since 1970, in which a cutover was released last, and how many were in it.
    pub released: (i64, u32),
    /// When it was started.
    pub created_at: Timestamp,
    /// Who created it.
    pub created_by: String,
    /// When it came to its end.
    pub ended_at: Option<Timestamp>,
    /// Tenants that the sources still had at its end.
    pub left: Option<u64>,
}

impl Drain {
    /// Cutovers that may still be released in the minute of `at`.
    pub fn releases_left(&self, at: Timestamp) -> u32 {
        let (minute, in_it) = self.released;
        match self.settings.limits.cutovers_per_minute {
            0 => u32::MAX,
            limit if minute == minute_of(at) => limit.saturating_sub(in_it),
            limit => limit,
        }
    }
}

/// The minute since 1970.
pub(super) const fn minute_of(at: Timestamp) -> i64 {
    at.micros().div_euclid(60_000_000)
}

/// Why a tenant is not moved.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Stay {
    /// An operator pinned it.
    Pinned,
    /// The drain excludes it.
    Excluded,
    /// Another drain moves it.
    OtherDrain,
    /// It is at none of the sources any more.
    Gone,
    /// No target can accept it.
    NoTarget,
}

impl Stay {
    /// All of them.
    pub const ALL: [Self; 5] =
        [Self::Pinned, Self::Excluded, Self::OtherDrain, Self::Gone, Self::NoTarget];

    /// The name in output and records.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pinned => "pinned",
            Self::Excluded => "excluded",
            Self::OtherDrain => "other_drain",
            Self::Gone => "gone",
            Self::NoTarget => "no_target",
        }
    }

    /// The reason of that name.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|stay| stay.as_str() == text)
    }
}

/// The state of one tenant of a drain.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TenantState {
    /// It has not started.
    Waiting,
    /// It was set aside and is tried again.
    Again,
    /// Its migration is at work.
    Moving,
    /// It is at its target.
    Moved,
    /// It was tried as often as it may be.
    SetAside,
    /// It is not to be moved.
    Stays(Stay),
}

impl TenantState {
    /// The name in output, metrics and records.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Again => "again",
            Self::Moving => "moving",
            Self::Moved => "moved",
            Self::SetAside => "set_aside",
            Self::Stays(_) => "stays",
        }
    }
}

/// One tenant of a drain as the control plane stores it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tenant {
    /// The tenant.
    pub tenant: TenantId,
    /// Its place in the order, from 1; lower ones come first.
    pub place: u64,
    /// The store that it is to leave.
    pub source: StoreId,
    /// Events when the drain was planned.
    pub events: u64,
    /// Where it goes: as planned, then as its migration has it.
    pub target: Option<StoreId>,
    /// Its state.
    pub state: TenantState,
    /// How often it was tried.
    pub tries: u32,
    /// Its last migration.
    pub migration: Option<MigrationId>,
    /// The process that works on it.
    pub by: Option<Box<str>>,
    /// Its cutover was released by the drain.
    pub released: bool,
    /// Why it was set aside, or why it stays.
    pub why: Option<Box<str>>,
    /// When it entered this state.
    pub since: Timestamp,
}

impl Tenant {
    /// A tenant that is to be moved.
    pub fn waiting(tenant: TenantId, source: StoreId, events: u64, at: Timestamp) -> Self {
        Self {
            tenant,
            place: 0,
            source,
            events,
            target: None,
            state: TenantState::Waiting,
            tries: 0,
            migration: None,
            by: None,
            released: false,
            why: None,
            since: at,
        }
    }

    /// The same, which is not to be moved.
    #[must_use]
    pub fn staying(self, stay: Stay, why: impl Into<Box<str>>) -> Self {
        Self { state: TenantState::Stays(stay), why: Some(why.into()), ..self }
    }
}
