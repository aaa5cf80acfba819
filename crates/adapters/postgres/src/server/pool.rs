//! Connections, kept and bounded.

use deadpool_postgres::{
    Manager, ManagerConfig, Object, Pool, PoolError, RecyclingMethod, Runtime, TimeoutType,
};
use tokio_postgres::tls::MakeTlsConnect;
use tokio_postgres::{Connection, Socket};

use super::tls::Connector;
use super::{PostgresOptions, PostgresUrl};
use crate::error::ServerError;

/// A connection of its own, and what drives it and hears its notifications.
pub(crate) type Listener =
    (tokio_postgres::Client, Connection<Socket, <Connector as MakeTlsConnect<Socket>>::Stream>);

pub(super) fn pool(
    url: &PostgresUrl,
    tls: Connector,
    options: PostgresOptions,
) -> Result<Pool, ServerError> {
    let config = ManagerConfig { recycling_method: RecyclingMethod::Fast };
    let manager = Manager::from_config(url.config(), tls, config);
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
    let config = url.direct_config();
    match tokio::time::timeout(options.connect_within, config.connect(tls)).await {
        Ok(connected) => connected.map_err(ServerError::connecting),
        Err(_) => Err(ServerError::unreachable("it did not take a connection in time")),
    }
}
