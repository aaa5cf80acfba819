//! Rows of foreign tables and queries, read for an import.

#![allow(clippy::unwrap_used, reason = "a test may end anywhere")]

use rehome_cluster::Database;
use rehome_domain::layout::Layout;
use rehome_ports::{EventSource, Fault, PAGE_ROWS, SourceRow};
use rehome_postgres::{PgSource, PgSourceOf};
use tokio_postgres::{Client, NoTls};

const TABLE: &str = "\
    CREATE TABLE public.entries (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, \"order\" text NOT NULL, \
        rev int NOT NULL, kind text NOT NULL, body jsonb NOT NULL, at timestamptz NOT NULL DEFAULT now(), \
        UNIQUE (\"order\", rev));";
const QUERY: &str = "\
    SELECT id AS position, 'acme' AS tenant_id, \"order\" AS stream_id, rev AS version, kind AS event_type, \
        body AS data, at AS occurred_at FROM public.entries -- all of them";

async fn session(database: &Database) -> Client {
    let connected = tokio_postgres::connect(&database.url(), NoTls).await;
    let (client, connection) = connected.expect("a session");
    tokio::spawn(connection);
    client
}

async fn database() -> (Database, Client) {
    let database = rehome_cluster::shared().database().expect("a database");
    let client = session(&database).await;
    client.batch_execute(TABLE).await.expect("a table");
    (database, client)
}

async fn insert(client: &Client, order: &str, rev: i32) {
    let sql =
        "INSERT INTO public.entries (\"order\", rev, kind, body) VALUES ($1, $2, 'Changed', '{}')";
    client.execute(sql, &[&order, &rev]).await.expect("an insert");
}

async fn query(database: &Database, sql: &str) -> Result<PgSource, Fault> {
    let url = database.url().parse().expect("a URL");
    PgSource::open(&url, &PgSourceOf::Query(sql.to_owned())).await
}

fn streams(rows: &[SourceRow]) -> Vec<(&str, i64)> {
    rows.iter().map(|row| (row.stream_id.as_deref().unwrap(), row.version.unwrap())).collect()
}

#[tokio::test]
async fn a_row_that_is_committed_late_is_waited_for_and_not_skipped() {
    let (database, client) = database().await;
    let mut source = query(&database, QUERY).await.unwrap();
    // It draws the first position and commits last.
    let mut slow = session(&database).await;
    let slow = slow.transaction().await.unwrap();
    let sql = "INSERT INTO public.entries (\"order\", rev, kind, body) VALUES ('slow', 1, 'Placed', '{}')";
    slow.execute(sql, &[]).await.unwrap();
    insert(&client, "quick", 1).await;
    let page = source.page(-1).await.unwrap();
    assert!(page.rows.is_empty(), "it read past a transaction that is open");
    assert_eq!(page.read_to, -1);
    assert!(page.waits_for.unwrap().contains("the transaction of process"));
    // Who begins now draws a higher one, and is not waited for.
    let mut later = session(&database).await;
    let later = later.transaction().await.unwrap();
    later.execute("SELECT 1", &[]).await.unwrap();
    slow.commit().await.unwrap();
    let page = source.page(-1).await.unwrap();
    assert_eq!(streams(&page.rows), [("slow", 1), ("quick", 1)]);
    assert_eq!((page.read_to, page.waits_for), (2, None));
    drop(later);
}

#[tokio::test]
async fn a_prepared_transaction_is_waited_for_by_its_name() {
    let (database, client) = database().await;
    let mut source = query(&database, QUERY).await.unwrap();
    let sql = "BEGIN; INSERT INTO public.entries (\"order\", rev, kind, body) VALUES ('p', 1, 'Placed', '{}'); \
               PREPARE TRANSACTION 'half ''way'";
    session(&database).await.batch_execute(sql).await.unwrap();
    insert(&client, "quick", 1).await;
    let page = source.page(-1).await.unwrap();
    assert_eq!(page.waits_for.as_deref(), Some("the end of the prepared transaction 'half ''way'"));
    client.batch_execute("COMMIT PREPARED 'half ''way'").await.unwrap();
    assert_eq!(streams(&source.page(-1).await.unwrap().rows), [("p", 1), ("quick", 1)]);
}

#[tokio::test]
async fn pages_end_where_the_next_begin_and_all_rows_of_one_moment_are_read() {
    let (database, client) = database().await;
    let fill = format!(
        "INSERT INTO public.entries (\"order\", rev, kind, body) SELECT 'o', n, 'Changed', '{{}}' \
         FROM generate_series(1, {}) AS n; DELETE FROM public.entries WHERE id % 7 = 3",
        PAGE_ROWS * 2 + 10
    );
    client.batch_execute(&fill).await.unwrap();
    let mut source = query(&database, QUERY).await.unwrap();
    let (mut after, mut found) = (-1, Vec::new());
    loop {
        let page = source.page(after).await.unwrap();
        if page.rows.is_empty() && page.read_to == after && page.waits_for.is_none() {
            break;
        }
        after = page.read_to;
        found.extend(page.rows.into_iter().map(|row| row.position));
    }
    let expected: Vec<i64> =
        (1..=i64::try_from(PAGE_ROWS).unwrap() * 2 + 10).filter(|id| id % 7 != 3).collect();
    assert_eq!(found, expected);
    source.begin().await.unwrap();
    insert(&client, "later", 1).await;
    let mut all = Vec::new();
    loop {
        let rows = source.next().await.unwrap();
        if rows.is_empty() {
            break;
        }
        all.extend(rows.into_iter().map(|row| row.position));
    }
    all.sort_unstable();
    assert_eq!(all, expected, "a row came in that was not there at the beginning");
}

#[tokio::test]
async fn a_query_that_cannot_be_read_is_refused_with_all_its_faults_before_anything_is() {
    let (database, client) = database().await;
    let refused = async |sql: &str| query(&database, sql).await.err().unwrap().to_string();
    let missing = refused("SELECT id, \"order\" AS stream_id FROM public.entries").await;
    for part in ["no column event_type", "no column data", "no column position", "\"id\""] {
        assert!(missing.contains(part), "{part}: {missing}");
    }
    let types = QUERY.replace("at AS", "rev AS").replace("id AS position", "at AS position");
    let types = refused(&types).await;
    for part in ["position is timestamptz", "occurred_at is int4", "to_timestamp(occurred_at)"] {
        assert!(types.contains(part), "{part}: {types}");
    }
    assert!(refused("SELECT * FROM entries").await.contains("entries"));
    // Nothing can be changed by it.
    insert(&client, "o", 1).await;
    let deleting = "DELETE FROM public.entries RETURNING id AS position, 'x' AS tenant_id, kind AS stream_id, rev AS \
                    version, kind AS event_type, body AS data";
    refused(deleting).await;
    let calls = format!(
        "{} WHERE set_config('x.y', 'z', false) = 'z'",
        QUERY.replace(" -- all of them", "")
    );
    query(&database, &calls).await.unwrap();
    let count: i64 =
        client.query_one("SELECT count(*) FROM public.entries", &[]).await.unwrap().get(0);
    assert_eq!(count, 1);
}

#[tokio::test]
async fn positions_that_are_negative_or_there_twice_are_refused() {
    let (database, client) = database().await;
    insert(&client, "o", 1).await;
    insert(&client, "o", 2).await;
    let first = async |sql: String| {
        let mut source = query(&database, &sql).await.unwrap();
        source.page(-1).await.unwrap_err().to_string()
    };
    let twice = first(QUERY.replace("id AS position", "7 AS position")).await;
    assert!(twice.contains("two of its rows have the position 7"), "{twice}");
    let negative = first(QUERY.replace("id AS position", "-id AS position")).await;
    assert!(negative.contains("position -2 is negative"), "{negative}");
}

#[tokio::test]
async fn a_table_without_positions_is_read_in_the_order_of_its_times_and_versions() {
    let (database, client) = database().await;
    for rev in [2, 1] {
        insert(&client, "a", rev).await;
    }
    let url = database.url().parse().unwrap();
    let mut source =
        PgSource::open(&url, &PgSourceOf::Table(Box::new(layout(None)))).await.unwrap();
    assert!(!source.parts().position && source.parts().version && source.parts().tenant);
    let page = source.page(-1).await.unwrap();
    assert_eq!(streams(&page.rows), [("a", 1), ("a", 2)]);
    assert_eq!(page.rows[0].tenant.as_deref(), Some("Changed"));
    let end = source.page(page.read_to).await.unwrap();
    assert!(end.rows.is_empty() && end.read_to == page.read_to);
}

#[tokio::test]
async fn positions_that_sessions_draw_in_advance_are_named() {
    let (database, client) = database().await;
    let url = database.url().parse().unwrap();
    let of = PgSourceOf::Table(Box::new(layout(Some("id"))));
    assert_eq!(PgSource::open(&url, &of).await.unwrap().comes_in_behind(), None);
    client.batch_execute("ALTER SEQUENCE public.entries_id_seq CACHE 20").await.unwrap();
    let source = PgSource::open(&url, &of).await.unwrap();
    let why = source.comes_in_behind().unwrap();
    assert!(why.contains("20 values") && why.contains("CACHE 1"), "{why}");
}

fn layout(position: Option<&str>) -> Layout {
    Layout {
        name: "theirs".to_owned(),
        schema: "public".to_owned(),
        table: "entries".to_owned(),
        tenant: rehome_domain::layout::TenantPart::Column("kind".to_owned()),
        stream_type: None,
        stream_id: vec!["order".to_owned()],
        version: "rev".to_owned(),
        first_version: 1,
        position: position.map(str::to_owned),
        event_id: None,
        event_type: "kind".to_owned(),
        occurred_at: None,
        recorded_at: None,
        data: "body".to_owned(),
        metadata: None,
        anew: Vec::new(),
        beside: Vec::new(),
        locks_table: false,
    }
}
