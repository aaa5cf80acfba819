//! Connections, kept and bounded.

use std::time::Duration;

use deadpool_postgres::{
    Manager, ManagerConfig, Object, Pool, PoolError, RecyclingMethod, Runtime, TimeoutType,
};
use tokio_postgres::config::TargetSessionAttrs;
use tokio_postgres::tls::MakeTlsConnect;
use tokio_postgres::types::Type;
use tokio_postgres::{Config, Connection, Socket};

use super::tls::Connector;
use super::{Client, PostgresOptions, PostgresUrl, password};
use crate::error::ServerError;
use crate::rows;

/// A connection of its own, and what drives it and hears its notifications.
pub(crate) type Listener =
    (tokio_postgres::Client, Connection<Socket, <Connector as MakeTlsConnect<Socket>>::Stream>);

pub(super) fn pool(
    url: &PostgresUrl,
    tls: Connector,
    options: PostgresOptions,
) -> Result<Pool, ServerError> {
    let mut config = with_password(url)?;
    if !url.is_pooled() {
        with_settings(&mut config, options);
    }
    let manager = ManagerConfig { recycling_method: RecyclingMethod::Fast };
    let manager = Manager::from_config(config, tls, manager);
    let connect_within = Some(options.connect_within);
    Pool::builder(manager)
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

/// What our transactions rest on, whatever the server, the database or the role have as theirs; that
/// what is looked up by an index stays so while a table is small and grows; and that the server gives a
/// statement up before we do, so that its end is known.
fn with_settings(config: &mut Config, options: PostgresOptions) {
    let given = config.get_options().map(|given| format!("{given} ")).unwrap_or_default();
    let statement = options.answer_within.saturating_sub(Duration::from_secs(1));
    let (statement, idle) = (statement.as_millis(), options.answer_within.as_millis());
    config.options(format!(
        "{given}-c default_transaction_isolation=read\\ committed -c enable_seqscan=off \
         -c lock_timeout={LOCK_MS} -c statement_timeout={statement} \
         -c idle_in_transaction_session_timeout={idle}"
    ));
}

/// Whether a session got what it was to have.
pub(super) async fn has_our_settings(client: &mut Client) -> Result<bool, ServerError> {
    let look = "SELECT count(*) FROM pg_catalog.pg_settings \
                WHERE (name, setting) IN (('enable_seqscan', 'off'), ('lock_timeout', $1))";
    let found = client.read(look, &[(&LOCK_MS.to_string(), Type::TEXT)]).await?;
    let row = found.first().ok_or_else(|| ServerError::corrupt("no answer about settings"))?;
    Ok(rows::get::<i64>(row, 0)? == 2)
}

pub(super) async fn get(pool: &Pool) -> Result<Object, ServerError> {
    pool.get().await.map_err(|error| match error {
        PoolError::Backend(error) => ServerError::connecting(error),
        PoolError::Timeout(TimeoutType::Wait) => {
            ServerError::unreachable("all connections to it were busy for too long")
        }
        PoolError::Timeout(_) => ServerError::unreachable("it did not take a connection in time"),
        error => ServerError::unreachable(error.to_string()),
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
