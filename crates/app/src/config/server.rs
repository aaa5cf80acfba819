//! `[server]` and `[auth]`: where the server listens, which credentials it accepts, and its limits.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use rehome_domain::verification::Level;

use super::ConfigError;
use super::draft::Row;
use super::keys::{auth_tokens, server};
use super::network::Network;
use super::values::Values;
use crate::tokens::{Grant, Role, Token};

/// How the server listens.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(clippy::struct_excessive_bools, reason = "each is a key of its own")]
pub struct ServerConfig {
    /// The address; with port 0 the system chooses one.
    pub bind: SocketAddr,
    /// Certificate and key, if connections are encrypted.
    pub tls: Option<TlsFiles>,
    /// Who signs the certificates of clients, in PEM, if they may show some.
    pub client_ca: Option<PathBuf>,
    /// Every client must present such a certificate.
    pub client_certificate_required: bool,
    /// Origins whose pages may call the server from a browser, like `https://ops.example`.
    pub cors: Vec<String>,
    /// Listens without TLS on an address that others reach: what travels can be read on the way.
    pub without_tls: bool,
    /// Listens without tokens on a non-loopback address: every client can do everything.
    pub without_tokens: bool,
    /// Names, besides those of this machine, by which clients may call a server without tokens; if
    /// any are configured, also one with tokens answers to no other.
    pub hosts: Vec<String>,
    /// Appends to tenants that are not known are refused, instead of making them.
    pub refuse_unknown_tenants: bool,
    /// Proxies whose `X-Forwarded-For` is believed.
    pub trusted_proxies: Vec<Network>,
    /// The limits.
    pub limits: ServerLimits,
    /// The periodic verification of stores, if enabled.
    pub verify_stores: Option<VerifyStores>,
}

/// Periodic verification of stores by a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VerifyStores {
    /// From the beginning of one to that of the next, of each store.
    pub every: Duration,
    /// The level.
    pub level: Level,
    /// Most events read per second; 0: no limit.
    pub rate_max: u32,
}

/// Where certificate and key are, both in PEM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFiles {
    /// The certificate and those that signed it.
    pub cert: PathBuf,
    /// Its private key.
    pub key: PathBuf,
}

/// The limits of the server.
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
    /// Lowest rate at which a client must send a body, after a few seconds, and receive a response.
    pub client_bytes_per_second_min: u32,
    /// Maximum time for a client to send its headers, to send its body, or to receive a piece
    /// of a response; also how long a connection may be idle.
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

impl Default for ServerConfig {
    fn default() -> Self {
        Self::of(&Values::default()).expect("a test reads the default of every key")
    }
}

impl ServerConfig {
    /// From the values that were set, and the defaults of the others.
    pub(super) fn of(values: &Values) -> Result<Self, ConfigError> {
        let tls = match (values.given(&server::TLS_CERT)?, values.given(&server::TLS_KEY)?) {
            (Some(cert), Some(key)) => Some(TlsFiles { cert: cert.value, key: key.value }),
            (None, None) => None,
            (Some(one), None) => {
                return Err(one.place.refuse("server.tls_cert needs server.tls_key"));
            }
            (None, Some(one)) => {
                return Err(one.place.refuse("server.tls_key needs server.tls_cert"));
            }
        };
        let client_ca = values.given(&server::CLIENT_CA)?;
        let certificates = values.given(&server::CLIENT_CERTIFICATES)?;
        if let (Some(ca), None) = (&client_ca, &tls) {
            let problem = "server.client_ca needs server.tls_cert and server.tls_key";
            return Err(ca.place.refuse(problem));
        }
        if let (Some(one), None) = (certificates.filter(|set| set.value), &client_ca) {
            let problem = "server.client_certificates = \"required\" needs server.client_ca";
            return Err(one.place.refuse(problem));
        }
        let every = values.effective(&server::VERIFY_STORES_EVERY)?;
        let verify_stores = VerifyStores {
            every,
            level: values.effective(&server::VERIFY_STORES_LEVEL)?,
            rate_max: values.effective(&server::VERIFY_STORES_RATE_MAX)?,
        };
        Ok(Self {
            bind: values.effective(&server::BIND)?,
            tls,
            client_ca: client_ca.map(|set| set.value),
            client_certificate_required: values.effective(&server::CLIENT_CERTIFICATES)?,
            verify_stores: (!every.is_zero()).then_some(verify_stores),
            cors: values.value(&server::CORS)?.unwrap_or_default(),
            without_tls: values.effective(&server::WITHOUT_TLS)?,
            without_tokens: values.effective(&server::WITHOUT_TOKENS)?,
            hosts: values.value(&server::HOSTS)?.unwrap_or_default(),
            refuse_unknown_tenants: values.effective(&server::REFUSE_UNKNOWN_TENANTS)?,
            trusted_proxies: values.value(&server::TRUSTED_PROXIES)?.unwrap_or_default(),
            limits: ServerLimits::of(values)?,
        })
    }
}

impl ServerLimits {
    fn of(values: &Values) -> Result<Self, ConfigError> {
        Ok(Self {
            body_bytes_max: values.effective(&server::BODY_BYTES_MAX)?,
            bodies_bytes_max: values.effective(&server::BODIES_BYTES_MAX)?,
            append_events_max: values.effective(&server::APPEND_EVENTS_MAX)?,
            answers_bytes_max: values.effective(&server::ANSWERS_BYTES_MAX)?,
            connections_max: values.effective(&server::CONNECTIONS_MAX)?,
            followers_max: values.effective(&server::FOLLOWERS_MAX)?,
            per_caller: CallerLimits {
                bodies_bytes_max: values.value(&server::BODIES_BYTES_PER_CALLER_MAX)?,
                answers_bytes_max: values.value(&server::ANSWERS_BYTES_PER_CALLER_MAX)?,
                connections_max: values.value(&server::CONNECTIONS_PER_CALLER_MAX)?,
                followers_max: values.value(&server::FOLLOWERS_PER_CALLER_MAX)?,
            },
            client_bytes_per_second_min: values.effective(&server::CLIENT_BYTES_PER_SECOND_MIN)?,
            client_timeout: Duration::from_millis(
                values.effective(&server::CLIENT_TIMEOUT_MS)?.into(),
            ),
        })
    }
}

/// As in `Host`, without a port.
pub(super) fn is_host(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._".contains(&b))
}

/// As a browser sends it: scheme and host, nothing behind.
pub(super) fn is_origin(text: &str) -> bool {
    let host = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
    host.is_some_and(|host| {
        !host.is_empty()
            && host
                .bytes()
                .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"-.:[]".contains(&b))
    })
}

/// `[[auth.tokens]]`, in the order of the file. Names are unique.
pub(super) fn tokens(rows: &[Row]) -> (Vec<Token>, Vec<ConfigError>) {
    let (mut tokens, mut problems) = (Vec::<Token>::new(), Vec::new());
    for row in rows {
        let place = &row.place;
        match token(row) {
            Ok(token) if tokens.iter().any(|other| other.name == token.name) => {
                let problem = format!("auth.tokens.name \"{}\" is defined twice", token.name);
                problems.push(place.refuse(problem));
            }
            Ok(token) => match tokens.iter().find(|other| other.hash == token.hash) {
                Some(other) => {
                    let problem =
                        format!("auth.tokens.sha256 is the same as that of \"{}\"", other.name);
                    problems.push(place.refuse(problem));
                }
                None => tokens.push(token),
            },
            Err(problem) => problems.push(problem),
        }
    }
    (tokens, problems)
}

fn token(Row { place, values }: &Row) -> Result<Token, ConfigError> {
    let missing = |key: &str| place.refuse(format!("auth.tokens.{key} is missing"));
    let name = values.given(&auth_tokens::NAME)?.ok_or_else(|| missing("name"))?;
    let role = values.given(&auth_tokens::ROLE)?.ok_or_else(|| missing("role"))?;
    let hash = values.given(&auth_tokens::SHA256)?.ok_or_else(|| missing("sha256"))?;
    let mut tenants = values.value(&auth_tokens::TENANT)?.unwrap_or_default();
    tenants.extend(values.value(&auth_tokens::TENANTS)?.unwrap_or_default());
    let stores = values.value(&auth_tokens::STORES)?.unwrap_or_default();
    let expires_at = values.value(&auth_tokens::EXPIRES_AT)?;
    let grant = Role::parse(&role.value)
        .and_then(|role| Grant::new(role, tenants, stores))
        .map_err(|problem| role.place.refuse(format!("auth.tokens.role: {problem}")))?;
    let token = Token::new(name.value, grant, hash.value)
        .map_err(|problem| name.place.refuse(format!("auth.tokens.name: {problem}")))?;
    Ok(Token { expires_at, ..token })
}
