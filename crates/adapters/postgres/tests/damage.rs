//! A ledger that does not have the digest of its last event: the next append notices, alone and in a group.

use std::sync::Arc;

use rehome_domain::append::Append;
use rehome_domain::event::{EventType, Json, NewEvent};
use rehome_domain::ids::Epoch;
use rehome_domain::ledger::Activation;
use rehome_domain::stream::{ExpectedVersion, StreamName};
use rehome_ports::clock::SystemClock;
use rehome_ports::contract::kit::{event_id, store_id, tenant};
use rehome_ports::{FaultKind, LedgerStore, StoreError};
use rehome_postgres::{PgStore, PgStoreOptions};

fn append(n: u64) -> Append {
    let event = NewEvent {
        id: event_id(n),
        event_type: EventType::new("placed").expect("a type"),
        occurred_at: None,
        recorded_at: None,
        data: Json::trusted("{}"),
        metadata: Json::trusted("{}"),
    };
    let stream = StreamName::new("order", "1").expect("a name");
    Append { stream, expected: ExpectedVersion::Any, events: vec![event] }
}

#[tokio::test]
async fn a_ledger_that_was_changed_behind_its_back_takes_no_append() {
    let cluster = rehome_cluster::shared();
    let database = cluster.database().expect("a new database");
    let store = PgStore::open(PgStoreOptions {
        id: store_id("server"),
        url: database.url().parse().expect("a URL"),
        deployment: "damage".to_owned(),
        create: true,
        clock: Arc::new(SystemClock),
    })
    .await
    .expect("a store");
    let tenant = tenant(1);
    let route = Activation { epoch: Epoch(1), base: 0, created: false };
    store.activate(tenant, route).await.expect("an active tenant");
    let sql = |sql: &str| cluster.sql(database.name(), sql).expect("an answer");
    let mut next = 0;
    let mut fresh = || {
        next += 1;
        append(next)
    };
    // Of no event at all, too.
    for (change, back) in [
        (
            "UPDATE rehome.ledger SET digest = sha256('x')",
            "UPDATE rehome.ledger SET digest = decode(repeat('00', 32), 'hex')",
        ),
        (
            "UPDATE rehome.ledger SET digest = sha256(digest)",
            "UPDATE rehome.ledger SET digest = (SELECT digest FROM rehome.events \
             ORDER BY position DESC LIMIT 1)",
        ),
        ("UPDATE rehome.ledger SET seq = seq - 1", "UPDATE rehome.ledger SET seq = seq + 1"),
        (
            "UPDATE rehome.events SET digest = sha256(digest) WHERE version = \
             (SELECT max(version) FROM rehome.events)",
            "UPDATE rehome.events SET digest = (SELECT digest FROM rehome.ledger) WHERE version = \
             (SELECT max(version) FROM rehome.events)",
        ),
    ] {
        let rows = "SELECT count(*) FROM rehome.events";
        let before = sql(rows);
        sql(change);
        let (one, group) = (vec![fresh()], vec![fresh(), fresh(), fresh()]);
        for appends in [&one, &group] {
            for answer in [
                store.append(tenant, Epoch(1), appends).await,
                store.append_chain(tenant, Epoch(1), appends).await,
            ] {
                let Err(StoreError::Fault(fault)) = answer else { panic!("{change}: {answer:?}") };
                let FaultKind::Corrupt(why) = &fault.kind else { panic!("{change}: {fault:?}") };
                assert!(why.contains("does not have the digest of its last event"), "{why}");
            }
        }
        assert_eq!(sql(rows), before, "{change}");
        sql(back);
        for appends in [&one, &group] {
            let outcomes = store.append(tenant, Epoch(1), appends).await.expect("an answer");
            assert!(outcomes.iter().all(Result::is_ok), "{outcomes:?}");
        }
    }
}
