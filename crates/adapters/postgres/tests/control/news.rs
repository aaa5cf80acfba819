//! Notifications of route changes between processes.

use std::time::{Duration, Instant};

use rehome_cluster::{Cluster, Options, Proxy};
use rehome_domain::ids::Epoch;
use rehome_domain::migration::Fact;
use rehome_ports::{ControlPlane, RouteNews};

use super::kit::{
    change, create, database, heard, heard_until, open, patiently, start, started, store, tenant,
};

fn changed(n: u128, rev: u64) -> RouteNews {
    RouteNews::Changed { tenant: tenant(n), rev }
}

#[tokio::test(flavor = "multi_thread")]
async fn another_process_hears_of_a_change_and_of_nothing_else() {
    let database = database();
    let (one, other) = (open(&database.url()).await, open(&database.url()).await);
    let mut listener = other.listen().expect("it tells news");
    assert_eq!(heard(&mut listener).await, RouteNews::Listening);
    // Creations and notes are not changes, and neither is a refused operation.
    let route = started(&one, 1).await;
    let first = heard(&mut listener).await;
    let since = Instant::now();
    assert_eq!(first, changed(1, route.rev));
    one.record(change(1, None, Fact::ReadBack { seq: 3 })).await.expect("a note");
    one.record(change(1, Some(route.rev - 1), Fact::CopyStarted)).await.expect_err("stale");
    one.record(change(1, Some(route.rev), Fact::Resumed)).await.expect_err("refused");
    let copying = one.record(change(1, Some(route.rev), Fact::CopyStarted)).await.expect("begins");
    assert_eq!(heard(&mut listener).await, changed(1, copying.route.rev));
    // Milliseconds, on a machine that has time; far below any poll that would find it otherwise.
    assert!(since.elapsed() < Duration::from_secs(2), "{:?}", since.elapsed());

    let bare = create(&one, 2).await;
    let recovered = one.recover(tenant(2), bare.rev, &store("b"), Epoch(7), 4, "olga").await;
    assert_eq!(heard(&mut listener).await, changed(2, recovered.expect("recovered").rev));
    let rev = copying.route.rev;
    let recovered = one.recover(tenant(1), rev, &store("b"), Epoch(7), 4, "olga").await;
    assert_eq!(heard(&mut listener).await, changed(1, recovered.expect("recovered").rev));
}

#[tokio::test(flavor = "multi_thread")]
async fn control_planes_in_one_database_do_not_hear_each_other() {
    let database = database();
    let (url, other) = (database.url(), format!("{}?schema=other", database.url()));
    let (here, there) = (open(&url).await, open(&other).await);
    let mut listener = here.listen().expect("it tells news");
    assert_eq!(heard(&mut listener).await, RouteNews::Listening);
    started(&there, 1).await;
    let route = started(&here, 2).await;
    assert_eq!(heard(&mut listener).await, changed(2, route.rev));
}

#[tokio::test(flavor = "multi_thread")]
async fn one_who_was_cut_off_says_so_and_listens_again() {
    let database = database();
    let proxy = Proxy::start(database.port()).expect("a proxy");
    let one = open(&database.url()).await;
    let other = open(&database.url_at(proxy.port())).await;
    let mut listener = other.listen().expect("it tells news");
    assert_eq!(heard(&mut listener).await, RouteNews::Listening);

    proxy.refuse().expect("the proxy works");
    proxy.cut().expect("the proxy works");
    assert_eq!(heard(&mut listener).await, RouteNews::Silent);
    let missed = started(&one, 1).await;
    proxy.accept().expect("the proxy works");
    let before = heard_until(&mut listener, RouteNews::Listening).await;
    assert!(!before.contains(&changed(1, missed.rev)), "{before:?}");
    let route = started(&one, 2).await;
    assert_eq!(heard(&mut listener).await, changed(2, route.rev));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_hangs_or_is_restarted_is_found_out() {
    let server = Cluster::start(&Options::default()).expect("a server");
    let database = server.database().expect("a database");
    let plane = open(&database.url()).await;
    let mut listener = plane.listen().expect("it tells news");
    assert_eq!(heard(&mut listener).await, RouteNews::Listening);
    server.pause().expect("it stops");
    assert_eq!(heard(&mut listener).await, RouteNews::Silent);
    server.resume().expect("it goes on");
    heard_until(&mut listener, RouteNews::Listening).await;

    server.restart().expect("it restarts");
    assert_eq!(heard(&mut listener).await, RouteNews::Silent);
    heard_until(&mut listener, RouteNews::Listening).await;
    // The pool finds its way back as well.
    let a = store("a");
    patiently(|| plane.create_route(tenant(1), &a)).await;
    let route = patiently(|| plane.mark_created(tenant(1), Epoch(1))).await;
    let route = plane.record(start(1, route.rev)).await.expect("it starts").route;
    assert_eq!(heard(&mut listener).await, changed(1, route.rev));
}
