//! A store that is opened when it is first used.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use rehome_domain::append::Append;
use rehome_domain::digest::Digest;
use rehome_domain::event::Event;
use rehome_domain::ids::{Epoch, MigrationId, StoreId, TenantId};
use rehome_domain::layout::{Beside, Layout, RowForm};
use rehome_domain::ledger::{Activation, Head, Ledger};
use rehome_domain::stream::StreamName;
use rehome_ports::clock::Clock;
use rehome_ports::log_chain::LogAnchor;
use rehome_ports::{
    AppendOutcome, BatchLimit, CheckpointRow, Condition, End, Fault, FaultKind, Feed, LedgerStore,
    Room, StoreError, StoreReport, StreamSlice, StreamVersion, TenantLedger, TenantNames,
};
use rehome_postgres::{PgStore, PgStoreOptions};
use rehome_sqlite::{FileOptions, SqliteStore, SqliteStoreOptions};
use tokio::sync::OnceCell;
use uuid::Uuid;

use super::adopted::Adoption;
use crate::config::{StoreConfig, Url};

/// Which store has which identity: a copy of a store is found by it.
pub(super) type Identities = Arc<Mutex<HashMap<String, StoreId>>>;

/// Opened when it is first used; when that fails, the next use tries again.
pub(super) struct LazyStore {
    id: StoreId,
    place: Place,
    size_max: Option<u64>,
    identities: Identities,
    opened: OnceCell<Box<dyn LedgerStore>>,
}

/// How a store is opened.
enum Place {
    Sqlite(SqliteStoreOptions, FileOptions),
    Postgres(Box<PgStoreOptions>),
    Adopted(Adoption),
}

/// What all stores of a deployment have in common.
pub(super) struct Common<'a> {
    pub(super) deployment: &'a str,
    pub(super) file: FileOptions,
    pub(super) clock: &'a Arc<dyn Clock>,
    pub(super) identities: &'a Identities,
    /// Tenants' names, of the adopted stores.
    pub(super) names: &'a TenantNames,
}

impl LazyStore {
    pub(super) fn new(store: &StoreConfig, create: bool, common: &Common<'_>) -> Arc<Self> {
        let (id, clock) = (store.id.clone(), Arc::clone(common.clock));
        let deployment = common.deployment.to_owned();
        let place = match (&store.url, &store.layout) {
            (Url::Postgres(url), Some(layout)) => {
                let (url, layout) = ((**url).clone(), layout.clone());
                let names = common.names.clone();
                let adoption =
                    rehome_postgres::Adoption { id, url, layout, deployment, clock, names };
                Place::Adopted(Adoption::Postgres(Box::new(adoption)))
            }
            (Url::Sqlite(path), Some(layout)) => {
                let (path, layout) = (path.clone(), layout.clone());
                let (names, file) = (common.names.clone(), common.file);
                let adoption =
                    rehome_sqlite::Adoption { id, path, layout, deployment, clock, names, file };
                Place::Adopted(Adoption::Sqlite(Box::new(adoption)))
            }
            (Url::Sqlite(path), None) => {
                let path = path.clone();
                let options = SqliteStoreOptions { id, path, deployment, create, clock };
                Place::Sqlite(options, common.file)
            }
            (Url::Postgres(url), None) => {
                let url = (**url).clone();
                let options = PgStoreOptions { id, url, deployment, create, clock };
                Place::Postgres(Box::new(options))
            }
        };
        Arc::new(Self {
            id: store.id.clone(),
            place,
            size_max: store.size_max_bytes,
            identities: Arc::clone(common.identities),
            opened: OnceCell::new(),
        })
    }

    /// The table that it adopts, if it is one of another library.
    pub(super) fn adoption(&self) -> Option<&Adoption> {
        match &self.place {
            Place::Adopted(adoption) => Some(adoption),
            Place::Sqlite(..) | Place::Postgres(_) => None,
        }
    }

    /// The store, opened.
    pub(super) async fn reach(&self) -> Result<&dyn LedgerStore, StoreError> {
        self.opened.get_or_try_init(|| self.open()).await.map(|store| &**store)
    }

    async fn open(&self) -> Result<Box<dyn LedgerStore>, StoreError> {
        let store: Box<dyn LedgerStore> = match &self.place {
            Place::Sqlite(options, file) => {
                Box::new(SqliteStore::open_with(options.clone(), *file).await?)
            }
            Place::Postgres(options) => Box::new(PgStore::open((**options).clone()).await?),
            Place::Adopted(adoption) => adoption.open().await?,
        };
        let identity = store.check().await?.identity;
        let mut identities = self.identities.lock().unwrap_or_else(PoisonError::into_inner);
        let owner = identities.entry(identity).or_insert_with(|| self.id.clone());
        if *owner == self.id {
            return Ok(store);
        }
        let what = format!("store \"{}\"", self.id);
        let in_a_file = match &self.place {
            Place::Sqlite(..) => true,
            Place::Postgres(_) => false,
            Place::Adopted(adoption) => matches!(adoption, Adoption::Sqlite(_)),
        };
        let why = if in_a_file {
            format!("a copy of store \"{owner}\"; every store needs its own file")
        } else {
            format!("store \"{owner}\", or a copy of it; every store needs its own schema")
        };
        Err(Fault::new(what, FaultKind::Failing(format!("it is {why}"))).into())
    }
}

#[async_trait]
impl LedgerStore for LazyStore {
    fn id(&self) -> &StoreId {
        &self.id
    }

    async fn ledger(&self, tenant: TenantId) -> Result<Ledger, StoreError> {
        self.reach().await?.ledger(tenant).await
    }

    async fn lengths(&self, tenants: &[TenantId]) -> Result<Vec<u64>, StoreError> {
        self.reach().await?.lengths(tenants).await
    }

    async fn append(
        &self,
        tenant: TenantId,
        epoch: Epoch,
        appends: &[Append],
    ) -> Result<Vec<AppendOutcome>, StoreError> {
        self.reach().await?.append(tenant, epoch, appends).await
    }

    async fn append_chain(
        &self,
        tenant: TenantId,
        epoch: Epoch,
        appends: &[Append],
    ) -> Result<Vec<AppendOutcome>, StoreError> {
        self.reach().await?.append_chain(tenant, epoch, appends).await
    }

    async fn extend(
        &self,
        tenant: TenantId,
        m: Epoch,
        previous: Head,
        events: &[Event],
    ) -> Result<Head, StoreError> {
        self.reach().await?.extend(tenant, m, previous, events).await
    }

    async fn finish_index(&self, tenant: TenantId) -> Result<(), StoreError> {
        self.reach().await?.finish_index(tenant).await
    }

    async fn fence(&self, tenant: TenantId, from: Epoch, to: Epoch) -> Result<Head, StoreError> {
        self.reach().await?.fence(tenant, from, to).await
    }

    async fn activate(&self, tenant: TenantId, route: Activation) -> Result<Ledger, StoreError> {
        self.reach().await?.activate(tenant, route).await
    }

    async fn adopt(&self, tenant: TenantId, m: Epoch, head: Head) -> Result<Ledger, StoreError> {
        self.reach().await?.adopt(tenant, m, head).await
    }

    async fn drop_replica(&self, tenant: TenantId, m: Epoch) -> Result<Ledger, StoreError> {
        self.reach().await?.drop_replica(tenant, m).await
    }

    async fn purge(&self, tenant: TenantId, k: Epoch, chunk: u32) -> Result<Ledger, StoreError> {
        self.reach().await?.purge(tenant, k, chunk).await
    }

    async fn cut_back(
        &self,
        tenant: TenantId,
        k: Epoch,
        to: Head,
        chunk: u32,
    ) -> Result<Ledger, StoreError> {
        self.reach().await?.cut_back(tenant, k, to, chunk).await
    }

    async fn read_feed(
        &self,
        tenant: TenantId,
        after_seq: u64,
        limit: BatchLimit,
    ) -> Result<Feed, StoreError> {
        self.reach().await?.read_feed(tenant, after_seq, limit).await
    }

    async fn read_stream(
        &self,
        tenant: TenantId,
        stream: &StreamName,
        from_version: u64,
        limit: BatchLimit,
    ) -> Result<StreamSlice, StoreError> {
        self.reach().await?.read_stream(tenant, stream, from_version, limit).await
    }

    async fn digest_at(&self, tenant: TenantId, seq: u64) -> Result<Option<Digest>, StoreError> {
        self.reach().await?.digest_at(tenant, seq).await
    }

    async fn streams(
        &self,
        tenant: TenantId,
        max_seq: u64,
        after: Option<&StreamName>,
        limit: usize,
    ) -> Result<Vec<StreamVersion>, StoreError> {
        self.reach().await?.streams(tenant, max_seq, after, limit).await
    }

    async fn tenants(
        &self,
        after: Option<TenantId>,
        limit: usize,
    ) -> Result<Vec<TenantLedger>, StoreError> {
        self.reach().await?.tenants(after, limit).await
    }

    async fn layout(&self) -> Result<Option<Layout>, StoreError> {
        self.reach().await?.layout().await
    }

    async fn row_form(&self) -> Result<Option<RowForm>, StoreError> {
        self.reach().await?.row_form().await
    }

    async fn not_kept(&self, tenant: TenantId, by: &RowForm) -> Result<Vec<String>, StoreError> {
        self.reach().await?.not_kept(tenant, by).await
    }

    async fn unguarded(&self, tenant: TenantId) -> Result<u64, StoreError> {
        self.reach().await?.unguarded(tenant).await
    }

    async fn leave(&self, tenant: TenantId, epoch: Epoch, by: Uuid) -> Result<Ledger, StoreError> {
        self.reach().await?.leave(tenant, epoch, by).await
    }

    async fn unguard(&self, tenant: TenantId, epoch: Epoch, by: Uuid) -> Result<(), StoreError> {
        self.reach().await?.unguard(tenant, epoch, by).await
    }

    async fn before_fence(&self, tenant: TenantId) {
        if let Ok(store) = self.reach().await {
            store.before_fence(tenant).await;
        }
    }

    async fn fence_holds(&self, tenant: TenantId) -> Result<(), StoreError> {
        self.reach().await?.fence_holds(tenant).await
    }

    async fn make_room(&self, tenant: TenantId, end: End) -> Result<Option<Room>, StoreError> {
        self.reach().await?.make_room(tenant, end).await
    }

    async fn fence_is_over(&self, tenant: TenantId) {
        if let Ok(store) = self.reach().await {
            store.fence_is_over(tenant).await;
        }
    }

    async fn settle(&self, tenant: TenantId, epoch: Epoch, to: &StoreId) -> Result<(), StoreError> {
        self.reach().await?.settle(tenant, epoch, to).await
    }

    async fn number_of_position(
        &self,
        tenant: TenantId,
        position: i64,
    ) -> Result<Option<u64>, StoreError> {
        self.reach().await?.number_of_position(tenant, position).await
    }

    async fn position_of_number(
        &self,
        tenant: TenantId,
        seq: u64,
    ) -> Result<Option<i64>, StoreError> {
        self.reach().await?.position_of_number(tenant, seq).await
    }

    async fn beside(&self, tenant: TenantId) -> Result<Vec<(Beside, Option<u64>)>, StoreError> {
        self.reach().await?.beside(tenant).await
    }

    async fn checkpoint_rows(&self, tenant: TenantId) -> Result<Vec<CheckpointRow>, StoreError> {
        self.reach().await?.checkpoint_rows(tenant).await
    }

    async fn put_checkpoint_row(&self, row: &CheckpointRow) -> Result<bool, StoreError> {
        self.reach().await?.put_checkpoint_row(row).await
    }

    async fn obstacles(&self, tenant: TenantId) -> Result<Vec<String>, StoreError> {
        self.reach().await?.obstacles(tenant).await
    }

    async fn keep_anchor(&self, anchor: &LogAnchor) -> Result<(), StoreError> {
        self.reach().await?.keep_anchor(anchor).await
    }

    async fn anchors(
        &self,
        after: Option<MigrationId>,
        limit: usize,
    ) -> Result<Vec<LogAnchor>, StoreError> {
        self.reach().await?.anchors(after, limit).await
    }

    async fn forget_anchors(&self, tenant: TenantId) -> Result<(), StoreError> {
        self.reach().await?.forget_anchors(tenant).await
    }

    async fn condition(&self) -> Result<Condition, StoreError> {
        let condition = self.reach().await?.condition().await?;
        Ok(self.size_max.map_or(condition, |size_max| condition.within(size_max)))
    }

    async fn check(&self) -> Result<StoreReport, StoreError> {
        self.reach().await?.check().await
    }
}
