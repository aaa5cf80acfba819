//! A bounded pool of connections.

use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

use deadpool::managed::{self, RecycleError, RecycleResult};
use deadpool_postgres::{ClientWrapper, Runtime, TimeoutType};

use super::connect::Connected;
use super::primary;
use super::url::Place;
use super::{PostgresOptions, PostgresUrl};
use crate::error::ServerError;
use crate::rows;

/// Sessions for reuse.
pub(crate) type Pool = managed::Pool<Sessions>;
/// A session that is lent.
pub(crate) type Object = managed::Object<Sessions>;

/// A session, and whether it has the adapter's settings: a pooler may have withheld them from the
/// server.
pub(crate) struct Session {
    client: ClientWrapper,
    ours: bool,
    generation: u64,
    shared: Arc<Shared>,
}

/// What sessions of a pool have in common.
struct Shared {
    url: PostgresUrl,
    options: PostgresOptions,
}

impl Session {
    pub(super) fn has_our_settings(&self) -> bool {
        self.ours
    }

    /// Whether another server is the primary by now.
    pub(super) fn is_overtaken(&self) -> bool {
        self.shared.url.primary.has_overtaken(self.generation)
    }

    /// Resolves when another server is the primary, while a statement waits.
    pub(super) async fn overtaken(&self) {
        let Shared { url, options } = &*self.shared;
        url.primary.overtakes(self.generation, url, *options).await;
    }
}

impl Deref for Session {
    type Target = ClientWrapper;

    fn deref(&self) -> &ClientWrapper {
        &self.client
    }
}

/// Begins sessions.
pub(crate) struct Sessions(Arc<Shared>);

impl managed::Manager for Sessions {
    type Type = Session;
    type Error = ServerError;

    async fn create(&self) -> Result<Session, ServerError> {
        let Shared { url, options } = &*self.0;
        let primary = &url.primary;
        let settings = (!url.is_pooled()).then(|| session_settings(*options));
        let within = options.connect_within;
        let connected = primary.connect(url, settings.as_deref(), *options);
        let ((client, connection), place) = Box::pin(connected).await?;
        let driven = tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, "a connection ended");
            }
        });
        let client = ClientWrapper::new(client, driven);
        let look = async {
            let ours = settings.is_some() && has_our_settings(&client).await?;
            Ok::<_, ServerError>((ours, primary::timeline(&client).await))
        };
        let looked = tokio::time::timeout(within, look).await;
        let (ours, timeline) = looked.map_err(|_| ServerError::unreachable(NO_ANSWER))??;
        tracing::debug!(%place, ?timeline, "a connection was made");
        let generation = primary.learn(place, timeline)?;
        Box::pin(primary.compare(url, *options)).await;
        Ok(Session { client, ours, generation, shared: Arc::clone(&self.0) })
    }

    async fn recycle(
        &self,
        session: &mut Session,
        _: &managed::Metrics,
    ) -> RecycleResult<ServerError> {
        if session.is_closed() {
            return Err(RecycleError::message("it was closed"));
        }
        if session.is_overtaken() {
            return Err(RecycleError::message("another server is the primary"));
        }
        Ok(())
    }
}

/// Of a server that accepts a connection and then hangs.
const NO_ANSWER: &str = "it accepted a connection and did not respond in time";

pub(super) fn pool(url: &PostgresUrl, options: PostgresOptions) -> Result<Pool, ServerError> {
    if !url.places.iter().all(Place::is_socket) {
        url.tls.check().map_err(|error| ServerError::unreachable(error.to_string()))?;
    }
    let shared = Shared { url: url.clone(), options };
    let sessions = Sessions(Arc::new(shared));
    // Each server that is tried has its own timeout; together they may take longer.
    Pool::builder(sessions)
        .max_size(url.pool_size())
        .runtime(Runtime::Tokio1)
        .wait_timeout(Some(options.connect_within))
        .recycle_timeout(Some(options.connect_within))
        .build()
        .map_err(|error| ServerError::unreachable(error.to_string()))
}

/// How long a statement waits for a lock by default, in milliseconds. For appends: every
/// session that can block one ends itself or is ended by others.
pub(crate) const LOCK_MS: i32 = 5_000;

/// The search path: first the system catalog, last, and only because it is named last, the
/// session's own temporary objects.
const SEARCH_PATH: &str = "pg_catalog, pg_temp";

/// The settings that the adapter's transactions rely on, whatever the defaults of the server, the database or the role: that
/// indexes are used while a table is small and grows; that no plan is compiled, which
/// the estimated costs would cause for each row; and that the server times out a statement before the client does, so
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

/// Whether a session has the wanted settings. No name in the statement needs resolution.
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
    let session = lend(pool).await?;
    if !session.is_overtaken() {
        return Ok(session);
    }
    // The next one begins at the server that was found.
    drop(Object::take(session));
    lend(pool).await
}

async fn lend(pool: &Pool) -> Result<Object, ServerError> {
    pool.get().await.map_err(|error| match error {
        managed::PoolError::Backend(error) => error,
        managed::PoolError::Timeout(TimeoutType::Wait) => {
            ServerError::unreachable("all connections to it were busy for too long")
        }
        managed::PoolError::Timeout(_) => ServerError::unreachable("connecting timed out"),
        managed::PoolError::Closed => ServerError::unreachable("its pool is closed"),
        managed::PoolError::NoRuntimeSpecified => ServerError::unreachable("it has no runtime"),
        managed::PoolError::PostCreateHook(_) => {
            ServerError::unreachable("no connection was available")
        }
    })
}

/// A connection of its own, past any pooler.
pub(super) async fn listener(
    url: &PostgresUrl,
    options: PostgresOptions,
) -> Result<Connected, ServerError> {
    let url = url.directly();
    let connected = url.primary.connect(&url, None, options);
    Box::pin(connected).await.map(|(connected, _)| connected)
}
