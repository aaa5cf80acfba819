//! What a writer of a guarded tenant is refused, and what not.

use rehome_domain::ids::Epoch;
use rehome_domain::layout::{Layout, TenantPart};
use rehome_ports::{LedgerStore, TenantNames};
use rusqlite::Connection;
use uuid::Uuid;

use crate::kit::{
    EVENTS, FIRST, Place, TENANT, adoption, insert, insert_of, layout, refusal, rows, session,
};

const OTHER: Uuid = Uuid::from_u128(5);

/// One guarded row of stream 1, one of another tenant of stream 99.
async fn guarded() -> Place {
    let place = Place::new("shared").await;
    place.app.execute_batch(&insert(1, 1)).unwrap();
    place.app.execute_batch(&insert_of(OTHER, 99, 1)).unwrap();
    place.store.activate(TENANT, FIRST).await.unwrap();
    place
}

fn of(verb: &str, stream: u128) -> String {
    format!("{verb} WHERE aggregate_id = '{}'", Uuid::from_u128(stream))
}

#[tokio::test]
async fn rows_of_a_guarded_tenant_are_neither_changed_nor_deleted() {
    let place = guarded().await;
    let steal = format!("UPDATE events SET tenant_id = '{}'", TENANT.uuid());
    let (_, id) = first(&place);
    let upsert = with_id(&insert_of(OTHER, 98, 1), &id)
        + " ON CONFLICT (event_id) DO UPDATE SET actor_id = 'x'";
    for sql in [
        of("UPDATE events SET actor_id = 'x'", 1),
        of("DELETE FROM events", 1),
        "DELETE FROM events".to_owned(),
        of(&steal, 99),
        upsert,
    ] {
        let refused = refusal(&place.app, &sql);
        assert!(refused.starts_with("RH002"), "{sql}: {refused}");
    }
    // A tenant without a guard is not affected.
    place.app.execute_batch(&of("UPDATE events SET actor_id = 'x'", 99)).unwrap();
    place.app.execute_batch(&of("DELETE FROM events", 99)).unwrap();
}

/// Position and id of the guarded row.
fn first(place: &Place) -> (i64, String) {
    let sql = "SELECT global_position, event_id FROM events ORDER BY 1 LIMIT 1";
    place.app.query_row(sql, [], |row| Ok((row.get(0)?, row.get(1)?))).unwrap()
}

/// The same insert of an event with another id.
fn with_id(sql: &str, id: &str) -> String {
    let own = sql.split('\'').nth(1).unwrap();
    sql.replacen(own, id, 1)
}

/// Statements that would delete the guarded row, each by another key.
fn replacing(place: &Place) -> Vec<String> {
    let (position, id) = first(place);
    let or_replace = |sql: String| sql.replacen("INSERT", "INSERT OR REPLACE", 1);
    let mut all = Vec::new();
    for tenant in [TENANT.uuid(), OTHER] {
        all.push(or_replace(insert_of(tenant, 1, 1)));
        all.push(or_replace(with_id(&insert_of(tenant, 70, 1), &id)));
        let placed = insert_of(tenant, 71, 1)
            .replacen("(event_id", "(global_position, event_id", 1)
            .replacen("VALUES (", &format!("VALUES ({position}, "), 1);
        all.push(or_replace(placed));
    }
    let stream = Uuid::from_u128(1);
    all.push(of(&format!("UPDATE OR REPLACE events SET aggregate_id = '{stream}'"), 99));
    all.push(of(&format!("UPDATE OR REPLACE events SET event_id = '{id}'"), 99));
    all.push(of(&format!("UPDATE OR REPLACE events SET global_position = {position}"), 99));
    all
}

#[tokio::test]
async fn rows_of_a_guarded_tenant_are_not_replaced_whatever_the_connection_asks_for() {
    let place = guarded().await;
    let before = rows(&place);
    for recursive in [false, true] {
        for foreign in [false, true] {
            let session = place.session();
            session.pragma_update(None, "recursive_triggers", recursive).unwrap();
            session.pragma_update(None, "foreign_keys", foreign).unwrap();
            for sql in replacing(&place) {
                let refused = refusal(&session, &sql);
                let by_the_floor = refused.starts_with("RH007") && sql.contains("(global_position");
                assert!(refused.starts_with("RH002") || by_the_floor, "{sql}: {refused}");
            }
        }
    }
    assert_eq!(rows(&place), before);
    assert_eq!(place.count("SELECT count(*) FROM events"), 2);
    // Without a guarded row in the way a row is replaced as ever, also after one was refused.
    let replace = insert_of(OTHER, 99, 1).replacen("INSERT", "REPLACE", 1);
    place.app.execute_batch(&replace).unwrap();
    assert_eq!(place.count("SELECT count(*) FROM events"), 2);
}

#[tokio::test]
async fn a_conflict_is_told_as_without_a_guard() {
    let place = guarded().await;
    let refused = refusal(&place.app, &insert(1, 1));
    assert!(refused.starts_with("UNIQUE constraint failed: events.aggregate_id"), "{refused}");
    // A writer that ignores a conflict loses and deletes nothing; the recorded state does not matter.
    let ignored = insert(1, 1).replacen("INSERT", "INSERT OR IGNORE", 1);
    place.app.execute_batch(&ignored).unwrap();
    place.app.execute_batch(&insert(1, 2).replacen("INSERT", "INSERT OR IGNORE", 1)).unwrap();
    place.app.execute_batch(&insert_of(OTHER, 99, 2)).unwrap();
    assert_eq!(place.head().await.seq, 2);
    assert_eq!(place.count("SELECT count(*) FROM rehome_guard_clashes"), 0);
}

#[tokio::test]
async fn a_purge_is_no_replacement() {
    let place = guarded().await;
    place.app.execute_batch(&insert(1, 1).replacen("INSERT", "INSERT OR IGNORE", 1)).unwrap();
    assert_eq!(place.count("SELECT count(*) FROM rehome_guard_clashes"), 1);
    place.store.fence(TENANT, Epoch(1), Epoch(2)).await.unwrap();
    place.store.purge(TENANT, Epoch(2), 10).await.unwrap();
    place.app.execute_batch(&insert_of(OTHER, 99, 2)).unwrap();
}

/// An old writer that got a conflict would read, and retry forever.
#[tokio::test]
async fn a_writer_at_the_old_file_is_told_so_and_not_of_a_conflict() {
    let place = guarded().await;
    place.store.fence(TENANT, Epoch(1), Epoch(2)).await.unwrap();
    for settled in [false, true] {
        if settled {
            place.store.settle(TENANT, Epoch(2), &"dedicated".parse().unwrap()).await.unwrap();
        }
        for verb in
            ["INSERT", "INSERT OR IGNORE", "INSERT OR FAIL", "INSERT OR ROLLBACK", "REPLACE"]
        {
            let refused = refusal(&place.app, &insert(1, 1).replacen("INSERT", verb, 1));
            let code = if settled { "RH001" } else { "RH003" };
            assert!(refused.starts_with(code), "{verb}: {refused}");
        }
    }
}

/// REPLACE replaces NULL with the default, after all earlier checks.
#[tokio::test]
async fn a_tenant_that_comes_by_default_is_guarded_too() {
    let default = format!("tenant_id TEXT NOT NULL DEFAULT '{}'", TENANT.uuid());
    let schema = EVENTS.replacen("tenant_id TEXT", &default, 1);
    let place = Place::with("shared", &schema, layout(), &TenantNames::default()).await;
    place.store.activate(TENANT, FIRST).await.unwrap();
    let own = format!("'{}'", TENANT.uuid());
    let by_default =
        |version| insert(1, version).replacen(&own, "NULL", 1).replacen("INSERT", "REPLACE", 1);
    place.app.execute_batch(&by_default(1)).unwrap();
    assert_eq!(place.head().await.seq, 1);
    place.store.fence(TENANT, Epoch(1), Epoch(2)).await.unwrap();
    let refused = refusal(&place.app, &by_default(2));
    assert!(refused.starts_with("RH003"), "{refused}");
}

/// The errors that the library takes for a conflict of versions, and would retry.
#[tokio::test]
async fn no_refusal_reads_like_a_conflict() {
    let place = guarded().await;
    let triggers: String = place
        .app
        .query_row(
            "SELECT group_concat(sql, ' ') FROM sqlite_schema WHERE type = 'trigger' AND name LIKE 'rehome%'",
            [],
            |row| row.get(0),
        )
        .unwrap();
    let said: Vec<&str> = triggers.split('\'').filter(|text| text.starts_with("RH0")).collect();
    assert!(said.len() > 5, "{said:?}");
    for text in said {
        let text = text.to_lowercase();
        for word in ["unique", "event_id", "aggregate_id", "version", "locked", "busy"] {
            assert!(!text.contains(word), "{text}");
        }
    }
}

#[tokio::test]
async fn the_library_still_learns_which_row_it_inserted() {
    let place = guarded().await;
    place.app.execute_batch(&insert(1, 2)).unwrap();
    let last = place.count("SELECT max(global_position) FROM events");
    assert_eq!(place.app.last_insert_rowid(), last);
    assert_eq!(place.app.changes(), 1);
}

async fn refused(schema: &str, layout: Layout) -> String {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("app.db");
    let app = session(&path);
    app.execute_batch(schema).unwrap();
    let adoption = adoption(&path, "shared", layout, &TenantNames::default());
    let planned = adoption.plan().await.expect_err("it is refused").to_string();
    let adopted = adoption.adopt().await.expect_err("it is refused").to_string();
    assert_eq!(planned, adopted);
    let ours: i64 = app
        .query_row(
            "SELECT count(*) FROM sqlite_schema WHERE type = 'trigger' AND name LIKE 'rehome%'",
            [],
            |row| row.get(0),
        )
        .unwrap();
    assert_eq!(ours, 0, "nothing was installed");
    planned
}

#[tokio::test]
async fn a_table_that_cannot_be_guarded_is_refused_by_name() {
    let changed = |from: &str, to: &str| {
        assert!(EVENTS.contains(from), "{from}");
        EVENTS.replacen(from, to, 1)
    };
    let unique = "UNIQUE (aggregate_id, aggregate_type, version)";
    for (schema, why) in [
        (String::new(), "it has no table \"events\""),
        (changed("AUTOINCREMENT", ""), "is not INTEGER PRIMARY KEY AUTOINCREMENT"),
        (changed("payload TEXT", "content TEXT"), "it has no column \"payload\""),
        (
            changed("tenant_id TEXT", "tenant_id BLOB"),
            "\"tenant_id\", which names the tenant, is not declared as TEXT",
        ),
        (changed("version INTEGER", "version TEXT"), "\"version\", is not declared as INTEGER"),
        (
            changed("aggregate_id TEXT NOT NULL", "aggregate_id TEXT"),
            "column \"aggregate_id\" may be NULL",
        ),
        (changed(unique, "UNIQUE (aggregate_id, event_id)"), "no unique key prevents two events"),
        (
            format!(
                "{EVENTS} CREATE UNIQUE INDEX one ON events (actor_id) WHERE actor_id IS NOT NULL;"
            ),
            "a unique index over (actor_id) is partial",
        ),
        (
            format!("{EVENTS} CREATE UNIQUE INDEX one ON events (lower(event_id));"),
            "contains an expression",
        ),
        (
            format!(
                "{EVENTS} CREATE TRIGGER stamp AFTER INSERT ON events BEGIN \
                 UPDATE events SET actor_id = 'x' WHERE global_position = NEW.global_position; END;"
            ),
            "trigger \"stamp\" may change rows",
        ),
        (
            format!("{EVENTS} CREATE TABLE rehome_guard_notes (x);"),
            "has a \"rehome_guard_notes\" that rehome did not create",
        ),
    ] {
        let refused = refused(&schema, layout()).await;
        assert!(refused.contains(why), "{why}: {refused}");
    }
    let beside = Layout::built_in("emmett").expect("it comes with rehome").beside;
    let heads = refused(EVENTS, Layout { beside, ..layout() }).await;
    assert!(heads.contains("the streams' heads in \"emt_streams\""), "{heads}");
    let tenant = TenantPart::Json { column: "payload".to_owned(), key: "tenant".to_owned() };
    let refused = refused(EVENTS, Layout { tenant, ..layout() }).await;
    assert!(refused.contains("JSON"), "{refused}");
}

#[tokio::test]
async fn a_trigger_of_theirs_fires_for_writers_and_not_for_copies() {
    let schema = format!(
        "{EVENTS} CREATE TABLE told (id TEXT); CREATE TRIGGER tell AFTER INSERT ON events BEGIN \
         INSERT INTO told VALUES (NEW.event_id); END;"
    );
    let names = TenantNames::default();
    let source = Place::with("shared", &schema, layout(), &names).await;
    let target = Place::with("dedicated", &schema, layout(), &names).await;
    let steps = source.adoption.plan().await.unwrap().join("\n");
    assert!(steps.contains("trigger \"tell\" does not fire for rows that are copied"), "{steps}");
    source.app.execute_batch(&insert(1, 1)).unwrap();
    source.store.activate(TENANT, FIRST).await.unwrap();
    target.store.adopt(TENANT, Epoch(2), rehome_domain::ledger::Head::EMPTY).await.unwrap();
    crate::kit::copy(&source.store, &target.store, Epoch(2)).await;
    let told = |conn: &Connection| {
        conn.query_row("SELECT count(*) FROM told", [], |row| row.get::<_, i64>(0)).unwrap()
    };
    assert_eq!((told(&source.app), told(&target.app)), (1, 0));
}
