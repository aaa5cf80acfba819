//! One PostgreSQL server: a pool of checked connections, with rehome's tables installed.
//!
//! ```text
//! PostgresUrl ──▶ Server::open: connect, check, install or upgrade ──▶ Server
//!                                                                        │ client()
//!                        read, write (one statement each) ◀── Client ◀───┘
//!                        begin ──▶ Transaction ──▶ commit; dropped: the connection is closed
//! ```
//!
//! A statement is a template in which `{schema}` is the quoted schema of rehome. Values
//! are always bound. An interruption (a dropped future, a missing reply) closes
//! the connection: a pool never returns half a transaction.

mod client;
mod condition;
mod connect;
mod password;
mod pool;
mod primary;
mod report;
mod tls;
mod url;

use std::sync::Arc;
use std::time::Duration;

use rehome_ports::{Fault, FaultKind};

pub(crate) use client::{Client, Param, Transaction};
pub(crate) use pool::LOCK_MS;
use pool::Pool;
pub use url::{InvalidUrl, PostgresUrl};

use crate::error::ServerError;
use crate::schema::{self, Kind, Meta};

/// How a server is used, whatever is in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PostgresOptions {
    /// How long to wait for a connection: a free one of the pool, or a new one.
    pub connect_within: Duration,
    /// How long to wait for the response to one statement. Longer than any statement of rehome takes
    /// on a working server.
    pub answer_within: Duration,
}

impl Default for PostgresOptions {
    fn default() -> Self {
        Self { connect_within: Duration::from_secs(5), answer_within: Duration::from_secs(20) }
    }
}

/// What to open.
pub(crate) struct Request {
    /// What messages call it.
    pub(crate) what: String,
    pub(crate) kind: Kind,
    pub(crate) url: PostgresUrl,
    /// Whether to make the schema and its tables if there are none.
    pub(crate) create: bool,
    /// The expected deployment; `None`: any, and a new one if the tables are created.
    pub(crate) deployment: Option<String>,
    pub(crate) options: PostgresOptions,
}

/// A server with our tables in it.
pub(crate) struct Server {
    what: String,
    url: PostgresUrl,
    options: PostgresOptions,
    pool: Pool,
    meta: Meta,
    /// Of its write-ahead log.
    positions: condition::Positions,
}

impl Server {
    /// Connects, checks the server, and installs or upgrades the tables.
    pub(crate) async fn open(request: Request) -> Result<Arc<Self>, Fault> {
        let what = request.what.clone();
        Box::pin(Self::try_open(request)).await.map(Arc::new).map_err(|error| error.fault(&what))
    }

    async fn try_open(request: Request) -> Result<Self, ServerError> {
        let Request { what, kind, url, create, deployment, options } = request;
        let pool = pool::pool(&url, options)?;
        let mut client = connected(&pool, &url, options).await?;
        let found = schema::find(&mut client, url.schema(), kind).await?;
        if found.is_none() && !create {
            return Err(ServerError::new(FaultKind::Missing(url.to_string())));
        }
        let meta = match found {
            // A guard is upgraded by who knows the table.
            Some(meta) if meta.is_old() && kind != Kind::Guard => {
                meta.check_deployment(deployment.as_deref())?;
                schema::upgrade(&mut client, url.schema(), kind).await?
            }
            Some(meta) => meta,
            None => schema::make(&mut client, url.schema(), kind, deployment.as_deref()).await?,
        };
        meta.check_deployment(deployment.as_deref())?;
        Ok(Self { what, url, options, pool, meta, positions: condition::Positions::default() })
    }

    /// A connection to a server of which nothing is known yet.
    pub(crate) async fn connect(
        url: &PostgresUrl,
        options: PostgresOptions,
    ) -> Result<Client, ServerError> {
        let pool = pool::pool(url, options)?;
        connected(&pool, url, options).await
    }

    /// Whether the part is there.
    pub(crate) async fn is_there(
        what: &str,
        kind: Kind,
        url: &PostgresUrl,
        options: PostgresOptions,
    ) -> Result<bool, Fault> {
        let look = async {
            let pool = pool::pool(url, options)?;
            let mut client = connected(&pool, url, options).await?;
            schema::find(&mut client, url.schema(), kind).await
        };
        look.await.map(|found| found.is_some()).map_err(|error: ServerError| error.fault(what))
    }

    /// What messages call it.
    pub(crate) fn what(&self) -> &str {
        &self.what
    }

    /// The identity of its tables.
    pub(crate) fn meta(&self) -> &Meta {
        &self.meta
    }

    /// A connection of the pool.
    pub(crate) async fn client(&self) -> Result<Client, ServerError> {
        connected(&self.pool, &self.url, self.options).await
    }

    /// A connection of its own, past any pooler, for `LISTEN`.
    pub(crate) async fn listener(&self) -> Result<connect::Connected, ServerError> {
        pool::listener(&self.url, self.options).await
    }
}

/// A connection without the settings of the adapter, as another program makes it.
pub(crate) async fn plainly(
    url: &PostgresUrl,
    options: PostgresOptions,
) -> Result<connect::Connected, ServerError> {
    let connected = connect::connect(url, None, options.connect_within, &connect::Order::AsGiven);
    Box::pin(connected).await.map(|(connected, _)| connected)
}

/// Connections to a server without rehome's tables, except those that the caller creates.
pub(crate) struct Lender {
    url: PostgresUrl,
    options: PostgresOptions,
    pool: Pool,
}

impl Lender {
    /// Connects on the first use.
    pub(crate) fn new(url: PostgresUrl, options: PostgresOptions) -> Result<Self, ServerError> {
        let pool = pool::pool(&url, options)?;
        Ok(Self { url, options, pool })
    }

    /// The schema's name as it is.
    pub(crate) fn schema(&self) -> &str {
        self.url.schema()
    }

    /// A connection.
    pub(crate) async fn client(&self) -> Result<Client, ServerError> {
        connected(&self.pool, &self.url, self.options).await
    }
}

async fn connected(
    pool: &Pool,
    url: &PostgresUrl,
    options: PostgresOptions,
) -> Result<Client, ServerError> {
    Ok(Client::new(pool::get(pool).await?, url.schema().to_owned(), options))
}
