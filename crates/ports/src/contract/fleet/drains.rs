//! Drains, their tenants, their logs, and who works on them.

use std::sync::Arc;
use std::time::Duration;

use rehome_domain::drain::{Fact, Refusal, State, TenantState};

use super::super::kit::migration_id;
use super::{Plane, drain_id, new, record, started};
use crate::clock::Clock as _;
use crate::log_chain::{Followed, drain_follows};
use crate::memory::ManualClock;
use crate::{AttendRequest, ControlError, DrainTenants, Drains};

pub async fn a_drain_is_kept_as_it_was_started_and_a_repeat_changes_nothing(
    plane: Plane,
    clock: Arc<ManualClock>,
) {
    let asked = new(1, 4);
    let made = plane.start_drain(&asked).await.unwrap();
    let (begun, fact) = asked.begin(clock.now());
    assert_eq!(made, begun);
    assert_eq!((made.counts.waiting, made.counts.stays, made.counts.events), (3, 1, 60));
    let other = crate::NewDrain { tenants: Vec::new(), actor: "bob".to_owned(), ..new(1, 1) };
    assert_eq!(plane.start_drain(&other).await.unwrap(), made);
    assert_eq!(plane.drain(drain_id(1)).await.unwrap(), made);
    let which = DrainTenants { drain: drain_id(1), state: None, after: 0, limit: 10 };
    assert_eq!(plane.drain_tenants(which).await.unwrap(), asked.tenants);
    let log = plane.drain_log(drain_id(1), 0, 10).await.unwrap();
    assert_eq!(log.len(), 1);
    assert_eq!((&log[0].fact, log[0].actor.as_str()), (&fact, "ada at a host"));
}

pub async fn facts_move_the_drain_and_its_tenants_and_are_logged(
    plane: Plane,
    clock: Arc<ManualClock>,
) {
    let asked = new(1, 5);
    plane.start_drain(&asked).await.unwrap();
    let [one, two, three] = [&asked.tenants[0], &asked.tenants[1], &asked.tenants[2]];
    let begin = [started(one, 1, "p"), started(two, 2, "p"), started(three, 3, "p")];
    record(&plane, 1, begin).await.unwrap();
    clock.advance(Duration::from_secs(1));
    let why: Box<str> = "the target \u{1f511} hangs".into();
    let then = [
        Fact::TenantReleased { tenant: one.tenant },
        Fact::TenantTaken { tenant: one.tenant, by: "q".into() },
        Fact::TenantMoved { tenant: two.tenant },
        Fact::TenantSetAside { tenant: three.tenant, why: why.clone() },
        Fact::Paused,
    ];
    record(&plane, 1, then.clone()).await.unwrap();
    let drain = plane.drain(drain_id(1)).await.unwrap();
    assert_eq!((drain.entries, drain.failures, drain.released.1), (9, 1, 1));
    assert_eq!(drain.state.as_str(), "paused");
    let counts = drain.counts;
    assert_eq!((counts.waiting, counts.moving, counts.moved, counts.again), (1, 1, 1, 1));
    assert_eq!((counts.events, counts.events_moved), (100, 20));
    let of = |row: &rehome_domain::drain::Tenant| {
        let (plane, tenant) = (Arc::clone(&plane), row.tenant);
        async move { plane.drain_tenant(drain_id(1), tenant).await.unwrap().unwrap() }
    };
    let first = of(one).await;
    assert_eq!((first.state, first.by.as_deref()), (TenantState::Moving, Some("q")));
    assert_eq!((first.released, first.migration), (true, Some(migration_id(1))));
    assert_eq!(of(two).await.state, TenantState::Moved);
    let third = of(three).await;
    assert_eq!((third.state, third.why, third.tries), (TenantState::Again, Some(why), 1));
    assert_eq!(third.since, clock.now());
    let mut followed = Followed::START;
    let log = plane.drain_log(drain_id(1), 0, 100).await.unwrap();
    for entry in &log {
        drain_follows(followed, entry).unwrap();
        followed = Followed { index: entry.index, hash: entry.hash };
    }
    let facts: Vec<_> = log[4..].iter().map(|entry| entry.fact.clone()).collect();
    assert_eq!(facts, then);
    let page = plane.drain_log(drain_id(1), 4, 2).await.unwrap();
    assert_eq!(page, log[4..6]);
}

pub async fn facts_are_recorded_together_or_not_at_all(plane: Plane, _: Arc<ManualClock>) {
    let asked = new(1, 3);
    let before = plane.start_drain(&asked).await.unwrap();
    let moved = Fact::TenantMoved { tenant: asked.tenants[1].tenant };
    let refused = record(&plane, 1, [started(&asked.tenants[0], 1, "p"), moved]).await;
    assert!(matches!(refused, Err(ControlError::Drain(Refusal::Tenant { .. }))), "{refused:?}");
    assert_eq!(plane.drain(drain_id(1)).await.unwrap(), before);
    let which = DrainTenants { drain: drain_id(1), state: None, after: 0, limit: 10 };
    assert_eq!(plane.drain_tenants(which).await.unwrap(), asked.tenants);
    assert_eq!(plane.drain_log(drain_id(1), 0, 10).await.unwrap().len(), 1);
}

pub async fn one_of_many_starts_a_tenant(plane: Plane, _: Arc<ManualClock>) {
    let asked = new(1, 3);
    plane.start_drain(&asked).await.unwrap();
    let tries = (0..8_u64).map(|n| {
        let (plane, fact) = (Arc::clone(&plane), started(&asked.tenants[0], n, &format!("p{n}")));
        tokio::spawn(async move { record(&plane, 1, [fact]).await.is_ok() })
    });
    let mut won = 0;
    for one in tries.collect::<Vec<_>>() {
        won += u32::from(one.await.unwrap());
    }
    assert_eq!(won, 1);
    let drain = plane.drain(drain_id(1)).await.unwrap();
    assert_eq!((drain.entries, drain.counts.moving), (2, 1));
}

pub async fn tenants_are_listed_by_state_in_their_order_and_in_pages(
    plane: Plane,
    _: Arc<ManualClock>,
) {
    let asked = new(1, 9);
    plane.start_drain(&asked).await.unwrap();
    plane.start_drain(&new(2, 2)).await.unwrap();
    record(&plane, 1, [started(&asked.tenants[2], 1, "p")]).await.unwrap();
    let mut which = DrainTenants { drain: drain_id(1), state: Some("waiting"), after: 0, limit: 3 };
    let mut places = Vec::new();
    loop {
        let page = plane.drain_tenants(which).await.unwrap();
        let Some(last) = page.last() else { break };
        which.after = last.place;
        places.extend(page.iter().map(|row| row.place));
    }
    assert_eq!(places, [1, 2, 4, 5, 6, 7, 8]);
    let stays = DrainTenants { state: Some("stays"), after: 0, ..which };
    let stays = plane.drain_tenants(stays).await.unwrap();
    assert_eq!(stays, asked.tenants[8..]);
}

pub async fn drains_are_listed_newest_first(plane: Plane, clock: Arc<ManualClock>) {
    for n in [3, 1, 2] {
        plane.start_drain(&new(n, 2)).await.unwrap();
        clock.advance(Duration::from_secs(1));
    }
    record(&plane, 1, [Fact::Cancelled, Fact::Finished { left: 1 }]).await.unwrap();
    let list = async |which| {
        let found = plane.drains(which).await.unwrap();
        found.iter().map(|drain| drain.id).collect::<Vec<_>>()
    };
    let all = Drains { open: false, before: None, limit: 10 };
    assert_eq!(list(all).await, [2, 1, 3].map(drain_id));
    assert_eq!(list(Drains { open: true, ..all }).await, [2, 3].map(drain_id));
    assert_eq!(list(Drains { limit: 1, ..all }).await, [drain_id(2)]);
    assert_eq!(list(Drains { before: Some(drain_id(2)), ..all }).await, [1, 3].map(drain_id));
    let over = plane.drain(drain_id(1)).await.unwrap();
    assert_eq!((over.state, over.left), (State::Cancelled, Some(1)));
    assert!(over.ended_at.is_some());
}

pub async fn what_is_not_there_is_not_known(plane: Plane, _: Arc<ManualClock>) {
    let unknown = |error: ControlError| matches!(error, ControlError::UnknownDrain(_));
    assert!(unknown(plane.drain(drain_id(1)).await.unwrap_err()));
    assert!(unknown(record(&plane, 1, [Fact::Paused]).await.unwrap_err()));
    assert!(unknown(plane.drain_log(drain_id(1), 0, 1).await.unwrap_err()));
    let (drain, holder) = (drain_id(1), "p".to_owned());
    let request = AttendRequest { drain, holder, ttl_ms: 1 };
    assert!(unknown(plane.attend(&request).await.unwrap_err()));
    let asked = new(1, 2);
    plane.start_drain(&asked).await.unwrap();
    let stranger = new(2, 20).tenants[15].tenant;
    assert_eq!(plane.drain_tenant(drain, stranger).await.unwrap(), None);
    let refused = record(&plane, 1, [Fact::TenantMoved { tenant: stranger }]).await;
    assert!(matches!(refused, Err(ControlError::Drain(Refusal::NotOfTheDrain(_)))));
}

pub async fn processes_attend_until_they_leave_or_their_time_is_over(
    plane: Plane,
    clock: Arc<ManualClock>,
) {
    plane.start_drain(&new(1, 2)).await.unwrap();
    let attend = async |holder: &str, ttl_ms| {
        let (drain, holder) = (drain_id(1), holder.to_owned());
        plane.attend(&AttendRequest { drain, holder, ttl_ms }).await.unwrap()
    };
    assert_eq!(attend("q", 5_000).await, ["q"]);
    assert_eq!(attend("p", 9_000).await, ["p", "q"]);
    assert_eq!(attend("r", 9_000).await, ["p", "q", "r"]);
    clock.advance(Duration::from_millis(5_001));
    assert_eq!(plane.attending(drain_id(1)).await.unwrap(), ["p", "r"]);
    plane.leave(drain_id(1), "p").await.unwrap();
    plane.leave(drain_id(1), "nobody").await.unwrap();
    assert_eq!(attend("q", 5_000).await, ["q", "r"]);
}
