//! An issuer's keys: read from a file or a URL, cached, and refreshed in time.
//!
//! Keys change: an issuer publishes a new one, signs with it from then on, and removes the old one. So keys
//! that are five minutes old are refreshed while they are used, older ones before they are used, and
//! all when a token names an unknown key; but not more often than every ten seconds, whatever tokens
//! name. Keys are trusted for an hour if they cannot be refreshed; after that no token is accepted with them.

use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jsonwebtoken::jwk::{Jwk, JwkSet, KeyOperations, PublicKeyUse};
use jsonwebtoken::{Algorithm, DecodingKey};
use tokio::time::Instant;

use super::Refused;
use crate::http::Endpoint;

/// Keys that are older are read again.
const EVERY: Duration = Duration::from_secs(300);
/// Minimum time between two refreshes for unknown keys.
const AGAIN: Duration = Duration::from_secs(10);
/// For how long they are believed.
const BELIEVED: Duration = Duration::from_secs(3_600);
/// The largest file that is read.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// Where an issuer's keys are.
#[derive(Clone, PartialEq, Eq)]
pub enum KeySource {
    /// A file with a JWK set.
    File(PathBuf),
    /// A JWK set there: the server, and the path on it.
    Url(Endpoint, String),
    /// As in the issuer's `/.well-known/openid-configuration`; the server, and the path of that document.
    Discovered(Endpoint, String),
}

impl fmt::Debug for KeySource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => write!(f, "{}", path.display()),
            Self::Url(at, path) | Self::Discovered(at, path) => write!(f, "{at}{path}"),
        }
    }
}

impl KeySource {
    /// A url as a server and a path: `https`, or `http` on this machine. The message repeats nothing of it.
    pub fn place(url: &str) -> Result<(Endpoint, String), &'static str> {
        const WANTED: &str = "must be a URL like \"https://login.example/keys\"";
        let (endpoint, path) = Endpoint::of_document(url).map_err(|_| WANTED)?;
        if !(endpoint.url().is_secure() || endpoint.url().is_local()) {
            return Err(
                "must be https: anyone who can change the keys in transit can forge tokens",
            );
        }
        Ok((endpoint, path))
    }
}

/// One key that tokens may be signed by.
#[derive(Clone)]
struct Key {
    id: Option<String>,
    /// The algorithm of the key; `None`: not specified.
    algorithm: Option<Algorithm>,
    public: DecodingKey,
}

/// The keys, and when they were read.
#[derive(Clone, Default)]
struct Read {
    keys: Arc<[Key]>,
    good: Option<Instant>,
    tried: Option<Instant>,
    /// Why nothing was read the last time.
    why: Option<String>,
}

impl Read {
    /// Whether it may be read again.
    fn is_due(&self) -> bool {
        self.tried.is_none_or(|tried| tried.elapsed() >= AGAIN)
    }
}

/// The keys of an issuer.
pub(super) struct Keys {
    issuer: String,
    source: KeySource,
    read: Mutex<Read>,
    reading: tokio::sync::Mutex<()>,
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.source)
    }
}

impl Keys {
    pub(super) fn new(issuer: &str, source: KeySource) -> Self {
        let (read, reading) = Default::default();
        Self { issuer: issuer.to_owned(), source, read, reading }
    }

    /// Reads them in the background.
    pub(super) fn begin_reading(self: &Arc<Self>) {
        let keys = Arc::clone(self);
        tokio::spawn(async move { keys.read_again().await });
    }

    fn now(&self) -> Read {
        self.read.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The key of that id for that algorithm; of a token that names none, the only one for it.
    pub(super) async fn find(
        self: &Arc<Self>,
        kid: Option<&str>,
        algorithm: Algorithm,
    ) -> Result<DecodingKey, Refused> {
        let mut read = self.now();
        let is_older = |than: Duration| read.good.is_none_or(|good| good.elapsed() >= than);
        let mut found = choose(&read.keys, kid, algorithm);
        if (is_older(EVERY * 2) || found.is_none()) && read.is_due() {
            self.read_again().await;
            read = self.now();
            found = choose(&read.keys, kid, algorithm);
        } else if is_older(EVERY) && read.is_due() {
            self.begin_reading();
        }
        let issuer = &self.issuer;
        if read.good.is_none_or(|good| good.elapsed() >= BELIEVED) {
            let why = read.why.unwrap_or_else(|| "they have not been read yet".to_owned());
            let why = format!("the keys of {issuer} are not available ({why}); try again");
            return Err(Refused::NotNow(why));
        }
        found.ok_or_else(|| {
            let what = if kid.is_some() { "a key that it does not publish" } else { "no key" };
            Refused::Token(format!(
                "the token of {issuer} names {what} for {algorithm:?}; get a new one there"
            ))
        })
    }

    /// Once for all who wait for it.
    async fn read_again(&self) {
        let _turn = self.reading.lock().await;
        if !self.now().is_due() {
            return;
        }
        let tried = Instant::now();
        let answer = self.source.read(&self.issuer).await.and_then(|text| keys(&text));
        let mut read = self.read.lock().unwrap_or_else(PoisonError::into_inner);
        let (was_good, issuer) = (read.why.is_none(), &self.issuer);
        read.tried = Some(tried);
        match answer {
            Ok(keys) => {
                if !was_good {
                    tracing::info!(issuer, "the keys of an issuer were read again");
                }
                *read = Read { keys, good: Some(tried), tried: Some(tried), why: None };
            }
            Err(why) => {
                if was_good {
                    tracing::warn!(issuer, why, "the keys of an issuer cannot be read");
                }
                read.why = Some(why);
            }
        }
    }
}

impl KeySource {
    /// The JWK set, as a text.
    async fn read(&self, issuer: &str) -> Result<Vec<u8>, String> {
        let (at, path) = match self {
            Self::File(path) => return read_file(path.clone()).await,
            Self::Url(at, path) => (at.clone(), path.clone()),
            Self::Discovered(at, path) => {
                let found = at.get(path).await?.json()?;
                if found["issuer"] != *issuer {
                    return Err(format!("{at}{path} is of another issuer"));
                }
                let url = found["jwks_uri"].as_str().unwrap_or_default();
                Self::place(url).map_err(|why| format!("jwks_uri in {at}{path} {why}"))?
            }
        };
        Ok(at.get(&path).await?.json()?.to_string().into_bytes())
    }
}

async fn read_file(path: PathBuf) -> Result<Vec<u8>, String> {
    let shown = path.display().to_string();
    let read = tokio::task::spawn_blocking(move || {
        let length = std::fs::metadata(&path)?.len();
        if length > FILE_BYTES_MAX {
            return Err(std::io::Error::other("it is too long"));
        }
        std::fs::read(path)
    });
    let read = read.await.map_err(|error| error.to_string())?;
    read.map_err(|error| format!("{shown}: {error}"))
}

/// The keys of a set by which tokens may be signed; what else is in it is passed over.
fn keys(text: &[u8]) -> Result<Arc<[Key]>, String> {
    let set: JwkSet = serde_json::from_slice(text).map_err(|_| "it is not a JWK set")?;
    let keys: Arc<[Key]> = set.keys.iter().filter_map(key).collect();
    if keys.is_empty() { Err("it has no key for signatures".to_owned()) } else { Ok(keys) }
}

fn key(jwk: &Jwk) -> Option<Key> {
    let common = &jwk.common;
    let signs = common.public_key_use.as_ref().is_none_or(|it| *it == PublicKeyUse::Signature);
    let verifies = common
        .key_operations
        .as_ref()
        .is_none_or(|operations| operations.contains(&KeyOperations::Verify));
    let algorithm = match &common.key_algorithm {
        None => None,
        Some(named) => Some(super::IssuerConfig::algorithm(&named.to_string())?),
    };
    let public = DecodingKey::from_jwk(jwk).ok()?;
    let is_public = public.family() != jsonwebtoken::AlgorithmFamily::Hmac;
    let fits = signs && verifies && is_public;
    fits.then(|| Key { id: common.key_id.clone(), algorithm, public })
}

fn choose(keys: &[Key], kid: Option<&str>, algorithm: Algorithm) -> Option<DecodingKey> {
    let mut fitting = keys.iter().filter(|key| {
        let named = kid.is_none_or(|kid| key.id.as_deref() == Some(kid));
        let is_for = key.algorithm.is_none_or(|only| only == algorithm);
        named && is_for && key.public.family() == algorithm.family()
    });
    match (fitting.next(), fitting.next(), kid) {
        (Some(_), Some(_), None) => None,
        (first, ..) => first.map(|key| key.public.clone()),
    }
}
