//! `postgres://` URLs, as users of libpq write them, and what we add to them.
//!
//! | parameter | meaning |
//! |---|---|
//! | `sslmode` | `disable`, `prefer` (and `allow`, which is taken for it), `require`, `verify-ca`, `verify-full`; `prefer` where it is not given |
//! | `sslrootcert` | a file of PEM certificates; asked for by `verify-ca` and `verify-full`, and with `require` it makes a `verify-ca` |
//! | `passfile` | as `~/.pgpass`; used where neither the URL nor the environment has a password |
//! | `password_env` | the variable of the environment that has the password; else it is `PGPASSWORD` |
//! | `schema` | where our tables are, `rehome` if it is not given |
//! | `pool_size` | most connections of one process, 10 if it is not given |
//! | `pooler` | `transaction`: a pooler in that mode stands in between, so no session settings and no named statements |
//! | `direct` | `HOST:PORT` of the server itself, past the pooler, for `LISTEN` |
//!
//! `user`, `password`, `dbname`, `host`, `hostaddr`, `port`, `options`, `application_name`,
//! `connect_timeout`, `tcp_user_timeout`, `keepalives` and its parts, `channel_binding`,
//! `sslnegotiation` and `load_balance_hosts` mean what they mean to libpq. Any other is refused.
//! `target_session_attrs` is `read-write` whatever is given: of several hosts, the primary is found.

mod parse;

use std::fmt;
use std::hash::{Hash, Hasher};
use std::path::PathBuf;

use tokio_postgres::Config;
use tokio_postgres::config::Host;

/// The text is no such URL. The message never repeats what may be a password.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct InvalidUrl(String);

/// How the server's certificate is looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Trust {
    /// Not at all: TLS against listeners only.
    Anyone,
    /// It comes from one of these authorities.
    Authority(PathBuf),
    /// And it is for the host of the URL.
    AuthorityAndHost(PathBuf),
}

/// Where a database is and how it is talked to.
#[derive(Clone)]
pub struct PostgresUrl {
    config: Config,
    schema: String,
    pool_size: usize,
    pooled: bool,
    direct: Option<(String, u16)>,
    pub(super) trust: Trust,
    pub(super) passfile: Option<PathBuf>,
    pub(super) password_env: Option<String>,
}

impl PostgresUrl {
    /// The schema's name as it is.
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

    /// As the URL says, without a password that is elsewhere.
    pub(super) fn config(&self) -> &Config {
        &self.config
    }

    /// Where the server itself is, if that is another place.
    pub(super) fn direct(&self) -> Option<&(String, u16)> {
        self.direct.as_ref()
    }

    /// User, hosts with their ports, and database: what a passfile has lines about.
    pub(super) fn places(&self) -> Vec<(String, u16)> {
        let hosts = self.config.get_hosts();
        let addresses = self.config.get_hostaddrs();
        let ports = self.config.get_ports();
        (0..hosts.len().max(addresses.len()))
            .map(|i| {
                let host = match (hosts.get(i), addresses.get(i)) {
                    (Some(Host::Tcp(host)), _) => host.clone(),
                    (Some(Host::Unix(path)), _) => path.display().to_string(),
                    (None, Some(address)) => address.to_string(),
                    (None, None) => String::new(),
                };
                (host, ports.get(i).or(ports.first()).copied().unwrap_or(5432))
            })
            .collect()
    }

    /// The database, which is called like the user if it is not named.
    pub(super) fn database(&self) -> &str {
        self.config.get_dbname().or(self.config.get_user()).unwrap_or_default()
    }
}

impl fmt::Display for PostgresUrl {
    /// Where it is, without the password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("postgres://")?;
        if let Some(user) = self.config.get_user() {
            write!(f, "{user}@")?;
        }
        for (i, (host, port)) in self.places().iter().enumerate() {
            let comma = if i > 0 { "," } else { "" };
            if host.contains(':') {
                write!(f, "{comma}[{host}]:{port}")?;
            } else {
                write!(f, "{comma}{host}:{port}")?;
            }
        }
        write!(f, "/{}?schema={}", self.database(), self.schema)
    }
}

impl fmt::Debug for PostgresUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Two are equal if they are about the same place.
impl PartialEq for PostgresUrl {
    fn eq(&self, other: &Self) -> bool {
        self.to_string() == other.to_string()
    }
}

impl Eq for PostgresUrl {}

impl Hash for PostgresUrl {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.to_string().hash(state);
    }
}

#[cfg(test)]
mod tests;
