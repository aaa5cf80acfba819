//! Several processes at one control plane, and what becomes of those that lose their connection.

use std::sync::Arc;
use std::time::{Duration, Instant};

use rehome_cluster::Proxy;
use rehome_domain::digest::Digest;
use rehome_domain::ids::Epoch;
use rehome_domain::ledger::Head;
use rehome_domain::migration::Fact;
use rehome_ports::record::{log_hash, write_fact};
use rehome_ports::{
    Class, ControlError, ControlPlane, Lease, LeaseRequest, LogEntry, Marks, ReadBackMark,
};
use rehome_postgres::{PgControlPlane, PostgresOptions, PostgresUrl};

use super::kit::{change, create, database, migration, open, start, started, tenant};

/// The log, and that it is a chain.
async fn log(plane: &PgControlPlane, n: u128) -> Vec<LogEntry> {
    let log = plane.log(migration(n), 0, usize::MAX).await.expect("a log");
    let mut previous = Digest::EMPTY;
    for (index, entry) in (1..).zip(&log) {
        let fact = write_fact(&entry.fact);
        let hash = log_hash(&previous, index, entry.at, &entry.actor, &fact);
        assert_eq!((entry.index, entry.hash), (index, hash));
        previous = hash;
    }
    log
}

#[tokio::test(flavor = "multi_thread")]
async fn notes_of_many_processes_at_once_are_all_in_the_chain() {
    let database = database();
    let url = database.url();
    let first = open(&url).await;
    let route = started(&first, 1).await;
    first.record(change(1, Some(route.rev), Fact::CopyStarted)).await.expect("it begins");
    let planes = [Arc::new(open(&url).await), Arc::new(open(&url).await), Arc::new(first)];
    let notes: Vec<_> = (0..30)
        .map(|seq: u64| {
            let plane = Arc::clone(&planes[usize::try_from(seq).expect("small") % planes.len()]);
            let note = change(1, None, Fact::ReadBack { seq });
            tokio::spawn(async move { plane.record(note).await })
        })
        .collect();
    // Beside them one that moves the route.
    let rev = planes[0].route(tenant(1)).await.expect("an answer").expect("a route").rev;
    planes[0].record(change(1, Some(rev), Fact::Paused)).await.expect("it pauses");
    for note in notes {
        note.await.expect("no panic").expect("it is noted");
    }
    let log = log(&planes[1], 1).await;
    let mut noted: Vec<_> = log
        .iter()
        .filter_map(|entry| match entry.fact {
            Fact::ReadBack { seq } => Some(seq),
            _ => None,
        })
        .collect();
    noted.sort_unstable();
    assert_eq!(noted, (0..30).collect::<Vec<_>>());
    assert_eq!(log.len(), 33);
    assert_eq!(planes[1].route(tenant(1)).await.expect("an answer").expect("a route").rev, rev + 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_tenants_that_take_one_id_for_a_migration_do_not_share_it() {
    let database = database();
    let (one, other) = (open(&database.url()).await, open(&database.url()).await);
    let (a, b) = (create(&one, 1).await, create(&other, 2).await);
    let mut theirs = start(2, b.rev);
    theirs.migration = migration(1);
    theirs.fact = start(1, 0).fact;
    let (first, second) = tokio::join!(one.record(start(1, a.rev)), other.record(theirs));
    let refused = match (first, second) {
        (Ok(_), Err(error)) | (Err(error), Ok(_)) => error,
        other => panic!("exactly one has it: {other:?}"),
    };
    assert!(matches!(refused, ControlError::UnknownMigration(_)), "{refused}");
    assert_eq!(log(&one, 1).await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_whose_reply_was_lost_says_that_it_may_be_there() {
    let database = database();
    let proxy = Proxy::start(database.port()).expect("a proxy");
    let plane = open(&database.url_at(proxy.port())).await;
    let route = started(&plane, 1).await;
    let mut lost = change(1, Some(route.rev), Fact::CopyStarted);
    lost.actor = "whose reply is lost".to_owned();
    proxy.lose_reply(lost.actor.as_bytes()).expect("the proxy works");
    let error = plane.record(lost.clone()).await.expect_err("the reply was lost");
    assert!(proxy.sprung().expect("the proxy works"));
    assert_eq!(error.class(), Class::Retry);
    assert!(matches!(&error, ControlError::Fault(fault) if fault.applied), "{error}");
    // Read again before acting: it is there, and to send it again is refused.
    let now = plane.route(tenant(1)).await.expect("an answer").expect("a route");
    assert_eq!(now.rev, route.rev + 1);
    match plane.record(lost).await {
        Err(ControlError::Stale(stale)) => assert_eq!(*stale, now),
        other => panic!("{other:?}"),
    }
    assert_eq!(log(&plane, 1).await.len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_that_somebody_holds_makes_its_tenant_wait_and_no_other() {
    let database = database();
    let plane = open(&database.url()).await;
    let (held, free) = (started(&plane, 1).await, started(&plane, 2).await);
    let url: tokio_postgres::Config = database.url().parse().expect("a URL");
    let (session, connection) = url.connect(tokio_postgres::NoTls).await.expect("a session");
    let connection = tokio::spawn(connection);
    let row = format!("BEGIN; SELECT FROM rehome.routes WHERE tenant = '{}' FOR UPDATE", tenant(1));
    session.batch_execute(&row).await.expect("the row is held");

    let since = Instant::now();
    let waits = plane.record(change(1, Some(held.rev), Fact::CopyStarted)).await;
    let error = waits.expect_err("somebody holds the row");
    assert_eq!(error.class(), Class::Retry, "{error}");
    assert!(matches!(&error, ControlError::Fault(fault) if !fault.applied), "{error}");
    assert!(since.elapsed() < Duration::from_secs(15), "{:?}", since.elapsed());
    plane.record(change(2, Some(free.rev), Fact::CopyStarted)).await.expect("another tenant's");
    plane.route(tenant(1)).await.expect("it is read all the same");

    drop(session);
    connection.await.expect("no panic").expect("it ends");
    plane.record(change(1, Some(held.rev), Fact::CopyStarted)).await.expect("it is free again");
}

#[tokio::test(flavor = "multi_thread")]
async fn sessions_of_another_isolation_level_record_and_conflict_as_usual() {
    let database = database();
    for level in ["repeatable read", "serializable"] {
        let name = database.name();
        let set = format!("ALTER ROLE {name} SET default_transaction_isolation = '{level}'");
        rehome_cluster::shared().sql(name, &set).expect("it is set");
        let n = u128::try_from(level.len()).expect("small");
        let plane = Arc::new(open(&database.url()).await);
        started(&*plane, n).await;
        let notes: Vec<_> = (0..12)
            .map(|seq| {
                let (plane, note) = (Arc::clone(&plane), change(n, None, Fact::ReadBack { seq }));
                tokio::spawn(async move { plane.record(note).await })
            })
            .collect();
        for note in notes {
            note.await.expect("no panic").expect("it is noted");
        }
        assert_eq!(log(&plane, n).await.len(), 13);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn processes_that_begin_at_once_make_one_control_plane() {
    let database = database();
    let opened: Vec<_> = (0..6)
        .map(|_| {
            let url = database.url();
            tokio::spawn(async move { open(&url).await })
        })
        .collect();
    let mut deployments = Vec::new();
    for opened in opened {
        deployments.push(opened.await.expect("no panic").deployment().to_owned());
    }
    deployments.dedup();
    assert_eq!(deployments.len(), 1, "{deployments:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lease_runs_by_the_servers_clock() {
    let database = database();
    let (one, other) = (open(&database.url()).await, open(&database.url()).await);
    started(&one, 1).await;
    let ask = |holder: &str, ttl_ms| LeaseRequest {
        migration: migration(1),
        holder: holder.to_owned(),
        ttl_ms,
    };
    assert_eq!(one.lease(&ask("one", 200)).await.expect("an answer"), NEW);
    // A notification of a killed process: a supervisor finds the change by polling.
    let since = Instant::now();
    loop {
        match other.lease(&ask("other", u64::MAX)).await.expect("an answer") {
            Lease::Held { taken_over } => break assert!(taken_over),
            Lease::HeldBy(lease) => assert!(lease.holder == "one" && lease.remaining_ms <= 200),
        }
        assert!(since.elapsed() < Duration::from_secs(30), "it does not run out");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let Some(lease) = one.lease_holder(migration(1)).await.expect("an answer") else {
        panic!("nobody holds it");
    };
    assert_eq!(lease.holder, "other");
}

const NEW: Lease = Lease::Held { taken_over: false };

#[tokio::test(flavor = "multi_thread")]
async fn read_back_marks_of_two_processes_do_not_go_back() {
    let database = database();
    let plane = Arc::new(open(&database.url()).await);
    started(&*plane, 1).await;
    let marked: Vec<_> = (1..=20)
        .map(|seq| {
            let plane = Arc::clone(&plane);
            let head = Head { seq, digest: Digest::new([7; 32]) };
            let read_back = Some(ReadBackMark { m: Epoch(2), head });
            let marks = Marks { read_back, ..Marks::default() };
            tokio::spawn(async move { plane.set_marks(migration(1), &marks).await })
        })
        .collect();
    for marked in marked {
        marked.await.expect("no panic").expect("they are written");
    }
    let mark = plane.marks(migration(1)).await.expect("an answer").read_back.expect("a mark");
    assert_eq!(mark.head.seq, 20);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_text_cannot_hold_stops_nobody() {
    let database = database();
    let plane = open(&database.url()).await;
    let route = started(&plane, 1).await;
    let mut failed =
        change(1, Some(route.rev), Fact::Failed { error: "the store said \0 and no more".into() });
    failed.actor = "a\0b".to_owned();
    let recorded = plane.record(failed).await.expect("it is recorded");
    assert_eq!(plane.migration(migration(1)).await.expect("an answer"), recorded.migration);
    let log = log(&plane, 1).await;
    assert_eq!(log[1].actor, "a\u{fffd}b");

    for (seq, name) in (1..).zip(["", "\0", "\u{fffd}", "a\0", "a"]) {
        plane.set_checkpoint(tenant(1), name, seq).await.expect("it is kept");
    }
    for (seq, name) in (1..).zip(["", "\0", "\u{fffd}", "a\0", "a"]) {
        assert_eq!(plane.checkpoint(tenant(1), name).await.expect("an answer"), seq);
    }
    let long = "n".repeat(1 << 20);
    plane.set_checkpoint(tenant(1), &long, 9).await.expect("it is kept");
    assert_eq!(plane.checkpoint(tenant(1), &long).await.expect("an answer"), 9);
    plane.set_checkpoint(tenant(1), "a", u64::MAX).await.expect_err("more than can be kept");
    assert_eq!(plane.checkpoint(tenant(1), "a").await.expect("an answer"), 5);
}

/// A standby responds too, with old data; a client that trusted it would read an outdated route.
#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_takes_no_writes_is_not_read_from() {
    let database = database();
    let (name, url) = (database.name(), database.url());
    create(&open(&url).await, 1).await;
    let only_reads = |state: &str| {
        // As on a standby: the server reports `transaction_read_only`.
        let set = format!("ALTER ROLE {name} SET default_transaction_read_only = {state}");
        rehome_cluster::shared().sql(name, &set).expect("it is set");
    };
    only_reads("on");
    let url: PostgresUrl = url.parse().expect("a URL");
    let opened = PgControlPlane::open(url.clone(), false, PostgresOptions::default()).await;
    let Err(fault) = opened else { panic!("it reads from a standby") };
    assert_eq!(fault.class(), Class::Retry, "{fault}");
    only_reads("off");
    let opened = PgControlPlane::open(url, false, PostgresOptions::default()).await;
    opened.expect("it takes writes again").route(tenant(1)).await.expect("an answer");
}
