//! Files of older formats: upgraded with what they hold, beside processes that have them open.

use std::path::Path;
use std::sync::Arc;

use rehome_domain::digest::chain;
use rehome_domain::event::Event;
use rehome_domain::ids::{Epoch, MigrationId};
use rehome_domain::layout::{ColumnKind, ForeignRow, FormColumn, RowForm, Texts};
use rehome_domain::ledger::{Activation, Head, Role};
use rehome_domain::migration::{Fact, Options};
use rehome_domain::removal::Turn;
use rehome_ports::contract::access_registry::token;
use rehome_ports::contract::kit::migration_id;
use rehome_ports::log_chain::{Followed, LogAnchor};
use rehome_ports::{
    AccessContents, AccessRegistry as _, Change, ControlPlane, Fleet as _, LedgerStore, RouteFilter,
};

use crate::kit::{
    M, activate, append, audited, fill, folder, history, open, open_control, outsider, store,
    tenant,
};

/// What came with format 8 is not there.
const NO_REMOVALS: &str = "DROP TABLE removals; ";
/// Nor what came with format 7.
const NO_LISTS: &str = "DROP INDEX routes_by_store; DROP INDEX routes_by_phase; DROP INDEX migrations_by_phase; \
     DROP INDEX migrations_by_source; DROP INDEX migrations_by_target; ";
/// Nor what came with format 6.
const NO_ANCHORS: &str = "DROP INDEX routes_by_store; DROP INDEX routes_by_phase; DROP INDEX migrations_by_phase; \
     DROP INDEX migrations_by_source; DROP INDEX migrations_by_target; \
     ALTER TABLE routes DROP COLUMN log_hash; ALTER TABLE routes DROP COLUMN log_entry; ";
/// Nor what came with format 5.
const NO_DRAINS: &str = "DROP TABLE drains; DROP TABLE drain_tenants; DROP TABLE drain_log; \
     DROP TABLE drain_workers; DROP TABLE cordons; DROP TABLE pins; ";

/// What came with format 4 of a store is not there.
const NO_ROWS: &str = "DROP TABLE row_forms; DROP TABLE event_rows; ";
/// A store as it was made before format 3.
const AS_BEFORE_3: &str = "DROP TABLE event_ids; DROP TABLE ids_put_off; \
     CREATE UNIQUE INDEX events_by_id ON events (tenant_no, event_id); \
     UPDATE meta SET format = 2, oldest_reader = 1, oldest_writer = 1; ";

fn formats(path: &Path) -> [u32; 3] {
    let formats = |row: &rusqlite::Row<'_>| Ok([row.get(0)?, row.get(1)?, row.get(2)?]);
    let sql = "SELECT format, oldest_reader, oldest_writer FROM meta";
    outsider(path).query_row(sql, [], formats).unwrap()
}

#[tokio::test]
async fn a_control_plane_of_format_1_is_upgraded_with_what_it_holds() {
    let folder = folder();
    let path = folder.path().join("control.db");
    let old = open_control(&path, true).await.unwrap();
    let route = old.create_route(tenant(1), &"shared".parse().unwrap()).await.unwrap();
    outsider(&path)
        .execute_batch(
            &[
                NO_REMOVALS,
                NO_ANCHORS,
                NO_DRAINS,
                "DROP TABLE access; DROP TABLE tokens; DROP TABLE sessions; DROP TABLE memos; \
                 ALTER TABLE leases DROP COLUMN length_ms; \
                 UPDATE meta SET format = 1, oldest_reader = 1, oldest_writer = 1",
            ]
            .concat(),
        )
        .unwrap();
    let new = open_control(&path, false).await.unwrap();
    assert_eq!(new.route(tenant(1)).await.unwrap(), Some(route));
    assert_eq!(formats(&path), [8, 4, 4]);
    // One that was opened before goes on in the tables that it knows.
    assert!(old.route(tenant(1)).await.unwrap().is_some());
    let sql = "SELECT count(*) FROM memos";
    let memos: i64 = outsider(&path).query_row(sql, [], |row| row.get(0)).unwrap();
    assert_eq!(memos, 0);
}

#[tokio::test]
async fn a_control_plane_of_format_2_is_upgraded_and_its_leases_have_no_length() {
    let folder = folder();
    let path = folder.path().join("control.db");
    open_control(&path, true).await.unwrap().close().await;
    outsider(&path)
        .execute_batch(
            &[
                NO_REMOVALS,
                NO_ANCHORS,
                NO_DRAINS,
                "DROP TABLE access; DROP TABLE tokens; DROP TABLE sessions; \
                 ALTER TABLE leases DROP COLUMN length_ms; UPDATE meta SET format = 2",
            ]
            .concat(),
        )
        .unwrap();
    open_control(&path, false).await.unwrap().close().await;
    let lease = "INSERT OR REPLACE INTO leases (migration, holder, expires_at) \
                 VALUES (zeroblob(16), 'of format 2', 7)";
    outsider(&path).execute_batch(lease).unwrap();
    let sql = "SELECT format, length_ms IS NULL FROM meta, leases";
    let found: (u32, bool) =
        outsider(&path).query_row(sql, [], |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
    assert_eq!(found, (8, true));
}

#[tokio::test]
async fn a_control_plane_of_format_3_is_upgraded_and_gets_a_gate_that_is_open() {
    let folder = folder();
    let path = folder.path().join("control.db");
    let old = open_control(&path, true).await.unwrap();
    let route = old.create_route(tenant(1), &"shared".parse().unwrap()).await.unwrap();
    old.close().await;
    outsider(&path)
        .execute_batch(
            &[
                NO_REMOVALS,
                NO_ANCHORS,
                NO_DRAINS,
                "DROP TABLE access; DROP TABLE tokens; DROP TABLE sessions; \
                 UPDATE meta SET format = 3, oldest_reader = 3, oldest_writer = 3",
            ]
            .concat(),
        )
        .unwrap();
    // Two at once: one upgrades, the other finds it done.
    let (new, other) = tokio::join!(open_control(&path, false), open_control(&path, false));
    let (new, other) = (new.unwrap(), other.unwrap());
    assert_eq!(new.route(tenant(1)).await.unwrap(), Some(route));
    assert_eq!(new.access(None).await.unwrap().contents, Some(AccessContents::default()));
    new.add_token(&token(1), None).await.unwrap();
    let seen = other.access(None).await.unwrap().contents.unwrap();
    assert!(seen.gate.closed);
    assert_eq!(seen.tokens, [token(1)]);
    assert_eq!(formats(&path), [8, 4, 4], "an older one would let anybody in");
}

#[tokio::test]
async fn a_control_plane_of_format_4_is_upgraded_and_can_keep_drains() {
    let folder = folder();
    let path = folder.path().join("control.db");
    let old = open_control(&path, true).await.unwrap();
    let shared = "shared".parse().unwrap();
    let route = old.create_route(tenant(1), &shared).await.unwrap();
    old.add_token(&token(1), None).await.unwrap();
    outsider(&path)
        .execute_batch(
            &[
                NO_REMOVALS,
                NO_ANCHORS,
                NO_DRAINS,
                "UPDATE meta SET format = 4, oldest_reader = 4, oldest_writer = 4",
            ]
            .concat(),
        )
        .unwrap();
    let new = open_control(&path, false).await.unwrap();
    assert_eq!(new.route(tenant(1)).await.unwrap(), Some(route));
    assert_eq!(new.access(None).await.unwrap().contents.unwrap().tokens, [token(1)]);
    let asked = rehome_ports::contract::fleet::new(1, 3);
    let drain = new.start_drain(&asked).await.unwrap();
    assert_eq!(new.drain(asked.id).await.unwrap(), drain);
    // One that was opened before goes on in the tables that it knows.
    assert!(old.create_route(tenant(2), &shared).await.is_ok());
    assert_eq!(formats(&path), [8, 4, 4], "one of format 4 may go on beside it");
}

/// The row of a route, as a rehome of format 5 writes it with each fact.
const WRITTEN_BY_FORMAT_5: &str = "INSERT OR REPLACE INTO routes (tenant, rev, store, epoch, prev_epoch, n, m, base, \
     migration, phase, deadline_ms, created, rollback_window) \
     SELECT tenant, rev, store, epoch, prev_epoch, n, m, base, migration, phase, deadline_ms, created, \
     rollback_window FROM routes";

#[tokio::test]
async fn a_control_plane_of_format_5_is_upgraded_with_a_migration_under_way_and_anchors_its_log() {
    let folder = folder();
    let path = folder.path().join("control.db");
    let old = open_control(&path, true).await.unwrap();
    old.create_route(tenant(1), &"shared".parse().unwrap()).await.unwrap();
    let route = old.mark_created(tenant(1), Epoch(1)).await.unwrap();
    let id = migration_id(1);
    let change = |rev, fact| {
        let actor = "an operator".to_owned();
        Change { tenant: tenant(1), migration: id, rev: Some(rev), fact, actor }
    };
    let target = "dedicated".parse().unwrap();
    let start = Fact::Started { migration: id, target, options: Options::default() };
    let started = old.record(change(route.rev, start)).await.unwrap();
    old.close().await;
    let format = "UPDATE meta SET format = 5, oldest_reader = 4, oldest_writer = 4";
    outsider(&path).execute_batch(&[NO_REMOVALS, NO_ANCHORS, format].concat()).unwrap();

    // Two at once: one upgrades, the other finds it done.
    let (new, other) = tokio::join!(open_control(&path, false), open_control(&path, false));
    let (new, other) = (new.unwrap(), other.unwrap());
    assert_eq!(formats(&path), [8, 4, 4], "one of format 5 may go on beside it");
    assert_eq!(new.route(tenant(1)).await.unwrap(), Some(started.route.clone()));
    // What was there before names its migration, and no entry of its log.
    let named = LogAnchor { tenant: tenant(1), migration: id, seen: Followed::START };
    assert_eq!(other.log_anchors(None, 9).await.unwrap(), [named]);
    new.record(change(started.route.rev, Fact::CopyStarted)).await.unwrap();
    let end = async |id: MigrationId| {
        let log = new.log(id, 0, 99).await.unwrap();
        log.last().map(Followed::to).unwrap()
    };
    let anchored = LogAnchor { seen: end(id).await, ..named };
    assert_eq!(anchored.seen.index, 2);
    assert_eq!(other.log_anchors(None, 9).await.unwrap(), [anchored]);
    // One of format 5 beside it leaves a row that claims nothing, and the next record one that does.
    assert_eq!(outsider(&path).execute(WRITTEN_BY_FORMAT_5, []).unwrap(), 1);
    assert_eq!(other.log_anchors(None, 9).await.unwrap(), [named]);
    let lease = Fact::LeaseTaken { holder: "driver".into() };
    new.record(Change { rev: None, ..change(0, lease) }).await.unwrap();
    assert_eq!(other.log_anchors(None, 9).await.unwrap()[0].seen, end(id).await);
}

#[tokio::test]
async fn a_control_plane_of_format_6_is_upgraded_and_has_an_order_for_each_list() {
    let folder = folder();
    let path = folder.path().join("control.db");
    let old = open_control(&path, true).await.unwrap();
    let shared: rehome_domain::ids::StoreId = "shared".parse().unwrap();
    let route = old.create_route(tenant(1), &shared).await.unwrap();
    let format = "UPDATE meta SET format = 6, oldest_reader = 4, oldest_writer = 4";
    outsider(&path).execute_batch(&[NO_REMOVALS, NO_LISTS, format].concat()).unwrap();
    let (new, other) = tokio::join!(open_control(&path, false), open_control(&path, false));
    let (new, _) = (new.unwrap(), other.unwrap());
    assert_eq!(formats(&path), [8, 4, 4], "one of format 6 may go on beside it");
    let sql = "SELECT count(*) FROM sqlite_schema WHERE type = 'index' AND name IN \
               ('routes_by_store', 'routes_by_phase', 'migrations_by_phase', 'migrations_by_source', \
                'migrations_by_target')";
    let indices: i64 = outsider(&path).query_row(sql, [], |row| row.get(0)).unwrap();
    assert_eq!(indices, 5);
    // One that was opened before goes on, and what it writes is listed.
    let second = old.create_route(tenant(2), &shared).await.unwrap();
    let which = RouteFilter { store: Some(shared), limit: 9, ..RouteFilter::default() };
    let mut found = new.find_routes(&which).await.unwrap();
    found.sort_by_key(|found| found.tenant);
    let mut wanted = vec![route, second];
    wanted.sort_by_key(|wanted| wanted.tenant);
    assert_eq!(found, wanted);
}

#[tokio::test]
async fn a_control_plane_of_format_7_is_upgraded_and_can_remove_a_tenant() {
    let folder = folder();
    let path = folder.path().join("control.db");
    let old = open_control(&path, true).await.unwrap();
    let shared = "shared".parse().unwrap();
    old.create_route(tenant(1), &shared).await.unwrap();
    let route = old.mark_created(tenant(1), Epoch(1)).await.unwrap();
    let format = "UPDATE meta SET format = 7, oldest_reader = 4, oldest_writer = 4";
    outsider(&path).execute_batch(&[NO_REMOVALS, format].concat()).unwrap();
    let (new, other) = tokio::join!(open_control(&path, false), open_control(&path, false));
    let (new, other) = (new.unwrap(), other.unwrap());
    assert_eq!(formats(&path), [8, 4, 4], "one of format 7 may go on beside it");
    assert_eq!(other.route(tenant(1)).await.unwrap().as_ref(), Some(&route));
    let begun = new.remove(tenant(1), route.rev, Turn::Begin { events: 3 }).await.unwrap();
    assert_eq!(other.route(tenant(1)).await.unwrap(), Some(begun));
    // One that was opened before goes on in the tables that it knows.
    old.create_route(tenant(2), &shared).await.unwrap();
}

#[tokio::test]
async fn a_store_of_format_1_is_upgraded_with_what_it_holds_and_can_keep_anchors() {
    let folder = folder();
    let path = folder.path().join("store.db");
    let old = store(&path).await;
    activate(&old, tenant(1)).await;
    fill(&old, tenant(1), 1, 1).await;
    let before = old.ledger(tenant(1)).await.unwrap();
    old.close().await;
    let format = "DROP TABLE log_anchors; UPDATE meta SET format = 1";
    outsider(&path).execute_batch(&[NO_ROWS, AS_BEFORE_3, format].concat()).unwrap();
    let (new, other) = tokio::join!(open(&path, false), open(&path, false));
    let (new, other) = (new.unwrap(), other.unwrap());
    assert_eq!(formats(&path), [4, 1, 1], "one of format 1 may go on beside it");
    assert_eq!(new.ledger(tenant(1)).await.unwrap(), before);
    let seen = Followed { index: 3, hash: before.head.digest };
    let anchor = LogAnchor { tenant: tenant(1), migration: migration_id(1), seen };
    new.keep_anchor(&anchor).await.unwrap();
    assert_eq!(other.anchors(None, 9).await.unwrap(), [anchor]);
    fill(&other, tenant(1), 2, 2).await;
    assert_eq!(new.ledger(tenant(1)).await.unwrap().head.seq, before.head.seq + 1);
}

/// The row of an event, as a rehome of format 2 copies it.
const COPIED_BY_FORMAT_2: &str = "INSERT INTO events (position, stream_no, version, event_id, event_type, \
     occurred_at, recorded_at, data, metadata, digest) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)";

#[tokio::test]
async fn a_store_of_format_2_is_upgraded_with_a_migration_under_way_and_keeps_its_index() {
    let folder = folder();
    let path = folder.path().join("store.db");
    let events = history(3_000).await;
    let made = store(&path).await;
    made.adopt(tenant(1), M, Head::EMPTY).await.unwrap();
    made.close().await;
    outsider(&path).execute_batch(&[NO_ROWS, AS_BEFORE_3].concat()).unwrap();

    let (new, other) = tokio::join!(open(&path, false), open(&path, false));
    let (new, other) = (new.unwrap(), other.unwrap());
    assert_eq!(formats(&path), [4, 1, 1], "one of format 2 may go on beside it");
    new.extend(tenant(1), M, Head::EMPTY, &events[..1_500]).await.unwrap();
    // One of format 2 copies an event beside it.
    let (next, stream) = (&events[1_500], "SELECT stream_no FROM streams WHERE stream_id = ?1");
    let old = outsider(&path);
    let stream: i64 = old.query_row(stream, [next.stream.stream_id()], |row| row.get(0)).unwrap();
    old.execute(
        COPIED_BY_FORMAT_2,
        (
            (1 << 40) + next.seq.cast_signed(),
            stream,
            next.version.cast_signed(),
            next.id.as_bytes().as_slice(),
            &*next.event_type,
            next.occurred_at.micros(),
            next.recorded_at.micros(),
            next.data.as_str(),
            next.metadata.as_str(),
            next.digest.as_bytes().as_slice(),
        ),
    )
    .unwrap();
    old.execute("UPDATE streams SET version = version + 1 WHERE stream_no = ?1", [stream]).unwrap();
    old.execute(
        "UPDATE ledger SET seq = ?1, digest = ?2",
        (next.seq.cast_signed(), next.digest.as_bytes().as_slice()),
    )
    .unwrap();
    drop(old);
    other.extend(tenant(1), M, Head::of(next), &events[1_501..]).await.unwrap();
    other.finish_index(tenant(1)).await.unwrap();
    let route = Activation { epoch: Epoch(3), base: 3_000, created: true };
    new.activate(tenant(1), route).await.unwrap();
    let retry = new.append(tenant(1), Epoch(3), &[append(1_501), append(2_999)]).await.unwrap();
    let seqs: Vec<u64> = retry.into_iter().map(|outcome| outcome.unwrap().last_seq).collect();
    assert_eq!(seqs, [1_501, 2_999]);
    assert_eq!(audited(&new, tenant(1)).await, events);
}

#[tokio::test]
async fn a_new_store_is_read_and_not_written_by_a_rehome_of_format_2() {
    let folder = folder();
    let path = folder.path().join("store.db");
    store(&path).await.close().await;
    assert_eq!(formats(&path), [4, 1, 3]);
}

#[tokio::test]
async fn a_store_of_format_3_is_upgraded_and_is_of_no_use_to_it_once_it_keeps_a_row() {
    let folder = folder();
    let path = folder.path().join("store.db");
    let old = store(&path).await;
    activate(&old, tenant(1)).await;
    fill(&old, tenant(1), 1, 1).await;
    let before = old.ledger(tenant(1)).await.unwrap();
    old.close().await;
    let format = "UPDATE meta SET format = 3";
    outsider(&path).execute_batch(&[NO_ROWS, format].concat()).unwrap();
    let (new, other) = tokio::join!(open(&path, false), open(&path, false));
    let (new, other) = (new.unwrap(), other.unwrap());
    assert_eq!(formats(&path), [4, 1, 3], "one of format 3 may go on beside it");
    assert_eq!(other.ledger(tenant(1)).await.unwrap(), before);

    let events = with_rows(history(40).await);
    for (n, m) in [(2, M), (3, M)] {
        new.adopt(tenant(n), m, Head::EMPTY).await.unwrap();
        new.extend(tenant(n), m, Head::EMPTY, &events).await.unwrap();
        assert_eq!(formats(&path), [4, 4, 4], "an older one would read events without their rows");
    }
    assert_eq!(audited(&other, tenant(2)).await, events);
    // With its last row it is not given back: an older one may have been refused meanwhile, and stays so.
    new.drop_replica(tenant(2), M).await.unwrap();
    while new.purge(tenant(2), M, 7).await.unwrap().role != Role::Absent {}
    let left =
        "SELECT count(*) || ' ' || (SELECT group_concat(tenant_no) FROM row_forms) FROM event_rows";
    let left: String = outsider(&path).query_row(left, [], |row| row.get(0)).unwrap();
    assert_eq!(left, "40 3", "those of the other tenant");
    assert_eq!(audited(&other, tenant(3)).await, events);
    assert_eq!(formats(&path), [4, 4, 4]);
}

/// The history as a table of another library would hold it.
fn with_rows(mut events: Vec<Event>) -> Vec<Event> {
    let column = FormColumn { name: "note".to_owned(), kind: ColumnKind::Text, parts: Vec::new() };
    let form = Arc::new(RowForm { texts: Texts::Sqlite, columns: vec![column] });
    let mut previous = Head::EMPTY.digest;
    for event in &mut events {
        let row = ForeignRow::of([Some(&*format!("row {}", event.seq))]);
        event.row = Some(Arc::new(row.with_form(&form)));
        event.digest = chain(&previous, event);
        previous = event.digest;
    }
    events
}
