//! `[server]` and `[auth]`: where the server listens, whom it believes, and how much it takes.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rehome_domain::ids::TenantId;

use super::table::Table;
use super::{ConfigError, Place, Set};
use crate::tokens::{Role, Token, TokenHash};

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
    /// Most connections at once; the next ones wait to be accepted.
    pub connections_max: u32,
    /// Most followers of feeds and migrations at once.
    pub followers_max: u32,
    /// Longest that a client may take to send its headers, to send its body, or to take a piece
    /// of an answer; an idle connection is closed after it.
    pub client_timeout: Duration,
}

impl Default for ServerLimits {
    fn default() -> Self {
        Self {
            body_bytes_max: 8 << 20,
            bodies_bytes_max: 256 << 20,
            append_events_max: 1_000,
            connections_max: 4_096,
            followers_max: 2_048,
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

/// What a number may be.
const NUMBERS: [(&str, std::ops::RangeInclusive<u32>); 6] = [
    ("body_bytes_max", 1_024..=1 << 30),
    ("bodies_bytes_max", 1_024..=u32::MAX),
    ("append_events_max", 1..=100_000),
    ("connections_max", 1..=1_000_000),
    ("followers_max", 1..=1_000_000),
    ("client_timeout_ms", 100..=600_000),
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
        for (key, range) in NUMBERS {
            if let Some(set) = table.plain(key, "a whole number", true)? {
                draft.number(key, &range, &set)?;
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

    fn number(
        &mut self,
        key: &str,
        range: &std::ops::RangeInclusive<u32>,
        set: &Set<String>,
    ) -> Result<(), ConfigError> {
        let number = set.value.parse().ok().filter(|number| range.contains(number));
        let number: u32 = number.ok_or_else(|| {
            let (least, most) = (range.start(), range.end());
            set.place.refuse(format!("server.{key} must be {least} to {most}"))
        })?;
        let limits = &mut self.config.limits;
        match key {
            "body_bytes_max" => limits.body_bytes_max = number,
            "bodies_bytes_max" => limits.bodies_bytes_max = number,
            "append_events_max" => limits.append_events_max = number,
            "connections_max" => limits.connections_max = number,
            "followers_max" => limits.followers_max = number,
            _ => limits.client_timeout = Duration::from_millis(number.into()),
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
    let tenant = table.text("tenant")?;
    let tenant = match tenant {
        Some(set) => Some(
            set.value
                .parse::<TenantId>()
                .map_err(|_| set.place.refuse("auth.tokens.tenant must be a UUID"))?,
        ),
        None => None,
    };
    let role = Role::parse(&role.value, tenant)
        .map_err(|problem| role.place.refuse(format!("auth.tokens.role: {problem}")))?;
    let problem = "auth.tokens.sha256 must be the 64 hexadecimal digits of a hash";
    let hash_of: Option<TokenHash> = hash.value.parse().ok();
    let hash = hash_of.ok_or_else(|| hash.place.refuse(problem))?;
    Token::new(name.value, role, hash)
        .map_err(|problem| name.place.refuse(format!("auth.tokens.name: {problem}")))
}
