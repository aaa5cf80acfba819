//! Cordons and pins.

use std::sync::Arc;

use rehome_domain::digest::Digest;
use rehome_domain::drain::{Notice, Refusal};
use rehome_domain::event::Timestamp;
use rehome_domain::ids::{Epoch, StoreId};
use rehome_domain::ledger::Head;
use rehome_domain::migration::{Fact, Options};

use super::super::kit::{migration_id, store_id, tenant};
use super::{Plane, new, record, started};
use crate::memory::ManualClock;
use crate::{Change, ControlError, Migrations};

pub(super) fn notice(n: i64, why: &str) -> Notice {
    Notice { at: Timestamp::from_micros(n), by: "ada".to_owned(), why: why.to_owned() }
}

pub async fn a_cordoned_store_gets_no_new_tenants(plane: Plane, _: Arc<ManualClock>) {
    let (shared, other) = (store_id("shared"), store_id("other"));
    let known = plane.create_route(tenant(1), &shared).await.unwrap();
    plane.set_cordon(&shared, Some(&notice(1, "first"))).await.unwrap();
    plane.set_cordon(&shared, Some(&notice(2, "it is emptied"))).await.unwrap();
    let cordons = plane.cordons().await.unwrap();
    assert_eq!(
        cordons.into_iter().collect::<Vec<_>>(),
        [(shared.clone(), notice(2, "it is emptied"))]
    );
    let refused = plane.create_route(tenant(2), &shared).await.unwrap_err();
    assert!(refused.to_string().contains("is cordoned and accepts no new tenants (it is emptied)"));
    assert!(matches!(refused, ControlError::Cordoned { .. }));
    assert_eq!(plane.route(tenant(2)).await.unwrap(), None);
    assert_eq!(plane.create_route(tenant(1), &shared).await.unwrap(), known, "it is there");
    assert_eq!(plane.create_route(tenant(3), &other).await.unwrap().store, other);
    plane.set_cordon(&shared, None).await.unwrap();
    plane.set_cordon(&shared, None).await.unwrap();
    assert_eq!(plane.create_route(tenant(2), &shared).await.unwrap().store, shared);
}

pub async fn a_cordoned_store_gets_no_migrations_but_returns(plane: Plane, _: Arc<ManualClock>) {
    let (shared, other) = (store_id("shared"), store_id("other"));
    plane.create_route(tenant(1), &shared).await.unwrap();
    let route = plane.mark_created(tenant(1), Epoch(1)).await.unwrap();
    let started = |n: u64, rev: u64, target: &StoreId| {
        let migration = migration_id(n);
        let (target, options) = (target.clone(), Options::default());
        let (fact, actor) = (Fact::Started { migration, target, options }, "ada".to_owned());
        Change { tenant: tenant(1), migration, rev: Some(rev), fact, actor }
    };
    plane.set_cordon(&other, Some(&notice(1, "it is full"))).await.unwrap();
    let refused = plane.record(started(1, route.rev, &other)).await.unwrap_err();
    assert!(refused.to_string().contains("(it is full)"), "{refused}");
    assert!(matches!(refused, ControlError::Cordoned { .. }));
    assert_eq!(plane.route(tenant(1)).await.unwrap(), Some(route.clone()), "nothing began");
    assert!(plane.migrations(Migrations::default()).await.unwrap().is_empty());
    plane.set_cordon(&other, None).await.unwrap();
    let began = plane.record(started(1, route.rev, &other)).await.unwrap();
    // A migration that has begun goes on, and the tenant may come back to where it was.
    for store in [&shared, &other] {
        plane.set_cordon(store, Some(&notice(2, ""))).await.unwrap();
    }
    let (mut rev, id) = (began.route.rev, began.migration.id);
    let head = Head { seq: 0, digest: Digest::EMPTY };
    let facts = [
        Fact::CopyStarted,
        Fact::CopyCompleted { events: 0 },
        Fact::CutoverStarted { deadline_ms: 1_000 },
        Fact::Switched { head },
    ];
    for fact in facts {
        let (rev_now, actor) = (Some(rev), "ada".to_owned());
        let change = Change { tenant: tenant(1), migration: id, rev: rev_now, fact, actor };
        rev = plane.record(change).await.unwrap().route.rev;
    }
    let back = plane.record(started(2, rev, &shared)).await.unwrap();
    assert_eq!(back.migration.target, shared);
}

pub async fn a_pinned_tenant_is_not_started(plane: Plane, _: Arc<ManualClock>) {
    let asked = new(1, 3);
    plane.start_drain(&asked).await.unwrap();
    let row = &asked.tenants[0];
    plane.set_pin(row.tenant, Some(&notice(1, "a contract"))).await.unwrap();
    let refused = record(&plane, 1, [started(row, 1, "p")]).await;
    assert!(matches!(refused, Err(ControlError::Drain(Refusal::Pinned(_)))), "{refused:?}");
    let pins = plane.pins_of(&[asked.tenants[1].tenant, row.tenant]).await.unwrap();
    assert_eq!(pins.into_iter().collect::<Vec<_>>(), [(row.tenant, notice(1, "a contract"))]);
    plane.set_pin(row.tenant, None).await.unwrap();
    record(&plane, 1, [started(row, 1, "p")]).await.unwrap();
}

pub async fn pins_are_listed_in_pages(plane: Plane, _: Arc<ManualClock>) {
    for n in [3, 1, 2] {
        plane.set_pin(tenant(n), Some(&notice(n.cast_signed(), ""))).await.unwrap();
    }
    let first = plane.pins(None, 2).await.unwrap();
    assert_eq!(first.len(), 2);
    let rest = plane.pins(first.last().map(|(id, _)| *id), 2).await.unwrap();
    let mut expected = [1, 2, 3].map(|n| (tenant(n), notice(n.cast_signed(), "")));
    expected.sort_by_key(|(id, _)| *id);
    assert_eq!([first, rest].concat(), expected);
}
