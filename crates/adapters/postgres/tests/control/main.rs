//! The control plane in PostgreSQL: the contract of its port, and what is particular to it.

mod kit;
mod news;
mod processes;

use std::sync::Arc;

use rehome_cluster::Database;
use rehome_domain::event::Timestamp;
use rehome_domain::ledger::Head;
use rehome_domain::migration::Fact;
use rehome_domain::verification::{Coverage, Finding, Level, Side};
use rehome_ports::contract::access_registry::token;
use rehome_ports::memory::ManualClock;
use rehome_ports::{AccessContents, AccessRegistry, Change, ControlPlane, Memo};

async fn control(clock: Arc<ManualClock>) -> (Arc<dyn ControlPlane>, Database) {
    let database = kit::database();
    let control = kit::open(&database.url()).await.by_clock(clock);
    (Arc::new(control), database)
}

async fn registry(clock: Arc<ManualClock>) -> (Arc<dyn AccessRegistry>, Database) {
    let database = kit::database();
    let control = kit::open(&database.url()).await.by_clock(clock);
    (Arc::new(control), database)
}

rehome_ports::access_registry_contract!(registry);
rehome_ports::control_plane_contract!(control);

/// What came with format 5.
const ACCESS_GONE: &str = "DROP TABLE rehome.access, rehome.tokens, rehome.sessions; ";

#[tokio::test]
async fn a_control_plane_of_format_4_is_upgraded_and_gets_a_gate_that_is_open() {
    let database = kit::database();
    let old = kit::open(&database.url()).await;
    let route = kit::started(&old, 1).await;
    let client = kit::client(&database.url()).await;
    let format = "UPDATE rehome.meta SET format = 4, oldest_reader = 4, oldest_writer = 4";
    client.batch_execute(&format!("{ACCESS_GONE}{format}")).await.unwrap();
    // Two at once: one upgrades, the other finds it done.
    let url = database.url();
    let (new, other) = tokio::join!(kit::open(&url), kit::open(&url));
    assert_eq!(new.route(kit::tenant(1)).await.unwrap(), Some(route));
    assert_eq!(new.access(None).await.unwrap().contents, Some(AccessContents::default()));
    new.add_token(&token(1), None).await.unwrap();
    let seen = other.access(None).await.unwrap().contents.unwrap();
    assert!(seen.gate.closed);
    assert_eq!(seen.tokens, [token(1)]);
    let formats = client
        .query_one("SELECT format, oldest_reader, oldest_writer FROM rehome.meta", &[])
        .await
        .unwrap();
    let formats = [0, 1, 2].map(|column| formats.get::<_, i32>(column));
    assert_eq!(formats, [5; 3], "an older one would let anybody in");
}

/// What `record` did before format 4: a migration's epoch stayed what it was.
#[tokio::test]
async fn a_control_plane_of_format_3_is_upgraded_with_what_it_holds() {
    let database = kit::database();
    let old = kit::open(&database.url()).await;
    let route = kit::started(&old, 1).await;
    let client = kit::client(&database.url()).await;
    let sql = "SELECT pg_get_functiondef(oid) FROM pg_proc \
               WHERE pronamespace = 'rehome'::regnamespace AND proname = 'record'";
    let record: String = client.query_one(sql, &[]).await.unwrap().get(0);
    assert!(record.contains("m = its_m, "), "{record}");
    let before = record.replace("m = its_m, ", "");
    client.batch_execute(&before).await.unwrap();
    let format = "UPDATE rehome.meta SET format = 3, oldest_reader = 2, oldest_writer = 2";
    client.batch_execute(&format!("{ACCESS_GONE}{format}")).await.unwrap();
    let new = kit::open(&database.url()).await;
    assert_eq!(new.route(kit::tenant(1)).await.unwrap(), Some(route.clone()));

    let finding = Finding {
        coverage: Coverage { level: Level::Hash, after: 0, upto: 9, whole: true },
        violations: 1,
        seq: Some(7),
        side: Side::Copy,
        first: "missing at seq 7".into(),
    };
    let mut rev = route.rev;
    for fact in [
        Fact::CopyStarted,
        Fact::Violated { finding },
        Fact::RepairRequested,
        Fact::CutBack { to: Head::EMPTY, events: 9 },
    ] {
        let (tenant, migration) = (kit::tenant(1), kit::migration(1));
        let actor = "an operator".to_owned();
        let change = Change { tenant, migration, rev: Some(rev), fact, actor };
        rev = new.record(change).await.unwrap().route.rev;
    }
    let migration = new.migration(kit::migration(1)).await.unwrap();
    assert!(migration.m > route.m, "the repair gave it another epoch");
    assert_eq!(new.route(kit::tenant(1)).await.unwrap().unwrap().m, migration.m);
}

#[tokio::test]
async fn a_control_plane_of_format_1_is_upgraded_with_what_it_holds() {
    let database = kit::database();
    let old = kit::open(&database.url()).await;
    let route = kit::started(&old, 1).await;
    let client = kit::client(&database.url()).await;
    client
        .batch_execute(
            "DROP TABLE rehome.memos, rehome.access, rehome.tokens, rehome.sessions; \
             UPDATE rehome.meta SET format = 1, oldest_reader = 1, oldest_writer = 1",
        )
        .await
        .unwrap();
    // Two at once: one upgrades, the other finds it done.
    let url = database.url();
    let (new, other) = tokio::join!(kit::open(&url), kit::open(&url));
    let memo = Memo { at: Timestamp::from_micros(7), text: "kept".to_owned() };
    new.set_memo(kit::migration(1), "baseline", &memo).await.unwrap();
    assert_eq!(other.memo(kit::migration(1), "baseline").await.unwrap(), Some(memo));
    assert_eq!(other.route(kit::tenant(1)).await.unwrap(), Some(route));
    let formats = client
        .query_one("SELECT format, oldest_reader, oldest_writer FROM rehome.meta", &[])
        .await
        .unwrap();
    assert_eq!([0, 1, 2].map(|column| formats.get::<_, i32>(column)), [5, 5, 5]);
}
