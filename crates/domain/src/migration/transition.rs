//! Which fact may follow in which state, and what it does to the route.

use crate::event::Timestamp;
use crate::ids::{Epoch, MigrationId, StoreId};
use crate::migration::{
    Cleanup, Fact, Migration, OldSource, OpenViolation, Phase, Repair, RollBackReason, State,
    Violations, Working,
};
use crate::route::Route;
use crate::verification::{Coverage, Side};

/// Why a fact was not recorded. Nothing was changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The fact cannot follow in this state.
    #[error("{fact} is not possible while the migration is {phase}{hint}", hint = hint(*.phase, fact))]
    NotInThisState {
        /// The fact's name.
        fact: &'static str,
        /// Where the migration stands.
        phase: Phase,
    },
    /// The tenant has a migration that is not over.
    #[error("the tenant has another migration, which is {0}; finish or abort it first")]
    AnotherMigration(Phase),
    /// A window is open; it has to be closed before another start.
    #[error("the rollback window of the tenant's last migration is open")]
    WindowOpen,
    /// The route already points to the target.
    #[error("the tenant's history is already in that store")]
    AlreadyThere,
    /// The change was made of options that are no longer those.
    #[error("its options were changed meanwhile; look, then say it again")]
    OptionsChanged,
    /// The tenant was never written to.
    #[error("the tenant's creation is not complete")]
    NotCreated,
    /// What was found to be wrong is open: there is no cutover before it is repaired or refuted.
    #[error("there is no cutover while a violation is open: {}", .open.advice(*.migration))]
    Violated {
        /// The migration that it is open for.
        migration: MigrationId,
        /// What is open.
        open: Box<OpenViolation>,
    },
    /// No violation is open.
    #[error("there is nothing to repair: no violation is open")]
    NothingToRepair,
    /// The damage is where nothing can be copied to.
    #[error("a repair copies from the authority, and the damage is there: {}", .open.advice(*.migration))]
    NotRepairable {
        /// The migration that it is open for.
        migration: MigrationId,
        /// What is open.
        open: Box<OpenViolation>,
    },
}

fn hint(phase: Phase, fact: &str) -> &'static str {
    match (phase, fact) {
        (Phase::CutoverPaused, _) => "; its cutover finishes or rolls back within its deadline",
        (Phase::DualWrite, "cutover_requested") => "; a cutover was already asked for",
        (Phase::Failed, "acknowledged") => "; that was acknowledged already",
        (_, "acknowledged") => {
            "; only a failed one is acknowledged, or what is open of one that is over"
        }
        (Phase::Pending, "repair_requested") => "; its copy is being cut back, or has just been",
        (Phase::Paused, "repair_requested") => "; resume it first",
        (Phase::Migrated, "repair_requested") => {
            "; a repair is of a copy that is still to be switched to"
        }
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

        // What is open is kept beside the state, see `Violations`; there is no cutover with it, so none
        // is asked for any more.
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

/// Records `fact`: the route and the migration after it, or why not. `migration` is `None` only
/// for [`Fact::Started`]. The control plane calls this inside its transaction, on the rows that it
/// has just read and compared, and writes what it answers.
pub fn apply(
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
    if fact.routes() && !last {
        let phase = migration.state.phase();
        return Err(Refusal::NotInThisState { fact: fact.name(), phase });
    }
    if *fact == Fact::Acknowledged && migration.state.phase().is_terminal() {
        // Nothing is decided on it any more; health tells of it until somebody has seen it.
        if migration.violations.open.take().is_some() {
            return Ok((route, migration));
        }
    }
    let state = transition(migration.state, fact)?;
    migration.permits(fact)?;
    migration.state = state;
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
            migration.error = Some(format!("last cutover rolled back: {reason}").into());
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
                migration.error = Some("the control plane lost time; see `rehome recover`".into());
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
    /// Whether what is open permits the fact.
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
            (Fact::RepairRequested, None) => Err(Refusal::NothingToRepair),
            (Fact::RepairRequested, Some(open)) if open.finding.side == Side::Authority => {
                let (migration, open) = refused(open);
                Err(Refusal::NotRepairable { migration, open })
            }
            // A copy that is being cut back is nobody's replica.
            (Fact::CopyStarted, _) if cutting => Err(impossible()),
            (Fact::CutBack { .. } | Fact::RepairRefused { .. }, _) if !cutting => Err(impossible()),
            _ => Ok(()),
        }
    }
}

impl Violations {
    /// What is open after `fact`.
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

/// More epochs than any tenant is handed out in the time that a restored backup loses: each
/// cutover takes a few.
const EPOCHS_PERHAPS_LOST: u64 = 1_000;

/// The route once an operator has said where the authority is, after the control plane lost time:
/// every epoch that a store has seen is behind it, and so is every one that was handed out in the
/// time that was lost and reached no store: processes may still hold a route with it.
pub fn recovered(mut route: Route, store: &StoreId, n: Epoch, base: u64) -> Route {
    route.n = Epoch(route.n.max(n).0 + EPOCHS_PERHAPS_LOST);
    route.store = store.clone();
    route.epoch = route.next_epoch();
    route.base = base;
    route.created = true;
    route.window = false;
    route
}

fn start(mut route: Route, fact: &Fact, at: Timestamp) -> Result<(Route, Migration), Refusal> {
    let Fact::Started { migration: id, target, options } = fact else {
        return Err(Refusal::NotInThisState { fact: fact.name(), phase: Phase::Pending });
    };
    if let Some(phase) = route.phase().filter(|phase| !phase.is_terminal()) {
        return Err(Refusal::AnotherMigration(phase));
    }
    if route.window {
        return Err(Refusal::WindowOpen);
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

/// Replays a log from the route it began with: what the rows must say. Recovery and the audit of
/// a control plane use it.
pub fn fold<'a>(
    route: &Route,
    facts: impl IntoIterator<Item = (Timestamp, &'a Fact)>,
) -> Result<Option<(Route, Migration)>, Refusal> {
    facts.into_iter().try_fold(None::<(Route, Migration)>, |folded, (at, fact)| match &folded {
        None => apply(route, None, fact, at).map(Some),
        Some((route, migration)) => apply(route, Some(migration), fact, at).map(Some),
    })
}

impl RollBackReason {
    /// Whether time ran out, rather than something failing.
    pub fn is_timeout(&self) -> bool {
        *self == Self::TimedOut
    }
}
