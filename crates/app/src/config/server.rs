//! `[server]` and `[auth]`: where the server listens, whom it believes, and how much it takes.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rehome_api::Time;
use rehome_domain::event::Timestamp;
use rehome_domain::ids::{StoreId, TenantId};

use super::network::Network;
use super::table::Table;
use super::{ConfigError, Place, Set};
use crate::tokens::{Grant, Role, Token, TokenHash};

/// The port that the server listens on unless another is configured.
pub const DEFAULT_PORT: u16 = 7411;

/// How the server listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerConfig {
    /// The address; with port 0 the system chooses one.
    pub bind: SocketAddr,
    /// Certificate and key, if connections are encrypted.
    pub tls: Option<TlsFiles>,
    /// Origins whose pages may call the server from a browser, like `https://ops.example`.
    pub cors: Vec<String>,
    /// Listens without TLS on an address that others reach: what travels can be read on the way.
    pub without_tls: bool,
    /// Listens without tokens on an address that others reach: whoever reaches it may do all.
    pub without_tokens: bool,
    /// Names, besides those of this machine, by which clients may call a server without tokens; if
    /// any are configured, also one with tokens answers to no other.
    pub hosts: Vec<String>,
    /// Proxies whose `X-Forwarded-For` is believed.
    pub trusted_proxies: Vec<Network>,
    /// How much it takes.
    pub limits: ServerLimits,
}

/// Where certificate and key are, both in PEM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFiles {
    /// The certificate and those that signed it.
    pub cert: PathBuf,
    /// Its private key.
    pub key: PathBuf,
}

/// How much the server takes before it says no.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ServerLimits {
    /// Most bytes of a request's body.
    pub body_bytes_max: u32,
    /// Most bytes of the bodies of all requests that are under way.
    pub bodies_bytes_max: u32,
    /// Most events of one append.
    pub append_events_max: u32,
    /// Most bytes of answers that are read from a store and not yet sent.
    pub answers_bytes_max: u32,
    /// Most connections at once, and most requests under way.
    pub connections_max: u32,
    /// Most followers of feeds and migrations at once.
    pub followers_max: u32,
    /// Most of each that one caller may hold.
    pub per_caller: CallerLimits,
    /// Least rate at which a client sends a body, after a few seconds, and takes an answer.
    pub client_bytes_per_second_min: u32,
    /// Longest that a client may take to send its headers, to send its body, or to take a piece
    /// of an answer; an idle connection is closed after it.
    pub client_timeout: Duration,
}

/// How much one caller may hold; `None`: a quarter of the whole. One caller is a tenant with all its
/// tokens, any other token, or an address that shows no token.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CallerLimits {
    /// Bytes of bodies.
    pub bodies_bytes_max: Option<u32>,
    /// Bytes of answers.
    pub answers_bytes_max: Option<u32>,
    /// Requests under way; of an address, connections that send none.
    pub connections_max: Option<u32>,
    /// Followers.
    pub followers_max: Option<u32>,
}

impl Default for ServerLimits {
    fn default() -> Self {
        Self {
            body_bytes_max: 8 << 20,
            bodies_bytes_max: 256 << 20,
            answers_bytes_max: 256 << 20,
            append_events_max: 1_000,
            connections_max: 4_096,
            followers_max: 2_048,
            per_caller: CallerLimits::default(),
            client_bytes_per_second_min: 1_024,
            client_timeout: Duration::from_secs(30),
        }
    }
}

impl Default for ServerConfig {
    fn default() -> Self {
        Self {
            bind: SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), DEFAULT_PORT),
            tls: None,
            cors: Vec::new(),
            without_tls: false,
            without_tokens: false,
            hosts: Vec::new(),
            trusted_proxies: Vec::new(),
            limits: ServerLimits::default(),
        }
    }
}

/// `[server]` before the environment had its say.
#[derive(Debug, Default)]
pub(crate) struct ServerDraft {
    pub(crate) config: ServerConfig,
    pub(crate) cert: Option<Set<PathBuf>>,
    pub(crate) key: Option<Set<PathBuf>>,
}

/// A number: its key, what it may be, and where it is kept.
type Number = (&'static str, RangeInclusive<u32>, fn(&mut ServerLimits, u32));

/// The numbers.
const NUMBERS: [Number; 12] = [
    ("body_bytes_max", 1_024..=1 << 30, |limits, n| limits.body_bytes_max = n),
    ("bodies_bytes_max", 1_024..=u32::MAX, |limits, n| limits.bodies_bytes_max = n),
    ("answers_bytes_max", 8 << 20..=u32::MAX, |limits, n| limits.answers_bytes_max = n),
    ("append_events_max", 1..=100_000, |limits, n| limits.append_events_max = n),
    ("connections_max", 1..=1_000_000, |limits, n| limits.connections_max = n),
    ("followers_max", 1..=1_000_000, |limits, n| limits.followers_max = n),
    ("bodies_bytes_per_caller_max", 1_024..=u32::MAX, |limits, n| {
        limits.per_caller.bodies_bytes_max = Some(n);
    }),
    ("answers_bytes_per_caller_max", 4 << 20..=u32::MAX, |limits, n| {
        limits.per_caller.answers_bytes_max = Some(n);
    }),
    ("connections_per_caller_max", 1..=1_000_000, |limits, n| {
        limits.per_caller.connections_max = Some(n);
    }),
    ("followers_per_caller_max", 1..=1_000_000, |limits, n| {
        limits.per_caller.followers_max = Some(n);
    }),
    ("client_timeout_ms", 100..=600_000, |limits, n| {
        limits.client_timeout = Duration::from_millis(n.into());
    }),
    ("client_bytes_per_second_min", 1..=1 << 30, |limits, n| {
        limits.client_bytes_per_second_min = n;
    }),
];

impl ServerDraft {
    pub(super) fn read(mut table: Table<'_>, folder: &Path) -> Result<Self, ConfigError> {
        let mut draft = Self::default();
        for key in ["bind", "tls_cert", "tls_key"] {
            if let Some(set) = table.text(key)? {
                draft.set(key, &set, folder)?;
            }
        }
        if let Some(origins) = table.texts("cors")? {
            for origin in &origins.value {
                if !is_origin(origin) {
                    let problem = "server.cors must be origins like \"https://ops.example\"";
                    return Err(origins.place.refuse(problem));
                }
            }
            draft.config.cors = origins.value;
        }
        if let Some(hosts) = table.texts("hosts")? {
            for host in &hosts.value {
                if !is_host(host) {
                    let problem =
                        "server.hosts must be names like \"rehome.internal\", without a port";
                    return Err(hosts.place.refuse(problem));
                }
            }
            draft.config.hosts = hosts.value;
        }
        if let Some(proxies) = table.texts("trusted_proxies")? {
            let networks = proxies.value.iter().map(|text| text.parse());
            draft.config.trusted_proxies = networks.collect::<Result<_, _>>().map_err(|()| {
                let problem =
                    "server.trusted_proxies must be addresses or networks like \"10.0.0.0/8\"";
                proxies.place.refuse(problem)
            })?;
        }
        for (key, range, keep) in NUMBERS {
            if let Some(set) = table.plain(key, "a whole number", true)? {
                keep(&mut draft.config.limits, number(key, &range, &set)?);
            }
        }
        let config = &mut draft.config;
        config.without_tls = table.flag("without_tls")?.is_some_and(|set| set.value);
        config.without_tokens = table.flag("without_tokens")?.is_some_and(|set| set.value);
        table.end()?;
        Ok(draft)
    }

    /// The keys that the environment may set.
    pub(super) fn key(name: &str) -> Option<&'static str> {
        ["bind", "tls_cert", "tls_key"].into_iter().find(|key| *key == name)
    }

    /// Sets one of them from its text, wherever it comes from.
    pub(super) fn set(
        &mut self,
        key: &str,
        set: &Set<String>,
        folder: &Path,
    ) -> Result<(), ConfigError> {
        let path = || Some(Set { value: folder.join(&set.value), place: set.place.clone() });
        match key {
            "tls_cert" => self.cert = path(),
            "tls_key" => self.key = path(),
            _ => {
                self.config.bind = set.value.parse().map_err(|_| {
                    set.place.refuse("server.bind must be an address like \"127.0.0.1:7411\"")
                })?;
            }
        }
        Ok(())
    }

    pub(super) fn whole(self) -> Result<ServerConfig, ConfigError> {
        let tls = match (self.cert, self.key) {
            (Some(cert), Some(key)) => Some(TlsFiles { cert: cert.value, key: key.value }),
            (None, None) => None,
            (Some(one), None) => {
                return Err(one.place.refuse("server.tls_cert is there without server.tls_key"));
            }
            (None, Some(one)) => {
                return Err(one.place.refuse("server.tls_key is there without server.tls_cert"));
            }
        };
        Ok(ServerConfig { tls, ..self.config })
    }
}

fn number(key: &str, range: &RangeInclusive<u32>, set: &Set<String>) -> Result<u32, ConfigError> {
    let number = set.value.parse().ok().filter(|number| range.contains(number));
    number.ok_or_else(|| {
        let (least, most) = (range.start(), range.end());
        set.place.refuse(format!("server.{key} must be {least} to {most}"))
    })
}

/// As it stands in `Host`, without a port.
fn is_host(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._".contains(&b))
}

/// As a browser sends it: scheme and host, nothing behind.
fn is_origin(text: &str) -> bool {
    let host = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
    host.is_some_and(|host| {
        !host.is_empty()
            && host
                .bytes()
                .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"-.:[]".contains(&b))
    })
}

/// `[[auth.tokens]]`, in the order of the file. Names are unique.
pub(super) fn tokens(mut auth: Table<'_>) -> Result<Vec<Token>, ConfigError> {
    let mut tokens: Vec<Token> = Vec::new();
    for (place, mut table) in auth.tables("tokens")? {
        let token = token(&place, &mut table)?;
        table.end()?;
        if tokens.iter().any(|other| other.name == token.name) {
            let problem = format!("auth.tokens.name \"{}\" is there twice", token.name);
            return Err(place.refuse(problem));
        }
        if let Some(other) = tokens.iter().find(|other| other.hash == token.hash) {
            let problem = format!("auth.tokens.sha256 is that of \"{}\" too", other.name);
            return Err(place.refuse(problem));
        }
        tokens.push(token);
    }
    auth.end()?;
    Ok(tokens)
}

fn token(place: &Place, table: &mut Table<'_>) -> Result<Token, ConfigError> {
    let missing = |key: &str| place.refuse(format!("auth.tokens.{key} is missing"));
    let name = table.text("name")?.ok_or_else(|| missing("name"))?;
    let role = table.text("role")?.ok_or_else(|| missing("role"))?;
    let hash = table.text("sha256")?.ok_or_else(|| missing("sha256"))?;
    let mut tenants: Vec<TenantId> = Vec::new();
    for key in ["tenant", "tenants"] {
        let Some(set) = table.texts(key)? else { continue };
        for text in &set.value {
            let problem = || set.place.refuse(format!("auth.tokens.{key} must be a UUID"));
            tenants.push(text.parse().map_err(|_| problem())?);
        }
    }
    let mut stores: Vec<StoreId> = Vec::new();
    if let Some(set) = table.texts("stores")? {
        for text in &set.value {
            let problem = |error| set.place.refuse(format!("auth.tokens.stores: {error}"));
            stores.push(text.parse().map_err(problem)?);
        }
    }
    let expires_at = match table.text("expires_at")? {
        Some(set) => Some(
            set.value
                .parse::<Time>()
                .map_err(|error| set.place.refuse(format!("auth.tokens.expires_at is {error}")))?,
        ),
        None => None,
    };
    let grant = Role::parse(&role.value)
        .and_then(|role| Grant::new(role, tenants, stores))
        .map_err(|problem| role.place.refuse(format!("auth.tokens.role: {problem}")))?;
    let problem = "auth.tokens.sha256 must be the 64 hexadecimal digits of a hash";
    let hash_of: Option<TokenHash> = hash.value.parse().ok();
    let hash = hash_of.ok_or_else(|| hash.place.refuse(problem))?;
    let token = Token::new(name.value, grant, hash)
        .map_err(|problem| name.place.refuse(format!("auth.tokens.name: {problem}")))?;
    Ok(Token { expires_at: expires_at.map(|end| Timestamp::from_micros(end.0)), ..token })
}
