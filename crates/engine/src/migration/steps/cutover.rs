//! The cutover: seven steps, and the roll back beside them.
//!
//! ```text
//! 1 ready?          activate(source, r.epoch)       an unfinished roll back must not defeat the fence
//! 2 intent          control plane, on r             dual_write -> cutover_paused, with a deadline
//! 3 fence           source: fence(prev -> epoch)    the pause begins
//! 4 catch up        target: extend to the head      and read back what was not yet read back
//! 5 compare         (seq, digest) of both
//! 6 switch          control plane, on the rev of 2  cutover_paused -> migrated: no return
//! 7 activate        target: activate(epoch, base)   the pause ends
//!
//! any failure, or the deadline, before 6:  control plane, on the rev of 2: -> dual_write,
//!                                          then activate(source, epoch)
//! ```
//!
//! Step 6 and the roll back exclude each other because both are compare-and-sets on the revision
//! that step 2 created. A driver that finds `cutover_paused` continues at step 3 on the row it finds.

use std::cmp::Ordering;
use std::sync::Arc;
use std::time::Duration;

use rehome_domain::ledger::Head;
use rehome_domain::migration::{Fact, Phase, RollBackReason};
use rehome_domain::route::Route;
use rehome_domain::verification::{Side, Violation, ViolationType};
use rehome_ports::{ControlError, EVENTS_IN_BULK, End, Room, StoreError};
use tokio::time::Instant;

use super::{Context, StepError};
use crate::auditor::ReadBack;
use crate::failpoint;
use crate::publish::Moved;
use crate::replica::Replica;
use crate::signal::{CutoverPart, Signal, Way};

/// So few events are left for the pause.
const EARLY_ENOUGH: u64 = 16;
/// Rounds of catching up before the pause: each is shorter than the one before it, unless the
/// tenant writes faster than the target accepts.
const EARLY_ROUNDS_MAX: u32 = 4;

/// How a cutover ended.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum CutoverEnd {
    /// The target has the authority; step 7 may still be due.
    Switched,
    /// The lag is over its bound after all; nothing was changed.
    NotReady,
    /// The source continues.
    RolledBack(RollBackReason),
}

impl Context {
    /// Switches the tenant to the target, or puts all back as it was.
    pub(crate) async fn cut_over(&self, mut read_back: ReadBack) -> Result<CutoverEnd, StepError> {
        let mut route = self.route().await?;
        if !self.is_to_cut_over(&route) {
            // Another driver switched, or another migration has the tenant: observe again.
            return Err(ControlError::Stale(Box::new(route)).into());
        }
        // A driver that took over in the pause has none, and may have to give the cutover up for one in the opposite direction.
        let mut rooms = Vec::new();
        if let Some(activation) = route.activation() {
            let store = self.engine.stores.get(&route.store)?;
            let source = store.activate(self.tenant(), activation).await?.head.seq; // 1
            let target = self.target.ledger(self.tenant()).await?.head.seq;
            let bound = u64::from(self.migration.options.lag_events_max);
            if source.saturating_sub(target.min(read_back.verified.seq)) > bound {
                self.tell(CutoverPart::Refused, Instant::now(), None);
                return Ok(CutoverEnd::NotReady);
            }
            self.read_again(&mut read_back).await?;
            self.can_publish().await?;
            rooms = self.make_room().await?;
            self.catch_up_early(&mut read_back).await?;
            self.source.before_fence(self.tenant()).await;
            failpoint::hit("cutover.ready");
            let deadline_ms = u64::from(self.migration.options.cutover_timeout_ms);
            let intent = Fact::CutoverStarted { deadline_ms };
            let recorded = self.record(route.rev, intent).await; // 2
            route = match recorded {
                Ok(recorded) => recorded.route,
                Err(error) => {
                    self.source.fence_is_over(self.tenant()).await;
                    return Err(error.into());
                }
            };
            failpoint::hit("cutover.intent");
        }
        // A driver that took over counts from when its process first saw the pause.
        let began = self.deadline(&route) - Duration::from_millis(route.deadline_ms);
        let ended = self.finish(&route, read_back).await;
        let error = match &ended {
            Ok(CutoverEnd::RolledBack(reason)) => Some(reason.to_string()),
            Ok(_) => None,
            Err(error) => Some(error.to_string()),
        };
        self.tell(CutoverPart::Pause, began, error.as_deref());
        drop(rooms);
        ended
    }

    /// At both stores, in one order for all: two cutovers never have one each and wait for the other (rule R16).
    async fn make_room(&self) -> Result<Vec<Room>, StoreError> {
        let mut stores = [(&self.source, End::Source), (&self.target, End::Target)];
        stores.sort_unstable_by_key(|(store, _)| store.id());
        let mut rooms = Vec::new();
        for (store, end) in stores {
            rooms.extend(store.make_room(self.tenant(), end).await?);
        }
        Ok(rooms)
    }

    /// If a switch cannot be published now, it could not be published in the pause either.
    pub(crate) async fn can_publish(&self) -> Result<(), StepError> {
        let Some(publisher) = &self.engine.publisher else { return Ok(()) };
        publisher.ready(self.tenant()).await.map_err(|why| {
            StepError::Unpublished(format!("a switch cannot be published now: {why}"))
        })
    }

    /// Steps 3 to 7, or the roll back.
    async fn finish(&self, route: &Route, read_back: ReadBack) -> Result<CutoverEnd, StepError> {
        if let Some(open) = &self.migration.violations.open {
            // Found in the pause: there is no step 6 with it, so writers need not wait for the others.
            let reason = RollBackReason::Failed(open.finding.to_string().into());
            return self.roll_back(route, reason).await;
        }
        let deadline = self.deadline(route);
        match tokio::time::timeout_at(deadline, self.switch(route, read_back)).await {
            Ok(Ok(())) => {
                match self.activate_target().await {
                    // The next command publishes it; the switch is done.
                    Err(error @ StepError::Unpublished(_)) => {
                        tracing::warn!(migration_id = %self.migration.id, %error, "Switch not published yet");
                    }
                    activated => activated?, // 7
                }
                Ok(CutoverEnd::Switched)
            }
            Ok(Err(error)) => {
                let reason = RollBackReason::Failed(error.to_string().into());
                let ended = self.roll_back(route, reason).await?;
                // Writes continue; the finding is recorded and needs an operator.
                if matches!(error, StepError::Found(_)) { Err(error) } else { Ok(ended) }
            }
            Err(_) => self.roll_back(route, RollBackReason::TimedOut).await,
        }
    }

    /// The row is this migration's, in a state to start or to continue from.
    fn is_to_cut_over(&self, route: &Route) -> bool {
        route.migration.is_some_and(|(id, phase)| {
            id == self.migration.id && matches!(phase, Phase::DualWrite | Phase::CutoverPaused)
        })
    }

    /// Reads outdated parts of the read-back again, unless that would take long.
    /// Writers do not wait meanwhile: the pause does not grow with the history.
    async fn read_again(&self, read_back: &mut ReadBack) -> Result<(), StepError> {
        let config = &self.engine.config;
        let goal = read_back.verified.seq;
        if read_back.is_trusted(config.read_back_trusted) || goal > config.read_again_events_max {
            return Ok(());
        }
        let mut again = read_back.anew();
        // At full speed: the mirror is stopped, and writers may wait for what it brings to the target.
        if let Err(error) = again.catch_up(goal, self.limit()).await {
            return Err(self.read_back_failed(error).await);
        }
        *read_back = again;
        Ok(())
    }

    /// Does before the pause what step 4 would have to do in it. Step 4 is then left with the events
    /// appended during the last round, whatever the bound on the lag is.
    async fn catch_up_early(&self, read_back: &mut ReadBack) -> Result<(), StepError> {
        let tenant = self.tenant();
        let mut replica = Replica::open(Arc::clone(&self.target), tenant, self.migration.m).await?;
        for _ in 0..EARLY_ROUNDS_MAX {
            let goal = self.source.ledger(tenant).await?.head.seq;
            if goal.saturating_sub(read_back.verified.seq) <= EARLY_ENOUGH {
                break;
            }
            replica.catch_up(&*self.source, goal, self.limit()).await?;
            if let Err(error) = read_back.catch_up(goal, self.limit()).await {
                return Err(self.read_back_failed(error).await);
            }
        }
        self.target.finish_index(tenant).await?;
        Ok(())
    }

    /// Steps 3 to 6, on the very row that step 2 made.
    async fn switch(&self, route: &Route, mut read_back: ReadBack) -> Result<(), StepError> {
        let tenant = self.tenant();
        let fenced = self.source.fence(tenant, route.prev_epoch, route.epoch).await?; // 3
        failpoint::hit("cutover.fenced");

        self.timed(CutoverPart::Verify, self.prove(fenced, &mut read_back)).await?; // 4, 5
        self.source.fence_holds(tenant).await?;
        failpoint::hit("cutover.compared");
        let switched = self.record(route.rev, Fact::Switched { head: fenced });
        self.timed(CutoverPart::Switch, async { Ok(switched.await?) }).await?; // 6
        failpoint::hit("cutover.switched");
        Ok(())
    }

    /// Steps 4 and 5: the target has all that the fenced source has, and it is the same.
    async fn prove(&self, fenced: Head, read_back: &mut ReadBack) -> Result<(), StepError> {
        let tenant = self.tenant();
        let mut replica = Replica::open(Arc::clone(&self.target), tenant, self.migration.m).await?;
        let many = fenced.seq - replica.head.seq.min(fenced.seq) >= EVENTS_IN_BULK as u64;
        replica.catch_up(&*self.source, fenced.seq, self.limit()).await?; // 4
        if many {
            self.target.finish_index(tenant).await?;
        }
        failpoint::hit("cutover.caught_up");
        if let Err(error) = read_back.catch_up(fenced.seq, self.limit()).await {
            return Err(self.read_back_failed(error).await);
        }

        let ledger = self.target.ledger(tenant).await?; // 5
        let target = ledger.head;
        if target != fenced || read_back.verified != fenced {
            // After the switch, or a roll back, both may continue: that is not a violation.
            ledger.check_replica(self.migration.m).map_err(StoreError::from)?;
            let found = disagreement(fenced, target, read_back.verified);
            if self.source.ledger(tenant).await?.head == fenced {
                return Err(self.violated("the cutover", &found, fenced.seq).await);
            }
            return Err(StepError::Violated(found.detail));
        }
        let (source_seq, target_seq) = (fenced.seq, target.seq);
        self.engine.tell(&Signal::Progress {
            migration: &self.migration,
            way: Way::There,
            source_seq,
            target_seq,
            read_back_seq: Some(read_back.verified.seq),
        });
        Ok(())
    }

    /// Runs it, and reports its duration and outcome.
    async fn timed<T>(
        &self,
        part: CutoverPart,
        work: impl Future<Output = Result<T, StepError>>,
    ) -> Result<T, StepError> {
        let began = Instant::now();
        let done = work.await;
        let error = done.as_ref().err().map(ToString::to_string);
        self.tell(part, began, error.as_deref());
        done
    }

    fn tell(&self, part: CutoverPart, began: Instant, error: Option<&str>) {
        let (migration, took) = (&self.migration, began.elapsed());
        self.engine.tell(&Signal::Cutover { migration, part, took, error });
    }

    /// Step 7, also for a driver that finds it undone.
    pub(crate) async fn activate_target(&self) -> Result<(), StepError> {
        // First, on every way that leads here: other tenants' writers may wait for it.
        self.source.fence_is_over(self.tenant()).await;
        let route = self.route().await?;
        if let Some(activation) = route.activation() {
            let store = self.engine.stores.get(&route.store)?;
            store.activate(self.tenant(), activation).await?;
        }
        failpoint::hit("cutover.activated");
        self.publish(&route).await?;
        self.note(Fact::TargetActivated { epoch: route.epoch }).await?;
        Ok(())
    }

    /// Publishes the switch, and then notifies writers that wait at the old source.
    async fn publish(&self, route: &Route) -> Result<(), StepError> {
        let moved = Moved {
            tenant: self.tenant(),
            from: self.migration.source.clone(),
            to: self.migration.target.clone(),
            epoch: route.epoch,
            migration: self.migration.id,
        };
        if route.store != moved.to {
            // A later migration has the tenant, and publishes its own switch.
            return Ok(());
        }
        if let Some(publisher) = &self.engine.publisher {
            publisher.publish(&moved).await.map_err(|why| {
                StepError::Unpublished(format!("the switch is not published yet: {why}"))
            })?;
            failpoint::hit("cutover.published");
        }
        Ok(self.source.settle(moved.tenant, moved.epoch, &moved.to).await?)
    }

    /// Back to dual_write, unless step 6 was first: then the cutover is done.
    async fn roll_back(
        &self,
        paused: &Route,
        reason: RollBackReason,
    ) -> Result<CutoverEnd, StepError> {
        failpoint::hit("roll_back.begin");
        let fact = Fact::CutoverRolledBack { reason: reason.clone() };
        let route = match self.record(paused.rev, fact).await {
            Ok(recorded) => recorded.route,
            Err(ControlError::Stale(now)) => *now,
            Err(error) => return Err(error.into()),
        };
        failpoint::hit("roll_back.recorded");
        if route.phase() == Some(Phase::Migrated) {
            self.activate_target().await?;
            return Ok(CutoverEnd::Switched);
        }
        if let Some(activation) = route.activation() {
            self.engine.stores.get(&route.store)?.activate(self.tenant(), activation).await?;
        }
        failpoint::hit("roll_back.activated");
        Ok(CutoverEnd::RolledBack(reason))
    }

    /// When this process gives the pause up: measured from when it first saw the row.
    fn deadline(&self, route: &Route) -> Instant {
        self.engine.router.observe(route.clone()).deadline()
    }
}

fn disagreement(fenced: Head, target: Head, read_back: Head) -> Violation {
    let (kind, side) = match target.seq.cmp(&fenced.seq) {
        Ordering::Less => (ViolationType::Missing, Side::Copy),
        Ordering::Greater => (ViolationType::Unexpected, Side::Copy),
        // The rows match what was read back, and the source's rows.
        Ordering::Equal if read_back == fenced => (ViolationType::Ledger, Side::Copy),
        Ordering::Equal if read_back == target => (ViolationType::Ledger, Side::Authority),
        Ordering::Equal => (ViolationType::Content, Side::Copy),
    };
    let detail = format!(
        "the stores disagree at the cutover: source at {} ({}), target at {} ({}), read back to {} \
         ({})",
        fenced.seq, fenced.digest, target.seq, target.digest, read_back.seq, read_back.digest
    );
    Violation { kind, side, seq: Some(fenced.seq), stream: None, detail }
}
