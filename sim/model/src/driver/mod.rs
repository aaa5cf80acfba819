//! A coordinator: the driver of `crates/engine/src/migration/driver.rs`, which observes, calls the
//! domain's [`decide`] for a command, and carries it out, one remote call after the other. Each
//! file here corresponds to the file of that name under `migration/steps`.
//!
//! It holds no lease: in the model every lease expires at once, so any coordinator may work. It
//! keeps nothing from one command to the next, so a driver that died and a driver that has finished
//! its command are the same.

mod clean_up;
mod cutover;
mod mirror;
mod prepare;
mod repair;

use rehome_domain::event::Timestamp;
use rehome_domain::ids::Epoch;
use rehome_domain::migration::{
    Cleanup, Command, Migration, Observation, OldSource, State, decide,
};
use rehome_domain::route::Route;

use crate::call::{Answer, Call, Change};
use crate::names::{NOW, Site};
use crate::rule::Rule;
use clean_up::{Purge, Retire};
pub use cutover::CutOver;
use mirror::{Mirror, Window};
use prepare::Prepare;
use repair::Repair;

/// A coordinator, and what it is in the middle of.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Driver(pub Option<(Task, Step)>);

/// A driver's data about its migration. A repair changes the epoch in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Task {
    /// Which migration.
    pub id: u8,
    /// Its epoch.
    pub m: Epoch,
    /// The source.
    pub source: Site,
    /// The target.
    pub target: Site,
    /// The violation to refute once the target has caught up: of a repaired copy.
    pub refutes: Option<u32>,
}

/// Where in a command a driver is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Step {
    /// [`Command::Prepare`].
    Prepare(Prepare),
    /// [`Command::Copy`]; with so few events the lag is within its bound at once, so the copying
    /// itself is left to the mirror, which does it by the same calls.
    BeginMirroring(Option<u64>),
    /// [`Command::Repair`].
    Repair(Repair),
    /// [`Command::Follow`], and the mirroring of a window.
    Mirror(Mirror),
    /// The verification of a copy that was cut back.
    Verify(u32),
    /// [`Command::CutOver`] and [`Command::ActivateTarget`].
    CutOver(CutOver),
    /// [`Command::KeepWindow`].
    Window(Window),
    /// [`Command::CloseWindow`].
    CloseWindow(Option<u64>),
    /// [`Command::DropOldReplica`] and the first stage of [`Command::CleanUp`].
    Retire(Retire),
    /// The second stage of [`Command::CleanUp`].
    Purge(Purge),
}

/// A command's next step; `None` when it is over, well or not.
type Next = Option<Step>;

/// The driver's next command for a migration. `eager`: it is time to cut over, or the window has
/// ended; both depend on clocks, so both are always possible.
pub fn command(migration: &Migration, eager: bool) -> Command {
    let now = if eager { Timestamp::from_micros(i64::MAX) } else { NOW };
    decide(&Observation {
        migration,
        source_seq: 0,
        target_seq: 0,
        read_back_seq: 0,
        verified: true,
        target_healthy: true,
        retry_due: eager,
        now,
    })
}

impl Driver {
    /// Starts the command for the migration's row. The first remote call is not part of
    /// it, so a driver may sleep between its observation and its action.
    pub(crate) fn observe(id: u8, migration: &Migration, eager: bool, early: bool) -> Self {
        let task = Task {
            id,
            m: migration.m,
            source: Site::of(&migration.source),
            target: Site::of(&migration.target),
            refutes: migration
                .violations
                .open
                .as_ref()
                .filter(|open| open.is_cut_back())
                .map(|open| open.number),
        };
        let step = if early {
            Some(Step::Retire(Retire::of_target(task, true)))
        } else {
            first(task, migration.state, command(migration, eager))
        };
        Self(step.map(|step| (task, step)))
    }

    /// The next remote call; `None` when it is to observe.
    pub(crate) fn call(&self) -> Option<Call> {
        let (task, step) = self.0.as_ref()?;
        Some(match step {
            Step::Prepare(prepare) => prepare.call(*task),
            Step::BeginMirroring(None) | Step::CloseWindow(None) => Call::route(),
            Step::BeginMirroring(Some(rev)) => Call::record(task.id, *rev, Change::CopyCompleted),
            Step::CloseWindow(Some(rev)) => Call::record(task.id, *rev, Change::WindowClosed),
            Step::Repair(repair) => repair.call(*task),
            Step::Mirror(mirror) => mirror.call(),
            Step::Verify(refutes) => Call::note(task.id, Change::Verified(*refutes)),
            Step::CutOver(cutover) => cutover.call(*task),
            Step::Window(window) => window.call(*task),
            Step::Retire(retire) => retire.call(*task),
            Step::Purge(purge) => purge.call(*task),
        })
    }

    /// Continues with the result.
    pub(crate) fn resume(&mut self, answer: Answer, without: Option<Rule>) {
        let Some((task, step)) = self.0.take() else { return };
        let next = match step {
            Step::Prepare(prepare) => prepare.resume(task, answer, without),
            Step::BeginMirroring(None) => match answer {
                Answer::Row(Some(route)) if is_copying(&route) => {
                    Some(Step::BeginMirroring(Some(route.rev)))
                }
                _ => None,
            },
            Step::CloseWindow(None) => match answer {
                Answer::Row(Some(route)) if route.window && is_of(&route, task) => {
                    Some(Step::CloseWindow(Some(route.rev)))
                }
                _ => None,
            },
            Step::BeginMirroring(Some(_)) | Step::CloseWindow(Some(_)) | Step::Verify(_) => None,
            Step::Repair(repair) => repair.resume(task, answer),
            Step::Mirror(mirror) => mirror.resume(task, answer),
            Step::CutOver(cutover) => cutover.resume(task, answer, without),
            Step::Window(window) => window.resume(task, answer),
            Step::Retire(retire) => retire.resume(answer),
            Step::Purge(purge) => purge.resume(&answer),
        };
        self.0 = next.map(|step| (task, step));
    }

    /// In the pause: the driver with its deadline passed, which gives the cutover up.
    pub(crate) fn expired(&self) -> Option<Self> {
        match &self.0 {
            Some((task, Step::CutOver(cutover))) => {
                Some(Self(Some((*task, Step::CutOver(cutover.expired()?)))))
            }
            _ => None,
        }
    }

    /// Whether it has decided to roll a cutover back.
    pub(crate) fn is_rolling_back(&self) -> bool {
        matches!(&self.0, Some((_, Step::CutOver(CutOver::RollBack { .. }))))
    }
}

fn first(task: Task, state: State, command: Command) -> Next {
    Some(match command {
        Command::Prepare => Step::Prepare(Prepare::Route),
        Command::Repair => Step::Repair(Repair::Scan),
        Command::Copy => Step::BeginMirroring(None),
        Command::Follow => Step::Mirror(Mirror::open(task.source, task.target, task.m)),
        Command::CutOver => Step::CutOver(CutOver::Route),
        Command::ActivateTarget => Step::CutOver(CutOver::TargetRoute),
        Command::KeepWindow => match state {
            State::Migrated { old_source: OldSource::Window { m }, .. } => {
                Step::Window(Window::Look { m })
            }
            _ => return None,
        },
        Command::CloseWindow => Step::CloseWindow(None),
        Command::DropOldReplica => match state {
            State::Migrated { old_source: OldSource::Closing { m }, .. } => {
                Step::Retire(Retire::of_source(task, m))
            }
            _ => return None,
        },
        Command::CleanUp => match state {
            State::RolledBack(Cleanup::Drop { .. }) => Step::Retire(Retire::of_target(task, false)),
            _ => Step::Purge(Purge::begin(task)),
        },
        Command::Wait | Command::Done => return None,
    })
}

fn is_copying(route: &Route) -> bool {
    route.phase() == Some(rehome_domain::migration::Phase::BulkCopy)
}

fn is_of(route: &Route, task: Task) -> bool {
    route.migration.is_some_and(|(id, _)| id == crate::names::migration_id(task.id))
}
