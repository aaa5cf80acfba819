//! Connections, kept and bounded.

use std::ops::Deref;
use std::time::Duration;

use deadpool::managed::{self, RecycleError, RecycleResult};
use deadpool_postgres::{ClientWrapper, Runtime, TimeoutType};

use super::connect::{Connected, connect};
use super::url::Place;
use super::{PostgresOptions, PostgresUrl};
use crate::error::ServerError;
use crate::rows;

/// Sessions, kept for the next who asks.
pub(crate) type Pool = managed::Pool<Sessions>;
/// A session that is lent.
pub(crate) type Object = managed::Object<Sessions>;

/// A session, and whether it has our settings: whoever stands in between may have kept them from the
/// server.
pub(crate) struct Session {
    client: ClientWrapper,
    ours: bool,
}

impl Session {
    pub(super) fn has_our_settings(&self) -> bool {
        self.ours
    }
}

impl Deref for Session {
    type Target = ClientWrapper;

    fn deref(&self) -> &ClientWrapper {
        &self.client
    }
}

/// Begins sessions.
pub(crate) struct Sessions {
    url: PostgresUrl,
    options: PostgresOptions,
}

impl managed::Manager for Sessions {
    type Type = Session;
    type Error = ServerError;

    async fn create(&self) -> Result<Session, ServerError> {
        let settings = (!self.url.is_pooled()).then(|| session_settings(self.options));
        let within = self.options.connect_within;
        let (client, connection) =
            Box::pin(connect(&self.url, settings.as_deref(), within)).await?;
        let driven = tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, "a connection ended");
            }
        });
        let client = ClientWrapper::new(client, driven);
        let ours = settings.is_some() && has_our_settings(&client).await?;
        Ok(Session { client, ours })
    }

    async fn recycle(
        &self,
        session: &mut Session,
        _: &managed::Metrics,
    ) -> RecycleResult<ServerError> {
        if session.is_closed() {
            return Err(RecycleError::message("it was closed"));
        }
        Ok(())
    }
}

pub(super) fn pool(url: &PostgresUrl, options: PostgresOptions) -> Result<Pool, ServerError> {
    if !url.places.iter().all(Place::is_socket) {
        url.tls.check().map_err(|error| ServerError::unreachable(error.to_string()))?;
    }
    let sessions = Sessions { url: url.clone(), options };
    // Each server that is tried has its time; together they may take longer.
    Pool::builder(sessions)
        .max_size(url.pool_size())
        .runtime(Runtime::Tokio1)
        .wait_timeout(Some(options.connect_within))
        .recycle_timeout(Some(options.connect_within))
        .build()
        .map_err(|error| ServerError::unreachable(error.to_string()))
}

/// How long a statement waits for a lock, unless it says otherwise, in milliseconds. Of appends: all
/// who can stand before one are ended by others or end by themselves.
pub(crate) const LOCK_MS: i32 = 5_000;

/// Where our names are looked for: first what comes with the server, last, and only if it is named last, the
/// session's own temporary objects.
const SEARCH_PATH: &str = "pg_catalog, pg_temp";

/// What our transactions rest on, whatever the server, the database or the role have as theirs; that
/// what is looked up by an index stays so while a table is small and grows; that no plan is compiled, which
/// such plans' costs would have done for each row; and that the server gives a statement up before we do, so
/// that its end is known.
fn session_settings(options: PostgresOptions) -> String {
    let statement = options.answer_within.saturating_sub(Duration::from_secs(1));
    let (statement, idle) = (statement.as_millis(), options.answer_within.as_millis());
    let path = SEARCH_PATH.replace(' ', "\\ ");
    format!(
        "-c default_transaction_isolation=read\\ committed -c search_path={path} \
         -c enable_seqscan=off -c jit=off -c lock_timeout={LOCK_MS} -c statement_timeout={statement} \
         -c idle_in_transaction_session_timeout={idle}"
    )
}

/// The same for one transaction, of a session that does not have them.
pub(super) fn local_settings(answer_within: Duration) -> String {
    let statement = answer_within.saturating_sub(Duration::from_secs(1)).as_millis();
    let idle = answer_within.as_millis();
    format!(
        "SET LOCAL search_path = {SEARCH_PATH}; SET LOCAL enable_seqscan = off; \
         SET LOCAL jit = off; SET LOCAL lock_timeout = {LOCK_MS}; SET LOCAL statement_timeout = {statement}; \
         SET LOCAL idle_in_transaction_session_timeout = {idle}"
    )
}

/// Whether a session got what it was to have. No name in the statement is looked for.
async fn has_our_settings(client: &ClientWrapper) -> Result<bool, ServerError> {
    let look = "SELECT pg_catalog.current_setting('search_path'), \
                pg_catalog.current_setting('default_transaction_isolation'), \
                pg_catalog.current_setting('enable_seqscan'), \
                pg_catalog.current_setting('lock_timeout')";
    let found = client.query_typed(look, &[]).await?;
    let row = found.first().ok_or_else(|| ServerError::corrupt("no answer about settings"))?;
    let wanted = [SEARCH_PATH, "read committed", "off", &format!("{}s", LOCK_MS / 1_000)];
    for (column, wanted) in wanted.into_iter().enumerate() {
        if rows::get::<&str>(row, column)? != wanted {
            return Ok(false);
        }
    }
    Ok(true)
}

pub(super) async fn get(pool: &Pool) -> Result<Object, ServerError> {
    pool.get().await.map_err(|error| match error {
        managed::PoolError::Backend(error) => error,
        managed::PoolError::Timeout(TimeoutType::Wait) => {
            ServerError::unreachable("all connections to it were busy for too long")
        }
        managed::PoolError::Timeout(_) => {
            ServerError::unreachable("it did not take a connection in time")
        }
        managed::PoolError::Closed => ServerError::unreachable("its pool is closed"),
        managed::PoolError::NoRuntimeSpecified => ServerError::unreachable("it has no runtime"),
        managed::PoolError::PostCreateHook(_) => {
            ServerError::unreachable("a connection was not taken")
        }
    })
}

/// A connection of its own, past any pooler.
pub(super) async fn listener(
    url: &PostgresUrl,
    options: PostgresOptions,
) -> Result<Connected, ServerError> {
    Box::pin(connect(&url.directly(), None, options.connect_within)).await
}
