//! The control plane in PostgreSQL: the contract of its port, and its specific behaviour.

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
use rehome_ports::contract::fleet::Plane;
use rehome_ports::log_chain::{Followed, LogAnchor};
use rehome_ports::memory::ManualClock;
use rehome_ports::{
    AccessContents, AccessRegistry, Change, ControlPlane, Fleet, Memo, MigrationFilter,
};

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

async fn fleet(clock: Arc<ManualClock>) -> (Plane, Database) {
    let database = kit::database();
    let control = kit::open(&database.url()).await.by_clock(clock);
    (Arc::new(control), database)
}

rehome_ports::access_registry_contract!(registry);
rehome_ports::fleet_contract!(fleet);
rehome_ports::control_plane_contract!(control);

/// What came with format 8.
const LISTS_GONE: &str = "DROP INDEX rehome.routes_by_store, rehome.routes_by_phase, rehome.migrations_by_phase, \
    rehome.migrations_by_source, rehome.migrations_by_target; ";

/// What came with formats 7 and 8.
const ANCHORS_GONE: &str = "DROP INDEX rehome.routes_by_store, rehome.routes_by_phase, rehome.migrations_by_phase, \
    rehome.migrations_by_source, rehome.migrations_by_target; \
    ALTER TABLE rehome.routes DROP COLUMN log_hash, DROP COLUMN log_entry; ";

/// What came with formats 5 to 8.
const ACCESS_GONE: &str = "DROP INDEX rehome.routes_by_store, rehome.routes_by_phase, rehome.migrations_by_phase, \
    rehome.migrations_by_source, rehome.migrations_by_target; \
    ALTER TABLE rehome.routes DROP COLUMN log_hash, DROP COLUMN log_entry; \
    DROP TABLE rehome.access, rehome.tokens, rehome.sessions, \
    rehome.drains, rehome.drain_tenants, rehome.drain_log, rehome.drain_workers, rehome.cordons, \
    rehome.pins; ";

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
    assert_eq!(formats, [9, 5, 5], "an older one would let anybody in");
}

/// What `record` did before format 4: a migration's epoch stayed what it was.
#[tokio::test]
async fn a_control_plane_of_format_5_is_upgraded_and_can_keep_drains() {
    let database = kit::database();
    let old = kit::open(&database.url()).await;
    let route = kit::started(&old, 1).await;
    let client = kit::client(&database.url()).await;
    let gone = "DROP TABLE rehome.drains, rehome.drain_tenants, rehome.drain_log, \
                rehome.drain_workers, rehome.cordons, rehome.pins; \
                UPDATE rehome.meta SET format = 5, oldest_reader = 5, oldest_writer = 5";
    client.batch_execute(&[ANCHORS_GONE, gone].concat()).await.unwrap();
    let url = database.url();
    let (new, other) = tokio::join!(kit::open(&url), kit::open(&url));
    assert_eq!(new.route(kit::tenant(1)).await.unwrap(), Some(route));
    let asked = rehome_ports::contract::fleet::new(1, 3);
    let drain = new.start_drain(&asked).await.unwrap();
    assert_eq!(other.drain(asked.id).await.unwrap(), drain);
    let meta = "SELECT format, oldest_reader, oldest_writer FROM rehome.meta";
    let formats = client.query_one(meta, &[]).await.unwrap();
    let formats = [0, 1, 2].map(|column| formats.get::<_, i32>(column));
    assert_eq!(formats, [9, 5, 5], "one of format 5 may go on beside it");
}

#[tokio::test]
async fn a_control_plane_of_format_7_is_upgraded_and_has_an_order_for_each_list() {
    let database = kit::database();
    let old = kit::open(&database.url()).await;
    kit::started(&old, 1).await;
    let client = kit::client(&database.url()).await;
    let format = "UPDATE rehome.meta SET format = 7, oldest_reader = 5, oldest_writer = 5";
    client.batch_execute(&[LISTS_GONE, format].concat()).await.unwrap();
    let url = database.url();
    let (new, _) = tokio::join!(kit::open(&url), kit::open(&url));
    let meta = "SELECT format, oldest_reader, oldest_writer FROM rehome.meta";
    let formats = client.query_one(meta, &[]).await.unwrap();
    let formats = [0, 1, 2].map(|column| formats.get::<_, i32>(column));
    assert_eq!(formats, [9, 5, 5], "one of format 7 may go on beside it");
    let sql = "SELECT count(*) FROM pg_indexes WHERE schemaname = 'rehome' AND indexname IN \
               ('routes_by_store', 'routes_by_phase', 'migrations_by_phase', 'migrations_by_source', \
                'migrations_by_target')";
    let indices: i64 = client.query_one(sql, &[]).await.unwrap().get(0);
    assert_eq!(indices, 5);
    // One that was opened before goes on, and what it writes is listed.
    let lease = Fact::LeaseTaken { holder: "driver".into() };
    old.record(kit::change(1, None, lease)).await.unwrap();
    let which = MigrationFilter { limit: 9, ..MigrationFilter::default() };
    assert_eq!(new.find_migrations(&which).await.unwrap().len(), 1);
}

/// What `record` did not do before format 7.
const ANCHORS: &str =
    "UPDATE \"rehome\".routes AS r SET log_entry = was_entry + 1, log_hash = entry_hash
        WHERE r.tenant = of_tenant AND r.migration = of_migration;";

#[tokio::test]
async fn a_control_plane_of_format_6_is_upgraded_with_a_migration_under_way_and_anchors_its_log() {
    let database = kit::database();
    let old = kit::open(&database.url()).await;
    let started = kit::started(&old, 1).await;
    let client = kit::client(&database.url()).await;
    let sql = "SELECT pg_get_functiondef(oid) FROM pg_proc \
               WHERE pronamespace = 'rehome'::regnamespace AND proname = 'record'";
    let record: String = client.query_one(sql, &[]).await.unwrap().get(0);
    assert!(record.contains(ANCHORS), "{record}");
    client.batch_execute(&record.replace(ANCHORS, "")).await.unwrap();
    let format = "UPDATE rehome.meta SET format = 6, oldest_reader = 5, oldest_writer = 5";
    client.batch_execute(&[ANCHORS_GONE, format].concat()).await.unwrap();
    let before = old.record(kit::change(1, Some(started.rev), Fact::CopyStarted)).await.unwrap();

    // Two at once: one upgrades, the other finds it done.
    let url = database.url();
    let (new, other) = tokio::join!(kit::open(&url), kit::open(&url));
    let meta = "SELECT format, oldest_reader, oldest_writer FROM rehome.meta";
    let formats = client.query_one(meta, &[]).await.unwrap();
    let formats = [0, 1, 2].map(|column| formats.get::<_, i32>(column));
    assert_eq!(formats, [9, 5, 5], "one of format 6 may go on beside it");
    let (tenant, migration) = (kit::tenant(1), kit::migration(1));
    assert_eq!(new.route(tenant).await.unwrap(), Some(before.route));
    // What was there before names its migration, and no entry of its log.
    let named = LogAnchor { tenant, migration, seen: Followed::START };
    assert_eq!(other.log_anchors(None, 9).await.unwrap(), [named]);
    // One of format 6 beside it calls the function as it is now.
    for (index, plane) in (3..).zip([&old, &new, &other]) {
        let lease = Fact::LeaseTaken { holder: "driver".into() };
        plane.record(kit::change(1, None, lease)).await.unwrap();
        let log = new.log(migration, 0, 99).await.unwrap();
        let seen = Followed::to(log.last().unwrap());
        assert_eq!(seen.index, index);
        assert_eq!(new.log_anchors(None, 9).await.unwrap(), [LogAnchor { seen, ..named }]);
    }
}

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
    let format = "DROP TABLE rehome.memos; \
                  UPDATE rehome.meta SET format = 1, oldest_reader = 1, oldest_writer = 1";
    client.batch_execute(&format!("{ACCESS_GONE}{format}")).await.unwrap();
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
    assert_eq!([0, 1, 2].map(|column| formats.get::<_, i32>(column)), [9, 5, 5]);
}
