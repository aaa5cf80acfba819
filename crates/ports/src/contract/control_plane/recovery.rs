//! Recovery: the control plane was older than the stores, an operator says where the authority is.

use std::sync::Arc;

use rehome_domain::ids::Epoch;
use rehome_domain::migration::{Fact, OldSource, Options, Phase, State};
use rehome_domain::route::Route;

use super::subject::{Control, Subject, TARGET, to_dual_write, to_migrated, with_window};
use crate::ControlError;
use crate::contract::kit::{store_id, tenant};
use crate::memory::ManualClock;

/// The epoch is behind none that a store has seen, nor any that was handed out in the time that
/// was lost and reached no store.
fn assert_fresh(route: &Route, seen: Epoch) {
    assert_eq!(route.epoch, route.n);
    assert!(route.epoch > Epoch(seen.0 + 100), "{route:?}");
}

pub async fn a_tenant_without_a_migration_is_recovered(control: Control, clock: Arc<ManualClock>) {
    let subject = Subject::new(&control, &clock, 1).await;
    let before = subject.route().await;
    let target = store_id(TARGET);
    let answer = control.recover(subject.tenant, before.rev, &target, Epoch(9), 70, "olga").await;
    let route = answer.unwrap();
    assert_eq!((route.store.as_str(), route.base), (TARGET, 70));
    assert_fresh(&route, Epoch(9));
    assert_eq!(route.rev, before.rev + 1, "the routing was changed");
    assert!(route.created);
    assert_eq!(subject.route().await, route);
}

pub async fn a_migration_under_way_fails_by_a_recovery(control: Control, clock: Arc<ManualClock>) {
    let subject = Subject::new(&control, &clock, 1).await;
    let before = subject.route().await;
    let id = subject.start(1, Options::default()).await;
    let rev = subject.live(id, to_dual_write()).await.route.rev;
    let target = store_id(TARGET);
    let answer = control.recover(subject.tenant, rev, &target, Epoch(9), 70, "olga").await;
    let route = answer.unwrap();
    assert_eq!((route.store.as_str(), route.base), (TARGET, 70));
    assert_fresh(&route, Epoch(9));
    assert_eq!((route.phase(), route.rev), (Some(Phase::Failed), rev + 1));
    assert_eq!(subject.route().await, route);
    let log = subject.log(id).await;
    let last = log.last().unwrap();
    assert_eq!(last.actor, "olga");
    assert_eq!(last.fact, Fact::Recovered { store: target, n: Epoch(9), base: 70 });
    subject.assert_folds(&before, id).await;
}

pub async fn a_finished_migration_stays_finished(control: Control, clock: Arc<ManualClock>) {
    let subject = Subject::new(&control, &clock, 1).await;
    let before = subject.route().await;
    let id = subject.start(1, with_window()).await;
    let rev = subject.live(id, to_migrated(12, 4)).await.route.rev;
    let target = store_id(TARGET);
    let answer = control.recover(subject.tenant, rev, &target, Epoch(4), 12, "olga").await;
    let route = answer.unwrap();
    assert_eq!((route.phase(), route.rev), (Some(Phase::Migrated), rev + 1));
    assert!(!route.window);
    // The window is closed with it, so that its replica is dropped like every other's.
    let old_source = OldSource::Closing { m: Epoch(5) };
    let state = control.migration(id).await.unwrap().state;
    assert_eq!(state, State::Migrated { activated: true, old_source });
    subject.assert_folds(&before, id).await;
}

pub async fn a_recovery_never_lowers_the_epochs(control: Control, clock: Arc<ManualClock>) {
    let subject = Subject::new(&control, &clock, 1).await;
    let id = subject.start(1, Options::default()).await;
    let before = subject.live(id, to_migrated(12, 4)).await.route;
    let target = store_id(TARGET);
    let answer = control.recover(subject.tenant, before.rev, &target, Epoch(2), 12, "olga").await;
    let route = answer.unwrap();
    assert_eq!(before.n, Epoch(4));
    assert_fresh(&route, before.n);
}

pub async fn a_recovery_on_a_stale_revision_is_refused(control: Control, clock: Arc<ManualClock>) {
    let target = store_id(TARGET);
    let bare = Subject::new(&control, &clock, 1).await;
    let moving = Subject::new(&control, &clock, 2).await;
    let id = moving.start(1, Options::default()).await;
    for subject in [&bare, &moving] {
        let route = subject.route().await;
        for rev in [0, route.rev - 1, route.rev + 1] {
            match control.recover(subject.tenant, rev, &target, Epoch(9), 1, "olga").await {
                Err(ControlError::Stale(now)) => assert_eq!(*now, route),
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(subject.route().await, route);
    }
    assert_eq!(moving.log(id).await.len(), 1);
    match control.recover(tenant(3), 1, &target, Epoch(9), 1, "olga").await {
        Err(ControlError::UnknownTenant(unknown)) => assert_eq!(unknown, tenant(3)),
        other => panic!("{other:?}"),
    }
}
