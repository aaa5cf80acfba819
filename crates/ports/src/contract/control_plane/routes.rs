//! Routes: creation and listing.

use std::sync::Arc;

use rehome_domain::ids::Epoch;
use rehome_domain::route::Route;

use super::subject::{Control, SOURCE, Subject};
use crate::ControlError;
use crate::contract::kit::{store_id, tenant};
use crate::memory::ManualClock;

pub async fn a_new_tenant_gets_a_route(control: Control, _: Arc<ManualClock>) {
    let route = control.create_route(tenant(1), &store_id(SOURCE)).await.unwrap();
    assert_eq!(route, Route::create(tenant(1), store_id(SOURCE)));
    assert_eq!((route.rev, route.epoch, route.n, route.base), (1, Epoch(1), Epoch(1), 0));
    assert!(!route.created);
    assert_eq!(control.route(tenant(1)).await.unwrap(), Some(route));
    assert!(!control.deployment().is_empty());
}

pub async fn the_loser_of_a_creation_gets_the_winners_route(control: Control, _: Arc<ManualClock>) {
    let winner = control.create_route(tenant(1), &store_id(SOURCE)).await.unwrap();
    let loser = control.create_route(tenant(1), &store_id("elsewhere")).await.unwrap();
    assert_eq!(loser, winner);
    let marked = control.mark_created(tenant(1), Epoch(1)).await.unwrap();
    let late = control.create_route(tenant(1), &store_id("elsewhere")).await.unwrap();
    assert_eq!(late, marked);
    assert_eq!(control.route(tenant(1)).await.unwrap(), Some(marked));
}

pub async fn creations_at_once_have_one_winner(control: Control, _: Arc<ManualClock>) {
    for n in 0..5 {
        let creators: Vec<_> = (0..4)
            .map(|i| {
                let control = Arc::clone(&control);
                let store = store_id(&format!("store-{i}"));
                tokio::spawn(async move { control.create_route(tenant(n), &store).await.unwrap() })
            })
            .collect();
        let winner = control.create_route(tenant(n), &store_id(SOURCE)).await.unwrap();
        for creator in creators {
            assert_eq!(creator.await.unwrap(), winner);
        }
        assert_eq!(control.route(tenant(n)).await.unwrap(), Some(winner));
    }
}

pub async fn a_creation_is_marked_complete(control: Control, _: Arc<ManualClock>) {
    let new = control.create_route(tenant(1), &store_id(SOURCE)).await.unwrap();
    let marked = Route { created: true, ..new };
    for _ in 0..2 {
        // A repeat is no change, and neither moves the revision.
        assert_eq!(control.mark_created(tenant(1), Epoch(1)).await.unwrap(), marked);
        assert_eq!(control.route(tenant(1)).await.unwrap().as_ref(), Some(&marked));
    }
}

pub async fn an_unknown_tenant_has_no_route(control: Control, clock: Arc<ManualClock>) {
    Subject::new(&control, &clock, 1).await;
    assert_eq!(control.route(tenant(2)).await.unwrap(), None);
    match control.mark_created(tenant(2), Epoch(1)).await {
        Err(ControlError::UnknownTenant(unknown)) => assert_eq!(unknown, tenant(2)),
        other => panic!("{other:?}"),
    }
    assert_eq!(control.route(tenant(2)).await.unwrap(), None);
}

pub async fn routes_are_listed_in_pages(control: Control, _: Arc<ManualClock>) {
    let mut expected = Vec::new();
    for n in [5, 1, 4, 2, 3] {
        expected.push(control.create_route(tenant(n), &store_id(SOURCE)).await.unwrap());
    }
    expected.sort_by_key(|route| route.tenant);
    for limit in [1, 2, 5, 9, usize::MAX] {
        let mut listed: Vec<Route> = Vec::new();
        loop {
            let after = listed.last().map(|route| route.tenant);
            let page = control.routes(after, limit).await.unwrap();
            assert!(page.len() <= limit);
            if page.is_empty() {
                break;
            }
            listed.extend(page);
            assert!(listed.len() <= expected.len(), "{listed:?}");
        }
        assert_eq!(listed, expected);
    }
}
