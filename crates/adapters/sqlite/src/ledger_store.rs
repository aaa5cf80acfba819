//! [`LedgerStore`] on a file. Each operation is here in one screen or in its own file below; the
//! rules are the domain's.

pub(crate) mod anchors;
mod append;
mod extend;
mod ids;
mod kept;
mod part;
mod purge;
mod read;
mod settle;
mod tables;

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use rehome_domain::append::Append;
use rehome_domain::digest::Digest;
use rehome_domain::event::Event;
use rehome_domain::ids::{Epoch, MigrationId, StoreId, TenantId};
use rehome_domain::ledger::{Activation, Head, Ledger, Refused, Role};
use rehome_domain::stream::StreamName;
use rehome_ports::clock::Clock;
use rehome_ports::log_chain::LogAnchor;
use rehome_ports::{
    AppendOutcome, BatchLimit, Condition, Fault, FaultKind, Feed, LedgerStore, StoreError,
    StoreReport, StreamSlice, StreamVersion, TenantLedger,
};
use rusqlite::Transaction;

use self::append::Batch;
use self::ids::{Ids, Tails};
use self::settle::Soon;
use crate::error::Failure;
use crate::file::{File, FileOptions, Request, Turn};
use crate::schema::Kind;

/// Where a store is and whose it is.
#[derive(Clone)]
pub struct SqliteStoreOptions {
    /// The configured name.
    pub id: StoreId,
    /// The file; `-wal` and `-shm` lie beside it.
    pub path: PathBuf,
    /// The deployment it belongs to, or will belong to once it is made.
    pub deployment: String,
    /// Whether to make the file if there is none, or an empty one.
    pub create: bool,
    /// The clock that dates recorded events.
    pub clock: Arc<dyn Clock>,
}

/// A [`LedgerStore`] in a SQLite file.
///
/// Dropping it finishes the writes that were already handed in and closes the file, which may
/// block for a moment; [`SqliteStore::close`] does the same without blocking the caller's thread.
pub struct SqliteStore(Arc<Store>);

struct Store {
    id: StoreId,
    clock: Arc<dyn Clock>,
    file: File,
    ids: Ids,
    /// Only the writer's thread takes it.
    tails: Arc<Mutex<Tails>>,
    soon: Soon,
}

impl Drop for SqliteStore {
    fn drop(&mut self) {
        self.0.soon.stop();
    }
}

impl SqliteStore {
    /// Opens the store, or makes it.
    pub async fn open(options: SqliteStoreOptions) -> Result<Self, Fault> {
        Self::open_with(options, FileOptions::default()).await
    }

    /// The same, with other bounds than the default ones.
    pub async fn open_with(options: SqliteStoreOptions, file: FileOptions) -> Result<Self, Fault> {
        let SqliteStoreOptions { id, path, deployment, create, clock } = options;
        let file = File::open(Request {
            what: format!("store \"{id}\""),
            kind: Kind::Store,
            path,
            create,
            deployment: Some(deployment),
            clock: Arc::clone(&clock),
            options: file,
        })
        .await?;
        let ids = file.read(|tx| Ok(Ids::of(tx)?)).await;
        let ids =
            ids.map_err(|failure: Failure<Refused>| match failure.store_error(file.what()) {
                StoreError::Fault(fault) => fault,
                StoreError::Refused(refused) => {
                    Fault::new(file.what(), FaultKind::Corrupt(refused.to_string()))
                }
            })?;
        let (tails, soon) = (Arc::default(), Soon::default());
        Ok(Self(Arc::new(Store { id, clock, file, ids, tails, soon })))
    }

    /// Finishes the writes that were handed in and closes the file.
    pub async fn close(self) {
        // A panic in a drop cannot be reported.
        let _ = tokio::task::spawn_blocking(move || drop(self)).await;
    }
}

impl Store {
    async fn write<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Transaction<'_>, &Turn) -> Result<T, Failure<Refused>> + Send + 'static,
    ) -> Result<T, StoreError> {
        self.file.write(work).await.map_err(|failure| failure.store_error(self.file.what()))
    }

    /// The same of work that may take long.
    async fn write_long<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Transaction<'_>, &Turn) -> Result<T, Failure<Refused>> + Send + 'static,
    ) -> Result<T, StoreError> {
        self.file.write_long(work).await.map_err(|failure| failure.store_error(self.file.what()))
    }

    async fn read<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Transaction<'_>) -> Result<T, Failure<Refused>> + Send + 'static,
    ) -> Result<T, StoreError> {
        self.file.read(work).await.map_err(|failure| failure.store_error(self.file.what()))
    }

    /// Changes the ledger row alone. A refused change and one that changes nothing leave no trace.
    async fn change(
        &self,
        tenant: TenantId,
        rule: impl FnOnce(Ledger) -> Result<Ledger, Refused> + Send + 'static,
    ) -> Result<Ledger, StoreError> {
        let ids = self.ids;
        self.write(move |tx, _| {
            let held = tables::ledger(tx, tenant)?;
            let ledger = held.map_or(Ledger::ABSENT, |(_, ledger)| ledger);
            let changed = rule(ledger)?;
            match held {
                Some(_) if changed == ledger => {}
                Some((tenant_no, _)) => {
                    if changed.role == Role::Active && ledger.role != Role::Active {
                        // Nothing or little: it was settled before.
                        settle::rest(tx, ids, tenant_no, &ledger)?;
                    }
                    tables::set_ledger(tx, tenant_no, &changed)?;
                }
                None => tables::add_ledger(tx, tenant, &changed)?,
            }
            Ok(changed)
        })
        .await
    }

    async fn append(self: &Arc<Self>, batch: Batch) -> Result<Vec<AppendOutcome>, StoreError> {
        let (tenant, imports) = (batch.tenant, batch.is_large());
        if imports {
            self.file.wal().in_bulk();
        }
        let (ids, tails) = (self.ids, Arc::clone(&self.tails));
        let work = move |tx: &Transaction<'_>, _: &Turn| {
            let mut tails = tails.lock().unwrap_or_else(PoisonError::into_inner);
            append::append(tx, ids, &mut tails, &batch)
        };
        let (outcomes, put_off) =
            if imports { self.write_long(work).await? } else { self.write(work).await? };
        if imports && put_off >= settle::IDS_AT_ONCE {
            self.soon.settle_some(self, tenant).await;
        }
        if put_off > 0 {
            self.soon.settle(self, tenant, imports);
        }
        Ok(outcomes)
    }
}

#[async_trait]
impl LedgerStore for SqliteStore {
    fn id(&self) -> &StoreId {
        &self.0.id
    }

    async fn ledger(&self, tenant: TenantId) -> Result<Ledger, StoreError> {
        self.0
            .read(move |tx| {
                Ok(tables::ledger(tx, tenant)?.map_or(Ledger::ABSENT, |(_, ledger)| ledger))
            })
            .await
    }

    async fn lengths(&self, tenants: &[TenantId]) -> Result<Vec<u64>, StoreError> {
        let tenants = tenants.to_vec();
        self.0
            .read(move |tx| {
                let found = tenants.iter().map(|tenant| {
                    Ok(tables::ledger(tx, *tenant)?.map_or(0, |(_, ledger)| ledger.head.seq))
                });
                found.collect()
            })
            .await
    }

    async fn append(
        &self,
        tenant: TenantId,
        epoch: Epoch,
        appends: &[Append],
    ) -> Result<Vec<AppendOutcome>, StoreError> {
        let (appends, now) = (appends.to_vec(), self.0.clock.now());
        self.0.append(Batch { tenant, epoch, appends, chained: false, now }).await
    }

    async fn append_chain(
        &self,
        tenant: TenantId,
        epoch: Epoch,
        appends: &[Append],
    ) -> Result<Vec<AppendOutcome>, StoreError> {
        let (appends, now) = (appends.to_vec(), self.0.clock.now());
        self.0.append(Batch { tenant, epoch, appends, chained: true, now }).await
    }

    async fn extend(
        &self,
        tenant: TenantId,
        m: Epoch,
        previous: Head,
        events: &[Event],
    ) -> Result<Head, StoreError> {
        extend::extend(&self.0, tenant, m, previous, events).await
    }

    async fn finish_index(&self, tenant: TenantId) -> Result<(), StoreError> {
        settle::settle(&self.0, tenant, true).await
    }

    async fn fence(&self, tenant: TenantId, from: Epoch, to: Epoch) -> Result<Head, StoreError> {
        Ok(self.0.change(tenant, move |ledger| ledger.fence(from, to)).await?.head)
    }

    async fn activate(&self, tenant: TenantId, route: Activation) -> Result<Ledger, StoreError> {
        self.0.change(tenant, move |ledger| ledger.activate(route)).await
    }

    async fn adopt(&self, tenant: TenantId, m: Epoch, head: Head) -> Result<Ledger, StoreError> {
        self.0.change(tenant, move |ledger| ledger.adopt(m, head)).await
    }

    async fn drop_replica(&self, tenant: TenantId, m: Epoch) -> Result<Ledger, StoreError> {
        self.0.change(tenant, move |ledger| ledger.drop_replica(m)).await
    }

    async fn purge(&self, tenant: TenantId, k: Epoch, chunk: u32) -> Result<Ledger, StoreError> {
        let ids = self.0.ids;
        self.0.write_long(move |tx, _| purge::purge(tx, ids, tenant, k, chunk)).await
    }

    async fn cut_back(
        &self,
        tenant: TenantId,
        k: Epoch,
        to: Head,
        chunk: u32,
    ) -> Result<Ledger, StoreError> {
        let ids = self.0.ids;
        self.0.write_long(move |tx, _| purge::cut_back(tx, ids, tenant, k, to, chunk)).await
    }

    async fn read_feed(
        &self,
        tenant: TenantId,
        after_seq: u64,
        limit: BatchLimit,
    ) -> Result<Feed, StoreError> {
        self.0.read(move |tx| Ok(read::feed(tx, tenant, after_seq, limit)?)).await
    }

    async fn read_stream(
        &self,
        tenant: TenantId,
        stream: &StreamName,
        from_version: u64,
        limit: BatchLimit,
    ) -> Result<StreamSlice, StoreError> {
        let stream = stream.clone();
        self.0.read(move |tx| Ok(read::stream(tx, tenant, &stream, from_version, limit)?)).await
    }

    async fn digest_at(&self, tenant: TenantId, seq: u64) -> Result<Option<Digest>, StoreError> {
        if seq == 0 {
            return Ok(Some(Digest::EMPTY));
        }
        self.0
            .read(move |tx| match tables::ledger(tx, tenant)? {
                None => Ok(None),
                Some((tenant_no, _)) => Ok(tables::digest_at(tx, tenant_no, seq)?),
            })
            .await
    }

    async fn streams(
        &self,
        tenant: TenantId,
        max_seq: u64,
        after: Option<&StreamName>,
        limit: usize,
    ) -> Result<Vec<StreamVersion>, StoreError> {
        let after = after.cloned();
        self.0.read(move |tx| Ok(read::streams(tx, tenant, max_seq, after.as_ref(), limit)?)).await
    }

    async fn tenants(
        &self,
        after: Option<TenantId>,
        limit: usize,
    ) -> Result<Vec<TenantLedger>, StoreError> {
        self.0.read(move |tx| Ok(read::tenants(tx, after, limit)?)).await
    }

    async fn keep_anchor(&self, anchor: &LogAnchor) -> Result<(), StoreError> {
        let anchor = *anchor;
        self.0.write(move |tx, _| Ok(anchors::keep(tx, Kind::Store, &anchor)?)).await
    }

    async fn anchors(
        &self,
        after: Option<MigrationId>,
        limit: usize,
    ) -> Result<Vec<LogAnchor>, StoreError> {
        self.0.read(move |tx| Ok(anchors::read(tx, Kind::Store, after, limit)?)).await
    }

    async fn forget_anchors(&self, tenant: TenantId) -> Result<(), StoreError> {
        self.0.write(move |tx, _| Ok(anchors::forget(tx, Kind::Store, tenant)?)).await
    }

    async fn condition(&self) -> Result<Condition, StoreError> {
        let condition = self.0.file.condition::<Refused>().await;
        condition.map_err(|failure| failure.store_error(self.0.file.what()))
    }

    async fn check(&self) -> Result<StoreReport, StoreError> {
        let of_file = |failure: Failure<Refused>| failure.store_error(self.0.file.what());
        let (durability, durable) = self.0.file.durability().await.map_err(of_file)?;
        let meta = self.0.read(|tx| Ok(crate::schema::read_meta(tx, Kind::Store)?)).await?;
        Ok(StoreReport {
            engine: format!("SQLite {}", rusqlite::version()),
            format: meta.format,
            deployment: meta.deployment,
            identity: meta.identity,
            durability,
            durable,
            clock_skew_ms: 0,
            problems: self.0.file.wider(),
            copied: Vec::new(),
        })
    }
}
