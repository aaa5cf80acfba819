//! The text of a URL: which parameters there are, and what their values may be.

use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use tokio_postgres::Config;
use tokio_postgres::config::{Host, SslMode};

use super::{InvalidUrl, PostgresUrl, Trust};

/// The schema that is used where the URL names none.
const SCHEMA: &str = "rehome";
/// Connections where the URL does not say how many.
const POOL_SIZE: usize = 10;
/// Most bytes of a name that PostgreSQL keeps.
const NAME_BYTES_MAX: usize = 63;

fn invalid<T>(why: impl Into<String>) -> Result<T, InvalidUrl> {
    Err(InvalidUrl(why.into()))
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
