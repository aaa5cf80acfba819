//! Checkpoints in a table beside the events move with the tenant, and are never ahead of the read events.

use rehome_domain::ids::Epoch;
use rehome_domain::layout::{Beside, BesideKind};
use rehome_domain::ledger::{Activation, Head};
use rehome_ports::{CheckpointRow, LedgerStore, TenantNames};

use crate::kit::{EVENTS, FIRST, Place, TENANT, copy, insert, layout};

const TABLES: &str = "\
    CREATE TABLE checkpoints (id bigserial PRIMARY KEY, tenant uuid NOT NULL, projection text NOT NULL, \
        position bigint, updated_at timestamptz NOT NULL DEFAULT now(), UNIQUE (tenant, projection)); \
    CREATE TABLE snapshots (id bigserial PRIMARY KEY);";

async fn place(id: &str) -> Place {
    let mut layout = layout();
    let beside = |kind, table: &str, tenant: Option<&str>, position: Option<&str>| Beside {
        kind,
        table: table.to_owned(),
        tenant: tenant.map(str::to_owned),
        position: position.map(str::to_owned),
        heads: None,
    };
    layout.beside = vec![
        beside(BesideKind::Checkpoints, "checkpoints", Some("tenant"), Some("position")),
        beside(BesideKind::Snapshots, "snapshots", None, None),
        beside(BesideKind::Outbox, "gone", None, None),
    ];
    let tables = format!("{EVENTS} {TABLES}");
    Place::with(id, &tables, layout, &TenantNames::default()).await
}

fn checkpoint(projection: &str, position: &str) -> String {
    format!(
        "INSERT INTO checkpoints (tenant, projection, position) VALUES ('{}', '{projection}', {position})",
        TENANT.uuid()
    )
}

/// As the use case has it.
async fn take_along(from: &Place, to: &Place) -> Vec<(CheckpointRow, bool)> {
    let mut all = Vec::new();
    for row in from.store.checkpoint_rows(TENANT).await.expect("the rows") {
        let seq = from.store.number_of_position(TENANT, row.position).await.expect("an answer");
        let seq = seq.expect("a number");
        let position = to.store.position_of_number(TENANT, seq).await.expect("an answer");
        let position = position.expect("a position");
        let there = CheckpointRow { position, ..row };
        let written = to.store.put_checkpoint_row(&there).await.expect("an answer");
        all.push((there, written));
    }
    all
}

#[tokio::test]
async fn a_tenants_checkpoints_go_along_and_skip_nothing() {
    let (source, target) = (place("shared").await, place("dedicated").await);
    // Positions of the two tables differ.
    source.app.batch_execute("SELECT nextval('events_global_position_seq')").await.unwrap();
    for n in 1..=6 {
        source.app.batch_execute(&insert(1, n)).await.unwrap();
    }
    source.app.batch_execute(&checkpoint("orders", "4")).await.unwrap();
    source.app.batch_execute(&checkpoint("it''s new", "NULL")).await.unwrap();
    let others = "INSERT INTO checkpoints (tenant, projection, position) VALUES (gen_random_uuid(), 'orders', 99)";
    source.app.batch_execute(others).await.unwrap();
    source.store.activate(TENANT, FIRST).await.unwrap();
    let found = source.store.beside(TENANT).await.unwrap();
    let counts: Vec<_> = found.iter().map(|(table, rows)| (table.table.as_str(), *rows)).collect();
    assert_eq!(counts, [("checkpoints", Some(2)), ("snapshots", Some(0)), ("gone", None)]);

    target.store.adopt(TENANT, Epoch(2), Head::EMPTY).await.unwrap();
    let head = copy(&source.store, &target.store, Epoch(2)).await;
    source.store.fence(TENANT, Epoch(1), Epoch(3)).await.unwrap();
    let route = Activation { epoch: Epoch(4), base: head.seq, created: true };
    target.store.activate(TENANT, route).await.unwrap();
    let moved = take_along(&source, &target).await;
    assert_eq!(moved.len(), 1, "one has a position");
    // Position 4 was the third row.
    let read = "SELECT count(*) FROM events JOIN checkpoints AS c ON global_position <= c.position \
        WHERE c.projection = 'orders'";
    assert!(moved[0].1);
    assert_eq!(target.count(read).await, 3);
    // Its reader continues there, and an older checkpoint does not set it back.
    target.app.batch_execute("UPDATE checkpoints SET position = position + 2").await.unwrap();
    assert!(!take_along(&source, &target).await[0].1);
    assert_eq!(target.count(read).await, 5);
    assert_eq!(target.count("SELECT count(*) FROM checkpoints").await, 1);
}

#[tokio::test]
async fn a_table_without_a_key_takes_no_checkpoint() {
    let place = place("shared").await;
    let drop = "ALTER TABLE checkpoints DROP CONSTRAINT checkpoints_tenant_projection_key";
    place.app.batch_execute(drop).await.unwrap();
    let columns = vec![
        ("tenant".to_owned(), Some(TENANT.uuid().to_string())),
        ("projection".to_owned(), Some("orders".to_owned())),
    ];
    let row = CheckpointRow { table: "checkpoints".to_owned(), columns, position: 1 };
    let refused = place.store.put_checkpoint_row(&row).await.expect_err("no key").to_string();
    assert!(refused.contains("no unique key"), "{refused}");
}
