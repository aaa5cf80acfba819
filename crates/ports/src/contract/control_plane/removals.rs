//! Removals of tenants: turns on exact revisions, and the new life after the last one.

use std::sync::Arc;

use rehome_domain::ids::Epoch;
use rehome_domain::migration::{Fact, Options, Refusal};
use rehome_domain::removal::{Removal, Turn};
use rehome_domain::route::Route;

use super::subject::{
    Control, SOURCE, Subject, TARGET, started, to_dual_write, to_migrated, with_window,
};
use crate::ControlError;
use crate::contract::kit::{migration_id, store_id, tenant};
use crate::memory::ManualClock;

async fn turn(subject: &Subject, turn: Turn) -> Result<Route, ControlError> {
    let rev = subject.route().await.rev;
    let answer = subject.control.remove(subject.tenant, rev, turn).await;
    if let Ok(route) = &answer {
        assert_eq!(subject.route().await, *route, "what was answered is kept");
        assert_eq!(route.rev, rev + 1);
    }
    answer
}

fn refusal(answer: Result<Route, ControlError>) -> Refusal {
    match answer {
        Err(ControlError::Refused(refusal)) => refusal,
        other => panic!("{other:?}"),
    }
}

pub async fn a_tenant_is_removed_and_has_a_new_life(control: Control, clock: Arc<ManualClock>) {
    let subject = Subject::new(&control, &clock, 1).await;
    let running = turn(&subject, Turn::Begin { events: 7 }).await.unwrap();
    assert_eq!(running.removal, Some(Removal::Running { k: Epoch(2), events: 7 }));
    assert_eq!((running.epoch, running.n, running.created), (Epoch(1), Epoch(2), true));
    assert!(running.activation().is_none());
    // Nobody gives it another life before it is over.
    let same = control.create_route(subject.tenant, &store_id(TARGET)).await.unwrap();
    assert_eq!(same, running);

    let done = turn(&subject, Turn::Finish).await.unwrap();
    assert!(done.is_removed() && !done.created && done.activation().is_none());
    assert_eq!((done.epoch, done.n, done.base), (Epoch(2), Epoch(2), 0));

    let new = control.create_route(subject.tenant, &store_id(TARGET)).await.unwrap();
    assert_eq!((new.store.as_str(), new.rev), (TARGET, done.rev + 1));
    assert_eq!((new.epoch, new.n, new.created, new.removal), (Epoch(3), Epoch(3), false, None));
    assert_eq!(subject.route().await, new);
    // A late mark of the old life says nothing about the new one.
    assert!(!control.mark_created(subject.tenant, Epoch(1)).await.unwrap().created);
    let again = control.create_route(subject.tenant, &store_id(SOURCE)).await.unwrap();
    assert_eq!(again, new);
    assert!(control.mark_created(subject.tenant, Epoch(3)).await.unwrap().created);
}

pub async fn a_removal_that_is_cancelled_leaves_the_tenant_at_a_new_epoch(
    control: Control,
    clock: Arc<ManualClock>,
) {
    let subject = Subject::new(&control, &clock, 1).await;
    let before = subject.route().await;
    turn(&subject, Turn::Begin { events: 7 }).await.unwrap();
    control.set_checkpoint(subject.tenant, "kept", 5).await.unwrap();
    let after = turn(&subject, Turn::Cancel).await.unwrap();
    let expected = Route { rev: before.rev + 2, epoch: Epoch(3), n: Epoch(3), ..before };
    assert_eq!(after, expected);
    assert_eq!(control.checkpoint(subject.tenant, "kept").await.unwrap(), 5);
    let id = subject.start(1, Options::default()).await;
    subject.live(id, to_dual_write()).await;
}

pub async fn a_turn_on_a_stale_revision_is_refused(control: Control, clock: Arc<ManualClock>) {
    let subject = Subject::new(&control, &clock, 1).await;
    for step in [Turn::Begin { events: 7 }, Turn::Finish] {
        let route = subject.route().await;
        for rev in [0, route.rev - 1, route.rev + 1] {
            match control.remove(subject.tenant, rev, step).await {
                Err(ControlError::Stale(now)) => assert_eq!(*now, route),
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(subject.route().await, route);
        turn(&subject, step).await.unwrap();
    }
    match control.remove(tenant(2), 1, Turn::Begin { events: 0 }).await {
        Err(ControlError::UnknownTenant(unknown)) => assert_eq!(unknown, tenant(2)),
        other => panic!("{other:?}"),
    }
}

pub async fn of_two_turns_at_once_exactly_one_is_recorded(
    control: Control,
    clock: Arc<ManualClock>,
) {
    for n in 0..4 {
        let subject = Subject::new(&control, &clock, n).await;
        let rev = turn(&subject, Turn::Begin { events: 7 }).await.unwrap().rev;
        let turns = [Turn::Cancel, Turn::Finish, Turn::Cancel, Turn::Finish];
        let turns: Vec<_> = turns
            .into_iter()
            .map(|turn| {
                let (control, tenant) = (Arc::clone(&control), subject.tenant);
                tokio::spawn(async move { control.remove(tenant, rev, turn).await })
            })
            .collect();
        let mut recorded = Vec::new();
        for turn in turns {
            match turn.await.unwrap() {
                Ok(route) => recorded.push(route),
                Err(ControlError::Stale(_)) => {}
                Err(other) => panic!("{other}"),
            }
        }
        assert_eq!(recorded, [subject.route().await]);
    }
}

pub async fn what_may_not_be_removed_is_refused(control: Control, clock: Arc<ManualClock>) {
    let begin = Turn::Begin { events: 7 };
    let lives = Subject::new(&control, &clock, 1).await;
    for turn_of_none in [Turn::Cancel, Turn::Finish] {
        assert_eq!(refusal(turn(&lives, turn_of_none).await), Refusal::NotBeingRemoved);
    }
    turn(&lives, begin).await.unwrap();
    assert_eq!(refusal(turn(&lives, begin).await), Refusal::BeingRemoved);
    let moves = Subject::new(&control, &clock, 2).await;
    let id = moves.start(1, with_window()).await;
    moves.live(id, to_dual_write()).await;
    let refused = refusal(turn(&moves, begin).await);
    assert!(matches!(refused, Refusal::AnotherMigration { .. }), "{refused:?}");
    moves.live(id, [Fact::Failed { error: "broken".into() }]).await;
    let refused = refusal(turn(&moves, begin).await);
    assert!(matches!(refused, Refusal::AnotherMigration { .. }), "{refused:?}");
    let moved = Subject::new(&control, &clock, 3).await;
    let id = moved.start(2, with_window()).await;
    moved.live(id, to_migrated(12, 4)).await;
    assert_eq!(refusal(turn(&moved, begin).await), Refusal::WindowOpen);
    control.create_route(tenant(4), &store_id(SOURCE)).await.unwrap();
    let new = Subject { tenant: tenant(4), ..lives.clone() };
    assert_eq!(refusal(turn(&new, begin).await), Refusal::NotCreated);
}

pub async fn no_migration_starts_in_a_removal(control: Control, clock: Arc<ManualClock>) {
    let subject = Subject::new(&control, &clock, 1).await;
    turn(&subject, Turn::Begin { events: 7 }).await.unwrap();
    let start = started(1, TARGET, Options::default());
    match subject.record(migration_id(1), start.clone()).await {
        Err(ControlError::Refused(Refusal::BeingRemoved)) => {}
        other => panic!("{other:?}"),
    }
    turn(&subject, Turn::Finish).await.unwrap();
    match subject.record(migration_id(1), start).await {
        Err(ControlError::Refused(Refusal::NotCreated)) => {}
        other => panic!("{other:?}"),
    }
}

pub async fn a_removed_tenant_leaves_its_migration_its_checkpoints_and_the_lists(
    control: Control,
    clock: Arc<ManualClock>,
) {
    let subject = Subject::new(&control, &clock, 1).await;
    let other = Subject::new(&control, &clock, 2).await;
    let id = subject.start(1, Options::default()).await;
    subject.live(id, to_migrated(12, 4)).await;
    for of in [&subject, &other] {
        control.set_checkpoint(of.tenant, "a", 5).await.unwrap();
    }
    turn(&subject, Turn::Begin { events: 12 }).await.unwrap();
    assert_eq!(control.checkpoint(subject.tenant, "a").await.unwrap(), 5);
    let done = turn(&subject, Turn::Finish).await.unwrap();
    assert_eq!((done.migration, control.migration(id).await.unwrap().id), (None, id));
    assert!(control.log_anchors(None, 9).await.unwrap().is_empty());
    assert_eq!(control.checkpoint(subject.tenant, "a").await.unwrap(), 0);
    assert_eq!(control.checkpoint(other.tenant, "a").await.unwrap(), 5);
    let listed = control.routes(None, 9).await.unwrap();
    assert!(listed.len() == 2 && listed.contains(&done) && listed.contains(&other.route().await));
    // The next life has migrations of its own.
    control.create_route(subject.tenant, &store_id(SOURCE)).await.unwrap();
    control.mark_created(subject.tenant, Epoch(6)).await.unwrap();
    let next = subject.start(2, Options::default()).await;
    assert_eq!(subject.live(next, to_migrated(3, 9)).await.route.store, store_id(TARGET));
}

pub async fn a_recovery_ends_a_removal(control: Control, clock: Arc<ManualClock>) {
    let bare = Subject::new(&control, &clock, 1).await;
    let moved = Subject::new(&control, &clock, 2).await;
    let id = moved.start(1, Options::default()).await;
    moved.live(id, to_migrated(12, 4)).await;
    for subject in [&bare, &moved] {
        let running = turn(subject, Turn::Begin { events: 12 }).await.unwrap();
        let store = running.store.clone();
        let recovered = control
            .recover(subject.tenant, running.rev, &store, Epoch(9), 12, "olga")
            .await
            .unwrap();
        assert_eq!(recovered.removal, None);
        assert_eq!(subject.route().await, recovered);
    }
}
