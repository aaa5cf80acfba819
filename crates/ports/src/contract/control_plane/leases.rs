//! Leases: one holder at a time, for liveness only.

use std::sync::Arc;
use std::time::Duration;

use rehome_domain::ids::MigrationId;
use rehome_domain::migration::Options;

use super::subject::{Control, Subject};
use crate::clock::Clock as _;
use crate::memory::ManualClock;
use crate::{ActiveLease, Lease, LeaseRequest};

const TTL_MS: u64 = 10_000;

async fn migration(control: &Control, clock: &Arc<ManualClock>) -> (Subject, MigrationId) {
    let subject = Subject::new(control, clock, 1).await;
    let id = subject.start(1, Options::default()).await;
    (subject, id)
}

async fn ask(control: &Control, id: MigrationId, holder: &str) -> Lease {
    let request = LeaseRequest { migration: id, holder: holder.to_owned(), ttl_ms: TTL_MS };
    control.lease(&request).await.unwrap()
}

fn active(holder: &str, remaining_ms: u64) -> ActiveLease {
    ActiveLease { holder: holder.to_owned(), remaining_ms, ahead_ms: 0 }
}

const NEW: Lease = Lease::Held { taken_over: false };

fn pass(clock: &ManualClock, ms: u64) {
    clock.advance(Duration::from_millis(ms));
}

pub async fn a_free_lease_is_taken(control: Control, clock: Arc<ManualClock>) {
    let (subject, id) = migration(&control, &clock).await;
    let rows = subject.rows(id).await;
    assert_eq!(control.lease_holder(id).await.unwrap(), None);
    assert_eq!(ask(&control, id, "one").await, NEW);
    assert_eq!(control.lease_holder(id).await.unwrap(), Some(active("one", TTL_MS)));
    assert_eq!(subject.rows(id).await, rows, "a lease moves neither route nor log");
}

pub async fn a_held_lease_is_not_taken(control: Control, clock: Arc<ManualClock>) {
    let (_, id) = migration(&control, &clock).await;
    ask(&control, id, "one").await;
    pass(&clock, 4_000);
    assert_eq!(ask(&control, id, "two").await, Lease::HeldBy(active("one", 6_000)));
    assert_eq!(control.lease_holder(id).await.unwrap(), Some(active("one", 6_000)));
}

pub async fn a_lease_is_renewed(control: Control, clock: Arc<ManualClock>) {
    let (_, id) = migration(&control, &clock).await;
    for _ in 0..5 {
        assert_eq!(ask(&control, id, "one").await, NEW);
        assert_eq!(control.lease_holder(id).await.unwrap(), Some(active("one", TTL_MS)));
        pass(&clock, TTL_MS - 1);
        assert_eq!(ask(&control, id, "two").await, Lease::HeldBy(active("one", 1)));
    }
}

pub async fn a_lease_that_ran_out_is_taken_over(control: Control, clock: Arc<ManualClock>) {
    let (_, id) = migration(&control, &clock).await;
    ask(&control, id, "one").await;
    pass(&clock, TTL_MS + 1);
    assert_eq!(control.lease_holder(id).await.unwrap(), None);
    assert_eq!(ask(&control, id, "two").await, Lease::Held { taken_over: true });
    // The one that was stopped gets the refusal.
    assert_eq!(ask(&control, id, "one").await, Lease::HeldBy(active("two", TTL_MS)));
    assert_eq!(ask(&control, id, "two").await, NEW);
}

pub async fn a_lease_that_ran_out_is_renewed_by_its_holder(
    control: Control,
    clock: Arc<ManualClock>,
) {
    let (_, id) = migration(&control, &clock).await;
    ask(&control, id, "one").await;
    pass(&clock, TTL_MS * 3);
    assert_eq!(ask(&control, id, "one").await, NEW);
    assert_eq!(control.lease_holder(id).await.unwrap(), Some(active("one", TTL_MS)));
}

pub async fn a_lease_is_released_by_its_holder_only(control: Control, clock: Arc<ManualClock>) {
    let (_, id) = migration(&control, &clock).await;
    control.release(id, "one").await.unwrap();
    ask(&control, id, "one").await;
    control.release(id, "two").await.unwrap();
    assert_eq!(control.lease_holder(id).await.unwrap(), Some(active("one", TTL_MS)));
    control.release(id, "one").await.unwrap();
    assert_eq!(control.lease_holder(id).await.unwrap(), None);
    assert!(matches!(ask(&control, id, "two").await, Lease::Held { .. }));
    // A release that comes late.
    control.release(id, "one").await.unwrap();
    assert_eq!(control.lease_holder(id).await.unwrap(), Some(active("two", TTL_MS)));
}

pub async fn one_of_many_takes_a_lease(control: Control, clock: Arc<ManualClock>) {
    let (_, id) = migration(&control, &clock).await;
    let asked: Vec<_> = (0..6)
        .map(|i| {
            let control = Arc::clone(&control);
            tokio::spawn(async move { ask(&control, id, &format!("driver-{i}")).await })
        })
        .collect();
    let mut held = 0;
    for answer in asked {
        held += u32::from(answer.await.unwrap() == NEW);
    }
    assert_eq!(held, 1);
}

pub async fn leases_of_migrations_are_independent(control: Control, clock: Arc<ManualClock>) {
    let (_, one) = migration(&control, &clock).await;
    let two = Subject::new(&control, &clock, 2).await.start(2, Options::default()).await;
    assert_eq!(ask(&control, one, "driver").await, NEW);
    assert_eq!(control.lease_holder(two).await.unwrap(), None);
    assert_eq!(ask(&control, two, "other").await, NEW);
    control.release(one, "driver").await.unwrap();
    assert_eq!(control.lease_holder(two).await.unwrap(), Some(active("other", TTL_MS)));
}

pub async fn the_leases_that_are_held_are_answered_together(
    control: Control,
    clock: Arc<ManualClock>,
) {
    let (_, one) = migration(&control, &clock).await;
    let two = Subject::new(&control, &clock, 2).await.start(2, Options::default()).await;
    assert!(control.leases().await.unwrap().is_empty());
    ask(&control, one, "driver").await;
    pass(&clock, 4_000);
    ask(&control, two, "other").await;
    let both = [(one, active("driver", TTL_MS - 4_000)), (two, active("other", TTL_MS))];
    assert_eq!(control.leases().await.unwrap(), both.into());
    // The first runs out, and the second is given up.
    pass(&clock, TTL_MS - 4_000);
    assert_eq!(control.leases().await.unwrap(), [(two, active("other", 4_000))].into());
    control.release(two, "other").await.unwrap();
    assert!(control.leases().await.unwrap().is_empty());
}

pub async fn a_lease_from_a_clock_ahead_runs_out(control: Control, clock: Arc<ManualClock>) {
    let (_, id) = migration(&control, &clock).await;
    let right = clock.now();
    pass(&clock, 7_200_000);
    let request = LeaseRequest { migration: id, holder: "one".to_owned(), ttl_ms: 200 };
    assert_eq!(control.lease(&request).await.unwrap(), NEW);
    clock.set(right);
    let Some(seen) = control.lease_holder(id).await.unwrap() else { panic!("it was just taken") };
    assert!(seen.ahead_ms > 0 && seen.remaining_ms <= crate::LEASE_MS_MAX, "{seen:?}");
    assert!(matches!(ask(&control, id, "two").await, Lease::HeldBy(_)));
    if seen.remaining_ms > 200 {
        // A control plane that does not keep the length takes it for the longest.
        return;
    }
    let since = std::time::Instant::now();
    while ask(&control, id, "two").await != (Lease::Held { taken_over: true }) {
        assert!(since.elapsed() < Duration::from_secs(30), "it does not run out");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(control.lease_holder(id).await.unwrap(), Some(active("two", TTL_MS)));
}
