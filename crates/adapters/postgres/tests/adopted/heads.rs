//! A table of streams' heads goes with the events, in their transactions: the tables of Emmett.

use rehome_domain::ids::{Epoch, TenantId};
use rehome_domain::layout::{Layout, tenant_of};
use rehome_domain::ledger::Head;
use rehome_ports::{BatchLimit, LedgerStore as _, TenantNames};

use crate::kit::{FIRST, Place, refusal};

/// The tables of Emmett 0.42, with the one partition that it makes.
pub(crate) const EMMETT: &str = "\
    CREATE TABLE emt_streams (stream_id text NOT NULL, stream_position bigint NOT NULL, \
        partition text NOT NULL DEFAULT 'emt:default', stream_type text NOT NULL, stream_metadata jsonb NOT NULL, \
        is_archived boolean NOT NULL DEFAULT false, PRIMARY KEY (stream_id, partition, is_archived)) \
        PARTITION BY LIST (partition); \
    CREATE SEQUENCE emt_global_message_position; \
    CREATE TABLE emt_messages (stream_position bigint NOT NULL, \
        global_position bigint DEFAULT nextval('emt_global_message_position'), transaction_id xid8 NOT NULL, \
        created timestamptz NOT NULL DEFAULT now(), is_archived boolean NOT NULL DEFAULT false, \
        message_kind varchar(1) NOT NULL DEFAULT 'E', stream_id text NOT NULL, \
        partition text NOT NULL DEFAULT 'emt:default', message_schema_version text NOT NULL, message_id text NOT NULL, \
        message_type text NOT NULL, message_data jsonb NOT NULL, message_metadata jsonb NOT NULL, \
        PRIMARY KEY (stream_id, stream_position, partition, is_archived)) PARTITION BY LIST (partition); \
    CREATE TABLE emt_streams_d PARTITION OF emt_streams FOR VALUES IN ('emt:default') \
        PARTITION BY LIST (is_archived); \
    CREATE TABLE emt_streams_d_active PARTITION OF emt_streams_d FOR VALUES IN (false); \
    CREATE TABLE emt_messages_d PARTITION OF emt_messages FOR VALUES IN ('emt:default') \
        PARTITION BY LIST (is_archived); \
    CREATE TABLE emt_messages_d_active PARTITION OF emt_messages_d FOR VALUES IN (false);";

async fn place(id: &str, names: &TenantNames) -> Place {
    Place::with(id, EMMETT, Layout::built_in("emmett").expect("it comes with rehome"), names).await
}

fn acme() -> TenantId {
    tenant_of("acme")
}

/// What the library does in one transaction for an event of a stream.
fn append(stream: u32, version: u32) -> String {
    let head = if version == 1 {
        format!(
            "INSERT INTO emt_streams (stream_id, stream_position, stream_type, stream_metadata) \
             VALUES ('acme/o-{stream}', 1, 'acme/o', '{{\"n\": {stream}}}')"
        )
    } else {
        format!(
            "UPDATE emt_streams SET stream_position = {version} WHERE stream_id = 'acme/o-{stream}'"
        )
    };
    format!(
        "BEGIN; {head}; INSERT INTO emt_messages (stream_id, stream_position, transaction_id, \
             message_schema_version, message_id, message_type, message_data, message_metadata) \
         VALUES ('acme/o-{stream}', {version}, pg_current_xact_id(), '1', gen_random_uuid()::text, 'Placed', \
             '{{}}', '{{}}'); COMMIT"
    )
}

/// All heads, a line each.
async fn heads(place: &Place) -> Vec<String> {
    let sql = "SELECT concat_ws(' ', stream_id, stream_position, partition, stream_type, stream_metadata, is_archived) \
        FROM emt_streams ORDER BY stream_id";
    let rows = place.app.query(sql, &[]).await.expect("the heads");
    rows.iter().map(|row| row.get(0)).collect()
}

#[tokio::test]
async fn heads_go_with_the_events_and_come_back_with_them() {
    let names = TenantNames::default();
    let (source, target) = (place("shared", &names).await, place("dedicated", &names).await);
    for (stream, version) in [(1, 1), (2, 1), (1, 2), (3, 1), (1, 3), (2, 2)] {
        source.app.batch_execute(&append(stream, version)).await.unwrap();
    }
    names.learn(acme(), "acme");
    source.store.activate(acme(), FIRST).await.unwrap();
    target.store.adopt(acme(), Epoch(2), Head::EMPTY).await.unwrap();
    let events = source.store.read_feed(acme(), 0, BatchLimit::PAGE).await.unwrap().events;
    // At each step the heads are those of the events that are there.
    let mut head = Head::EMPTY;
    for (n, event) in events.iter().enumerate() {
        head =
            target.store.extend(acme(), Epoch(2), head, std::slice::from_ref(event)).await.unwrap();
        let longest = "SELECT count(*) FROM emt_streams AS h JOIN (SELECT stream_id, max(stream_position) AS last \
            FROM emt_messages GROUP BY stream_id) AS e USING (stream_id) WHERE h.stream_position = e.last";
        assert_eq!(
            target.count(longest).await,
            target.count("SELECT count(*) FROM emt_streams").await
        );
        assert_eq!(
            target.count("SELECT count(*) FROM emt_messages").await,
            i64::try_from(n).unwrap() + 1
        );
    }
    assert_eq!(heads(&target).await, heads(&source).await);
    // A transaction's id is the target's own.
    let foreign = "SELECT count(*) FROM emt_messages WHERE transaction_id::text::bigint \
        > pg_snapshot_xmax(pg_current_snapshot())::text::bigint";
    assert_eq!(target.count(foreign).await, 0);
    assert_eq!(target.count("SELECT count(DISTINCT transaction_id) FROM emt_messages").await, 6);

    // A writer that is refused leaves no head behind.
    let (state, _) = refusal(&target.app, &append(9, 1)).await;
    assert_eq!(state, "RH001");
    target.app.batch_execute("ROLLBACK").await.unwrap();
    assert_eq!(heads(&target).await, heads(&source).await);

    // What is read back is all of it: a head that differs is another digest.
    let read = target.store.read_feed(acme(), 0, BatchLimit::PAGE).await.unwrap().events;
    assert_eq!(read, events);
    let other = "UPDATE emt_streams SET stream_type = 'else' WHERE stream_id = 'acme/o-3'";
    target.app.batch_execute(other).await.unwrap();
    let read = target.store.read_feed(acme(), 0, BatchLimit::PAGE).await.unwrap().events;
    assert_ne!(read, events);
    target.app.batch_execute(&other.replace("else", "acme/o")).await.unwrap();

    // Cut back to two events, and to none.
    target.store.drop_replica(acme(), Epoch(2)).await.unwrap();
    let two = Head { seq: 2, digest: events[1].digest };
    target.store.cut_back(acme(), Epoch(2), two, 3).await.unwrap();
    let left = target.store.cut_back(acme(), Epoch(2), two, 3).await.unwrap();
    assert_eq!(left.head, two);
    let kept: Vec<_> = heads(&target).await;
    assert_eq!(kept.len(), 2, "{kept:?}");
    assert!(kept.iter().all(|line| line.contains(" 1 emt:default")), "{kept:?}");
    target.store.purge(acme(), Epoch(2), 10).await.unwrap();
    assert_eq!(heads(&target).await, Vec::<String>::new());
}

/// The history that is there is numbered in the order in which the table took it: also within one transaction, whose
/// rows all have one time.
#[tokio::test]
async fn one_transaction_over_two_streams_is_numbered_as_it_was_written() {
    let names = TenantNames::default();
    let source = place("shared", &names).await;
    for version in 1..=6 {
        source.app.batch_execute(&append(7, version)).await.unwrap();
    }
    // The later version of the one stream comes before the first of the other.
    let body =
        |text: String| text.trim_start_matches("BEGIN;").trim_end_matches("COMMIT").to_owned();
    let both = [body(append(7, 7)), body(append(1, 1)), body(append(7, 8))].concat();
    source.app.batch_execute(&format!("BEGIN; {both} COMMIT")).await.unwrap();
    names.learn(acme(), "acme");
    source.store.activate(acme(), FIRST).await.unwrap();
    let events = source.store.read_feed(acme(), 0, BatchLimit::PAGE).await.unwrap().events;
    let order: Vec<_> =
        events.iter().map(|event| (event.stream.stream_id().to_owned(), event.version)).collect();
    let seventh = |version| ("acme/o-7".to_owned(), version);
    let wanted: Vec<_> =
        (1..=7).map(seventh).chain([("acme/o-1".to_owned(), 1), seventh(8)]).collect();
    assert_eq!(order, wanted);
}

/// A target must have no head of the tenant either (rule R12): the copy would take it for its own, or leave it behind.
#[tokio::test]
async fn r12_a_target_with_heads_of_the_tenant_is_refused() {
    let names = TenantNames::default();
    let target = place("dedicated", &names).await;
    let head = |stream: &str| {
        format!(
            "INSERT INTO emt_streams (stream_id, stream_position, stream_type, stream_metadata) \
             VALUES ('{stream}', 7, 'o', '{{}}')"
        )
    };
    names.learn(acme(), "acme");
    for others in ["acme", "acme2/o-1", "other/acme/o-1", "ac"] {
        target.app.batch_execute(&head(others)).await.unwrap();
    }
    assert_eq!(target.store.obstacles(acme()).await.unwrap(), Vec::<String>::new());
    target.app.batch_execute(&head("acme/o-9")).await.unwrap();
    let obstacles = target.store.obstacles(acme()).await.unwrap();
    assert!(obstacles.iter().any(|it| it.contains("\"emt_streams\" has rows")), "{obstacles:?}");
    let refused = target.store.adopt(acme(), Epoch(2), Head::EMPTY).await.expect_err("a head");
    assert!(refused.to_string().contains("\"emt_streams\" has rows of tenant"), "{refused}");

    // One that comes while the guard waits for its writer is seen as well.
    target.app.batch_execute("DELETE FROM emt_streams WHERE stream_id = 'acme/o-9'").await.unwrap();
    let writer = target.session().await;
    writer.batch_execute(&format!("BEGIN; {}", head("acme/o-8"))).await.unwrap();
    let adopting = tokio::spawn({
        let store = std::sync::Arc::clone(&target.store);
        async move { store.adopt(acme(), Epoch(2), Head::EMPTY).await }
    });
    let draining = "SELECT EXISTS (SELECT FROM rehome_guard.tenants WHERE phase = 'draining')";
    crate::kit::until(&target.app, draining).await;
    writer.batch_execute("COMMIT").await.unwrap();
    let refused = adopting.await.unwrap().expect_err("a head").to_string();
    assert!(refused.contains("\"emt_streams\" has rows of tenant"), "{refused}");
    target.app.batch_execute("DELETE FROM emt_streams WHERE stream_id = 'acme/o-8'").await.unwrap();
    target.store.adopt(acme(), Epoch(2), Head::EMPTY).await.unwrap();
}

/// The first events of a stream may be gone: what remains of it is its history.
#[tokio::test]
async fn a_head_of_a_stream_that_begins_late_goes_with_its_last_row() {
    let names = TenantNames::default();
    let (source, target) = (place("shared", &names).await, place("dedicated", &names).await);
    for version in 1..=6 {
        source.app.batch_execute(&append(1, version)).await.unwrap();
    }
    let gone = "DELETE FROM emt_messages WHERE stream_position IN (1, 2, 3, 5)";
    source.app.batch_execute(gone).await.unwrap();
    names.learn(acme(), "acme");
    source.store.activate(acme(), FIRST).await.unwrap();
    target.store.adopt(acme(), Epoch(2), Head::EMPTY).await.unwrap();
    let events = source.store.read_feed(acme(), 0, BatchLimit::PAGE).await.unwrap().events;
    assert_eq!(events.iter().map(|event| event.version).collect::<Vec<_>>(), [4, 6]);
    target.store.extend(acme(), Epoch(2), Head::EMPTY, &events).await.unwrap();
    assert_eq!(heads(&target).await, heads(&source).await);
    target.store.drop_replica(acme(), Epoch(2)).await.unwrap();
    let one = Head { seq: 1, digest: events[0].digest };
    target.store.cut_back(acme(), Epoch(2), one, 3).await.unwrap();
    assert_eq!(target.count("SELECT stream_position FROM emt_streams").await, 4);
    target.store.purge(acme(), Epoch(2), 10).await.unwrap();
    assert_eq!(heads(&target).await, Vec::<String>::new());
}

/// Without a key to find a head by, nothing is installed.
#[tokio::test]
async fn a_table_of_heads_without_their_key_is_not_adopted() {
    let database = rehome_cluster::shared().database().unwrap();
    let app = crate::kit::session(&database).await;
    let without = EMMETT.replace(", PRIMARY KEY (stream_id, partition, is_archived)", "");
    app.batch_execute(&without).await.unwrap();
    let layout = Layout::built_in("emmett").unwrap();
    let adoption = crate::kit::adoption(&database, "shared", layout, &TenantNames::default());
    let refused = adoption.adopt().await.expect_err("heads cannot be told apart").to_string();
    assert!(
        refused.contains("no unique key of the NOT NULL columns is_archived, partition, stream_id"),
        "{refused}"
    );
    assert!(!adoption.is_installed().await.unwrap());
}

/// The tables that Marten makes for `TenancyStyle.Conjoined` and streams with UUIDs, as its published schema has them.
pub(crate) const MARTEN: &str = "\
    CREATE TABLE mt_streams (id uuid NOT NULL, type varchar, version bigint, \
        timestamp timestamptz NOT NULL DEFAULT now(), snapshot jsonb, snapshot_version integer, \
        created timestamptz NOT NULL DEFAULT now(), tenant_id varchar NOT NULL DEFAULT '*DEFAULT*', \
        is_archived boolean DEFAULT false, PRIMARY KEY (tenant_id, id)); \
    CREATE TABLE mt_events (seq_id bigint NOT NULL PRIMARY KEY, id uuid NOT NULL, stream_id uuid, \
        version bigint NOT NULL, data jsonb NOT NULL, type varchar(500) NOT NULL, \
        timestamp timestamptz NOT NULL DEFAULT now(), tenant_id varchar DEFAULT '*DEFAULT*', mt_dotnet_type varchar, \
        is_archived boolean DEFAULT false); \
    ALTER TABLE mt_events ADD CONSTRAINT fkey_mt_events_stream_id_tenant_id \
        FOREIGN KEY (stream_id, tenant_id) REFERENCES mt_streams (id, tenant_id); \
    CREATE UNIQUE INDEX pk_mt_events_stream_and_version ON mt_events (tenant_id, stream_id, version); \
    CREATE SEQUENCE mt_events_sequence; \
    ALTER SEQUENCE mt_events_sequence OWNED BY mt_events.seq_id; \
    CREATE TABLE mt_event_progression (name varchar PRIMARY KEY, last_seq_id bigint, \
        last_updated timestamptz DEFAULT transaction_timestamp());";

/// What Marten's `mt_quick_append_events` does for one event.
fn append_to_marten(stream: u32, version: u32) -> String {
    let id = format!("00000000-0000-4000-8000-{stream:012}");
    let head = if version == 1 {
        format!(
            "INSERT INTO mt_streams (id, type, version, tenant_id) VALUES ('{id}', 'order', 1, 'acme')"
        )
    } else {
        format!(
            "UPDATE mt_streams SET version = {version}, timestamp = now() WHERE id = '{id}' AND tenant_id = 'acme'"
        )
    };
    format!(
        "BEGIN; {head}; INSERT INTO mt_events (seq_id, id, stream_id, version, data, type, tenant_id, mt_dotnet_type) \
         VALUES (nextval('mt_events_sequence'), gen_random_uuid(), '{id}', {version}, '{{\"n\": 1.50}}', 'placed', \
             'acme', 'Shop.Placed, Shop'); COMMIT"
    )
}

/// Its column of streams may be NULL, which is said with what to do; then a tenant goes there with its streams, whatever order
/// the foreign key wants.
#[tokio::test]
async fn the_tables_of_marten_by_their_published_schema() {
    let names = TenantNames::default();
    let layout = || Layout::built_in("marten").expect("it comes with rehome");
    let database = rehome_cluster::shared().database().unwrap();
    let app = crate::kit::session(&database).await;
    app.batch_execute(MARTEN).await.unwrap();
    let adoption = crate::kit::adoption(&database, "nullable", layout(), &names);
    let refused = adoption.adopt().await.expect_err("a stream may be NULL").to_string();
    let advice = "ALTER TABLE \"public\".\"mt_events\" ALTER COLUMN \"stream_id\" SET NOT NULL";
    assert!(refused.contains(advice), "{refused}");

    let tables = format!("{MARTEN} ALTER TABLE mt_events ALTER COLUMN stream_id SET NOT NULL;");
    let source = Place::with("shared", &tables, layout(), &names).await;
    let target = Place::with("dedicated", &tables, layout(), &names).await;
    for (stream, version) in [(1, 1), (2, 1), (1, 2), (2, 2), (2, 3)] {
        source.app.batch_execute(&append_to_marten(stream, version)).await.unwrap();
    }
    names.learn(acme(), "acme");
    source.store.activate(acme(), FIRST).await.unwrap();
    target.store.adopt(acme(), Epoch(2), Head::EMPTY).await.unwrap();
    let events = source.store.read_feed(acme(), 0, BatchLimit::PAGE).await.unwrap().events;
    target.store.extend(acme(), Epoch(2), Head::EMPTY, &events).await.unwrap();
    let streams = "SELECT string_agg(concat_ws(' ', id, type, version, created, tenant_id, is_archived), ';' \
        ORDER BY id) FROM mt_streams";
    let rows = "SELECT string_agg((to_jsonb(e) - 'seq_id')::text, ';' ORDER BY stream_id, version) FROM mt_events AS e";
    for sql in [streams, rows] {
        let of =
            async |place: &Place| -> String { place.app.query_one(sql, &[]).await.unwrap().get(0) };
        assert_eq!(of(&source).await, of(&target).await);
    }
    target.store.drop_replica(acme(), Epoch(2)).await.unwrap();
    target.store.purge(acme(), Epoch(2), 2).await.unwrap();
    assert_eq!(target.count("SELECT sum(version)::bigint FROM mt_streams").await, 3);
    target.store.purge(acme(), Epoch(2), 10).await.unwrap();
    assert_eq!(target.count("SELECT count(*) FROM mt_streams").await, 0);
}

/// The table of Axon's JDBC event storage, as its published schema has it.
const AXON: &str = "\
    CREATE TABLE domainevententry (globalindex bigserial NOT NULL PRIMARY KEY, aggregateidentifier varchar(255) NOT NULL, \
        sequencenumber bigint NOT NULL, type varchar(255), eventidentifier varchar(255) NOT NULL UNIQUE, metadata bytea, \
        payload bytea NOT NULL, payloadrevision varchar(255), payloadtype varchar(255) NOT NULL, \
        timestamp varchar(255) NOT NULL, UNIQUE (aggregateidentifier, sequencenumber));";

#[tokio::test]
async fn the_table_of_axon_by_its_published_schema() {
    let names = TenantNames::default();
    let layout = || Layout::built_in("axon").expect("it comes with rehome");
    let source = Place::with("shared", AXON, layout(), &names).await;
    let target = Place::with("dedicated", AXON, layout(), &names).await;
    for number in 0..3 {
        let insert = format!(
            "INSERT INTO domainevententry (aggregateidentifier, sequencenumber, type, eventidentifier, metadata, payload, \
                 payloadtype, timestamp) \
             VALUES ('acme/order-1', {number}, 'Order', gen_random_uuid()::text, '\\x00ff', '\\x7b7d', 'shop.Placed', \
                 '2026-01-02T03:04:05.{number}Z'), ('other/order-1', {number}, 'Order', gen_random_uuid()::text, NULL, \
                 '\\x', 'shop.Placed', '2026-01-02T03:04:05Z')"
        );
        source.app.batch_execute(&insert).await.unwrap();
    }
    names.learn(acme(), "acme");
    let ledger = source.store.activate(acme(), FIRST).await.unwrap();
    assert_eq!(ledger.head.seq, 3);
    target.store.adopt(acme(), Epoch(2), Head::EMPTY).await.unwrap();
    let events = source.store.read_feed(acme(), 0, BatchLimit::PAGE).await.unwrap().events;
    assert_eq!(events.iter().map(|event| event.version).collect::<Vec<_>>(), [1, 2, 3]);
    target.store.extend(acme(), Epoch(2), Head::EMPTY, &events).await.unwrap();
    let rows = "SELECT string_agg((to_jsonb(e) - 'globalindex')::text, ';' ORDER BY sequencenumber) \
        FROM domainevententry AS e WHERE aggregateidentifier LIKE 'acme/%'";
    let of =
        async |place: &Place| -> String { place.app.query_one(rows, &[]).await.unwrap().get(0) };
    assert_eq!(of(&source).await, of(&target).await);
}
