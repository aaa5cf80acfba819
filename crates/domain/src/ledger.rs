//! The ledger: one row per tenant and store, and the rules under which it changes.
//!
//! ```text
//!             activate(E)                 fence(f -> p)
//!   absent ─────────────────▶ active@E ─────────────────▶ fenced@p
//!     │                          ▲  ▲                       │  │
//!     │ adopt(m)      activate(E)│  └───── activate(E) ─────┘  │
//!     ▼                          │                             │ adopt(m)
//!   replica@m ───────────────────┘ ◀───────────────────────────┘
//!     │  ▲ └─ extend(m)                    purge(k)
//!     └──┴──── drop(m) ────────▶ fenced@m ──────────▶ absent@m, a tombstone
//!                                │  ▲
//!                                └──┘ cut_back(k, to)
//! ```
//!
//! Every operation is guarded by an epoch, so the store refuses a process that slept through a change,
//! whatever that process believes. Every operation is idempotent: a retry after a
//! lost reply finds its own effect and returns the same result.
//!
//! An adapter reads the row under its lock, calls the function here, and writes the result
//! together with the events, in one transaction. The rules exist once.

use std::fmt;

use crate::digest::{self, Digest};
use crate::event::Event;
use crate::ids::Epoch;

/// What a store may do with a tenant's history.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// Accepts appends at the ledger's epoch.
    Active,
    /// Accepts only `extend`, from the migration whose epoch the ledger has.
    Replica,
    /// Accepts nothing.
    Fenced,
    /// Has no history; a tombstone once purged.
    Absent,
}

impl Role {
    /// The word used in files, output and errors.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Replica => "replica",
            Self::Fenced => "fenced",
            Self::Absent => "absent",
        }
    }

    /// The role of that name.
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Active, Self::Replica, Self::Fenced, Self::Absent]
            .into_iter()
            .find(|role| role.as_str() == text)
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Where a history ends. Equal heads mean equal histories.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Head {
    /// Number of events; the last one's position.
    pub seq: u64,
    /// The chain up to the last event.
    pub digest: Digest,
}

impl Head {
    /// No event.
    pub const EMPTY: Self = Self { seq: 0, digest: Digest::EMPTY };

    /// The head after `event`.
    pub const fn of(event: &Event) -> Self {
        Self { seq: event.seq, digest: event.digest }
    }
}

/// A tenant's ledger row in one store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Ledger {
    /// What the store may do with the history.
    pub role: Role,
    /// Fencing token; never decreases, survives a purge.
    pub epoch: Epoch,
    /// Where the history ends.
    pub head: Head,
}

/// Why an operation was refused, with the current ledger. Nothing was changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{why}; {}", in_words(ledger))]
pub struct Refused {
    /// The rule that refused it.
    pub why: Refusal,
    /// The ledger that it was checked against.
    pub ledger: Ledger,
}

/// What a store has of a tenant, for people.
fn in_words(ledger: &Ledger) -> String {
    let events = match ledger.head.seq {
        0 => "no events".to_owned(),
        1 => "1 event".to_owned(),
        seq => format!("{seq} events"),
    };
    let has = match ledger.role {
        Role::Active => format!("the store accepts the tenant's appends and has {events}"),
        Role::Replica => format!("the store has a copy of {events}"),
        Role::Fenced => format!("the store accepts no appends of the tenant and has {events}"),
        Role::Absent => "the store has no history of the tenant".to_owned(),
    };
    format!("{has} (epoch {})", ledger.epoch)
}

/// The rules.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The caller's epoch is not the ledger's: one of the two slept.
    #[error("the store has another epoch of the tenant than the request")]
    StaleEpoch,
    /// The store is fenced for this tenant.
    #[error("the tenant is fenced in this store")]
    Fenced,
    /// The operation needs another role.
    #[error("the store is in another role for the tenant")]
    WrongRole,
    /// The history does not end where the caller thought.
    #[error("the history ends elsewhere than the request expects")]
    NotAtHead,
    /// The history is shorter than the route requires.
    #[error("the history is shorter than at the tenant's last switch")]
    BehindBase,
    /// The tenant's history should be here and is not: the store was lost or replaced.
    #[error("the tenant's history is missing from this store")]
    HistoryMissing,
    /// The events given do not continue the chain.
    #[error(
        "the events do not follow the last event of the copy: one of the two stores was changed"
    )]
    BrokenChain,
}

/// The route row's claims about the store that it names; all fields from one row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Activation {
    /// The route's epoch.
    pub epoch: Epoch,
    /// The length of history that the routed store must hold.
    pub base: u64,
    /// Whether the tenant's creation has been completed: if so, an absent history is a lost one.
    pub created: bool,
}

type Change = Result<Ledger, Refused>;

impl Ledger {
    /// A tenant that the store does not know.
    pub const ABSENT: Self = Self { role: Role::Absent, epoch: Epoch::ZERO, head: Head::EMPTY };

    const fn refuse<T>(self, why: Refusal) -> Result<T, Refused> {
        Err(Refused { why, ledger: self })
    }

    fn is(self, role: Role, epoch: Epoch) -> bool {
        self.role == role && self.epoch == epoch
    }

    /// Is an append routed under `epoch` allowed? The caller then moves the head.
    pub fn check_append(self, epoch: Epoch) -> Result<(), Refused> {
        match self.role {
            Role::Active if self.epoch == epoch => Ok(()),
            Role::Active => self.refuse(Refusal::StaleEpoch),
            Role::Fenced => self.refuse(Refusal::Fenced),
            Role::Replica | Role::Absent => self.refuse(Refusal::WrongRole),
        }
    }

    /// Is the history the replica of the migration of epoch `m`?
    pub fn check_replica(self, m: Epoch) -> Result<(), Refused> {
        if self.epoch != m {
            self.refuse(Refusal::StaleEpoch)
        } else if self.role != Role::Replica {
            self.refuse(Refusal::WrongRole)
        } else {
            Ok(())
        }
    }

    /// The history continued by `events`, as the migration of epoch `m` copies it. A
    /// compare-and-set on the head: of two concurrent extends one is refused and continues from the new head.
    pub fn extend(self, m: Epoch, previous: Head, events: &[Event]) -> Change {
        self.check_replica(m)?;
        if self.head != previous {
            return self.refuse(Refusal::NotAtHead);
        }
        match follow_chain(previous, events) {
            Ok(head) => Ok(Self { head, ..self }),
            Err(_) => self.refuse(Refusal::BrokenChain),
        }
    }

    /// Ends the tenant's appends: `active@from` becomes `fenced@to`. The returned head is final: no append
    /// under `from` can follow it.
    pub fn fence(self, from: Epoch, to: Epoch) -> Change {
        if from >= to {
            // A fence raises the epoch; anything else is a caller that mixes two rows up.
            self.refuse(Refusal::StaleEpoch)
        } else if self.is(Role::Fenced, to) {
            Ok(self)
        } else if self.is(Role::Active, from) {
            Ok(Self { role: Role::Fenced, epoch: to, ..self })
        } else if self.role == Role::Active {
            self.refuse(Refusal::StaleEpoch)
        } else {
            self.refuse(Refusal::WrongRole)
        }
    }

    /// Accepts appends at the route's epoch. All three of the arguments and the choice of the store
    /// come from one route row that is not in `cutover_paused`.
    pub fn activate(self, route: Activation) -> Change {
        let active = Self { role: Role::Active, epoch: route.epoch, ..self };
        if self == active {
            return Ok(self);
        }
        if self.epoch >= route.epoch {
            return self.refuse(Refusal::StaleEpoch);
        }
        if self.role == Role::Absent {
            let newborn = route.base == 0 && !route.created;
            return if newborn { Ok(active) } else { self.refuse(Refusal::HistoryMissing) };
        }
        if self.head.seq < route.base {
            return self.refuse(Refusal::BehindBase);
        }
        Ok(active)
    }

    /// The ledger of an unguarded tenant, in a table of another library with this number of its
    /// rows. If the store was released and adopted again, its history is what the table has, and that is
    /// no less than its history at the last switch.
    pub fn of_table(route: Activation, rows: u64) -> Change {
        if route.created && rows > 0 && rows >= route.base {
            return Ok(Self { role: Role::Active, epoch: route.epoch, ..Self::ABSENT });
        }
        Self::ABSENT.activate(route)
    }

    /// Becomes the replica of the migration of epoch `m`. The caller has proven `head` to be a
    /// prefix of the source.
    pub fn adopt(self, m: Epoch, head: Head) -> Change {
        if self.is(Role::Replica, m) {
            return Ok(self);
        }
        if self.role == Role::Active {
            return self.refuse(Refusal::WrongRole);
        }
        if self.epoch >= m {
            return self.refuse(Refusal::StaleEpoch);
        }
        if self.head != head {
            return self.refuse(Refusal::NotAtHead);
        }
        Ok(Self { role: Role::Replica, epoch: m, ..self })
    }

    /// Stops being the replica of the migration of epoch `m`.
    pub fn drop_replica(self, m: Epoch) -> Change {
        if self.is(Role::Fenced, m) {
            Ok(self)
        } else if self.is(Role::Replica, m) {
            Ok(Self { role: Role::Fenced, ..self })
        } else if self.epoch == m {
            self.refuse(Refusal::WrongRole)
        } else {
            self.refuse(Refusal::StaleEpoch)
        }
    }

    /// May a chunk of the tail be removed? Needs `fenced@k`; `absent@k` means all is gone.
    pub fn check_purge(self, k: Epoch) -> Result<(), Refused> {
        if self.is(Role::Fenced, k) || self.is(Role::Absent, k) {
            Ok(())
        } else if self.epoch == k {
            self.refuse(Refusal::WrongRole)
        } else {
            self.refuse(Refusal::StaleEpoch)
        }
    }

    /// May the store of another library's table drop this ledger? Needs `active@epoch`: only the
    /// authority accepts rows without a guard. If already dropped, there is no ledger, which is [`Ledger::ABSENT`].
    pub fn check_unguard(self, epoch: Epoch) -> Result<(), Refused> {
        if self.is(Role::Active, epoch) || self == Self::ABSENT {
            Ok(())
        } else if self.epoch <= epoch {
            self.refuse(Refusal::WrongRole)
        } else {
            self.refuse(Refusal::StaleEpoch)
        }
    }

    /// May the tail be removed down to `to`? Needs `fenced@k`, as a purge does, so no other operation extends the
    /// part that is removed, and a sleeper with an earlier or a later `k` is refused. The caller has
    /// proven `to` to be in the source; `there` is the stored digest of event `to.seq`.
    pub fn check_cut_back(self, k: Epoch, to: Head, there: Option<Digest>) -> Result<(), Refused> {
        self.check_purge(k)?;
        let there = if to.seq == 0 { Some(Digest::EMPTY) } else { there };
        if self.head.seq >= to.seq && there == Some(to.digest) {
            Ok(())
        } else {
            self.refuse(Refusal::NotAtHead)
        }
    }

    /// The ledger once the tail was cut back to `head`; a history without events is still fenced.
    #[must_use]
    pub fn cut_to(self, head: Head) -> Self {
        Self { head, ..self }
    }

    /// The ledger once the tail was cut to `head`: still an honest prefix, or a tombstone.
    #[must_use]
    pub fn purged_to(self, head: Head) -> Self {
        let role = if head.seq == 0 { Role::Absent } else { self.role };
        Self { role, head, ..self }
    }
}

/// Where a chain of events breaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChainBreak {
    /// The position that should come next is not the one given.
    Gap {
        /// The position that should have come.
        expected: u64,
        /// The position that came.
        found: u64,
    },
    /// The stored digest does not match the event's content.
    Digest {
        /// The event's position.
        seq: u64,
    },
}

/// Recomputes the chain from `previous` over `events`; answers the head that they reach.
pub fn follow_chain(previous: Head, events: &[Event]) -> Result<Head, ChainBreak> {
    events.iter().try_fold(previous, |head, event| {
        let expected = head.seq + 1;
        if event.seq != expected {
            return Err(ChainBreak::Gap { expected, found: event.seq });
        }
        if digest::chain(&head.digest, event) != event.digest {
            return Err(ChainBreak::Digest { seq: event.seq });
        }
        Ok(Head::of(event))
    })
}
