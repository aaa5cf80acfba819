//! Stores of older formats.

use std::sync::Arc;

use rehome_cluster::Database;
use rehome_domain::append::Append;
use rehome_domain::digest::chain;
use rehome_domain::event::{Event, EventType, Json, NewEvent};
use rehome_domain::ids::Epoch;
use rehome_domain::layout::{ColumnKind, ForeignRow, FormColumn, RowForm, Texts};
use rehome_domain::ledger::{Activation, Head, Role};
use rehome_domain::removal::Turn;
use rehome_domain::stream::{ExpectedVersion, StreamName};
use rehome_ports::clock::SystemClock;
use rehome_ports::contract::kit::{event_id, history, migration_id, store_id, tenant};
use rehome_ports::log_chain::{Followed, LogAnchor};
use rehome_ports::{BatchLimit, ControlPlane as _, LedgerStore};
use rehome_postgres::{PgControlPlane, PgStore, PgStoreOptions, PostgresOptions, PostgresUrl};

async fn open(database: &Database) -> PgStore {
    let options = PgStoreOptions {
        id: store_id("server"),
        url: database.url().parse().expect("a URL"),
        deployment: "formats".to_owned(),
        create: true,
        clock: Arc::new(SystemClock),
    };
    PgStore::open(options).await.expect("a store")
}

/// Appends `count` events to one stream, and answers how many the history has then.
async fn append(store: &PgStore, first: u64, count: u64) -> usize {
    let event = |n| NewEvent {
        id: event_id(n),
        event_type: EventType::new("placed").expect("a type"),
        occurred_at: None,
        recorded_at: None,
        data: Json::trusted("{}"),
        metadata: Json::trusted("{}"),
    };
    let append = Append {
        stream: StreamName::new("order", "1").expect("a name"),
        expected: ExpectedVersion::Exact(first - 1),
        events: (first..first + count).map(event).collect(),
    };
    let outcomes = store.append(tenant(1), Epoch(1), &[append]).await.expect("an answer");
    assert!(outcomes[0].is_ok(), "{outcomes:?}");
    let all = BatchLimit { events: usize::MAX, bytes: usize::MAX };
    store.read_feed(tenant(1), 0, all).await.expect("a history").events.len()
}

#[tokio::test]
async fn a_store_of_format_1_is_upgraded_with_what_it_holds() {
    let database = rehome_cluster::shared().database().expect("a new database");
    let old = open(&database).await;
    old.activate(tenant(1), Activation { epoch: Epoch(1), base: 0, created: false })
        .await
        .expect("an active tenant");
    assert_eq!(append(&old, 1, 3).await, 3);
    // What the functions of format 1 were does not matter: they are not to be called again.
    let (client, connection) =
        tokio_postgres::connect(&database.url(), tokio_postgres::NoTls).await.expect("a session");
    let driven = tokio::spawn(connection);
    client
        .batch_execute(
            "DROP TABLE rehome.log_anchors, rehome.event_rows, rehome.row_forms; \
             DROP FUNCTION rehome.append_one; \
             DROP FUNCTION rehome.append; \
             ALTER TABLE rehome.meta DROP COLUMN system_identifier; \
             CREATE FUNCTION rehome.append() RETURNS integer LANGUAGE sql AS 'SELECT 1'; \
             CREATE FUNCTION rehome.chain() RETURNS integer LANGUAGE sql AS 'SELECT 1'; \
             UPDATE rehome.meta SET format = 1, oldest_reader = 1, oldest_writer = 1 \
             WHERE kind = 'store'",
        )
        .await
        .expect("functions of format 1");
    // Two at once: one upgrades, the other finds it done.
    let (new, other) = tokio::join!(open(&database), open(&database));
    assert_eq!(append(&new, 4, 1).await, 4);
    assert_eq!(append(&other, 5, 2).await, 6);
    let formats = client
        .query_one(
            "SELECT format, oldest_reader, oldest_writer FROM rehome.meta WHERE kind = 'store'",
            &[],
        )
        .await
        .expect("a row");
    assert_eq!([0, 1, 2].map(|column| formats.get::<_, i32>(column)), [7, 2, 2]);
    drop(client);
    driven.await.expect("no panic").expect("an orderly end");
}

/// What format 2 had: functions without a search path of their own, and one more.
const FORMAT_2: &str = "\
    DO $do$ DECLARE f record; BEGIN \
        FOR f IN SELECT p.oid::regprocedure AS name FROM pg_proc AS p \
                 WHERE p.pronamespace = 'rehome'::regnamespace LOOP \
            EXECUTE format('ALTER FUNCTION %s RESET search_path', f.name); \
        END LOOP; \
    END $do$; \
    CREATE FUNCTION rehome.chain(previous bytea, seq bigint, stream_type text, stream_id text, \
        version bigint, event_id uuid, event_type text, occurred_at bigint, recorded_at bigint, \
        data text, metadata text) RETURNS bytea LANGUAGE sql STABLE AS 'SELECT previous'; \
    DROP TABLE rehome.access, rehome.tokens, rehome.sessions, rehome.drains, rehome.drain_tenants, \
        rehome.drain_log, rehome.drain_workers, rehome.cordons, rehome.pins, rehome.log_anchors, \
        rehome.event_rows, rehome.row_forms; \
    DROP INDEX rehome.routes_by_store, rehome.routes_by_phase, rehome.migrations_by_phase, \
    rehome.migrations_by_source, rehome.migrations_by_target; \
    ALTER TABLE rehome.routes DROP COLUMN log_hash, DROP COLUMN log_entry, DROP COLUMN removal_events, \
        DROP COLUMN removal_epoch; \
    ALTER TABLE rehome.meta DROP COLUMN system_identifier; \
    UPDATE rehome.meta SET format = 2, oldest_reader = 2, oldest_writer = 2";

const PINNED: &str = "\
    SELECT count(*) FILTER (WHERE 'search_path=pg_catalog, pg_temp' = ANY (p.proconfig)), count(*) \
    FROM pg_proc AS p WHERE p.pronamespace = 'rehome'::regnamespace";

#[tokio::test]
async fn both_parts_of_format_2_are_upgraded_and_their_functions_get_a_path_of_their_own() {
    let cluster = rehome_cluster::shared();
    let database = cluster.database().expect("a new database");
    let old = open(&database).await;
    old.activate(tenant(1), Activation { epoch: Epoch(1), base: 0, created: false })
        .await
        .expect("an active tenant");
    assert_eq!(append(&old, 1, 3).await, 3);
    let url: PostgresUrl = database.url().parse().expect("a URL");
    let control = PgControlPlane::open(url.clone(), true, PostgresOptions::default()).await;
    control
        .expect("a control plane")
        .create_route(tenant(1), &store_id("a"))
        .await
        .expect("a route");
    cluster.sql(database.name(), FORMAT_2).expect("both parts of format 2");
    let pinned = || cluster.sql(database.name(), PINNED).expect("an answer");
    assert_eq!(pinned(), "0|11");

    // The old process continues beside the new one.
    let new = open(&database).await;
    let control = PgControlPlane::open(url, false, PostgresOptions::default()).await;
    assert!(control.expect("a control plane").route(tenant(1)).await.expect("an answer").is_some());
    assert_eq!(append(&new, 4, 2).await, 5);
    assert_eq!(append(&old, 6, 1).await, 6);
    // All except the one that lists all names.
    assert_eq!(pinned(), "9|10");
    let meta = "SELECT kind, format, oldest_reader, system_identifier = \
                    (SELECT s.system_identifier::text FROM pg_control_system() AS s) \
                FROM rehome.meta ORDER BY kind";
    let meta = cluster.sql(database.name(), meta).expect("an answer");
    assert_eq!(meta, "control_plane|9|5|t\nstore|7|2|t");
}

#[tokio::test]
async fn a_store_of_format_5_is_upgraded_and_can_keep_anchors() {
    let database = rehome_cluster::shared().database().expect("a new database");
    let old = open(&database).await;
    old.activate(tenant(1), Activation { epoch: Epoch(1), base: 0, created: false })
        .await
        .expect("an active tenant");
    assert_eq!(append(&old, 1, 3).await, 3);
    let before = "DROP TABLE rehome.log_anchors, rehome.event_rows, rehome.row_forms; \
                  UPDATE rehome.meta SET format = 5 WHERE kind = 'store'";
    rehome_cluster::shared().sql(database.name(), before).expect("a store of format 5");
    let (new, other) = tokio::join!(open(&database), open(&database));
    let hash = new.ledger(tenant(1)).await.expect("a ledger").head.digest;
    let seen = Followed { index: 2, hash };
    let anchor = LogAnchor { tenant: tenant(1), migration: migration_id(1), seen };
    new.keep_anchor(&anchor).await.expect("room for it");
    assert_eq!(other.anchors(None, 9).await.expect("an answer"), [anchor]);
    assert_eq!(append(&old, 4, 1).await, 4);
    let meta = "SELECT format, oldest_reader FROM rehome.meta WHERE kind = 'store'";
    let meta = rehome_cluster::shared().sql(database.name(), meta).expect("an answer");
    assert_eq!(meta, "7|2", "one of format 5 may go on beside it");
}

#[tokio::test]
async fn a_store_of_format_6_is_upgraded_and_is_of_no_use_to_it_once_it_keeps_a_row() {
    let cluster = rehome_cluster::shared();
    let database = cluster.database().expect("a new database");
    let sql = |sql: &str| cluster.sql(database.name(), sql).expect("an answer");
    let old = open(&database).await;
    old.activate(tenant(1), Activation { epoch: Epoch(1), base: 0, created: false })
        .await
        .expect("an active tenant");
    assert_eq!(append(&old, 1, 3).await, 3);
    let tail = "DROP FUNCTION rehome.purge, rehome.cut_back";
    sql(&format!(
        "{tail}; DROP TABLE rehome.event_rows, rehome.row_forms; \
         UPDATE rehome.meta SET format = 6 WHERE kind = 'store'"
    ));
    let (new, other) = tokio::join!(open(&database), open(&database));
    let meta = "SELECT format, oldest_reader, oldest_writer FROM rehome.meta WHERE kind = 'store'";
    assert_eq!(sql(meta), "7|2|2", "one of format 6 may go on beside it");
    assert_eq!(append(&other, 4, 1).await, 4);

    let events = with_rows(history(90));
    for n in [2, 3] {
        new.adopt(tenant(n), Epoch(5), Head::EMPTY).await.expect("a copy");
        new.extend(tenant(n), Epoch(5), Head::EMPTY, &events).await.expect("rows are kept");
        assert_eq!(sql(meta), "7|7|7", "an older one would read events without their rows");
    }
    let read = other.read_feed(tenant(2), 0, BatchLimit::PAGE).await.expect("a history");
    assert_eq!(read.events, events);
    new.drop_replica(tenant(2), Epoch(5)).await.expect("it is fenced");
    while new.purge(tenant(2), Epoch(5), 40).await.expect("a purge").role != Role::Absent {}
    let left = "SELECT count(*), (SELECT string_agg(l.tenant::text, ',') FROM rehome.row_forms AS f \
                JOIN rehome.ledger AS l USING (tenant_no)) FROM rehome.event_rows";
    assert_eq!(sql(left), format!("90|{}", tenant(3)), "those of the other tenant");
    assert_eq!(sql(meta), "7|7|7");
}

/// The history as a table of another library would hold it.
fn with_rows(mut events: Vec<Event>) -> Vec<Event> {
    let column = FormColumn { name: "note".to_owned(), kind: ColumnKind::Text, parts: Vec::new() };
    let form = Arc::new(RowForm { texts: Texts::Postgresql, columns: vec![column] });
    let mut previous = Head::EMPTY.digest;
    for event in &mut events {
        let row = ForeignRow::of([Some(&*format!("row {}", event.seq))]);
        event.row = Some(Arc::new(row.with_form(&form)));
        event.digest = chain(&previous, event);
        previous = event.digest;
    }
    events
}

#[tokio::test]
async fn a_control_plane_of_format_8_is_upgraded_and_can_remove_a_tenant() {
    let database = rehome_cluster::shared().database().expect("a new database");
    let url: PostgresUrl = database.url().parse().expect("a URL");
    let open = async |create| {
        let opened = PgControlPlane::open(url.clone(), create, PostgresOptions::default()).await;
        opened.expect("a control plane")
    };
    let old = open(true).await;
    old.create_route(tenant(1), &store_id("a")).await.expect("a route");
    let route = old.mark_created(tenant(1), Epoch(1)).await.expect("a row");
    let before = "ALTER TABLE rehome.routes DROP COLUMN removal_events, DROP COLUMN removal_epoch; \
                  UPDATE rehome.meta SET format = 8 WHERE kind = 'control_plane'";
    rehome_cluster::shared().sql(database.name(), before).expect("one of format 8");
    let (new, other) = tokio::join!(open(false), open(false));
    let turn = Turn::Begin { events: 3 };
    let begun = new.remove(tenant(1), route.rev, turn).await.expect("a removal");
    assert_eq!(other.route(tenant(1)).await.expect("an answer"), Some(begun));
    let meta = "SELECT format, oldest_reader FROM rehome.meta WHERE kind = 'control_plane'";
    let meta = rehome_cluster::shared().sql(database.name(), meta).expect("an answer");
    assert_eq!(meta, "9|5", "one of format 8 may go on beside it");
}
