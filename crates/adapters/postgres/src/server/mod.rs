//! One PostgreSQL server: a pool of connections to it, checked and with our tables in place.
//!
//! ```text
//! PostgresUrl ──▶ Server::open: connect, check, install or upgrade ──▶ Server
//!                                                                        │ client()
//!                        read, write (one statement each) ◀── Client ◀───┘
//!                        begin ──▶ Transaction ──▶ commit; dropped: the connection is closed
//! ```
//!
//! A statement is a template in which `{schema}` stands for the quoted name of our schema. Values
//! are always bound. What is cut off in the middle (a dropped future, a reply that does not come)
//! takes its connection with it: a pool never hands out half a transaction.

mod client;
mod connect;
mod password;
mod pool;
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
    /// How long to wait for the answer to one statement. Longer than any statement of ours takes
    /// on a server that works.
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
    /// Whose it must be; `None`: whoever's it is, and a new deployment's if it is made.
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
            Some(meta) if meta.is_old() => {
                meta.check_deployment(deployment.as_deref())?;
                schema::upgrade(&mut client, url.schema(), kind).await?
            }
            Some(meta) => meta,
            None => schema::make(&mut client, url.schema(), kind, deployment.as_deref()).await?,
        };
        meta.check_deployment(deployment.as_deref())?;
        Ok(Self { what, url, options, pool, meta })
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

    /// What its tables say about themselves.
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

/// Connections to a server that has no tables of ours but those that the caller sees to.
pub(crate) struct Lender {
    url: PostgresUrl,
    options: PostgresOptions,
    pool: Pool,
}

impl Lender {
    /// Connects when it is first asked.
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
