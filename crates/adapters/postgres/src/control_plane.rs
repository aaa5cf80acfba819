//! [`ControlPlane`] in a schema of a PostgreSQL database. [`rehome_domain::migration`] decides what may happen to a
//! route; this adapter calls it, and writes the result in one statement.
//!
//! Every operation is one statement in a transaction of its own, or a few independent ones.
//! Nothing is locked between two of them, so a process that is stopped anywhere blocks
//! no other, and a pooler in transaction mode is possible.

mod access;
mod fleet;
mod record;
mod rows;
mod tables;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use rehome_domain::event::Timestamp;
use rehome_domain::ids::{DrainId, Epoch, MigrationId, StoreId, TenantId};
use rehome_domain::migration::{self, Fact, Migration};
use rehome_domain::removal::{self, Turn};
use rehome_domain::route::Route;
use rehome_ports::clock::Clock;
use rehome_ports::log_chain::LogAnchor;
use rehome_ports::{
    ActiveLease, Beside, Change, Checkpoint, ControlError, ControlPlane, Fault, FaultKind, Lease,
    LeaseRequest, LeaseWatch, LogEntry, Marks, Memo, Migrations, Recorded, RouteListener,
};

use crate::error::{Failure, ServerError};
use crate::notices::Notices;
use crate::schema::Kind;
use crate::server::{Client, PostgresOptions, PostgresUrl, Request, Server};

type Answer<T> = Result<T, Failure<ControlError>>;

/// A [`ControlPlane`] in a PostgreSQL database.
///
/// Leases use the server's clock, which also dates the log: the clocks of the hosts do not
/// matter. `NOTIFY` announces changes of routes in the transaction that makes them.
pub struct PgControlPlane {
    server: Arc<Server>,
    /// For tests: instead of the server's.
    clock: Option<Arc<dyn Clock>>,
    notices: Notices,
    leases: LeaseWatch,
    workers: LeaseWatch<(DrainId, String)>,
}

impl PgControlPlane {
    /// Opens the control plane. With `create`, makes one, and a new deployment, if there is none.
    pub async fn open(
        url: PostgresUrl,
        create: bool,
        options: PostgresOptions,
    ) -> Result<Self, Fault> {
        let server = Server::open(Request {
            what: "control plane".to_owned(),
            kind: Kind::ControlPlane,
            url,
            create,
            deployment: None,
            options,
        })
        .await?;
        let notices = Notices::new(&server);
        let (leases, workers) = (LeaseWatch::default(), LeaseWatch::default());
        Ok(Self { server, clock: None, notices, leases, workers })
    }

    /// The same, by another clock than the server's: for tests, where time is held.
    #[must_use]
    pub fn by_clock(self, clock: Arc<dyn Clock>) -> Self {
        Self { clock: Some(clock), ..self }
    }

    /// The time by the clock that was given.
    fn told(&self) -> Option<Timestamp> {
        self.clock.as_ref().map(|clock| clock.now())
    }

    async fn client(&self) -> Answer<Client> {
        Ok(self.server.client().await?)
    }

    fn answer<T>(&self, answer: Answer<T>) -> Result<T, ControlError> {
        answer.map_err(|failure| failure.control_error(self.server.what()))
    }

    async fn try_record(&self, change: &Change) -> Answer<Recorded> {
        let mut client = self.client().await?;
        record::record(&mut client, change, self.told(), self.notices.channel()).await
    }

    async fn try_remove(&self, tenant: TenantId, rev: u64, turn: Turn) -> Answer<Route> {
        let mut client = self.client().await?;
        let known = |route: Option<Route>| route.ok_or(ControlError::UnknownTenant(tenant));
        let route = known(tables::route(&mut client, tenant).await?)?;
        if route.rev == rev {
            let to = removal::apply(&route, turn).map_err(ControlError::from)?;
            if tables::put_route(&mut client, rev, &to, self.notices.channel()).await? {
                return Ok(to);
            }
        }
        let now = known(tables::route(&mut client, tenant).await?)?;
        Err(ControlError::Stale(Box::new(now)).into())
    }

    async fn try_recover(
        &self,
        (tenant, rev): (TenantId, u64),
        (store, n, base): (&StoreId, Epoch, u64),
        actor: &str,
    ) -> Answer<Route> {
        let mut client = self.client().await?;
        let known = |route: Option<Route>| route.ok_or(ControlError::UnknownTenant(tenant));
        let route = known(tables::route(&mut client, tenant).await?)?;
        if let Some((migration, _)) = route.migration {
            let fact = Fact::Recovered { store: store.clone(), n, base };
            let actor = actor.to_owned();
            let change = Change { tenant, migration, rev: Some(rev), fact, actor };
            let channel = self.notices.channel();
            return Ok(record::record(&mut client, &change, self.told(), channel).await?.route);
        }
        let mut to = migration::recovered(route.clone(), store, n, base);
        to.rev += 1;
        let channel = self.notices.channel();
        if route.rev == rev && tables::put_route(&mut client, rev, &to, channel).await? {
            return Ok(to);
        }
        let now = known(tables::route(&mut client, tenant).await?)?;
        Err(ControlError::Stale(Box::new(now)).into())
    }
}

/// Others were first again and again.
fn busy() -> ServerError {
    ServerError::new(FaultKind::Locked)
}

/// What PostgreSQL can keep as text: all of it but NUL.
fn text(given: &str) -> Cow<'_, str> {
    if given.contains('\0') {
        Cow::Owned(given.replace('\0', "\u{fffd}"))
    } else {
        Cow::Borrowed(given)
    }
}

/// Lends a connection to one operation, and answers as the port does.
macro_rules! ask {
    ($plane:ident, $operation:ident($($argument:expr),*)) => {{
        let answer = match $plane.client().await {
            Ok(mut client) => tables::$operation(&mut client, $($argument),*).await,
            Err(failure) => Err(failure),
        };
        $plane.answer(answer)
    }};
}

#[async_trait]
impl ControlPlane for PgControlPlane {
    fn deployment(&self) -> &str {
        &self.server.meta().deployment
    }

    fn listen(&self) -> Option<RouteListener> {
        Some(self.notices.listen())
    }

    async fn route(&self, tenant: TenantId) -> Result<Option<Route>, ControlError> {
        ask!(self, route(tenant))
    }

    async fn routes(
        &self,
        after: Option<TenantId>,
        limit: usize,
    ) -> Result<Vec<Route>, ControlError> {
        ask!(self, routes(after, limit))
    }

    async fn create_route(&self, tenant: TenantId, store: &StoreId) -> Result<Route, ControlError> {
        let new = Route::create(tenant, store.clone());
        ask!(self, create_route(&new, self.notices.channel()))
    }

    async fn mark_created(&self, tenant: TenantId, epoch: Epoch) -> Result<Route, ControlError> {
        ask!(self, mark_created(tenant, epoch))
    }

    async fn record(&self, change: Change) -> Result<Recorded, ControlError> {
        self.answer(self.try_record(&change).await)
    }

    async fn remove(&self, tenant: TenantId, rev: u64, turn: Turn) -> Result<Route, ControlError> {
        self.answer(self.try_remove(tenant, rev, turn).await)
    }

    async fn recover(
        &self,
        tenant: TenantId,
        rev: u64,
        store: &StoreId,
        n: Epoch,
        base: u64,
        actor: &str,
    ) -> Result<Route, ControlError> {
        self.answer(self.try_recover((tenant, rev), (store, n, base), actor).await)
    }

    async fn now(&self) -> Result<Timestamp, ControlError> {
        ask!(self, now(self.told()))
    }

    async fn migration(&self, id: MigrationId) -> Result<Migration, ControlError> {
        ask!(self, migration(id))
    }

    async fn migrations(&self, which: Migrations) -> Result<Vec<Migration>, ControlError> {
        ask!(self, migrations(which))
    }

    async fn log(
        &self,
        id: MigrationId,
        after: u64,
        limit: usize,
    ) -> Result<Vec<LogEntry>, ControlError> {
        ask!(self, log(id, after, limit))
    }

    async fn log_anchors(
        &self,
        after: Option<TenantId>,
        limit: usize,
    ) -> Result<Vec<LogAnchor>, ControlError> {
        ask!(self, log_anchors(after, limit))
    }

    async fn lease(&self, request: &LeaseRequest) -> Result<Lease, ControlError> {
        ask!(self, lease(request, &self.leases, self.told()))
    }

    async fn lease_holder(&self, id: MigrationId) -> Result<Option<ActiveLease>, ControlError> {
        ask!(self, lease_holder(id, &self.leases, self.told()))
    }

    async fn leases(&self) -> Result<BTreeMap<MigrationId, ActiveLease>, ControlError> {
        ask!(self, leases(&self.leases, self.told()))
    }

    async fn release(&self, id: MigrationId, holder: &str) -> Result<(), ControlError> {
        ask!(self, release(id, holder))
    }

    async fn marks(&self, id: MigrationId) -> Result<Marks, ControlError> {
        ask!(self, marks(id))
    }

    async fn set_marks(&self, id: MigrationId, marks: &Marks) -> Result<(), ControlError> {
        ask!(self, set_marks(id, marks))
    }

    async fn memo(&self, id: MigrationId, name: &str) -> Result<Option<Memo>, ControlError> {
        ask!(self, memo(id, name))
    }

    async fn set_memo(&self, id: MigrationId, name: &str, memo: &Memo) -> Result<(), ControlError> {
        ask!(self, set_memo(id, name, memo))
    }

    async fn beside(
        &self,
        migrations: &[Migration],
        memo: &str,
    ) -> Result<Vec<Beside>, ControlError> {
        ask!(self, beside(migrations, memo, &self.leases, self.told()))
    }

    async fn checkpoint(&self, tenant: TenantId, name: &str) -> Result<u64, ControlError> {
        ask!(self, checkpoint(tenant, name))
    }

    async fn checkpoints(
        &self,
        tenant: TenantId,
        limit: usize,
    ) -> Result<Vec<Checkpoint>, ControlError> {
        ask!(self, checkpoints(tenant, limit))
    }

    async fn furthest_checkpoints(
        &self,
        after: Option<TenantId>,
        limit: usize,
    ) -> Result<Vec<Checkpoint>, ControlError> {
        ask!(self, furthest_checkpoints(after, limit))
    }

    async fn set_checkpoint(
        &self,
        tenant: TenantId,
        name: &str,
        seq: u64,
    ) -> Result<(), ControlError> {
        ask!(self, put_checkpoint(tenant, name, seq))
    }
}
