//! Which fact may follow in which state, and what it does to the route.

use crate::event::Timestamp;
use crate::ids::{Epoch, MigrationId, StoreId};
use crate::migration::wanted::{ROLLED_BACK, Undone, VETOED, WITHDRAWN};
use crate::migration::{
    Cleanup, CutoverPolicy, Fact, Migration, OldSource, OpenViolation, Phase, Repair,
    RollBackReason, State, Violations, Working,
};
use crate::removal::Removal;
use crate::route::Route;
use crate::verification::{Coverage, Side};

/// Why a fact was not recorded. Nothing was changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The fact cannot follow in this state.
    #[error("{} is not possible while the migration is {phase}{hint}", action(fact), hint = hint(*.phase, fact))]
    NotInThisState {
        /// The fact's name.
        fact: &'static str,
        /// The migration's phase.
        phase: Phase,
    },
    /// The tenant has a migration that is not over.
    #[error(
        "the tenant has another migration, {id}, which is {phase}; finish it or abort it first: `rehome \
         migration show {id}`"
    )]
    AnotherMigration {
        /// The other migration.
        id: MigrationId,
        /// The phase of that migration.
        phase: Phase,
    },
    /// A window is open; it has to be closed before another start.
    #[error(
        "the rollback window of the tenant's last migration is open; wait for its end, or end it with \
         `rehome tenant purge --close-window`"
    )]
    WindowOpen,
    /// The route already points to the target.
    #[error("the tenant's history is already in that store")]
    AlreadyThere,
    /// The change was made of options that are no longer those.
    #[error("its options have changed; re-read the migration and retry")]
    OptionsChanged,
    /// The tenant is being removed.
    #[error("the tenant is being removed; `rehome tenant show` has the command that completes it")]
    BeingRemoved,
    /// No removal is under way.
    #[error("the tenant is not being removed")]
    NotBeingRemoved,
    /// The tenant was never written to.
    #[error("the tenant's creation is not complete")]
    NotCreated,
    /// A violation is open: there is no cutover before it is repaired or refuted.
    #[error("there is no cutover while a violation is open: {}", .open.advice(*.migration))]
    Violated {
        /// The migration that it is open for.
        migration: MigrationId,
        /// The open violation.
        open: Box<OpenViolation>,
    },
    /// No cutover is requested, or it was withdrawn, and no automatic one is due.
    #[error("no cutover is requested, or it was withdrawn")]
    NotWanted,
    /// No cutover is requested.
    #[error("there is no cutover to withdraw: none is requested, and none begins automatically")]
    NothingToWithdraw,
    /// No violation is open.
    #[error("there is nothing to repair: no violation is open")]
    NothingToRepair,
    /// The damage is where nothing can be copied to.
    #[error("a repair copies from the authority, but the damage is in the authority: {}", .open.advice(*.migration))]
    NotRepairable {
        /// The migration that it is open for.
        migration: MigrationId,
        /// The open violation.
        open: Box<OpenViolation>,
    },
}

/// What an operator wanted, in words, of the fact that would have recorded it.
fn action(fact: &str) -> String {
    match fact {
        "cutover_requested" | "cutover_started" => "a cutover".to_owned(),
        "cutover_withdrawn" => "withdrawing a cutover".to_owned(),
        "paused" => "a pause".to_owned(),
        "resumed" => "resuming".to_owned(),
        "aborted" => "an abort".to_owned(),
        "repair_requested" => "a repair".to_owned(),
        "tuned" => "a change of options".to_owned(),
        "acknowledged" => "an acknowledgement".to_owned(),
        other => other.replace('_', " "),
    }
}

fn hint(phase: Phase, fact: &str) -> &'static str {
    match (phase, fact) {
        (Phase::CutoverPaused, _) => "; its cutover finishes or rolls back within its deadline",
        (Phase::DualWrite, "cutover_requested") => "; a cutover was already requested",
        (Phase::Failed, "acknowledged") => "; it was already acknowledged",
        (_, "acknowledged") => {
            "; only a failure, or open violations of a migration that has ended, can be acknowledged"
        }
        (Phase::Migrated, "cutover_requested" | "aborted" | "paused" | "resumed") => {
            "; it has switched already; to go back: `rehome migration return ID`"
        }
        (Phase::RolledBack, "cutover_requested" | "aborted" | "paused" | "resumed") => {
            "; it was aborted; to move the tenant, start another: `rehome migration start`"
        }
        (Phase::Paused, "cutover_requested") => "; resume it first: `rehome migration resume ID`",
        (Phase::Failed, "cutover_requested" | "paused" | "resumed") => {
            "; abort it, or repair it where a violation is open: `rehome migration abort ID`"
        }
        (Phase::Pending, "repair_requested") => "; its copy is already being repaired",
        (Phase::Paused, "repair_requested") => "; resume it first",
        (Phase::Migrated, "repair_requested") => "; only a copy before the switch can be repaired",
        _ => "",
    }
}

/// The state after `fact`: the whole life of a migration in one match.
pub fn transition(state: State, fact: &Fact) -> Result<State, Refusal> {
    use State::{CutoverPaused, Failed, Migrated, Paused, Pending, RolledBack};
    use Working::{BulkCopy, DualWrite};

    let mirroring = |cutover_requested| State::Working(DualWrite { cutover_requested });
    let next = match (state, fact) {
        (Pending, Fact::CopyStarted) => State::Working(BulkCopy),
        (State::Working(BulkCopy), Fact::CopyCompleted { .. }) => mirroring(false),

        (State::Working(DualWrite { cutover_requested: false }), Fact::CutoverRequested) => {
            mirroring(true)
        }
        (State::Working(DualWrite { .. }), Fact::CutoverWithdrawn | Fact::CutoverVetoed { .. }) => {
            mirroring(false)
        }
        (Paused(DualWrite { .. }), Fact::CutoverWithdrawn | Fact::CutoverVetoed { .. }) => {
            Paused(DualWrite { cutover_requested: false })
        }
        (State::Working(DualWrite { .. }), Fact::CutoverStarted { .. }) => CutoverPaused,
        (CutoverPaused, Fact::CutoverRolledBack { .. }) => mirroring(false),
        // The epochs are filled in by `apply`, which knows the route.
        (CutoverPaused, Fact::Switched { .. }) => {
            Migrated { activated: false, old_source: OldSource::Fenced { at: Epoch::ZERO } }
        }

        (State::Working(from), Fact::Paused) => Paused(from),
        (Paused(from), Fact::Resumed) => State::Working(from),
        (Pending | State::Working(_) | Paused(_), Fact::Failed { .. }) => {
            Failed { acknowledged: false }
        }
        (Pending | State::Working(_) | Paused(_) | Failed { .. }, Fact::Aborted { purge }) => {
            RolledBack(Cleanup::Drop { purge: *purge })
        }
        (Failed { acknowledged: false }, Fact::Acknowledged) => Failed { acknowledged: true },
        (RolledBack(Cleanup::Drop { purge: true }), Fact::ReplicaDropped) => {
            RolledBack(Cleanup::Purge)
        }
        (RolledBack(Cleanup::Drop { purge: false }), Fact::ReplicaDropped)
        | (RolledBack(Cleanup::Purge), Fact::Purged { .. }) => RolledBack(Cleanup::Done),

        (Migrated { old_source, .. }, Fact::TargetActivated { .. }) => {
            Migrated { activated: true, old_source }
        }
        (Migrated { activated, old_source: OldSource::Window { m } }, Fact::WindowClosed) => {
            Migrated { activated, old_source: OldSource::Closing { m } }
        }
        (Migrated { activated, old_source: OldSource::Closing { m } }, Fact::ReplicaDropped) => {
            Migrated { activated, old_source: OldSource::Fenced { at: m } }
        }
        (Migrated { activated, old_source: OldSource::Fenced { .. } }, Fact::Purged { .. }) => {
            Migrated { activated, old_source: OldSource::Purged }
        }

        (Migrated { activated, old_source: OldSource::Window { m } }, Fact::Recovered { .. }) => {
            Migrated { activated, old_source: OldSource::Closing { m } }
        }
        (state, Fact::Recovered { .. }) if state.phase().is_terminal() => state,
        (_, Fact::Recovered { .. }) => Failed { acknowledged: false },

        // Open violations are stored beside the state, see `Violations`; they block the cutover, so a requested
        // cutover is dropped.
        (State::Working(DualWrite { .. }), Fact::Violated { .. }) => mirroring(false),
        (Paused(DualWrite { .. }), Fact::Violated { .. }) => {
            Paused(DualWrite { cutover_requested: false })
        }
        (state, Fact::Violated { .. }) => state,
        (State::Working(_) | Failed { .. }, Fact::RepairRequested)
        | (Pending, Fact::CutBack { .. } | Fact::RepairRefused { .. }) => Pending,

        // Noted in any state; they change nothing that is decided on.
        (state, Fact::LeaseTaken { .. } | Fact::Verified { .. } | Fact::ReadBack { .. }) => state,
        (state, Fact::Tuned { .. }) if !state.phase().is_terminal() => state,

        (state, fact) => {
            return Err(Refusal::NotInThisState { fact: fact.name(), phase: state.phase() });
        }
    };
    Ok(next)
}

/// The state after `fact`, or why it cannot be recorded of this migration. `is_last`: it is the last one of its
/// tenant.
pub(super) fn is_next(migration: &Migration, is_last: bool, fact: &Fact) -> Result<State, Refusal> {
    if fact.routes() && !is_last {
        let phase = migration.state.phase();
        return Err(Refusal::NotInThisState { fact: fact.name(), phase });
    }
    // No decision depends on it; health reports it until an operator acknowledges it.
    if *fact == Fact::Acknowledged
        && migration.state.phase().is_terminal()
        && migration.violations.open.is_some()
    {
        return Ok(migration.state);
    }
    let state = transition(migration.state, fact)?;
    migration.permits(fact)?;
    Ok(state)
}

/// Records `fact`: the route and the migration after it, or why not. `migration` is `None` only
/// for [`Fact::Started`]. The control plane calls this inside its transaction, on the rows that it
/// has just read and compared, and writes what it answers.
///
/// A cutover begins only while one is wanted: here it is decided which of two was first, the beginning of a cutover
/// or its withdrawal.
pub fn apply(
    route: &Route,
    migration: Option<&Migration>,
    fact: &Fact,
    at: Timestamp,
) -> Result<(Route, Migration), Refusal> {
    if let (Some(migration), Fact::CutoverStarted { .. }) = (migration, fact)
        && matches!(migration.state, State::Working(Working::DualWrite { .. }))
        && !migration.wants_cutover()
    {
        return Err(Refusal::NotWanted);
    }
    follow(route, migration, fact, at)
}

/// The rows after a fact that was recorded: logs have cutovers that began before a withdrawal was a rule.
fn follow(
    route: &Route,
    migration: Option<&Migration>,
    fact: &Fact,
    at: Timestamp,
) -> Result<(Route, Migration), Refusal> {
    let mut route = route.clone();
    let Some(migration) = migration else {
        return start(route, fact, at);
    };
    let mut migration = migration.clone();
    let last = route.migration.is_some_and(|(id, _)| id == migration.id);
    migration.state = is_next(&migration, last, fact)?;
    if *fact == Fact::Acknowledged && migration.state.phase().is_terminal() {
        migration.violations.open = None;
        return Ok((route, migration));
    }
    migration.violations.follow(fact);

    match fact {
        Fact::CopyStarted => {
            migration.started_at.get_or_insert(at);
        }
        Fact::CutoverStarted { deadline_ms } => {
            route.prev_epoch = route.epoch;
            route.epoch = route.next_epoch();
            route.deadline_ms = *deadline_ms;
            migration.cutover_attempts += 1;
        }
        Fact::CutoverRolledBack { reason } => {
            route.epoch = route.next_epoch();
            migration.error = Some(format!("{ROLLED_BACK}: {reason}").into());
        }
        Fact::CutoverRequested
            if matches!(migration.undone(), Some(Undone::Withdrawn | Undone::Vetoed)) =>
        {
            migration.error = None;
        }
        Fact::CutoverWithdrawn => {
            migration.options.cutover = CutoverPolicy::Manual;
            migration.error = Some(WITHDRAWN.into());
        }
        Fact::CutoverVetoed { hook, why } => {
            migration.error = Some(format!("{VETOED} by hook {hook}: {why}").into());
        }
        Fact::Switched { head } => {
            let fenced_at = route.epoch;
            route.store = migration.target.clone();
            route.epoch = route.next_epoch();
            route.base = head.seq;
            route.window = migration.options.rollback_window_ms > 0;
            if route.window {
                route.m = route.next_epoch();
            }
            migration.state = State::Migrated {
                activated: false,
                old_source: if route.window {
                    OldSource::Window { m: route.m }
                } else {
                    OldSource::Fenced { at: fenced_at }
                },
            };
            migration.error = None;
            migration.completed_at = Some(at);
        }
        Fact::Failed { error } => {
            migration.error = Some(error.clone());
            migration.completed_at = Some(at);
        }
        Fact::Aborted { .. } => migration.completed_at = Some(at),
        Fact::RepairRequested => (migration.completed_at, migration.error) = (None, None),
        Fact::CutBack { .. } => {
            route.m = route.next_epoch();
            migration.m = route.m;
        }
        Fact::WindowClosed => route.window = false,
        Fact::Recovered { store, n, base } => {
            route = recovered(route, store, *n, *base);
            if migration.state.phase() == Phase::Failed {
                migration.error =
                    Some("the control plane is older than the stores; see `rehome recover`".into());
                migration.completed_at = Some(at);
            }
        }
        Fact::Tuned { was: Some(was), .. } if *was != migration.options => {
            return Err(Refusal::OptionsChanged);
        }
        Fact::Tuned { options, .. } => migration.options = *options,
        _ => {}
    }
    if fact.routes() {
        route.rev += 1;
        route.migration = Some((migration.id, migration.state.phase()));
    }
    Ok((route, migration))
}

impl Migration {
    /// Whether the open violations permit the fact.
    fn permits(&self, fact: &Fact) -> Result<(), Refusal> {
        let open = self.violations.open.as_ref();
        let refused = |open: &OpenViolation| (self.id, Box::new(open.clone()));
        let impossible =
            || Refusal::NotInThisState { fact: fact.name(), phase: self.state.phase() };
        let cutting = open.is_some_and(|open| open.repair == Repair::Requested);
        match (fact, open) {
            (
                Fact::CutoverRequested | Fact::CutoverStarted { .. } | Fact::Switched { .. },
                Some(open),
            ) => {
                let (migration, open) = refused(open);
                Err(Refusal::Violated { migration, open })
            }
            (Fact::CutoverWithdrawn, _) if !self.wants_cutover() => Err(Refusal::NothingToWithdraw),
            (Fact::RepairRequested, None) => Err(Refusal::NothingToRepair),
            (Fact::RepairRequested, Some(open)) if open.finding.side == Side::Authority => {
                let (migration, open) = refused(open);
                Err(Refusal::NotRepairable { migration, open })
            }
            // While a copy is being cut back it is not a replica.
            (Fact::CopyStarted, _) if cutting => Err(impossible()),
            (Fact::CutBack { .. } | Fact::RepairRefused { .. }, _) if !cutting => Err(impossible()),
            _ => Ok(()),
        }
    }
}

impl Violations {
    /// The open violations after `fact`.
    fn follow(&mut self, fact: &Fact) {
        match (fact, &mut self.open) {
            (Fact::Violated { finding }, _) => self.record(finding),
            (Fact::RepairRequested, Some(open)) => open.repair = Repair::Requested,
            (Fact::RepairRefused { why }, Some(open)) => {
                open.repair = Repair::NotRequested;
                open.finding.side = Side::Authority;
                open.finding.first = why.clone();
            }
            (Fact::CutBack { .. }, Some(open)) => {
                open.repair = Repair::CutBack;
                self.repairs += 1;
            }
            (&Fact::Verified { level, after, seq, whole, violations: 0, refutes }, Some(open)) => {
                let looked = Coverage { level, after, upto: seq, whole };
                if refutes == Some(open.number)
                    && open.repair != Repair::Requested
                    && looked.includes(open.finding.coverage)
                {
                    self.open = None;
                }
            }
            // The copy is thrown away.
            (Fact::Aborted { .. } | Fact::Purged { .. }, Some(open))
                if open.finding.side != Side::Authority =>
            {
                self.open = None;
            }
            _ => {}
        }
    }
}

/// More epochs than any tenant can draw in the time that a restored backup loses: each
/// cutover draws a few.
const EPOCHS_PERHAPS_LOST: u64 = 1_000;

/// Whether a start to this store brings it a tenant: not one that returns to where its last migration found it.
/// Cordons are about arrivals.
pub fn arrives(target: &StoreId, last: Option<&Migration>) -> bool {
    !last.is_some_and(|last| last.source == *target && matches!(last.state, State::Migrated { .. }))
}

/// Whether the route was recovered since the epoch was drawn, and so is about what an operator found.
pub fn has_leapt(route: &Route, since: Epoch) -> bool {
    route.epoch.0 > since.0.saturating_add(EPOCHS_PERHAPS_LOST)
}

/// The route after an operator has chosen the authority of a control plane that was restored from a backup:
/// its epoch is above every epoch that a store has seen, and above those that were drawn in the
/// lost time and reached no store, because processes may still have a route with them.
pub fn recovered(mut route: Route, store: &StoreId, n: Epoch, base: u64) -> Route {
    route.n = Epoch(route.n.max(n).0 + EPOCHS_PERHAPS_LOST);
    route.store = store.clone();
    route.epoch = route.next_epoch();
    route.base = base;
    // Without events the store may have a tombstone: the tenant was removed in the lost time.
    route.created = base > 0;
    route.window = false;
    route.removal = None;
    route
}

fn start(mut route: Route, fact: &Fact, at: Timestamp) -> Result<(Route, Migration), Refusal> {
    let Fact::Started { migration: id, target, options } = fact else {
        return Err(Refusal::NotInThisState { fact: fact.name(), phase: Phase::Pending });
    };
    if let Some((id, phase)) = route.migration.filter(|(_, phase)| !phase.is_terminal()) {
        return Err(Refusal::AnotherMigration { id, phase });
    }
    if route.window {
        return Err(Refusal::WindowOpen);
    }
    if matches!(route.removal, Some(Removal::Running { .. })) {
        return Err(Refusal::BeingRemoved);
    }
    if !route.created {
        return Err(Refusal::NotCreated);
    }
    if route.store == *target {
        return Err(Refusal::AlreadyThere);
    }
    route.rev += 1;
    route.m = route.next_epoch();
    route.migration = Some((*id, Phase::Pending));
    let migration = Migration {
        id: *id,
        tenant: route.tenant,
        source: route.store.clone(),
        target: target.clone(),
        m: route.m,
        state: State::Pending,
        options: *options,
        cutover_attempts: 0,
        created_at: at,
        started_at: None,
        completed_at: None,
        error: None,
        violations: Violations::default(),
    };
    Ok((route, migration))
}

/// Replays a log from its initial route: the expected rows. Recovery and the audit of
/// a control plane use it.
pub fn fold<'a>(
    route: &Route,
    facts: impl IntoIterator<Item = (Timestamp, &'a Fact)>,
) -> Result<Option<(Route, Migration)>, Refusal> {
    facts.into_iter().try_fold(None::<(Route, Migration)>, |folded, (at, fact)| match &folded {
        None => follow(route, None, fact, at).map(Some),
        Some((route, migration)) => follow(route, Some(migration), fact, at).map(Some),
    })
}

impl RollBackReason {
    /// Whether time ran out, rather than something failing.
    pub fn is_timeout(&self) -> bool {
        *self == Self::TimedOut
    }
}
