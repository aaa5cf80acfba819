//! Whole lives of migrations, each compared with the fold of its log.
//!
//! The epochs are written out: 1 is the tenant's first, `m` of a start, the fence and the target
//! of a cutover, and `m` of a rollback window are the next ones.

use std::sync::Arc;

use rehome_domain::ids::Epoch;
use rehome_domain::migration::{
    Cleanup, Fact, OldSource, Options, Phase, RollBackReason, State, Working,
};
use rehome_domain::route::Route;

use super::subject::{
    Control, SOURCE, Subject, TARGET, head, to_dual_write, to_migrated, to_pause, with_window,
};
use crate::clock::Clock;
use crate::contract::kit::store_id;
use crate::memory::ManualClock;

fn epochs(route: &Route) -> [u64; 4] {
    [route.epoch, route.prev_epoch, route.n, route.m].map(|epoch| epoch.0)
}

pub async fn there(control: Control, clock: Arc<ManualClock>) {
    let subject = Subject::new(&control, &clock, 1).await;
    let before = subject.route().await;
    let id = subject.start(1, Options::default()).await;
    let route = subject.live(id, to_dual_write()).await.route;
    assert_eq!(epochs(&route), [1, 0, 2, 2]);
    assert_eq!(route.store, store_id(SOURCE));

    let recorded = subject.live(id, [Fact::CutoverStarted { deadline_ms: 700 }]).await;
    assert_eq!(epochs(&recorded.route), [3, 1, 3, 2]);
    assert_eq!((recorded.route.deadline_ms, recorded.migration.cutover_attempts), (700, 1));
    assert!(recorded.route.activation().is_none());

    let recorded = subject.live(id, [Fact::Switched { head: head(12) }]).await;
    assert_eq!(epochs(&recorded.route), [4, 1, 4, 2]);
    assert_eq!((recorded.route.store.as_str(), recorded.route.base), (TARGET, 12));
    assert!(!recorded.route.window);
    assert_eq!(recorded.migration.completed_at, Some(clock.now()));

    let recorded = subject.live(id, [Fact::TargetActivated { epoch: Epoch(4) }]).await;
    let old_source = OldSource::Fenced { at: Epoch(3) };
    assert_eq!(recorded.migration.state, State::Migrated { activated: true, old_source });
    let recorded = subject.live(id, [Fact::Purged { events: 12 }]).await;
    let old_source = OldSource::Purged;
    assert_eq!(recorded.migration.state, State::Migrated { activated: true, old_source });
    subject.assert_folds(&before, id).await;
}

pub async fn there_and_back_within_the_window(control: Control, clock: Arc<ManualClock>) {
    let subject = Subject::new(&control, &clock, 1).await;
    let before = subject.route().await;
    let id = subject.start(1, with_window()).await;
    let recorded = subject.live(id, to_migrated(12, 4)).await;
    assert_eq!(epochs(&recorded.route), [4, 1, 5, 5]);
    assert!(recorded.route.window);
    let old_source = OldSource::Window { m: Epoch(5) };
    assert_eq!(recorded.migration.state, State::Migrated { activated: true, old_source });
    subject.assert_folds(&before, id).await;

    // The return is a migration in the other direction; it begins by closing the window.
    let recorded = subject.live(id, [Fact::WindowClosed]).await;
    let old_source = OldSource::Closing { m: Epoch(5) };
    assert_eq!(recorded.migration.state, State::Migrated { activated: true, old_source });
    assert!(!recorded.route.window);
    subject.assert_folds(&before, id).await;

    let between = subject.route().await;
    let back = subject.start_to(2, SOURCE, with_window()).await;
    let recorded = subject.live(back, to_migrated(20, 8)).await;
    assert_eq!(epochs(&recorded.route), [8, 4, 9, 9]);
    assert_eq!((recorded.route.store.as_str(), recorded.route.base), (SOURCE, 20));
    assert_eq!(recorded.migration.source, store_id(TARGET));
    subject.assert_folds(&between, back).await;
    // The first one's replica is noted to be gone while the second one is under way.
    subject.live(id, [Fact::ReplicaDropped]).await;
    subject.assert_folds(&between, back).await;
}

pub async fn aborted_with_a_purge(control: Control, clock: Arc<ManualClock>) {
    let subject = Subject::new(&control, &clock, 1).await;
    let before = subject.route().await;
    let id = subject.start(1, Options::default()).await;
    subject.live(id, to_dual_write()).await;
    let recorded = subject.live(id, [Fact::Aborted { purge: true }]).await;
    assert_eq!(recorded.migration.state, State::RolledBack(Cleanup::Drop { purge: true }));
    assert_eq!(recorded.migration.completed_at, Some(clock.now()));
    assert_eq!((recorded.route.store.as_str(), recorded.route.epoch), (SOURCE, Epoch(1)));
    let recorded = subject.live(id, [Fact::ReplicaDropped]).await;
    assert_eq!(recorded.migration.state, State::RolledBack(Cleanup::Purge));
    let recorded = subject.live(id, [Fact::Purged { events: 10 }]).await;
    assert_eq!(recorded.migration.state, State::RolledBack(Cleanup::Done));
    subject.assert_folds(&before, id).await;
}

pub async fn aborted_before_it_began(control: Control, clock: Arc<ManualClock>) {
    let subject = Subject::new(&control, &clock, 1).await;
    let before = subject.route().await;
    let id = subject.start(1, Options::default()).await;
    let facts = [Fact::Aborted { purge: false }, Fact::ReplicaDropped];
    let recorded = subject.live(id, facts).await;
    assert_eq!(recorded.migration.state, State::RolledBack(Cleanup::Done));
    assert_eq!(recorded.migration.started_at, None);
    assert_eq!(epochs(&recorded.route), [1, 0, 2, 2]);
    subject.assert_folds(&before, id).await;
}

pub async fn failed_then_aborted(control: Control, clock: Arc<ManualClock>) {
    let subject = Subject::new(&control, &clock, 1).await;
    let before = subject.route().await;
    let id = subject.start(1, Options::default()).await;
    subject.live(id, [Fact::CopyStarted]).await;
    let failed = subject.live(id, [Fact::Failed { error: "content at seq 3".into() }]).await;
    assert_eq!(failed.migration.state, State::Failed { acknowledged: false });
    assert_eq!(failed.migration.error.as_deref(), Some("content at seq 3"));
    assert_eq!(failed.route.phase(), Some(Phase::Failed));
    let seen = subject.live(id, [Fact::Acknowledged]).await;
    assert_eq!(seen.migration.state, State::Failed { acknowledged: true });
    assert_eq!(seen.route, failed.route);
    let aborted = subject.live(id, [Fact::Aborted { purge: false }]).await;
    assert_eq!(aborted.migration.error.as_deref(), Some("content at seq 3"));
    subject.live(id, [Fact::ReplicaDropped]).await;
    subject.assert_folds(&before, id).await;
}

pub async fn paused_and_resumed(control: Control, clock: Arc<ManualClock>) {
    let subject = Subject::new(&control, &clock, 1).await;
    let before = subject.route().await;
    let id = subject.start(1, Options::default()).await;
    let mirroring = |cutover_requested| Working::DualWrite { cutover_requested };
    let steps = [
        (Fact::CopyStarted, State::Working(Working::BulkCopy)),
        (Fact::Paused, State::Paused(Working::BulkCopy)),
        (Fact::Resumed, State::Working(Working::BulkCopy)),
        (Fact::CopyCompleted { events: 5 }, State::Working(mirroring(false))),
        (Fact::Paused, State::Paused(mirroring(false))),
        (Fact::Resumed, State::Working(mirroring(false))),
        (Fact::CutoverRequested, State::Working(mirroring(true))),
        (Fact::Paused, State::Paused(mirroring(true))),
        (Fact::Resumed, State::Working(mirroring(true))),
    ];
    for (fact, state) in steps {
        let recorded = subject.live(id, [fact]).await;
        assert_eq!(recorded.migration.state, state);
        assert_eq!(epochs(&recorded.route), [1, 0, 2, 2], "no epoch is handed out");
        assert_eq!(recorded.route.phase(), Some(state.phase()));
        subject.assert_folds(&before, id).await;
    }
}

pub async fn rolled_back_and_tried_again(control: Control, clock: Arc<ManualClock>) {
    let subject = Subject::new(&control, &clock, 1).await;
    let before = subject.route().await;
    let id = subject.start(1, Options::default()).await;
    subject.live(id, to_pause()).await;
    let why = RollBackReason::Failed("the target does not answer".into());
    let recorded = subject.live(id, [Fact::CutoverRolledBack { reason: why }]).await;
    assert_eq!(epochs(&recorded.route), [4, 1, 4, 2]);
    let error = recorded.migration.error.unwrap();
    assert!(error.contains("the target does not answer"), "{error}");
    assert_eq!(recorded.route.store, store_id(SOURCE));
    subject.assert_folds(&before, id).await;

    // The second one right after it, and a third that the deadline ends.
    let recorded = subject.live(id, [Fact::CutoverStarted { deadline_ms: 1 }]).await;
    assert_eq!(epochs(&recorded.route), [5, 4, 5, 2]);
    let why = RollBackReason::TimedOut;
    let recorded = subject.live(id, [Fact::CutoverRolledBack { reason: why }]).await;
    assert_eq!(epochs(&recorded.route), [6, 4, 6, 2]);
    let facts = [Fact::CutoverStarted { deadline_ms: 9 }, Fact::Switched { head: head(30) }];
    let recorded = subject.live(id, facts).await;
    assert_eq!(epochs(&recorded.route), [8, 6, 8, 2]);
    assert_eq!(recorded.migration.cutover_attempts, 3);
    assert_eq!(recorded.migration.error, None);
    subject.assert_folds(&before, id).await;
}

pub async fn one_migration_after_another(control: Control, clock: Arc<ManualClock>) {
    let subject = Subject::new(&control, &clock, 1).await;
    let mut handed_out = vec![Epoch(1)];
    for (n, target) in (1..).zip([TARGET, SOURCE, "third", TARGET]) {
        let before = subject.route().await;
        let id = subject.start_to(n, target, Options::default()).await;
        let m = subject.route().await.m;
        let fenced = subject.live(id, to_pause()).await.route.epoch;
        let switched = subject.live(id, [Fact::Switched { head: head(n * 10) }]).await.route;
        assert_eq!((switched.store.as_str(), switched.base), (target, n * 10));
        handed_out.extend([m, fenced, switched.epoch]);
        subject.assert_folds(&before, id).await;
    }
    assert!(handed_out.is_sorted_by(|one, two| one < two), "{handed_out:?}");
    assert_eq!(subject.route().await.n, *handed_out.last().unwrap());
}
