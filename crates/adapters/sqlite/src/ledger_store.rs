//! [`LedgerStore`] on a file. Each operation is here in one screen or in its own file below; the
//! rules are the domain's.

mod append;
mod extend;
mod part;
mod purge;
mod read;
mod tables;

use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use rehome_domain::append::Append;
use rehome_domain::digest::Digest;
use rehome_domain::event::Event;
use rehome_domain::ids::{Epoch, StoreId, TenantId};
use rehome_domain::ledger::{Activation, Head, Ledger, Refused};
use rehome_domain::stream::StreamName;
use rehome_ports::clock::Clock;
use rehome_ports::{
    AppendOutcome, BatchLimit, Fault, Feed, LedgerStore, StoreError, StoreReport, StreamSlice,
    StreamVersion, TenantLedger,
};
use rusqlite::Transaction;

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
    /// Tells when an event was recorded.
    pub clock: Arc<dyn Clock>,
}

/// A [`LedgerStore`] in a SQLite file.
///
/// Dropping it finishes the writes that were already handed in and closes the file, which may
/// block for a moment; [`SqliteStore::close`] does the same without blocking the caller's thread.
pub struct SqliteStore {
    id: StoreId,
    clock: Arc<dyn Clock>,
    file: File,
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
        Ok(Self { id, clock, file })
    }

    /// Finishes the writes that were handed in and closes the file.
    pub async fn close(self) {
        // A panic in a drop has nothing left to say to us.
        let _ = tokio::task::spawn_blocking(move || drop(self)).await;
    }

    async fn write<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Transaction<'_>, &Turn) -> Result<T, Failure<Refused>> + Send + 'static,
    ) -> Result<T, StoreError> {
        self.file.write(work).await.map_err(|failure| failure.store_error(self.file.what()))
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
        self.write(move |tx, _| {
            let held = tables::ledger(tx, tenant)?;
            let ledger = held.map_or(Ledger::ABSENT, |(_, ledger)| ledger);
            let changed = rule(ledger)?;
            match held {
                Some(_) if changed == ledger => {}
                Some((tenant_no, _)) => tables::set_ledger(tx, tenant_no, &changed)?,
                None => tables::add_ledger(tx, tenant, &changed)?,
            }
            Ok(changed)
        })
        .await
    }
}

#[async_trait]
impl LedgerStore for SqliteStore {
    fn id(&self) -> &StoreId {
        &self.id
    }

    async fn ledger(&self, tenant: TenantId) -> Result<Ledger, StoreError> {
        self.read(move |tx| {
            Ok(tables::ledger(tx, tenant)?.map_or(Ledger::ABSENT, |(_, ledger)| ledger))
        })
        .await
    }

    async fn append(
        &self,
        tenant: TenantId,
        epoch: Epoch,
        appends: &[Append],
    ) -> Result<Vec<AppendOutcome>, StoreError> {
        let appends = appends.to_vec();
        let clock = Arc::clone(&self.clock);
        self.write(move |tx, _| append::append(tx, tenant, epoch, &appends, clock.now(), false))
            .await
    }

    async fn append_chain(
        &self,
        tenant: TenantId,
        epoch: Epoch,
        appends: &[Append],
    ) -> Result<Vec<AppendOutcome>, StoreError> {
        let appends = appends.to_vec();
        let clock = Arc::clone(&self.clock);
        self.write(move |tx, _| append::append(tx, tenant, epoch, &appends, clock.now(), true))
            .await
    }

    async fn extend(
        &self,
        tenant: TenantId,
        m: Epoch,
        previous: Head,
        events: &[Event],
    ) -> Result<Head, StoreError> {
        extend::extend(self, tenant, m, previous, events).await
    }

    async fn fence(&self, tenant: TenantId, from: Epoch, to: Epoch) -> Result<Head, StoreError> {
        Ok(self.change(tenant, move |ledger| ledger.fence(from, to)).await?.head)
    }

    async fn activate(&self, tenant: TenantId, route: Activation) -> Result<Ledger, StoreError> {
        self.change(tenant, move |ledger| ledger.activate(route)).await
    }

    async fn adopt(&self, tenant: TenantId, m: Epoch, head: Head) -> Result<Ledger, StoreError> {
        self.change(tenant, move |ledger| ledger.adopt(m, head)).await
    }

    async fn drop_replica(&self, tenant: TenantId, m: Epoch) -> Result<Ledger, StoreError> {
        self.change(tenant, move |ledger| ledger.drop_replica(m)).await
    }

    async fn purge(&self, tenant: TenantId, k: Epoch, chunk: u32) -> Result<Ledger, StoreError> {
        self.write(move |tx, _| purge::purge(tx, tenant, k, chunk)).await
    }

    async fn cut_back(
        &self,
        tenant: TenantId,
        k: Epoch,
        to: Head,
        chunk: u32,
    ) -> Result<Ledger, StoreError> {
        self.write(move |tx, _| purge::cut_back(tx, tenant, k, to, chunk)).await
    }

    async fn read_feed(
        &self,
        tenant: TenantId,
        after_seq: u64,
        limit: BatchLimit,
    ) -> Result<Feed, StoreError> {
        self.read(move |tx| Ok(read::feed(tx, tenant, after_seq, limit)?)).await
    }

    async fn read_stream(
        &self,
        tenant: TenantId,
        stream: &StreamName,
        from_version: u64,
        limit: BatchLimit,
    ) -> Result<StreamSlice, StoreError> {
        let stream = stream.clone();
        self.read(move |tx| Ok(read::stream(tx, tenant, &stream, from_version, limit)?)).await
    }

    async fn digest_at(&self, tenant: TenantId, seq: u64) -> Result<Option<Digest>, StoreError> {
        if seq == 0 {
            return Ok(Some(Digest::EMPTY));
        }
        self.read(move |tx| match tables::ledger(tx, tenant)? {
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
        self.read(move |tx| Ok(read::streams(tx, tenant, max_seq, after.as_ref(), limit)?)).await
    }

    async fn tenants(
        &self,
        after: Option<TenantId>,
        limit: usize,
    ) -> Result<Vec<TenantLedger>, StoreError> {
        self.read(move |tx| Ok(read::tenants(tx, after, limit)?)).await
    }

    async fn check(&self) -> Result<StoreReport, StoreError> {
        let of_file = |failure: Failure<Refused>| failure.store_error(self.file.what());
        let (durability, durable) = self.file.durability().await.map_err(of_file)?;
        let meta = self.read(|tx| Ok(crate::schema::read_meta(tx, Kind::Store)?)).await?;
        Ok(StoreReport {
            engine: format!("SQLite {}", rusqlite::version()),
            format: meta.format,
            deployment: meta.deployment,
            identity: meta.identity,
            durability,
            durable,
            clock_skew_ms: 0,
            problems: self.file.wider(),
        })
    }
}
