//! Keys and values to a place: which parameters there are, and what their values may be.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use tokio_postgres::Config;
use tokio_postgres::config::ChannelBinding;

use super::service::Variables;
use super::{InvalidUrl, Place, PostgresUrl, forms, service};
use crate::server::tls::{CertMode, Mode, Root, Tls, Version};

/// The schema that is used where the URL names none.
pub(super) const SCHEMA: &str = "rehome";
/// The default number of connections.
const POOL_SIZE: usize = 10;
/// Maximum length of a name in PostgreSQL, in bytes.
const NAME_BYTES_MAX: usize = 63;
const PORT: u16 = 5_432;

/// The rehome-specific parameters.
const OURS: [&str; 5] = ["schema", "pool_size", "pooler", "direct", "password_env"];

/// Those of libpq that are honoured, and the variables that have them where the text has not.
const THEIRS: [(&str, &str); 38] = [
    ("service", "PGSERVICE"),
    ("user", "PGUSER"),
    ("password", ""),
    ("dbname", "PGDATABASE"),
    ("host", "PGHOST"),
    ("hostaddr", "PGHOSTADDR"),
    ("port", "PGPORT"),
    ("passfile", ""),
    ("options", "PGOPTIONS"),
    ("application_name", "PGAPPNAME"),
    ("fallback_application_name", ""),
    ("client_encoding", ""),
    ("connect_timeout", "PGCONNECT_TIMEOUT"),
    ("tcp_user_timeout", ""),
    ("keepalives", ""),
    ("keepalives_idle", ""),
    ("keepalives_interval", ""),
    ("keepalives_count", ""),
    ("keepalives_retries", ""),
    ("target_session_attrs", "PGTARGETSESSIONATTRS"),
    ("load_balance_hosts", "PGLOADBALANCEHOSTS"),
    ("channel_binding", "PGCHANNELBINDING"),
    ("sslmode", "PGSSLMODE"),
    ("sslnegotiation", "PGSSLNEGOTIATION"),
    ("sslcompression", ""),
    ("sslcert", "PGSSLCERT"),
    ("sslkey", "PGSSLKEY"),
    ("sslpassword", ""),
    ("sslcertmode", "PGSSLCERTMODE"),
    ("sslrootcert", "PGSSLROOTCERT"),
    ("sslcrl", "PGSSLCRL"),
    ("sslcrldir", "PGSSLCRLDIR"),
    ("sslsni", "PGSSLSNI"),
    ("ssl_min_protocol_version", "PGSSLMINPROTOCOLVERSION"),
    ("ssl_max_protocol_version", "PGSSLMAXPROTOCOLVERSION"),
    ("gssencmode", "PGGSSENCMODE"),
    // They configure Kerberos, which is not supported; with their default values they have no
    // effect.
    ("krbsrvname", ""),
    ("gsslib", ""),
];

/// Parameters of libpq for features that are not supported: ignoring them would be weaker than
/// requested.
const NOT_HONOURED: [(&str, &str); 5] = [
    ("require_auth", "PGREQUIREAUTH"),
    ("requirepeer", "PGREQUIREPEER"),
    ("replication", ""),
    ("gssdelegation", ""),
    ("servicefile", ""),
];

fn invalid<T>(why: impl Into<String>) -> Result<T, InvalidUrl> {
    Err(InvalidUrl(why.into()))
}

/// Whether there is such a parameter.
pub(super) fn is_known(key: &str) -> bool {
    OURS.contains(&key) || THEIRS.iter().chain(&NOT_HONOURED).any(|(theirs, _)| *theirs == key)
}

impl FromStr for PostgresUrl {
    type Err = InvalidUrl;

    /// Reads what the text has, then what its service has, then the variables of libpq (`PGHOST` and the
    /// others) of this process.
    fn from_str(text: &str) -> Result<Self, InvalidUrl> {
        read(text, &|name| std::env::var(name).ok())
    }
}

/// The same among other variables.
pub(super) fn read(text: &str, variables: Variables<'_>) -> Result<PostgresUrl, InvalidUrl> {
    let mut given = Given(BTreeMap::new());
    let mut after_password = false;
    for (key, value) in forms::read(text)? {
        if after_password && !is_known(&key) {
            return invalid(
                "has an unknown parameter after its password; a password with spaces needs quotes",
            );
        }
        check_known(&key)?;
        after_password = key == "password";
        given.0.insert(key, value);
    }
    given.or_from("service", variables("PGSERVICE"));
    if let Some(name) = given.take("service").filter(|name| !name.is_empty()) {
        for (key, value) in service::find(&name, variables)? {
            check_known(&key)?;
            given.or_from(&key, Some(value));
        }
    }
    for (key, variable) in THEIRS.iter().chain(&NOT_HONOURED) {
        if !variable.is_empty() {
            given.or_from(key, variables(variable).filter(|value| !value.is_empty()));
        }
    }
    url(given, variables)
}

fn check_known(key: &str) -> Result<(), InvalidUrl> {
    if is_known(key) {
        return Ok(());
    }
    let plain = key.len() <= 32
        && !key.is_empty()
        && key.bytes().all(|b| b.is_ascii_lowercase() || b == b'_');
    let named = if plain { format!(" {key}") } else { String::new() };
    invalid(format!("has an unknown parameter{named}"))
}

/// The given values, by key.
struct Given(BTreeMap<String, String>);

impl Given {
    fn or_from(&mut self, key: &str, value: Option<String>) {
        if let Some(value) = value {
            self.0.entry(key.to_owned()).or_insert(value);
        }
    }

    fn take(&mut self, key: &str) -> Option<String> {
        self.0.remove(key)
    }

    /// One that is not empty: to libpq, one that is empty is one that is not given.
    fn some(&mut self, key: &str) -> Option<String> {
        self.take(key).filter(|value| !value.is_empty())
    }

    fn path(&mut self, key: &str) -> Option<PathBuf> {
        self.some(key).map(PathBuf::from)
    }

    /// One of a few words; the first where none is given. One that is empty is none of them, as to libpq: where a
    /// template lacks its value, the default may be weaker than what was meant.
    fn word<T: Copy>(&mut self, key: &str, words: &[(&str, T)]) -> Result<T, InvalidUrl> {
        let Some(value) = self.take(key) else { return Ok(words[0].1) };
        if let Some((_, meaning)) = words.iter().find(|(word, _)| *word == value) {
            return Ok(*meaning);
        }
        let words = words.iter().map(|(word, _)| *word).filter(|word| !word.is_empty());
        let words: Vec<&str> = words.collect();
        invalid(format!("has a {key} that is not one of {}", words.join(", ")))
    }

    fn number(&mut self, key: &str) -> Result<Option<i64>, InvalidUrl> {
        let Some(value) = self.some(key) else { return Ok(None) };
        match value.trim().parse::<i32>() {
            Ok(number) => Ok(Some(number.into())),
            Err(_) => invalid(format!("has a {key} that is not a number")),
        }
    }

    fn seconds(&mut self, key: &str) -> Result<Option<Duration>, InvalidUrl> {
        let seconds = self.number(key)?.map(|n| u64::try_from(n).unwrap_or(0));
        Ok(seconds.filter(|seconds| *seconds > 0).map(Duration::from_secs))
    }
}

fn url(mut given: Given, variables: Variables<'_>) -> Result<PostgresUrl, InvalidUrl> {
    for (key, _) in NOT_HONOURED {
        let off =
            |value: &str| key == "replication" && ["false", "off", "no", "0"].contains(&value);
        if given.some(key).is_some_and(|value| !off(&value)) {
            return invalid(format!(
                "has a parameter {key}, which rehome does not support; omit it"
            ));
        }
    }
    given.word("gssencmode", &[("prefer", ()), ("disable", ())]).or_else(|_| {
        invalid(
            "has a gssencmode that is neither disable nor prefer; rehome does not support Kerberos",
        )
    })?;
    for idle in ["krbsrvname", "gsslib", "sslcompression"] {
        given.take(idle);
    }
    let places = places(&mut given)?;
    let mut config = Config::new();
    let user = match given.some("user") {
        Some(user) => user,
        None => whoami::username().or_else(|_| invalid("names no user"))?,
    };
    let database = given.some("dbname").unwrap_or_else(|| user.clone());
    if ["postgres://", "postgresql://"].iter().any(|scheme| database.starts_with(scheme)) {
        return invalid("has a dbname that is a URL itself; write its parts as parameters");
    }
    for name in [&user, &database] {
        if name.contains('\0') {
            return invalid("has a NUL in a name");
        }
    }
    config.user(&user).dbname(&database);
    if let Some(password) = given.some("password") {
        config.password(password);
    }
    if let Some(options) = given.some("options") {
        config.options(options);
    }
    let fallback = given.some("fallback_application_name");
    let name = given.some("application_name").or(fallback).unwrap_or_else(|| "rehome".to_owned());
    config.application_name(name);
    if let Some(encoding) = given.some("client_encoding")
        && !["utf8", "utf-8", "auto", "unicode"].contains(&encoding.to_lowercase().as_str())
    {
        return invalid("has a client_encoding that is not UTF8");
    }
    keep_alive(&mut given, &mut config)?;
    check_session(&mut given)?;
    let binding = [
        ("prefer", ChannelBinding::Prefer),
        ("require", ChannelBinding::Require),
        ("disable", ChannelBinding::Disable),
    ];
    config.channel_binding(given.word("channel_binding", &binding)?);
    // Less than two seconds is two, to libpq.
    let connect_timeout = given.seconds("connect_timeout")?.map(|t| t.max(Duration::from_secs(2)));
    let shuffled = given.word("load_balance_hosts", &[("disable", false), ("random", true)])?;
    let tls = tls(&mut given, variables)?;
    let direct = given.some("direct").map(|direct| place(&direct)).transpose()?;
    let pool_size = match given.take("pool_size").map(|size| size.parse()) {
        None => POOL_SIZE,
        Some(Ok(size @ 2..=1_000)) => size,
        Some(_) => return invalid("has a pool_size that is not a number from 2 to 1000"),
    };
    let pooled = match given.take("pooler").as_deref() {
        None => false,
        Some("transaction") => true,
        Some(_) => return invalid("has a pooler that is not \"transaction\""),
    };
    Ok(PostgresUrl {
        config,
        places,
        shuffled,
        connect_timeout,
        tls,
        user,
        database,
        schema: schema(given.take("schema"))?,
        pool_size,
        pooled,
        direct,
        passfile: given.path("passfile"),
        password_env: given.some("password_env"),
        primary: Arc::default(),
    })
}

/// Hosts, their addresses and ports: as many of each as there are servers, or one port for all.
fn places(given: &mut Given) -> Result<Vec<Place>, InvalidUrl> {
    let mut list = |key| {
        let value: Option<String> = given.some(key);
        value.map(|value| value.split(',').map(|one| one.trim().to_owned()).collect::<Vec<_>>())
    };
    let (hosts, addresses, ports) = (list("host"), list("hostaddr"), list("port"));
    let count = addresses.as_ref().or(hosts.as_ref()).map_or(1, Vec::len);
    if hosts.as_ref().is_some_and(|hosts| hosts.len() != count) {
        return invalid("has a different number of hosts and hostaddrs");
    }
    let ports = ports.unwrap_or_default();
    if ports.len() > 1 && ports.len() != count {
        return invalid("has a different number of ports and hosts");
    }
    (0..count)
        .map(|i| {
            let address = addresses.as_ref().map_or("", |addresses| &addresses[i]);
            let address = match address {
                "" => None,
                address => match address.parse::<IpAddr>() {
                    Ok(address) => Some(address),
                    Err(_) => return invalid("has a hostaddr that is not an IP address"),
                },
            };
            let mut host = hosts.as_ref().map_or_else(String::new, |hosts| hosts[i].clone());
            if host.is_empty() && address.is_none() {
                host = default_folder();
            }
            if host.starts_with('@') {
                return invalid(
                    "names an abstract socket, which rehome does not support; name a folder",
                );
            }
            if !host.starts_with('/') && host.contains(['@', '/', '\0']) {
                return invalid(
                    "has a character like @ or / in its password that is not percent-encoded",
                );
            }
            let port = match ports.get(i).or(ports.first()).map_or("", String::as_str) {
                "" => PORT,
                port => match port.parse() {
                    Ok(port @ 1..) => port,
                    _ => return invalid("has a port that is not a number from 1 to 65535"),
                },
            };
            Ok(Place { host, address, port })
        })
        .collect()
}

/// The default socket folder of a server: as in Debian's libpq, or as in other builds.
fn default_folder() -> String {
    let debians = "/var/run/postgresql";
    if Path::new(debians).is_dir() { debians } else { "/tmp" }.to_owned()
}

/// A connection over which nothing comes any more is noticed within this time, unless another is given.
fn keep_alive(given: &mut Given, config: &mut Config) -> Result<(), InvalidUrl> {
    config.keepalives(given.number("keepalives")? != Some(0));
    config.keepalives_idle(given.seconds("keepalives_idle")?.unwrap_or(Duration::from_secs(10)));
    let interval = given.seconds("keepalives_interval")?;
    config.keepalives_interval(interval.unwrap_or(Duration::from_secs(5)));
    let other = given.number("keepalives_retries")?;
    let count = given.number("keepalives_count")?.or(other);
    config.keepalives_retries(
        count.and_then(|n| u32::try_from(n).ok()).filter(|n| *n > 0).unwrap_or(3),
    );
    let unacknowledged = given.number("tcp_user_timeout")?.and_then(|ms| u64::try_from(ms).ok());
    let unacknowledged = unacknowledged.filter(|ms| *ms > 0).map(Duration::from_millis);
    config.tcp_user_timeout(unacknowledged.unwrap_or(Duration::from_secs(15)));
    Ok(())
}

/// A store and a control plane are written. Every value that a writable server meets is accepted, and of the
/// servers that meet it, the writable ones are used.
fn check_session(given: &mut Given) -> Result<(), InvalidUrl> {
    let all = [
        ("any", true),
        ("read-write", true),
        ("primary", true),
        ("prefer-standby", true),
        ("read-only", false),
        ("standby", false),
    ];
    if given.word("target_session_attrs", &all)? {
        return Ok(());
    }
    invalid(
        "has a target_session_attrs that requires a read-only server; rehome writes, so omit it \
         or make it read-write",
    )
}

fn schema(given: Option<String>) -> Result<String, InvalidUrl> {
    let Some(name) = given else { return Ok(SCHEMA.to_owned()) };
    let reserved = name.starts_with("pg_") || name == "public" || name == "information_schema";
    if name.is_empty() || name.len() > NAME_BYTES_MAX || name.contains('\0') || reserved {
        return invalid("names a schema that cannot be rehome's");
    }
    Ok(name)
}

fn place(value: &str) -> Result<Place, InvalidUrl> {
    let parsed = value.rsplit_once(':').and_then(|(host, port)| {
        let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        let port = port.parse().ok()?;
        (!host.is_empty()).then_some(Place { host, address: None, port })
    });
    parsed.map_or_else(|| invalid("has a direct that is not HOST:PORT"), Ok)
}

fn tls(given: &mut Given, variables: Variables<'_>) -> Result<Tls, InvalidUrl> {
    // libpq's default files.
    let home = variables("HOME").map(|home| PathBuf::from(home).join(".postgresql"));
    let there = |name: &str| home.as_ref().map(|home| home.join(name)).filter(|file| file.exists());
    let root = match given.path("sslrootcert") {
        Some(file) if file == Path::new("system") => Root::System,
        Some(file) => Root::File(file),
        None => there("root.crt").map_or(Root::None, Root::File),
    };
    let mode = match (given.take("sslmode").as_deref(), &root) {
        (None, Root::System) => Mode::VerifyFull,
        (None | Some("prefer"), _) => Mode::Prefer,
        (Some("disable"), _) => Mode::Disable,
        (Some("allow"), _) => Mode::Allow,
        (Some("require"), _) => Mode::Require,
        (Some("verify-ca"), _) => Mode::VerifyCa,
        (Some("verify-full"), _) => Mode::VerifyFull,
        (Some(_), _) => {
            return invalid(
                "has an sslmode that is not one of disable, allow, prefer, require, verify-ca and \
                 verify-full",
            );
        }
    };
    if root == Root::System && mode != Mode::VerifyFull {
        return invalid(
            "has sslrootcert=system with a weak sslmode: anyone can get a certificate from the system's \
             authorities, so the host must be checked; use sslmode=verify-full",
        );
    }
    if root == Root::None && matches!(mode, Mode::VerifyCa | Mode::VerifyFull) {
        return invalid(
            "asks to verify the server, so it needs sslrootcert=FILE, sslrootcert=system or \
             ~/.postgresql/root.crt",
        );
    }
    let direct = given.word("sslnegotiation", &[("postgres", false), ("direct", true)])?;
    if direct && matches!(mode, Mode::Disable | Mode::Allow | Mode::Prefer) {
        return invalid(
            "has sslnegotiation=direct with a weak sslmode; use sslmode=require or stronger",
        );
    }
    let certs = [
        ("allow", CertMode::Allow),
        ("disable", CertMode::Disable),
        ("require", CertMode::Require),
    ];
    let cert_mode = given.word("sslcertmode", &certs)?;
    let cert = given.path("sslcert").or_else(|| there("postgresql.crt"));
    let key = given.path("sslkey").or_else(|| there("postgresql.key"));
    let versions = [
        ("", None),
        ("TLSv1", Some(Version::Tls1)),
        ("TLSv1.1", Some(Version::Tls1_1)),
        ("TLSv1.2", Some(Version::Tls1_2)),
        ("TLSv1.3", Some(Version::Tls1_3)),
    ];
    let min = given.word("ssl_min_protocol_version", &versions)?;
    let max = given.word("ssl_max_protocol_version", &versions)?;
    Ok(Tls {
        mode,
        direct,
        root,
        crl: given.path("sslcrl").or_else(|| there("root.crl")),
        crl_folder: given.path("sslcrldir"),
        cert: cert.filter(|_| cert_mode != CertMode::Disable),
        key,
        key_password: given.some("sslpassword"),
        cert_mode,
        sni: given.word("sslsni", &[("1", true), ("0", false), ("", true)])?,
        min: min.unwrap_or(Version::Tls1_2),
        max,
    })
}
