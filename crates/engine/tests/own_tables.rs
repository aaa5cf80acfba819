//! A tenant moves from a table of another library into rehome's own tables: with its rows, and without a way back.

#![allow(clippy::unwrap_used, reason = "a test may end anywhere")]

#[allow(unreachable_pub, dead_code, reason = "each test file uses its own part of the kit")]
mod world;

use std::sync::Arc;

use async_trait::async_trait;
use rehome_domain::append::Append;
use rehome_domain::digest::{Digest, chain};
use rehome_domain::event::{Event, EventType, Json, Timestamp};
use rehome_domain::ids::{Epoch, EventId, MigrationId, StoreId, TenantId};
use rehome_domain::layout::{ColumnKind, ForeignRow, Layout, RowForm, Texts};
use rehome_domain::ledger::{Activation, Head, Ledger, Role};
use rehome_domain::migration::{OldSource, Options, Phase, State};
use rehome_domain::stream::{ExpectedVersion, StreamName};
use rehome_engine::migration::{OperationError, Operations, Plan, PlanRequest, Supervisor};
use rehome_engine::verifier::Request;
use rehome_engine::{Engine, Stores};
use rehome_ports::log_chain::LogAnchor;
use rehome_ports::memory::MemoryStore;
use rehome_ports::{
    AppendOutcome, BatchLimit, ControlPlane, EventStore, Fault, FaultKind, Feed, LedgerStore,
    StoreError, StoreReport, StreamSlice, StreamVersion, TenantLedger,
};
use uuid::Uuid;
use world::{World, auto, config, for_a_while, migrated_or_done, one, store_id, tenant};

/// Store a as a table of another library: it accepts no appends.
struct Table {
    rows: Arc<MemoryStore>,
    form: Arc<RowForm>,
}

impl Table {
    fn over(rows: &Arc<MemoryStore>) -> Self {
        let columns = [("actor_id", ColumnKind::Text), ("payload", ColumnKind::Json)];
        let columns = columns.map(|(name, kind)| (name.to_owned(), kind));
        let form = RowForm::of(Texts::Postgresql, &layout(), columns);
        Self { rows: Arc::clone(rows), form: Arc::new(form) }
    }

    /// What the library writes: the next event of a stream.
    fn write(&self, tenant: TenantId, to: &str, id: u128) {
        self.rows.tamper(tenant, |rows| {
            let stream = StreamName::new("order", to).unwrap();
            let version = rows.versions.entry(stream.clone()).or_default();
            *version += 1;
            let text = format!("{{\"n\": {id}}}");
            let row = ForeignRow::of([Some("someone"), Some(&*text)]).with_form(&self.form);
            let mut event = Event {
                seq: rows.ledger.head.seq + 1,
                stream,
                version: *version,
                id: EventId::new(Uuid::from_u128(id)),
                event_type: EventType::new("OrderChanged").unwrap(),
                occurred_at: Timestamp::from_micros(1),
                recorded_at: Timestamp::from_micros(2),
                data: Json::trusted(text),
                metadata: Json::trusted("{}"),
                digest: Digest::EMPTY,
                row: Some(Arc::new(row)),
            };
            event.digest = chain(&rows.ledger.head.digest, &event);
            rows.ledger.head = Head::of(&event);
            rows.events.push(event);
        });
    }
}

fn layout() -> Layout {
    Layout::built_in("eventsource-py").unwrap()
}

#[async_trait]
impl LedgerStore for Table {
    fn id(&self) -> &StoreId {
        self.rows.id()
    }

    async fn layout(&self) -> Result<Option<Layout>, StoreError> {
        Ok(Some(Layout { beside: Vec::new(), ..layout() }))
    }

    async fn row_form(&self) -> Result<Option<RowForm>, StoreError> {
        Ok(Some((*self.form).clone()))
    }

    async fn append(
        &self,
        _: TenantId,
        _: Epoch,
        _: &[Append],
    ) -> Result<Vec<AppendOutcome>, StoreError> {
        let kind = FaultKind::NotWritten("another library does".to_owned());
        Err(Fault::new("store \"a\"", kind).into())
    }

    async fn ledger(&self, tenant: TenantId) -> Result<Ledger, StoreError> {
        self.rows.ledger(tenant).await
    }

    async fn extend(
        &self,
        tenant: TenantId,
        m: Epoch,
        previous: Head,
        events: &[Event],
    ) -> Result<Head, StoreError> {
        self.rows.extend(tenant, m, previous, events).await
    }

    async fn fence(&self, tenant: TenantId, from: Epoch, to: Epoch) -> Result<Head, StoreError> {
        self.rows.fence(tenant, from, to).await
    }

    async fn activate(&self, tenant: TenantId, route: Activation) -> Result<Ledger, StoreError> {
        self.rows.activate(tenant, route).await
    }

    async fn adopt(&self, tenant: TenantId, m: Epoch, head: Head) -> Result<Ledger, StoreError> {
        self.rows.adopt(tenant, m, head).await
    }

    async fn drop_replica(&self, tenant: TenantId, m: Epoch) -> Result<Ledger, StoreError> {
        self.rows.drop_replica(tenant, m).await
    }

    async fn purge(&self, tenant: TenantId, k: Epoch, chunk: u32) -> Result<Ledger, StoreError> {
        self.rows.purge(tenant, k, chunk).await
    }

    async fn cut_back(
        &self,
        tenant: TenantId,
        k: Epoch,
        to: Head,
        chunk: u32,
    ) -> Result<Ledger, StoreError> {
        self.rows.cut_back(tenant, k, to, chunk).await
    }

    async fn read_feed(
        &self,
        tenant: TenantId,
        after_seq: u64,
        limit: BatchLimit,
    ) -> Result<Feed, StoreError> {
        self.rows.read_feed(tenant, after_seq, limit).await
    }

    async fn read_stream(
        &self,
        tenant: TenantId,
        stream: &StreamName,
        from_version: u64,
        limit: BatchLimit,
    ) -> Result<StreamSlice, StoreError> {
        self.rows.read_stream(tenant, stream, from_version, limit).await
    }

    async fn digest_at(&self, tenant: TenantId, seq: u64) -> Result<Option<Digest>, StoreError> {
        self.rows.digest_at(tenant, seq).await
    }

    async fn streams(
        &self,
        tenant: TenantId,
        max_seq: u64,
        after: Option<&StreamName>,
        limit: usize,
    ) -> Result<Vec<StreamVersion>, StoreError> {
        self.rows.streams(tenant, max_seq, after, limit).await
    }

    async fn tenants(
        &self,
        after: Option<TenantId>,
        limit: usize,
    ) -> Result<Vec<TenantLedger>, StoreError> {
        self.rows.tenants(after, limit).await
    }

    async fn keep_anchor(&self, anchor: &LogAnchor) -> Result<(), StoreError> {
        self.rows.keep_anchor(anchor).await
    }

    async fn anchors(
        &self,
        after: Option<MigrationId>,
        limit: usize,
    ) -> Result<Vec<LogAnchor>, StoreError> {
        self.rows.anchors(after, limit).await
    }

    async fn forget_anchors(&self, tenant: TenantId) -> Result<(), StoreError> {
        self.rows.forget_anchors(tenant).await
    }

    async fn check(&self) -> Result<StoreReport, StoreError> {
        self.rows.check().await
    }
}

/// A process whose store a is a table.
struct Site {
    world: World,
    table: Arc<Table>,
    engine: Engine,
    operations: Operations,
    supervisor: Supervisor,
}

impl Site {
    /// With a tenant that has so many events in the table.
    async fn with(events: u128) -> (Self, TenantId) {
        let world = World::new();
        let table = Arc::new(Table::over(&world.a));
        let engine = Self::engine(&world, &table);
        let tenant = tenant(1);
        let route = engine.router().ensure_tenant(tenant, &store_id("a")).await.unwrap();
        table.activate(tenant, route.activation().unwrap()).await.unwrap();
        world.control.mark_created(tenant, route.epoch).await.unwrap();
        for id in 0..events {
            table.write(tenant, &format!("old-{}", id % 7), 1_000_000 + id);
        }
        let (operations, supervisor) =
            (Operations::new(&engine, "operator"), Supervisor::new(&engine, "p1".to_owned()));
        (Self { world, table, engine, operations, supervisor }, tenant)
    }

    fn engine(world: &World, table: &Arc<Table>) -> Engine {
        let stores: [Arc<dyn LedgerStore>; 2] = [Arc::clone(table) as _, world.b.clone()];
        Engine::new(
            world.control.clone(),
            Stores::new(stores, store_id("a")).unwrap(),
            Arc::clone(&world.clock),
            config(),
        )
    }

    async fn plan(&self, tenant: TenantId, target: &str) -> Plan {
        self.engine.plan(&PlanRequest { tenant, target: store_id(target) }).await.unwrap()
    }

    async fn histories(&self, tenant: TenantId) -> [Vec<Event>; 2] {
        let all = BatchLimit { events: usize::MAX, bytes: usize::MAX };
        let a = self.world.a.read_feed(tenant, 0, all).await.unwrap().events;
        [a, self.world.b.read_feed(tenant, 0, all).await.unwrap().events]
    }
}

#[tokio::test(start_paused = true)]
async fn a_tenant_moves_with_its_rows_and_is_then_written_through_the_router() {
    let (site, tenant) = Site::with(300).await;
    // A process that knows the route from before, and is not told of the switch.
    let other = Site::engine(&site.world, &site.table);
    other.router().read_feed(tenant, 0, BatchLimit::PAGE).await.unwrap();

    let id = site.operations.start(tenant, &store_id("b"), auto()).await.unwrap().id;
    for id in 0..20 {
        site.table.write(tenant, "new", id);
    }
    let ended = site.supervisor.run(id, migrated_or_done).await.unwrap().migration;
    assert_eq!(ended.state.phase(), Phase::Migrated);
    assert!(matches!(ended.state, State::Migrated { old_source: OldSource::Fenced { .. }, .. }));
    let (a, b) = site.world.ledgers(tenant).await;
    assert_eq!((a.role, b.role, a.head), (Role::Fenced, Role::Active, b.head));
    let [ours, theirs] = site.histories(tenant).await;
    assert_eq!((ours.len(), &ours), (320, &theirs));
    assert!(theirs.iter().all(|event| event.row.is_some()));

    let append = one(77, "new", ExpectedVersion::Exact(20));
    other.router().append(tenant, append).await.expect("it goes where the tenant is");
    let [_, theirs] = site.histories(tenant).await;
    assert_eq!((theirs.len(), theirs[320].row.clone()), (321, None));
    let request = Request::default();
    let report = site.operations.verify(id, &request).await.unwrap();
    assert_eq!(report.report.violations, []);

    // There is no way back, neither by a return nor by a migration.
    let back = site.operations.start_return(id, auto()).await;
    assert!(matches!(back, Err(OperationError::NoReturn(_))));
    let plan = site.plan(tenant, "a").await;
    let refused = plan.findings.iter().find(|finding| !finding.ok).unwrap();
    assert!(refused.detail.contains("a table of another library, which writes it"), "{refused:?}");
    assert!(site.operations.start(tenant, &store_id("a"), auto()).await.is_err());
}

#[tokio::test(start_paused = true)]
async fn a_move_into_own_tables_has_no_rollback_window() {
    let (site, tenant) = Site::with(50).await;
    assert!(site.engine.is_one_way(tenant, &store_id("b")).await.unwrap());
    assert!(!site.engine.is_one_way(tenant, &store_id("a")).await.unwrap());
    let window = Options { rollback_window_ms: 1, ..world::manual() };
    let refused = site.operations.start(tenant, &store_id("b"), window).await;
    let refused = refused.map(drop).unwrap_err().to_string();
    assert!(refused.contains("cannot return") && refused.contains("0s"), "{refused}");
    assert_eq!(site.world.phase(tenant).await, None, "nothing was started");

    let id = site.operations.start(tenant, &store_id("b"), world::manual()).await.unwrap().id;
    let drive = site.supervisor.spawn(id, migrated_or_done);
    site.world.reached(tenant, Phase::DualWrite).await;
    for_a_while().await;
    let tuned = site.operations.tune(id, |options| Options { rollback_window_ms: 1, ..options });
    assert!(matches!(tuned.await, Err(OperationError::NoReturn(_))));
    let tuned = site.operations.tune(id, |options| Options { batch_events: 7, ..options });
    assert_eq!(tuned.await.unwrap().options.batch_events, 7);
    // Until the switch it is aborted as any other.
    site.operations.abort(id, true).await.unwrap();
    drive.await.unwrap().unwrap();
    let (a, b) = site.world.ledgers(tenant).await;
    assert_eq!((a.role, b.role), (Role::Active, Role::Absent));
}

#[tokio::test(start_paused = true)]
async fn a_plan_says_what_is_kept_and_what_cannot_be() {
    let (site, tenant) = Site::with(9).await;
    let plan = site.plan(tenant, "b").await;
    assert!(plan.is_possible(), "{plan:?}");
    let said: Vec<&str> = plan.findings.iter().map(|finding| &*finding.detail).collect();
    let said = said.join("\n");
    for part in [
        "layout eventsource-py at the source, rehome's own at the target",
        "in the row only, and neither in the API nor in an export: \"actor_id\"",
        "not copied, because it is of this table: \"global_position\", \"txid\"",
        "none: the tenant cannot return",
    ] {
        assert!(said.contains(part), "{part}: {said}");
    }

    let refused = async |why: &str| {
        let plan = site.plan(tenant, "b").await;
        let refused: Vec<_> = plan.findings.iter().filter(|finding| !finding.ok).collect();
        assert!(refused.len() == 1 && refused[0].detail.contains(why), "{why}: {refused:?}");
        assert!(site.operations.start(tenant, &store_id("b"), auto()).await.is_err());
    };
    site.table.write(tenant, "other", 1_000_003);
    refused("event 10 has the id of an event before it").await;
    site.world.a.tamper(tenant, |rows| {
        let last = rows.events.last_mut().unwrap();
        (last.id, last.version) = (EventId::new(Uuid::from_u128(5)), 2);
    });
    refused("event 10 has version 2 in stream order/other, whose next version is 1").await;
}
