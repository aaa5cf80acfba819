//! In which texts a file has its rows, and files that an earlier rehome adopted.

use std::sync::Arc;

use rehome_domain::ids::Epoch;
use rehome_domain::layout::{ColumnKind, RowForm, Texts};
use rehome_domain::ledger::{Head, follow_chain};
use rehome_ports::{BatchLimit, LedgerStore};
use rehome_sqlite::SqliteAdopted;

use crate::kit::{ALL, FIRST, FORMAT_3, Place, TENANT, copy, insert, rows};

/// A row as the library writes it, with times in UTC.
fn in_utc(version: i64) -> String {
    insert(1, version)
        .replace("timestamp, payload)", "timestamp, payload, created_at)")
        .replace("+02:00'", "+00:00'")
        .replace("}')", "}', '2026-01-02T03:04:06+00:00')")
}

#[tokio::test]
async fn a_file_has_the_kinds_of_the_librarys_table_in_postgresql() {
    let place = Place::new("shared").await;
    let form = place.store.row_form().await.unwrap().unwrap();
    assert_eq!(form.texts, Texts::AsPostgresql);
    let kind = |name: &str| &form.columns.iter().find(|column| column.name == name).unwrap().kind;
    assert_eq!(kind("event_id"), &ColumnKind::Uuid);
    assert_eq!(kind("created_at"), &ColumnKind::Time);
    assert_eq!(kind("payload"), &ColumnKind::Json);
    let steps = place.adoption.plan().await.unwrap().join("\n");
    assert!(steps.contains("created_at timestamptz, event_id uuid"), "{steps}");
}

#[tokio::test]
async fn the_digest_is_that_of_the_texts_of_postgresql() {
    let place = Place::new("shared").await;
    place.app.execute_batch(&in_utc(1)).unwrap();
    place.store.activate(TENANT, FIRST).await.unwrap();
    let event = place.store.read_feed(TENANT, 0, ALL).await.unwrap().events.remove(0);
    let row = event.row.as_ref().unwrap();
    let (event_id, stream) = (event.id.to_string(), event.stream.stream_id().to_owned());
    let written = format!(
        r#"(,{stream},Order,"2026-01-02 03:04:06+00",{event_id},OrderChanged,"{{""n"": 1, ""text"": ""a\\""b, (c)""}}",{},"2026-01-02 03:04:05.678901+00",1)"#,
        TENANT.uuid()
    );
    assert_eq!(row.as_str(), written);
    assert_eq!(follow_chain(Head::EMPTY, &[event]).unwrap(), place.head().await);
}

#[tokio::test]
async fn what_postgresql_would_not_keep_is_named_by_its_column() {
    let place = Place::new("shared").await;
    place.app.execute_batch(&in_utc(1)).unwrap();
    let file = place.store.row_form().await.unwrap().unwrap();
    let server = RowForm { texts: Texts::Postgresql, ..file.clone() };
    assert!(place.store.not_kept(TENANT, &server).await.unwrap().is_empty());
    // Two such rows, of which the first is named.
    for version in [2, 3] {
        place.app.execute_batch(&in_utc(version).replace("{\"n\"", "{\"n\":0,\"n\"")).unwrap();
    }
    let found = place.store.not_kept(TENANT, &server).await.unwrap();
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(found[0].contains("\"payload\" of the row at position 2"), "{found:?}");
    // Another file keeps everything.
    assert!(place.store.not_kept(TENANT, &file).await.unwrap().is_empty());
}

/// A JSON text keeps its blanks and the order of its keys between two files, although the digest does not cover them.
#[tokio::test]
async fn a_text_arrives_byte_for_byte_in_another_file() {
    let (source, target) = (Place::new("shared").await, Place::new("dedicated").await);
    let payload = "{ \"z\" : 1e2,\n\"a\": [ ] , \"n\"";
    source.app.execute_batch(&in_utc(1).replace("{\"n\"", payload)).unwrap();
    source.store.activate(TENANT, FIRST).await.unwrap();
    target.store.adopt(TENANT, Epoch(2), Head::EMPTY).await.unwrap();
    let head = copy(&source.store, &target.store, Epoch(2)).await;
    assert_eq!(head, source.head().await);
    assert_eq!(rows(&source), rows(&target));
}

/// A migration that was under way when rehome was upgraded continues: both files keep their form, and no digest changes.
#[tokio::test]
async fn files_of_an_earlier_rehome_continue_in_the_middle_of_a_copy() {
    let source = Place::of_an_earlier_rehome("shared").await;
    let target = Place::of_an_earlier_rehome("dedicated").await;
    for version in 1..=20 {
        source.app.execute_batch(&insert(1, version)).unwrap();
    }
    source.store.activate(TENANT, FIRST).await.unwrap();
    target.store.adopt(TENANT, Epoch(2), Head::EMPTY).await.unwrap();
    let page = source.store.read_feed(TENANT, 0, BatchLimit::events(9)).await.unwrap();
    let half = target.store.extend(TENANT, Epoch(2), Head::EMPTY, &page.events).await.unwrap();
    let head = source.head().await;

    let reopen = async |place: &Place| {
        place.app.execute_batch(FORMAT_3).unwrap();
        let store = SqliteAdopted::open(place.adoption.clone()).await.unwrap();
        assert_eq!(place.count("SELECT format FROM rehome_guard_meta"), 5);
        assert_eq!(place.count("SELECT oldest_writer FROM rehome_guard_meta"), 5);
        assert_eq!(store.row_form().await.unwrap().unwrap().texts, Texts::Sqlite);
        Arc::new(store)
    };
    let (one, other) = (reopen(&source).await, reopen(&target).await);
    assert_eq!(one.ledger(TENANT).await.unwrap().head, head);
    assert_eq!(other.ledger(TENANT).await.unwrap().head, half);
    source.app.execute_batch(&insert(1, 21)).unwrap();
    assert_eq!(copy(&one, &other, Epoch(2)).await.seq, 21);
    assert_eq!(rows(&source), rows(&target));

    // One that is adopted now has other digests, and says so before anything is copied.
    let new = Place::new("new").await.store.row_form().await.unwrap().unwrap();
    let old = one.row_form().await.unwrap().unwrap();
    assert!(old.differences(&new).join("").contains("rehome store release"));
    assert!(old.differences(&old).is_empty());
}

/// A row of another form is never taken, whatever a plan said.
#[tokio::test]
async fn a_row_of_another_form_is_refused() {
    for new_source in [true, false] {
        let (new, old) = (Place::new("new").await, Place::of_an_earlier_rehome("old").await);
        let (source, target) = if new_source { (new, old) } else { (old, new) };
        source.app.execute_batch(&in_utc(1)).unwrap();
        source.store.activate(TENANT, FIRST).await.unwrap();
        let events = source.store.read_feed(TENANT, 0, ALL).await.unwrap().events;
        target.store.adopt(TENANT, Epoch(2), Head::EMPTY).await.unwrap();
        let refused = target.store.extend(TENANT, Epoch(2), Head::EMPTY, &events).await;
        let refused = refused.unwrap_err().to_string();
        assert!(refused.contains("adopted by an earlier rehome"), "{refused}");
        assert_eq!(target.count("SELECT count(*) FROM events"), 0);
    }
}

/// An earlier rehome would take every row of a file that was adopted now for a damaged one.
#[tokio::test]
async fn a_file_that_is_adopted_now_is_not_for_an_earlier_rehome() {
    let place = Place::new("shared").await;
    for column in ["oldest_reader", "oldest_writer"] {
        assert_eq!(place.count(&format!("SELECT {column} FROM rehome_guard_meta")), 5);
    }
}
