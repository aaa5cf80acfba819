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

use std::fmt;
use std::hash::{Hash, Hasher};
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use tokio_postgres::Config;
use tokio_postgres::config::{Host, SslMode};

/// The schema that is used where the URL names none.
const SCHEMA: &str = "rehome";
/// Connections where the URL does not say how many.
const POOL_SIZE: usize = 10;
/// Most bytes of a name that PostgreSQL keeps.
const NAME_BYTES_MAX: usize = 63;

/// The text is no such URL. The message never repeats what may be a password.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct InvalidUrl(String);

fn invalid<T>(why: impl Into<String>) -> Result<T, InvalidUrl> {
    Err(InvalidUrl(why.into()))
}

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

#[derive(Default)]
struct Ours {
    schema: Option<String>,
    pool_size: Option<usize>,
    pooled: bool,
    direct: Option<(String, u16)>,
    sslmode: Option<String>,
    sslrootcert: Option<PathBuf>,
    passfile: Option<PathBuf>,
    password_env: Option<String>,
}

impl Ours {
    /// Takes the parameter if it is one of ours.
    fn take(&mut self, key: &str, value: &str) -> Result<bool, InvalidUrl> {
        match key {
            "schema" => self.schema = Some(name(value)?),
            "pool_size" => match value.parse() {
                Ok(size @ 2..=1_000) => self.pool_size = Some(size),
                _ => return invalid("has a pool_size that is not a number from 2 to 1000"),
            },
            "pooler" => match value {
                "transaction" => self.pooled = true,
                _ => return invalid("has a pooler that is not \"transaction\""),
            },
            "direct" => self.direct = Some(place(value)?),
            "sslmode" => self.sslmode = Some(value.to_owned()),
            "sslrootcert" if value == "system" => {
                return invalid(
                    "has sslrootcert=system; name the file of the system's certificates, for \
                     example /etc/ssl/certs/ca-certificates.crt",
                );
            }
            "sslrootcert" => self.sslrootcert = Some(value.into()),
            "passfile" => self.passfile = Some(value.into()),
            "password_env" => self.password_env = Some(value.to_owned()),
            _ => return Ok(false),
        }
        Ok(true)
    }

    fn trust(&mut self, config: &mut Config) -> Result<Trust, InvalidUrl> {
        let authority = self.sslrootcert.take();
        let (mode, full) = match self.sslmode.as_deref() {
            Some("disable") => (SslMode::Disable, None),
            None | Some("allow" | "prefer") => (SslMode::Prefer, None),
            Some("require") => (SslMode::Require, None),
            Some("verify-ca") => (SslMode::Require, Some(false)),
            Some("verify-full") => (SslMode::Require, Some(true)),
            Some(_) => {
                return invalid(
                    "has an sslmode that is none of disable, allow, prefer, require, verify-ca and \
                     verify-full",
                );
            }
        };
        config.ssl_mode(mode);
        match (full, authority) {
            (Some(_), None) => invalid("asks to verify the server, so it needs sslrootcert=FILE"),
            (Some(true), Some(file)) => Ok(Trust::AuthorityAndHost(file)),
            (Some(false), Some(file)) => Ok(Trust::Authority(file)),
            (None, Some(file)) if mode == SslMode::Require => Ok(Trust::Authority(file)),
            (None, _) => Ok(Trust::Anyone),
        }
    }
}

fn name(value: &str) -> Result<String, InvalidUrl> {
    let reserved = value.starts_with("pg_") || value == "public" || value == "information_schema";
    if value.is_empty() || value.len() > NAME_BYTES_MAX || value.contains('\0') || reserved {
        return invalid("names a schema that cannot be one of our own");
    }
    Ok(value.to_owned())
}

fn place(value: &str) -> Result<(String, u16), InvalidUrl> {
    let parsed = value.rsplit_once(':').and_then(|(host, port)| {
        let host = host.trim_start_matches('[').trim_end_matches(']');
        Some((host.to_owned(), port.parse().ok()?)).filter(|(host, _)| !host.is_empty())
    });
    parsed.map_or_else(|| invalid("has a direct that is not HOST:PORT"), Ok)
}

impl FromStr for PostgresUrl {
    type Err = InvalidUrl;

    fn from_str(text: &str) -> Result<Self, InvalidUrl> {
        let (base, query) = text.split_once('?').unwrap_or((text, ""));
        if !base.starts_with("postgres://") && !base.starts_with("postgresql://") {
            return invalid("is not a url that begins with postgres://");
        }
        let mut ours = Ours::default();
        let mut theirs = Vec::new();
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let Some((key, value)) = pair.split_once('=') else {
                return invalid("has a parameter without a value");
            };
            let value = decoded(value)?;
            if ours.take(key, &value)? {
                continue;
            }
            if !THEIRS.contains(&key) {
                let plain =
                    key.len() <= 32 && key.bytes().all(|b| b.is_ascii_lowercase() || b == b'_');
                let named = if plain { format!(" {key}") } else { String::new() };
                return invalid(format!("has a parameter{named} that is not known"));
            }
            theirs.push(pair);
        }
        let Ok(mut config) = Config::from_str(&format!("{base}?{}", theirs.join("&"))) else {
            return invalid(
                "cannot be read; write it like postgres://USER@HOST:5432/DATABASE, with signs like \
                 @ / ? in a password percent-encoded",
            );
        };
        let odd = |host: &Host| matches!(host, Host::Tcp(host) if host.contains(['@', '/']));
        if config.get_hosts().is_empty() && config.get_hostaddrs().is_empty() {
            return invalid("names no host");
        }
        if config.get_hosts().iter().any(odd) {
            return invalid("has a sign like @ or / in its password that is not percent-encoded");
        }
        if config.get_application_name().is_none() {
            config.application_name("rehome");
        }
        set_unless_given(&mut config, &theirs);
        let trust = ours.trust(&mut config)?;
        Ok(Self {
            config,
            trust,
            schema: ours.schema.unwrap_or_else(|| SCHEMA.to_owned()),
            pool_size: ours.pool_size.unwrap_or(POOL_SIZE),
            pooled: ours.pooled,
            direct: ours.direct,
            passfile: ours.passfile,
            password_env: ours.password_env,
        })
    }
}

/// What libpq knows and the library below us reads.
const THEIRS: [&str; 18] = [
    "user",
    "password",
    "dbname",
    "host",
    "hostaddr",
    "port",
    "options",
    "application_name",
    "connect_timeout",
    "tcp_user_timeout",
    "keepalives",
    "keepalives_idle",
    "keepalives_interval",
    "keepalives_retries",
    "target_session_attrs",
    "channel_binding",
    "sslnegotiation",
    "load_balance_hosts",
];

/// A connection over which nothing comes any more is noticed within this time.
fn set_unless_given(config: &mut Config, given: &[&str]) {
    let is_given = |key: &str| given.iter().any(|pair| pair.split('=').next() == Some(key));
    if !is_given("keepalives_idle") {
        config.keepalives_idle(Duration::from_secs(10));
    }
    if !is_given("keepalives_interval") {
        config.keepalives_interval(Duration::from_secs(5));
    }
    if !is_given("keepalives_retries") {
        config.keepalives_retries(3);
    }
    if !is_given("tcp_user_timeout") {
        config.tcp_user_timeout(Duration::from_secs(15));
    }
}

/// Undoes percent-encoding.
fn decoded(value: &str) -> Result<String, InvalidUrl> {
    let mut bytes = Vec::with_capacity(value.len());
    let mut left = value.as_bytes();
    while let [first, rest @ ..] = left {
        if *first != b'%' {
            bytes.push(*first);
            left = rest;
            continue;
        }
        let digits = rest.get(..2).and_then(|digits| std::str::from_utf8(digits).ok());
        match digits.and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
            Some(byte) => bytes.push(byte),
            None => return invalid("has a % that is not followed by two hexadecimal digits"),
        }
        left = &rest[2..];
    }
    String::from_utf8(bytes).or_else(|_| invalid("has a parameter that is not UTF-8"))
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
mod tests {
    use super::*;

    fn url(text: &str) -> PostgresUrl {
        match text.parse() {
            Ok(url) => url,
            Err(problem) => panic!("{text}: {problem}"),
        }
    }

    #[test]
    fn urls_are_read_as_libpq_reads_them() {
        for (text, shown) in [
            ("postgres://h", "postgres://h:5432/?schema=rehome"),
            ("postgres://u@h/d", "postgres://u@h:5432/d?schema=rehome"),
            ("postgresql://u:p@h:6000/d?schema=a", "postgres://u@h:6000/d?schema=a"),
            ("postgres://u@[::1]:6000/d", "postgres://u@[::1]:6000/d?schema=rehome"),
            ("postgres://u@a:1,b:2/d", "postgres://u@a:1,b:2/d?schema=rehome"),
            ("postgres://u@/d?host=/run/pg", "postgres://u@/run/pg:5432/d?schema=rehome"),
            ("postgres://u%40x:p%40%2F@h/d%20e", "postgres://u@x@h:5432/d e?schema=rehome"),
        ] {
            assert_eq!(url(text).to_string(), shown);
        }
        assert_eq!(url("postgres://u:p%40%2F@h").config().get_password(), Some(&b"p@/"[..]));
    }

    #[test]
    fn modes_of_tls_are_those_of_libpq() {
        let trust = |query: &str| {
            let url = url(&format!("postgres://h/d?{query}"));
            (url.config().get_ssl_mode(), url.trust)
        };
        let file = || PathBuf::from("/ca.pem");
        assert_eq!(trust(""), (SslMode::Prefer, Trust::Anyone));
        assert_eq!(trust("sslmode=disable"), (SslMode::Disable, Trust::Anyone));
        assert_eq!(trust("sslmode=allow"), (SslMode::Prefer, Trust::Anyone));
        assert_eq!(trust("sslmode=require"), (SslMode::Require, Trust::Anyone));
        let checked = trust("sslmode=require&sslrootcert=/ca.pem");
        assert_eq!(checked, (SslMode::Require, Trust::Authority(file())));
        let checked = trust("sslmode=verify-ca&sslrootcert=%2Fca.pem");
        assert_eq!(checked, (SslMode::Require, Trust::Authority(file())));
        let checked = trust("sslrootcert=/ca.pem&sslmode=verify-full");
        assert_eq!(checked, (SslMode::Require, Trust::AuthorityAndHost(file())));
    }

    #[test]
    fn what_is_no_url_is_refused_without_its_password() {
        for text in [
            "hunter2",
            "mysql://u:hunter2@h/d",
            "postgres://u:hunter2@/d",
            "postgres://u:hunter2@h/d?schema=",
            "postgres://u:hunter2@h/d?schema=public",
            "postgres://u:hunter2@h/d?sslmode=hunter2",
            "postgres://u:hunter2@h/d?sslmode=verify-full",
            "postgres://u:hunter2@h/d?sslmode=verify-ca",
            "postgres://u:hunter2@h/d?sslrootcert=system",
            "postgres://u:hunter2@h/d?pool_size=0",
            "postgres://u:hunter2@h/d?pool_size=hunter2",
            "postgres://u:hunter2@h/d?pooler=session",
            "postgres://u:hunter2@h/d?direct=hunter2",
            "postgres://u:hunter2@h/d?port=hunter2",
            "postgres://u:hunter2@h/d?flag",
            "postgres://u:hunter2@h/d?application_name=%zz",
            "postgres://u:x@hunter2@h/d",
            "postgres://u:x?hunter2=y@h/d",
        ] {
            let problem = text.parse::<PostgresUrl>().unwrap_err().to_string();
            assert!(!problem.contains("hunter2"), "{problem}");
        }
        let unknown = "postgres://h/d?sslcrl=x".parse::<PostgresUrl>().unwrap_err().to_string();
        assert_eq!(unknown, "has a parameter sslcrl that is not known");
    }

    #[test]
    fn nothing_shows_the_password() {
        let url = url("postgres://u:hunter2@h/d");
        assert!(!format!("{url} {url:?}").contains("hunter2"));
    }
}
