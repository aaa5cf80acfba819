//! [`LedgerStore`] over another library's table, which that library writes.
//!
//! `docs/guard.md` has the design and its rules. Statements on the table are in functions that the
//! installation renders with the layout's names, so the statements here are the same for every table.
//!
//! | file | contents |
//! |---|---|
//! | `shape` | the form of the table |
//! | `render` | the names of the layout in the guard's functions |
//! | `install` | adopting and releasing a store |
//! | `installed` | the installed guard |
//! | `guarding` | guarding one tenant |
//! | `leaving` | removing the guard of one tenant |
//! | `change` | role and epoch; the fence |
//! | `extend` | copying complete rows |
//! | `heads` | a table of streams' heads that moves with the events |
//! | `read` | numbers to events |
//! | `kept` | the values of a copied row, and those that the table would not keep |
//! | `beside` | the tables beside the events that the layout lists |

mod beside;
mod change;
mod extend;
mod guarding;
mod heads;
mod install;
mod installed;
mod kept;
mod leaving;
mod read;
mod render;
mod shape;

/// The shape of a table, and which of its columns holds which part of an event.
pub(crate) mod parts {
    pub(crate) use super::render::{base64, event, tenant, version};
    pub(crate) use super::shape::Shape;
}

use std::collections::HashMap;
use std::sync::Arc;

use async_trait::async_trait;
use rehome_domain::append::Append;
use rehome_domain::digest::Digest;
use rehome_domain::event::Event;
use rehome_domain::ids::{Epoch, MigrationId, StoreId, TenantId};
use rehome_domain::layout::{Beside, Layout, RowForm, TenantPart};
use rehome_domain::ledger::{Activation, Head, Ledger, Refused};
use rehome_domain::stream::StreamName;
use rehome_ports::clock::Clock;
use rehome_ports::log_chain::LogAnchor;
use rehome_ports::{
    AppendOutcome, BatchLimit, CheckpointRow, Condition, End, Fault, FaultKind, Feed, LedgerStore,
    Room, StoreError, StoreReport, StreamSlice, StreamVersion, TenantLedger, TenantNames,
};
use tokio::sync::Mutex;
use uuid::Uuid;

use heads::Headed;
use installed::Installed;
pub(crate) use render::TRIGGER;

use crate::error::{Failure, ServerError};
use crate::ledger_store::anchors;
use crate::schema::Kind;
use crate::server::{Client, PostgresOptions, PostgresUrl, Request, Server};

type Answer<T> = Result<T, Failure<Refused>>;

/// A table to adopt, and where it is.
#[derive(Clone)]
pub struct Adoption {
    /// The configured name of the store.
    pub id: StoreId,
    /// The server and the database; the schema in it is the guard's.
    pub url: PostgresUrl,
    /// Which column is what.
    pub layout: Layout,
    /// The deployment that it belongs to, or will belong to.
    pub deployment: String,
    /// Our clock.
    pub clock: Arc<dyn Clock>,
    /// Tenants' names, of all adopted stores of the deployment.
    pub names: TenantNames,
}

impl Adoption {
    async fn connect<T>(
        &self,
        work: impl AsyncFnOnce(&mut Client, &str) -> Result<T, ServerError>,
    ) -> Result<T, Fault> {
        let url = self.url.clone().for_guard();
        let what = format!("store \"{}\"", self.id);
        let worked = async {
            let mut client = Server::connect(&url, PostgresOptions::default()).await?;
            work(&mut client, url.schema()).await
        };
        worked.await.map_err(|error: ServerError| error.fault(&what))
    }

    /// What an installation would do, a sentence each.
    pub async fn plan(&self) -> Result<Vec<String>, Fault> {
        self.connect(async |client, schema| install::plan(client, &self.layout, schema).await).await
    }

    /// Whether the guard is installed.
    pub async fn is_installed(&self) -> Result<bool, Fault> {
        self.connect(async |client, schema| install::is_there(client, schema).await).await
    }

    /// Installs the guard. Done already: nothing.
    pub async fn adopt(&self) -> Result<(), Fault> {
        self.connect(async |client, schema| {
            install::adopt(client, &self.layout, schema, &self.deployment).await
        })
        .await
    }

    /// Removes the guard and restores the schema. Returns the steps carried out.
    pub async fn release(&self, no_writers_left: bool) -> Result<Vec<String>, Fault> {
        self.connect(async |client, schema| {
            if !install::is_there(client, schema).await? {
                return Err(shape::not_set_up("it is not adopted".to_owned()));
            }
            install::release(client, &self.layout, schema, no_writers_left).await
        })
        .await
    }
}

/// A [`LedgerStore`] beside another library's table.
pub struct PgAdopted {
    id: StoreId,
    layout: Layout,
    installed: Installed,
    names: TenantNames,
    clock: Arc<dyn Clock>,
    server: Arc<Server>,
    /// Transactions that keep the triggers as they are between a fence and its switch (rule R15).
    held: Mutex<HashMap<TenantId, Client>>,
    /// Whether the table's own triggers can be disabled for copied rows.
    may_hush: bool,
    /// The streams' heads, where the library keeps them in a table.
    headed: Option<Headed>,
}

impl PgAdopted {
    /// Opens a store that was adopted.
    pub async fn open(adoption: Adoption) -> Result<Self, Fault> {
        let Adoption { id, url, layout, deployment, clock, names } = adoption;
        let what = format!("store \"{id}\"");
        let url = url.for_guard();
        let open = || {
            Server::open(Request {
                what: what.clone(),
                kind: Kind::Guard,
                url: url.clone(),
                create: false,
                deployment: Some(deployment.clone()),
                options: PostgresOptions::default(),
            })
        };
        let mut server = open().await.map_err(|fault| match fault.kind {
            FaultKind::Missing(_) => Fault::new(
                &what,
                FaultKind::NotSetUp(format!(
                    "it is not adopted yet; run `rehome store adopt {id}`"
                )),
            ),
            _ => fault,
        })?;
        if server.meta().is_old() {
            let upgraded = async {
                install::upgrade(&mut server.client().await?, &layout, url.schema()).await
            };
            upgraded.await.map_err(|error: ServerError| error.fault(&what))?;
            server = open().await?;
        }
        let look = async {
            let mut client = server.client().await?;
            let installed = install::read(&mut client, &layout).await?;
            let headed = Headed::of(&mut client, &layout, &installed.row_columns).await?;
            Ok((installed, extend::may_hush(&mut client).await?, headed))
        };
        let (installed, may_hush, headed) =
            look.await.map_err(|error: ServerError| error.fault(&what))?;
        let held = Mutex::default();
        Ok(Self { id, layout, installed, names, clock, server, held, may_hush, headed })
    }

    fn say<T>(&self, answer: Answer<T>) -> Result<T, StoreError> {
        answer.map_err(|failure| failure.store_error(self.server.what()))
    }

    /// Whether the table names tenants by UUIDs.
    fn tenants_are_uuids(&self) -> bool {
        match &self.layout.tenant {
            TenantPart::Column(name) => self.installed.kind(name) == Some("uuid"),
            TenantPart::Json { .. } | TenantPart::Prefix { .. } => false,
        }
    }

    fn refuse_append(&self) -> StoreError {
        let why = format!(
            "its events are in a table of another library (layout {}), which writes them; append there",
            self.layout.name
        );
        Fault::new(self.server.what(), FaultKind::NotWritten(why)).into()
    }
}

#[async_trait]
impl LedgerStore for PgAdopted {
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

    async fn leave(&self, tenant: TenantId, epoch: Epoch, by: Uuid) -> Result<Ledger, StoreError> {
        self.say(leaving::leave(self, tenant, epoch, by).await)
    }

    async fn unguard(&self, tenant: TenantId, epoch: Epoch, by: Uuid) -> Result<(), StoreError> {
        self.say(leaving::unguard(self, tenant, epoch, by).await)
    }

    async fn drop_replica(&self, tenant: TenantId, m: Epoch) -> Result<Ledger, StoreError> {
        self.say(change::change(self, tenant, |ledger| ledger.drop_replica(m)).await)
    }

    async fn purge(&self, tenant: TenantId, k: Epoch, chunk: u32) -> Result<Ledger, StoreError> {
        self.say(change::purge(self, tenant, k, chunk).await)
    }

    async fn cut_back(
        &self,
        tenant: TenantId,
        k: Epoch,
        to: Head,
        chunk: u32,
    ) -> Result<Ledger, StoreError> {
        self.say(change::cut_back(self, tenant, k, to, chunk).await)
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
        Ok(Some((*self.installed.form).clone()))
    }

    async fn unguarded(&self, tenant: TenantId) -> Result<u64, StoreError> {
        self.say(read::unguarded(self, tenant).await)
    }

    async fn before_fence(&self, tenant: TenantId) {
        change::before_fence(self, tenant).await;
    }

    async fn fence_holds(&self, tenant: TenantId) -> Result<(), StoreError> {
        self.say(change::hold(self, tenant).await.map_err(Into::into))
    }

    async fn make_room(&self, tenant: TenantId, end: End) -> Result<Option<Room>, StoreError> {
        self.say(change::make_room(self, tenant, end).await.map_err(Into::into))
    }

    async fn fence_is_over(&self, tenant: TenantId) {
        self.held.lock().await.remove(&tenant);
    }

    async fn settle(&self, tenant: TenantId, epoch: Epoch, to: &StoreId) -> Result<(), StoreError> {
        self.say(change::settle(self, tenant, epoch, to).await)
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

    async fn beside(&self, tenant: TenantId) -> Result<Vec<(Beside, Option<u64>)>, StoreError> {
        self.say(beside::found(self, tenant).await)
    }

    async fn checkpoint_rows(&self, tenant: TenantId) -> Result<Vec<CheckpointRow>, StoreError> {
        self.say(beside::checkpoints(self, tenant).await)
    }

    async fn put_checkpoint_row(&self, row: &CheckpointRow) -> Result<bool, StoreError> {
        self.say(beside::put_checkpoint(self, row).await)
    }

    async fn obstacles(&self, tenant: TenantId) -> Result<Vec<String>, StoreError> {
        self.say(read::obstacles(self, tenant).await)
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
        let look = async {
            let mut report = self.server.report(Kind::Guard, self.clock.as_ref()).await?;
            let mut client = self.server.client().await?;
            report.problems.extend(install::changes(&mut client, &self.layout).await?);
            report.problems.extend(install::heads_refused(&mut client, &self.layout).await?);
            Ok(report)
        };
        self.say(look.await.map_err(|error: ServerError| Failure::from(error)))
    }
}
