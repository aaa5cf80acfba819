//! [`LedgerStore`] on a PostgreSQL server. Each operation is here in one screen or in its own file
//! below. The domain decides by the ledger's rules; SQL knows only the condition under which it
//! writes, so that an operation takes one round trip.
//!
//! | operation | how | round trips |
//! |---|---|---|
//! | append | one function call, a transaction of its own | 1 |
//! | extend | a few events: one function call; many: a transaction with COPY; with rows of another table: two COPYs | 1, 4, 6 |
//! | fence, activate, adopt, drop | read, decide, compare-and-set | 2 |
//! | purge, cut back | one function call for each chunk | 1 |
//! | reads | one statement, so one snapshot | 1 |
//! | anchors | one statement | 1 |
//!
//! **Who holds a ledger row.** One statement of the server's own, which ends whatever happens to its
//! client; or the transaction of a copy, whose client may be stopped while it holds the row. A process
//! that needs the row then ends that session, see `lock_holder`.

pub(crate) mod anchors;
mod append;
mod change;
mod copy;
pub(crate) mod extend;
mod kept;
pub(crate) mod lock_holder;
mod purge;
mod read;

use std::sync::Arc;

use async_trait::async_trait;
use rehome_domain::append::Append;
use rehome_domain::digest::Digest;
use rehome_domain::event::Event;
use rehome_domain::ids::{Epoch, MigrationId, StoreId, TenantId};
use rehome_domain::ledger::{Activation, Head, Ledger, Refused};
use rehome_domain::stream::StreamName;
use rehome_ports::clock::Clock;
use rehome_ports::log_chain::LogAnchor;
use rehome_ports::{
    AppendOutcome, BatchLimit, Condition, Fault, Feed, LedgerStore, StoreError, StoreReport,
    StreamSlice, StreamVersion, TenantLedger,
};

use crate::error::Failure;
use crate::schema::Kind;
use crate::server::{PostgresOptions, PostgresUrl, Request, Server};

type Answer<T> = Result<T, Failure<Refused>>;

/// Where a store is and whose it is.
#[derive(Clone)]
pub struct PgStoreOptions {
    /// The configured name.
    pub id: StoreId,
    /// The server, the database, and the schema in it.
    pub url: PostgresUrl,
    /// The deployment it belongs to, or will belong to once it is made.
    pub deployment: String,
    /// Whether to make the schema and its tables if there are none.
    pub create: bool,
    /// Our clock, which the server's is compared with. Events are dated by the server's.
    pub clock: Arc<dyn Clock>,
}

/// A [`LedgerStore`] in a schema of a PostgreSQL database.
pub struct PgStore {
    id: StoreId,
    clock: Arc<dyn Clock>,
    server: Arc<Server>,
}

impl PgStore {
    /// Connects, and makes the store if it is to be made.
    pub async fn open(options: PgStoreOptions) -> Result<Self, Fault> {
        Self::open_with(options, PostgresOptions::default()).await
    }

    /// The same, with other bounds than the default ones.
    pub async fn open_with(store: PgStoreOptions, options: PostgresOptions) -> Result<Self, Fault> {
        let PgStoreOptions { id, url, deployment, create, clock } = store;
        let server = Server::open(Request {
            what: format!("store \"{id}\""),
            kind: Kind::Store,
            url,
            create,
            deployment: Some(deployment),
            options,
        })
        .await?;
        Ok(Self { id, clock, server })
    }

    /// Whether there is a store at `url`, of whatever deployment.
    pub async fn is_there(id: &StoreId, url: &PostgresUrl) -> Result<bool, Fault> {
        let what = format!("store \"{id}\"");
        Server::is_there(&what, Kind::Store, url, PostgresOptions::default()).await
    }

    fn say<T>(&self, answer: Answer<T>) -> Result<T, StoreError> {
        answer.map_err(|failure| failure.store_error(self.server.what()))
    }
}

#[async_trait]
impl LedgerStore for PgStore {
    fn id(&self) -> &StoreId {
        &self.id
    }

    async fn ledger(&self, tenant: TenantId) -> Result<Ledger, StoreError> {
        self.say(read::ledger(&self.server, tenant).await)
    }

    async fn lengths(&self, tenants: &[TenantId]) -> Result<Vec<u64>, StoreError> {
        self.say(read::lengths(&self.server, tenants).await)
    }

    async fn append(
        &self,
        tenant: TenantId,
        epoch: Epoch,
        appends: &[Append],
    ) -> Result<Vec<AppendOutcome>, StoreError> {
        self.say(append::append(&self.server, tenant, epoch, appends).await)
    }

    async fn append_chain(
        &self,
        tenant: TenantId,
        epoch: Epoch,
        appends: &[Append],
    ) -> Result<Vec<AppendOutcome>, StoreError> {
        self.say(append::append_chain(&self.server, tenant, epoch, appends).await)
    }

    async fn extend(
        &self,
        tenant: TenantId,
        m: Epoch,
        previous: Head,
        events: &[Event],
    ) -> Result<Head, StoreError> {
        self.say(extend::extend(&self.server, tenant, m, previous, events).await)
    }

    async fn fence(&self, tenant: TenantId, from: Epoch, to: Epoch) -> Result<Head, StoreError> {
        let rule = |ledger: Ledger| ledger.fence(from, to);
        Ok(self.say(change::change(&self.server, tenant, rule).await)?.head)
    }

    async fn activate(&self, tenant: TenantId, route: Activation) -> Result<Ledger, StoreError> {
        self.say(change::change(&self.server, tenant, |ledger| ledger.activate(route)).await)
    }

    async fn adopt(&self, tenant: TenantId, m: Epoch, head: Head) -> Result<Ledger, StoreError> {
        self.say(change::change(&self.server, tenant, |ledger| ledger.adopt(m, head)).await)
    }

    async fn drop_replica(&self, tenant: TenantId, m: Epoch) -> Result<Ledger, StoreError> {
        self.say(change::change(&self.server, tenant, |ledger| ledger.drop_replica(m)).await)
    }

    async fn purge(&self, tenant: TenantId, k: Epoch, chunk: u32) -> Result<Ledger, StoreError> {
        self.say(purge::purge(&self.server, tenant, k, chunk).await)
    }

    async fn cut_back(
        &self,
        tenant: TenantId,
        k: Epoch,
        to: Head,
        chunk: u32,
    ) -> Result<Ledger, StoreError> {
        self.say(purge::cut_back(&self.server, tenant, k, to, chunk).await)
    }

    async fn read_feed(
        &self,
        tenant: TenantId,
        after_seq: u64,
        limit: BatchLimit,
    ) -> Result<Feed, StoreError> {
        self.say(read::feed(&self.server, tenant, after_seq, limit).await)
    }

    async fn read_stream(
        &self,
        tenant: TenantId,
        stream: &StreamName,
        from_version: u64,
        limit: BatchLimit,
    ) -> Result<StreamSlice, StoreError> {
        self.say(read::stream(&self.server, tenant, stream, from_version, limit).await)
    }

    async fn digest_at(&self, tenant: TenantId, seq: u64) -> Result<Option<Digest>, StoreError> {
        self.say(read::digest_at(&self.server, tenant, seq).await)
    }

    async fn streams(
        &self,
        tenant: TenantId,
        max_seq: u64,
        after: Option<&StreamName>,
        limit: usize,
    ) -> Result<Vec<StreamVersion>, StoreError> {
        self.say(read::streams(&self.server, tenant, max_seq, after, limit).await)
    }

    async fn tenants(
        &self,
        after: Option<TenantId>,
        limit: usize,
    ) -> Result<Vec<TenantLedger>, StoreError> {
        self.say(read::tenants(&self.server, after, limit).await)
    }

    async fn keep_anchor(&self, anchor: &LogAnchor) -> Result<(), StoreError> {
        self.say(anchors::keep(&self.server, anchor).await)
    }

    async fn anchors(
        &self,
        after: Option<MigrationId>,
        limit: usize,
    ) -> Result<Vec<LogAnchor>, StoreError> {
        self.say(anchors::read(&self.server, after, limit).await)
    }

    async fn forget_anchors(&self, tenant: TenantId) -> Result<(), StoreError> {
        self.say(anchors::forget(&self.server, tenant).await)
    }

    async fn condition(&self) -> Result<Condition, StoreError> {
        self.say(self.server.condition().await.map_err(Failure::from))
    }

    async fn check(&self) -> Result<StoreReport, StoreError> {
        let report = self.server.report(Kind::Store, self.clock.as_ref()).await;
        self.say(report.map_err(Failure::from))
    }
}
