//! Lists of routes and migrations.

use std::sync::Arc;

use rehome_domain::ids::TenantId;
use rehome_domain::migration::{Fact, Options, Phase};
use rehome_domain::removal::Turn;

use super::super::control_plane::subject::{Control, SOURCE, Subject, TARGET, to_dual_write};
use super::super::kit::{migration_id, store_id, tenant};
use super::{Plane, notices::notice};
use crate::memory::ManualClock;
use crate::{MigrationFilter, RouteFilter};

/// Four tenants: the first two have migrations, of which one is in dual write, the third is pinned, and the
/// fourth is in another store.
async fn four(plane: &Plane, clock: &Arc<ManualClock>) {
    let control: Control = Arc::clone(plane) as Control;
    let one = Subject::new(&control, clock, 1).await;
    let two = Subject::new(&control, clock, 2).await;
    one.start_to(10, TARGET, Options::default()).await;
    one.live(migration_id(10), [Fact::Aborted { purge: false }]).await;
    two.start_to(30, "third", Options::default()).await;
    one.start_to(20, TARGET, Options::default()).await;
    two.live(migration_id(30), to_dual_write()).await;
    Subject::new(&control, clock, 3).await;
    plane.set_pin(tenant(3), Some(&notice(1, "a contract"))).await.unwrap();
    plane.create_route(tenant(4), &store_id("third")).await.unwrap();
}

async fn routes(plane: &Plane, which: RouteFilter) -> Vec<TenantId> {
    let found = plane.find_routes(&which).await.unwrap();
    for route in &found {
        assert_eq!(plane.route(route.tenant).await.unwrap().as_ref(), Some(route));
    }
    found.into_iter().map(|route| route.tenant).collect()
}

fn in_order<const N: usize>(numbers: [u64; N]) -> Vec<TenantId> {
    let mut tenants = Vec::from(numbers.map(tenant));
    tenants.sort_unstable();
    tenants
}

pub async fn routes_are_found_by_store_phase_pin_and_range(plane: Plane, clock: Arc<ManualClock>) {
    let all = || RouteFilter { limit: 100, ..RouteFilter::default() };
    assert_eq!(routes(&plane, all()).await, in_order([]));
    four(&plane, &clock).await;
    let every = in_order([1, 2, 3, 4]);
    assert_eq!(routes(&plane, all()).await, every);
    assert_eq!(routes(&plane, RouteFilter { limit: usize::MAX, ..all() }).await, every);
    let of = |name| RouteFilter { store: Some(store_id(name)), ..all() };
    assert_eq!(routes(&plane, of(SOURCE)).await, in_order([1, 2, 3]));
    assert_eq!(routes(&plane, of("third")).await, in_order([4]));
    assert_eq!(routes(&plane, of("nowhere")).await, in_order([]));
    let phase = |phase| RouteFilter { phase: Some(phase), ..all() };
    assert_eq!(routes(&plane, phase(Phase::DualWrite)).await, in_order([2]));
    assert_eq!(routes(&plane, phase(Phase::Pending)).await, in_order([1]));
    let both = RouteFilter { phase: Some(Phase::DualWrite), ..of("third") };
    assert_eq!(routes(&plane, both).await, in_order([]));
    let pinned = RouteFilter { pinned: true, ..all() };
    assert_eq!(routes(&plane, pinned).await, in_order([3]));
    let range = RouteFilter { tenants: Some((every[1], every[2])), ..all() };
    assert_eq!(routes(&plane, range).await, every[1..3]);
    let mut pages = Vec::new();
    let mut after = None;
    for _ in 0..3 {
        let page = routes(&plane, RouteFilter { after, limit: 2, ..all() }).await;
        after = page.last().copied().or(after);
        pages.extend(page);
    }
    assert_eq!(pages, every);
    let removing = || RouteFilter { removing: true, ..all() };
    assert_eq!(routes(&plane, removing()).await, in_order([]));
    let remove = async |turn| {
        let rev = plane.route(tenant(3)).await.unwrap().unwrap().rev;
        plane.remove(tenant(3), rev, turn).await.unwrap();
    };
    remove(Turn::Begin { events: 7 }).await;
    assert_eq!(routes(&plane, removing()).await, in_order([3]));
    assert_eq!(routes(&plane, RouteFilter { removing: true, ..of("third") }).await, in_order([]));
    assert_eq!(routes(&plane, all()).await, every);
    remove(Turn::Finish).await;
    assert_eq!(routes(&plane, removing()).await, in_order([]));
}

pub async fn migrations_are_found_by_store_phase_and_range(plane: Plane, clock: Arc<ManualClock>) {
    four(&plane, &clock).await;
    let all = || MigrationFilter { limit: 100, ..MigrationFilter::default() };
    let list = async |which: MigrationFilter| {
        let found = plane.find_migrations(&which).await.unwrap();
        found.into_iter().map(|migration| migration.id).collect::<Vec<_>>()
    };
    let ids = |numbers: &[u64]| numbers.iter().map(|n| migration_id(*n)).collect::<Vec<_>>();
    assert_eq!(list(all()).await, ids(&[20, 30, 10]));
    let of = |name| MigrationFilter { store: Some(store_id(name)), ..all() };
    assert_eq!(list(of(SOURCE)).await, ids(&[20, 30, 10]), "from it");
    assert_eq!(list(of(TARGET)).await, ids(&[20, 10]), "to it");
    assert_eq!(list(of("third")).await, ids(&[30]));
    assert_eq!(list(MigrationFilter { limit: 1, ..of(SOURCE) }).await, ids(&[20]));
    let phase = |phase| MigrationFilter { phase: Some(phase), ..all() };
    assert_eq!(list(phase(Phase::RolledBack)).await, ids(&[10]));
    let of_one = MigrationFilter { tenants: Some((tenant(1), tenant(1))), ..all() };
    assert_eq!(list(of_one.clone()).await, ids(&[20, 10]));
    let before = MigrationFilter { before: Some(migration_id(20)), ..of_one };
    assert_eq!(list(before).await, ids(&[10]));
    let before = MigrationFilter { before: Some(migration_id(30)), ..of(TARGET) };
    assert_eq!(list(before).await, ids(&[10]));
    let unknown = MigrationFilter { before: Some(migration_id(99)), ..all() };
    assert_eq!(list(unknown).await, ids(&[]));
}
