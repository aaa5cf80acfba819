//! Connections, kept and bounded.

use std::ops::Deref;
use std::time::Duration;

use deadpool::managed::{self, RecycleError, RecycleResult};
use deadpool_postgres::{ClientWrapper, Runtime, TimeoutType};
use tokio_postgres::config::TargetSessionAttrs;
use tokio_postgres::tls::MakeTlsConnect;
use tokio_postgres::{Config, Connection, Socket};

use super::tls::Connector;
use super::{PostgresOptions, PostgresUrl, password};
use crate::error::ServerError;
use crate::rows;

/// Sessions, kept for the next who asks.
pub(crate) type Pool = managed::Pool<Sessions>;
/// A session that is lent.
pub(crate) type Object = managed::Object<Sessions>;

/// A connection of its own, and what drives it and hears its notifications.
pub(crate) type Listener =
    (tokio_postgres::Client, Connection<Socket, <Connector as MakeTlsConnect<Socket>>::Stream>);

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
    config: Config,
    tls: Connector,
    pooled: bool,
}

impl managed::Manager for Sessions {
    type Type = Session;
    type Error = ServerError;

    async fn create(&self) -> Result<Session, ServerError> {
        let connected = self.config.connect(self.tls.clone()).await;
        let (client, connection) = connected.map_err(ServerError::connecting)?;
        let driven = tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, "a connection ended");
            }
        });
        let client = ClientWrapper::new(client, driven);
        let ours = !self.pooled && has_our_settings(&client).await?;
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

pub(super) fn pool(
    url: &PostgresUrl,
    tls: Connector,
    options: PostgresOptions,
) -> Result<Pool, ServerError> {
    let mut config = with_password(url)?;
    let pooled = url.is_pooled();
    if !pooled {
        with_settings(&mut config, options);
    }
    let sessions = Sessions { config, tls, pooled };
    let connect_within = Some(options.connect_within);
    Pool::builder(sessions)
        .max_size(url.pool_size())
        .runtime(Runtime::Tokio1)
        .wait_timeout(connect_within)
        .create_timeout(connect_within)
        .recycle_timeout(connect_within)
        .build()
        .map_err(|error| ServerError::unreachable(error.to_string()))
}

/// Where it is and as whom. Always a server that takes writes: a standby answers as well, with what
/// it has by then, and what was read there would be believed.
fn with_password(url: &PostgresUrl) -> Result<Config, ServerError> {
    let mut config = url.config().clone();
    config.target_session_attrs(TargetSessionAttrs::ReadWrite);
    if let Some(password) = password::find(url)? {
        config.password(password);
    }
    Ok(config)
}

/// How long a statement waits for a lock, unless it says otherwise, in milliseconds. Of appends: all
/// who can stand before one are ended by others or end by themselves.
pub(crate) const LOCK_MS: i32 = 5_000;

/// Where our names are looked for: first what comes with the server, last, and only if it is named last, the
/// session's own temporary objects.
const SEARCH_PATH: &str = "pg_catalog, pg_temp";

/// What our transactions rest on, whatever the server, the database or the role have as theirs; that
/// what is looked up by an index stays so while a table is small and grows; and that the server gives a
/// statement up before we do, so that its end is known.
fn with_settings(config: &mut Config, options: PostgresOptions) {
    let given = config.get_options().map(|given| format!("{given} ")).unwrap_or_default();
    let statement = options.answer_within.saturating_sub(Duration::from_secs(1));
    let (statement, idle) = (statement.as_millis(), options.answer_within.as_millis());
    let path = SEARCH_PATH.replace(' ', "\\ ");
    config.options(format!(
        "{given}-c default_transaction_isolation=read\\ committed -c search_path={path} \
         -c enable_seqscan=off -c lock_timeout={LOCK_MS} -c statement_timeout={statement} \
         -c idle_in_transaction_session_timeout={idle}"
    ));
}

/// The same for one transaction, of a session that does not have them.
pub(super) fn local_settings(answer_within: Duration) -> String {
    let statement = answer_within.saturating_sub(Duration::from_secs(1)).as_millis();
    let idle = answer_within.as_millis();
    format!(
        "SET LOCAL search_path = {SEARCH_PATH}; SET LOCAL enable_seqscan = off; \
         SET LOCAL lock_timeout = {LOCK_MS}; SET LOCAL statement_timeout = {statement}; \
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

pub(super) async fn listener(
    url: &PostgresUrl,
    tls: Connector,
    options: PostgresOptions,
) -> Result<Listener, ServerError> {
    let with_password = with_password(url)?;
    let config = match url.direct() {
        Some((host, port)) => at(&with_password, host, *port),
        None => with_password,
    };
    match tokio::time::timeout(options.connect_within, config.connect(tls)).await {
        Ok(connected) => connected.map_err(ServerError::connecting),
        Err(_) => Err(ServerError::unreachable("it did not take a connection in time")),
    }
}

/// The same database as the same user at another place.
fn at(config: &Config, host: &str, port: u16) -> Config {
    let mut there = Config::new();
    there.host(host).port(port).ssl_mode(config.get_ssl_mode());
    there.target_session_attrs(config.get_target_session_attrs());
    if let Some(user) = config.get_user() {
        there.user(user);
    }
    if let Some(password) = config.get_password() {
        there.password(password);
    }
    if let Some(database) = config.get_dbname() {
        there.dbname(database);
    }
    if let Some(name) = config.get_application_name() {
        there.application_name(name);
    }
    there
        .keepalives_idle(config.get_keepalives_idle())
        .channel_binding(config.get_channel_binding());
    if let Some(interval) = config.get_keepalives_interval() {
        there.keepalives_interval(interval);
    }
    if let Some(retries) = config.get_keepalives_retries() {
        there.keepalives_retries(retries);
    }
    if let Some(timeout) = config.get_tcp_user_timeout() {
        there.tcp_user_timeout(*timeout);
    }
    there
}
