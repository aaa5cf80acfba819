//! [`LedgerStore`] over another library's table, which that library writes.
//!
//! `docs/guard.md` has the design and its rules. SQLite runs one write transaction at a time, and no transaction writes on
//! an old snapshot: `BEGIN IMMEDIATE` replaces the locks of the PostgreSQL guard. The adapter's own connections have
//! triggers disabled, so that a copied row fires none.
//!
//! | file | contents |
//! |---|---|
//! | `shape` | the form of the table, and what prevents guarding it |
//! | `render` | the triggers, and the statements over the table |
//! | `row`, `cell`, `time` | rows as they are copied, and as events |
//! | `install` | adopting and releasing a store |
//! | `guarded` | a tenant's row; numbering |
//! | `change` | role and epoch; the fence |
//! | `leaving` | removing the guard of one tenant |
//! | `extend` | copying rows whole, and removing them |
//! | `read` | numbers to events |
//! | `kept` | values that PostgreSQL would not keep |

mod cell;
mod change;
mod extend;
mod guarded;
mod install;
mod kept;
mod leaving;
mod read;
mod render;
mod row;
mod shape;
mod time;

pub(crate) use cell::hex;
pub(crate) use render::literal as text_literal;
pub(crate) use shape::{not_set_up, quoted};
pub(crate) use time::micros as parse_time;

use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use rehome_domain::append::Append;
use rehome_domain::digest::Digest;
use rehome_domain::event::Event;
use rehome_domain::ids::{Epoch, MigrationId, StoreId, TenantId};
use rehome_domain::layout::{Layout, RowForm, Texts};
use rehome_domain::ledger::{Activation, Head, Ledger, Refused};
use rehome_domain::stream::StreamName;
use rehome_ports::clock::Clock;
use rehome_ports::log_chain::LogAnchor;
use rehome_ports::{
    AppendOutcome, BatchLimit, Condition, Fault, FaultKind, Feed, LedgerStore, StoreError,
    StoreReport, StreamSlice, StreamVersion, TenantLedger, TenantNames,
};
use rusqlite::{Connection, Transaction};
use uuid::Uuid;

use crate::error::{Failure, FileError};
use crate::file::{File, FileOptions, Request, Turn};
use crate::ledger_store::anchors;
use crate::schema::Kind;
use install::Table;

type Answer<T> = Result<T, Failure<Refused>>;

/// A table to adopt, and where it is.
#[derive(Clone)]
pub struct Adoption {
    /// The configured name of the store.
    pub id: StoreId,
    /// The file of another program.
    pub path: PathBuf,
    /// Which column is what.
    pub layout: Layout,
    /// The deployment that it belongs to, or will belong to.
    pub deployment: String,
    /// Our clock.
    pub clock: Arc<dyn Clock>,
    /// Tenants' names, of all adopted stores of the deployment.
    pub names: TenantNames,
    /// How the file is used.
    pub file: FileOptions,
}

impl Adoption {
    fn request(&self) -> Request {
        Request {
            what: format!("store \"{}\"", self.id),
            kind: Kind::Guard,
            path: self.path.clone(),
            create: false,
            deployment: Some(self.deployment.clone()),
            clock: Arc::clone(&self.clock),
            options: self.file,
        }
    }

    async fn once<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Connection, &Self) -> Result<T, FileError> + Send + 'static,
    ) -> Result<T, Fault> {
        let this = self.clone();
        let request = self.request();
        let what = request.what.clone();
        tokio::task::spawn_blocking(move || work(&mut File::connect_once(&request)?, &this))
            .await
            .unwrap_or(Err(FileError::Lost))
            .map_err(|error| error.fault(&what))
    }

    /// What an installation would do, a sentence each.
    pub async fn plan(&self) -> Result<Vec<String>, Fault> {
        self.once(|conn, this| install::plan(conn, &this.layout)).await
    }

    /// Whether the guard is installed.
    pub async fn is_installed(&self) -> Result<bool, Fault> {
        self.once(|conn, _| install::is_there(conn)).await
    }

    /// Installs the guard. Done already: nothing.
    pub async fn adopt(&self) -> Result<(), Fault> {
        let work = |conn: &mut Connection, this: &Self| {
            install::adopt(conn, &this.layout, &this.deployment, this.clock.now())
        };
        self.once(work).await
    }

    /// Removes the guard and restores the schema. Returns the steps carried out.
    pub async fn release(&self, no_writers_left: bool) -> Result<Vec<String>, Fault> {
        self.once(move |conn, _| install::release(conn, no_writers_left)).await
    }
}

/// A [`LedgerStore`] beside another program's table.
pub struct SqliteAdopted {
    id: StoreId,
    layout: Layout,
    names: TenantNames,
    table: Arc<Table>,
    file: File,
}

impl SqliteAdopted {
    /// Opens a store that was adopted.
    pub async fn open(adoption: Adoption) -> Result<Self, Fault> {
        let file = File::open(adoption.request()).await.map_err(|fault| match fault.kind {
            FaultKind::NotSetUp(_) => {
                let id = &adoption.id;
                let why = format!("it is not adopted yet; run `rehome store adopt {id}`");
                Fault::new(fault.what, FaultKind::NotSetUp(why))
            }
            _ => fault,
        })?;
        let layout = adoption.layout.clone();
        let table = file.read(move |tx| Ok(install::open(tx, &layout)?)).await;
        let table = table.map_err(|failure: Failure<Refused>| match failure {
            Failure::File(error) => error.fault(file.what()),
            Failure::Rule(refused) => {
                Fault::new(file.what(), FaultKind::Failing(refused.to_string()))
            }
        })?;
        let Adoption { id, layout, names, .. } = adoption;
        Ok(Self { id, layout, names, table: Arc::new(table), file })
    }

    /// Closes the file.
    pub async fn close(self) {
        let _ = tokio::task::spawn_blocking(move || drop(self)).await;
    }

    fn say<T>(&self, answer: Answer<T>) -> Result<T, StoreError> {
        answer.map_err(|failure| failure.store_error(self.file.what()))
    }

    async fn write<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Transaction<'_>, &Table, &Turn) -> Answer<T> + Send + 'static,
    ) -> Answer<T> {
        let table = Arc::clone(&self.table);
        self.file.write_long(move |tx, turn| work(tx, &table, turn)).await
    }

    async fn read<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Transaction<'_>, &Table) -> Answer<T> + Send + 'static,
    ) -> Answer<T> {
        let table = Arc::clone(&self.table);
        self.file.read(move |tx| work(tx, &table)).await
    }

    fn refuse_append(&self) -> StoreError {
        let why = format!(
            "its events are in a table of another library (layout {}), which writes them; append there",
            self.layout.name
        );
        Fault::new(self.file.what(), FaultKind::NotWritten(why)).into()
    }
}

#[async_trait]
impl LedgerStore for SqliteAdopted {
    fn id(&self) -> &StoreId {
        &self.id
    }

    async fn ledger(&self, tenant: TenantId) -> Result<Ledger, StoreError> {
        self.say(change::ledger(self, tenant).await)
    }

    async fn append(
        &self,
        _: TenantId,
        _: Epoch,
        _: &[Append],
    ) -> Result<Vec<AppendOutcome>, StoreError> {
        Err(self.refuse_append())
    }

    async fn extend(
        &self,
        tenant: TenantId,
        m: Epoch,
        previous: Head,
        events: &[Event],
    ) -> Result<Head, StoreError> {
        self.say(extend::extend(self, tenant, m, previous, events).await)
    }

    async fn fence(&self, tenant: TenantId, from: Epoch, to: Epoch) -> Result<Head, StoreError> {
        Ok(self.say(change::fence(self, tenant, from, to).await)?.head)
    }

    async fn activate(&self, tenant: TenantId, route: Activation) -> Result<Ledger, StoreError> {
        self.say(change::activate(self, tenant, route).await)
    }

    async fn adopt(&self, tenant: TenantId, m: Epoch, head: Head) -> Result<Ledger, StoreError> {
        self.say(change::adopt(self, tenant, m, head).await)
    }

    async fn drop_replica(&self, tenant: TenantId, m: Epoch) -> Result<Ledger, StoreError> {
        self.say(change::change(self, tenant, move |ledger| ledger.drop_replica(m)).await)
    }

    async fn purge(&self, tenant: TenantId, k: Epoch, chunk: u32) -> Result<Ledger, StoreError> {
        self.say(extend::purge(self, tenant, k, chunk).await)
    }

    async fn cut_back(
        &self,
        tenant: TenantId,
        k: Epoch,
        to: Head,
        chunk: u32,
    ) -> Result<Ledger, StoreError> {
        self.say(extend::cut_back(self, tenant, k, to, chunk).await)
    }

    async fn read_feed(
        &self,
        tenant: TenantId,
        after_seq: u64,
        limit: BatchLimit,
    ) -> Result<Feed, StoreError> {
        self.say(read::feed(self, tenant, after_seq, limit).await)
    }

    async fn read_stream(
        &self,
        tenant: TenantId,
        stream: &StreamName,
        from_version: u64,
        limit: BatchLimit,
    ) -> Result<StreamSlice, StoreError> {
        self.say(read::stream(self, tenant, stream, from_version, limit).await)
    }

    async fn digest_at(&self, tenant: TenantId, seq: u64) -> Result<Option<Digest>, StoreError> {
        self.say(read::digest_at(self, tenant, seq).await)
    }

    async fn streams(
        &self,
        tenant: TenantId,
        max_seq: u64,
        after: Option<&StreamName>,
        limit: usize,
    ) -> Result<Vec<StreamVersion>, StoreError> {
        self.say(read::streams(self, tenant, max_seq, after, limit).await)
    }

    async fn tenants(
        &self,
        after: Option<TenantId>,
        limit: usize,
    ) -> Result<Vec<TenantLedger>, StoreError> {
        self.say(read::tenants(self, after, limit).await)
    }

    async fn layout(&self) -> Result<Option<Layout>, StoreError> {
        Ok(Some(self.layout.clone()))
    }

    async fn row_form(&self) -> Result<Option<RowForm>, StoreError> {
        Ok(Some((**self.table.rows.form()).clone()))
    }

    async fn not_kept(&self, tenant: TenantId, by: &RowForm) -> Result<Vec<String>, StoreError> {
        if by.texts != Texts::Postgresql {
            return Ok(Vec::new());
        }
        self.say(kept::not_kept(self, tenant).await)
    }

    async fn unguarded(&self, tenant: TenantId) -> Result<u64, StoreError> {
        self.say(read::unguarded(self, tenant).await)
    }

    async fn leave(&self, tenant: TenantId, epoch: Epoch, by: Uuid) -> Result<Ledger, StoreError> {
        self.say(leaving::leave(self, tenant, epoch, by).await)
    }

    async fn unguard(&self, tenant: TenantId, epoch: Epoch, by: Uuid) -> Result<(), StoreError> {
        self.say(leaving::unguard(self, tenant, epoch, by).await)
    }

    async fn fence_holds(&self, tenant: TenantId) -> Result<(), StoreError> {
        self.say(change::fence_holds(self, tenant).await)
    }

    async fn settle(&self, tenant: TenantId, epoch: Epoch, _: &StoreId) -> Result<(), StoreError> {
        self.say(change::settle(self, tenant, epoch).await)
    }

    async fn number_of_position(
        &self,
        tenant: TenantId,
        position: i64,
    ) -> Result<Option<u64>, StoreError> {
        self.say(read::number_of_position(self, tenant, position).await)
    }

    async fn position_of_number(
        &self,
        tenant: TenantId,
        seq: u64,
    ) -> Result<Option<i64>, StoreError> {
        self.say(read::position_of_number(self, tenant, seq).await)
    }

    async fn obstacles(&self, _: TenantId) -> Result<Vec<String>, StoreError> {
        self.say(self.changes().await)
    }

    async fn condition(&self) -> Result<Condition, StoreError> {
        self.say(self.file.condition().await)
    }

    async fn keep_anchor(&self, anchor: &LogAnchor) -> Result<(), StoreError> {
        let anchor = *anchor;
        self.say(self.write(move |tx, _, _| Ok(anchors::keep(tx, Kind::Guard, &anchor)?)).await)
    }

    async fn anchors(
        &self,
        after: Option<MigrationId>,
        limit: usize,
    ) -> Result<Vec<LogAnchor>, StoreError> {
        let read = self.read(move |tx, _| Ok(anchors::read(tx, Kind::Guard, after, limit)?)).await;
        self.say(read)
    }

    async fn forget_anchors(&self, tenant: TenantId) -> Result<(), StoreError> {
        self.say(self.write(move |tx, _, _| Ok(anchors::forget(tx, Kind::Guard, tenant)?)).await)
    }

    async fn check(&self) -> Result<StoreReport, StoreError> {
        let (durability, durable) = self.say(self.file.durability().await)?;
        let meta = self.read(|tx, _| Ok(crate::schema::read_meta(tx, Kind::Guard)?)).await;
        let meta = self.say(meta)?;
        Ok(StoreReport {
            engine: format!("SQLite {}", rusqlite::version()),
            format: meta.format,
            deployment: meta.deployment,
            identity: meta.identity,
            durability,
            durable,
            clock_skew_ms: 0,
            problems: self.say(self.changes().await)?,
            copied: Vec::new(),
        })
    }
}

impl SqliteAdopted {
    /// Changes since the installation, a sentence each.
    async fn changes(&self) -> Answer<Vec<String>> {
        let layout = self.layout.clone();
        self.read(move |tx, _| Ok(install::changes(tx, &layout)?)).await
    }
}
