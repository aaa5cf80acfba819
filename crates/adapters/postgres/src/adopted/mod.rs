//! [`LedgerStore`] over a table that is not ours, whose rows other libraries write.
//!
//! `docs/guard.md` has the design and its rules. What touches the table is in functions that the
//! installation makes of the layout's names, so the statements here are the same for every table.
//!
//! | file | what it knows |
//! |---|---|
//! | `shape` | what the table looks like |
//! | `render` | how its names get into the guard's functions |
//! | `install` | adopting and releasing a store |
//! | `guarding` | bringing one tenant under the guard |
//! | `change` | role and epoch; the fence |
//! | `extend` | copying rows whole |
//! | `read` | numbers to events |

mod change;
mod extend;
mod guarding;
mod install;
mod read;
mod render;
mod shape;

use std::collections::HashMap;
use std::sync::Arc;

use async_trait::async_trait;
use rehome_domain::append::Append;
use rehome_domain::digest::Digest;
use rehome_domain::event::Event;
use rehome_domain::ids::{Epoch, StoreId, TenantId};
use rehome_domain::layout::{Layout, TenantPart};
use rehome_domain::ledger::{Activation, Head, Ledger, Refused};
use rehome_domain::stream::StreamName;
use rehome_ports::clock::Clock;
use rehome_ports::{
    AppendOutcome, BatchLimit, Fault, FaultKind, Feed, LedgerStore, StoreError, StoreReport,
    StreamSlice, StreamVersion, TenantLedger, TenantNames,
};
use tokio::sync::Mutex;

use install::Installed;
pub(crate) use render::TRIGGER;

use crate::error::{Failure, ServerError};
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

    /// Takes the guard out again; the schema is what it was. Answers what was done.
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

/// A [`LedgerStore`] beside somebody else's table.
pub struct PgAdopted {
    id: StoreId,
    layout: Layout,
    installed: Installed,
    names: TenantNames,
    clock: Arc<dyn Clock>,
    server: Arc<Server>,
    /// Transactions that keep the triggers as they are between a fence and its switch (rule R15).
    held: Mutex<HashMap<TenantId, Client>>,
    /// Whether copied rows can be kept from setting off the table's own triggers.
    may_hush: bool,
}

impl PgAdopted {
    /// Opens a store that was adopted.
    pub async fn open(adoption: Adoption) -> Result<Self, Fault> {
        let Adoption { id, url, layout, deployment, clock, names } = adoption;
        let what = format!("store \"{id}\"");
        let server = Server::open(Request {
            what: what.clone(),
            kind: Kind::Guard,
            url: url.for_guard(),
            create: false,
            deployment: Some(deployment),
            options: PostgresOptions::default(),
        })
        .await
        .map_err(|fault| match fault.kind {
            FaultKind::Missing(_) => Fault::new(
                &what,
                FaultKind::NotSetUp(format!(
                    "it is not adopted yet; run `rehome store adopt {id}`"
                )),
            ),
            _ => fault,
        })?;
        let look = async {
            let mut client = server.client().await?;
            let installed = install::read(&mut client, &layout).await?;
            Ok((installed, extend::may_hush(&mut client).await?))
        };
        let (installed, may_hush) = look.await.map_err(|error: ServerError| error.fault(&what))?;
        let held = Mutex::default();
        Ok(Self { id, layout, installed, names, clock, server, held, may_hush })
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

    async fn unguarded(&self, tenant: TenantId) -> Result<u64, StoreError> {
        self.say(read::unguarded(self, tenant).await)
    }

    async fn fence_holds(&self, tenant: TenantId) -> Result<(), StoreError> {
        self.say(change::hold(self, tenant).await.map_err(Into::into))
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

    async fn obstacles(&self, tenant: TenantId) -> Result<Vec<String>, StoreError> {
        self.say(read::obstacles(self, tenant).await)
    }

    async fn check(&self) -> Result<StoreReport, StoreError> {
        let look = async {
            let mut report = self.server.report(Kind::Guard, self.clock.as_ref()).await?;
            let mut client = self.server.client().await?;
            report.problems.extend(install::changes(&mut client, &self.layout).await?);
            Ok(report)
        };
        self.say(look.await.map_err(|error: ServerError| Failure::from(error)))
    }
}
