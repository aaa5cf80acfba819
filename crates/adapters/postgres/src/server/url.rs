//! `postgres://` URLs, as users of libpq write them, and what we add to them.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use tokio_postgres::Config;

/// The schema that is used where the URL names none.
const SCHEMA: &str = "rehome";
/// Connections where the URL does not say how many.
const POOL_SIZE: usize = 10;

/// The text is no such URL.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct InvalidUrl(String);

/// Where a database is and how it is talked to.
#[derive(Clone)]
pub struct PostgresUrl {
    config: Config,
    schema: String,
    pool_size: usize,
    pooled: bool,
}

impl fmt::Debug for PostgresUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The configuration's own `Debug` hides the password.
        f.debug_struct("PostgresUrl").field("config", &self.config).finish_non_exhaustive()
    }
}

impl FromStr for PostgresUrl {
    type Err = InvalidUrl;

    fn from_str(text: &str) -> Result<Self, InvalidUrl> {
        let mut schema = SCHEMA.to_owned();
        let mut kept = Vec::new();
        let (base, query) = text.split_once('?').unwrap_or((text, ""));
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            match pair.split_once('=') {
                Some(("schema", value)) => value.clone_into(&mut schema),
                _ => kept.push(pair),
            }
        }
        let rest = format!("{base}?{}", kept.join("&"));
        let mut config = Config::from_str(&rest).map_err(|error| InvalidUrl(error.to_string()))?;
        config
            .keepalives_idle(Duration::from_secs(10))
            .keepalives_interval(Duration::from_secs(5))
            .keepalives_retries(3)
            .tcp_user_timeout(Duration::from_secs(15));
        Ok(Self { config, schema, pool_size: POOL_SIZE, pooled: false })
    }
}

impl PostgresUrl {
    pub(super) fn schema(&self) -> &str {
        &self.schema
    }

    pub(super) fn pool_size(&self) -> usize {
        self.pool_size
    }

    /// Whether a pooler in transaction mode stands in between.
    pub(super) fn is_pooled(&self) -> bool {
        self.pooled
    }

    pub(super) fn config(&self) -> Config {
        self.config.clone()
    }

    /// Past the pooler, if there is one.
    pub(super) fn direct_config(&self) -> Config {
        self.config.clone()
    }
}
