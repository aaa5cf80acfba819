//! People with a token of an issuer that the deployment trusts (OpenID Connect): their identity, and
//! their rights.
//!
//! ```text
//! a bearer's text ─▶ issuer (by `iss`) ─▶ keys (JWKS, cached and refreshed) ─▶ signature, issuer, audience, time
//!                                                                                     │
//!                                                     Person: name, grant, end ◀─ claims ◀┘
//! ```
//!
//! | file | contents |
//! |---|---|
//! | `keys` | an issuer's keys: where they are read, how long they are trusted |
//! | `crypto` | how signatures are checked |
//! | `claims` | the mapping from claims to roles, tenants and stores |
//!
//! The token names the key, and the key determines how it is used: an algorithm is accepted only
//! if the configuration lists it, and `none` and shared secrets never. Sources: RFC 7519 (JWT), RFC 7517 (JWK),
//! RFC 8725 (best practices), OpenID Connect Core 1.0.

mod claims;
mod crypto;
mod keys;
#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use jsonwebtoken::{Algorithm, DecodingKey, Validation, dangerous, decode, decode_header};
use rehome_domain::event::Timestamp;
use rehome_ports::clock::{Clock as _, SystemClock};
use serde_json::Value;

pub use claims::{RoleRule, StoresOf, TenantsOf};
pub use keys::KeySource;

use crate::tokens::Grant;
use keys::Keys;

/// Maximum length of a token, in bytes.
const TOKEN_BYTES_MAX: usize = 16 << 10;
/// The algorithms that are accepted unless others are configured.
const ALGORITHMS: [Algorithm; 4] =
    [Algorithm::RS256, Algorithm::PS256, Algorithm::ES256, Algorithm::EdDSA];

/// An issuer that is trusted, as configured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IssuerConfig {
    /// Its name: the claim `iss`, to the byte.
    pub issuer: String,
    /// The accepted audiences: one of them must be in the claim `aud`.
    pub audience: Vec<String>,
    /// Where its keys are.
    pub keys: KeySource,
    /// The ways in which its tokens may be signed.
    pub algorithms: Vec<Algorithm>,
    /// The accepted difference between its clock and this process's.
    pub skew: Duration,
    /// The claim with the person's name, for logs.
    pub name_claim: String,
    /// What its people may; the first that fits.
    pub roles: Vec<RoleRule>,
}

impl IssuerConfig {
    /// The algorithms that are accepted unless others are configured.
    pub fn default_algorithms() -> Vec<Algorithm> {
        ALGORITHMS.to_vec()
    }

    /// The algorithm of that name, if tokens may be signed by it. Shared secrets and `none` are no such.
    pub fn algorithm(name: &str) -> Option<Algorithm> {
        name.parse().ok().filter(|algorithm| crypto::is_taken(*algorithm))
    }
}

/// Who came with a good token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Person {
    /// The name in logs: `oidc:` and the claim; no token of rehome has such a name.
    pub name: String,
    /// What they may do.
    pub grant: Grant,
    /// From when on the token is worth nothing, by the clock of this host.
    pub expires_at: Timestamp,
}

/// Why a token is refused. Contains what to do, and nothing of the token but names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refused {
    /// The token is not good, or not any more.
    Token(String),
    /// It is good, and there is nothing that it allows.
    Nothing(String),
    /// It cannot be checked now.
    NotNow(String),
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Token(why) | Self::Nothing(why) | Self::NotNow(why) => f.write_str(why),
        }
    }
}

/// All issuers that are trusted. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Issuers(Arc<[Issuer]>);

#[derive(Debug)]
struct Issuer {
    config: IssuerConfig,
    keys: Arc<Keys>,
}

impl Issuers {
    /// Those that are configured. Begins to read their keys.
    pub fn new(configured: &[IssuerConfig]) -> Self {
        crypto::install();
        let issuer = |config: &IssuerConfig| {
            let keys = Arc::new(Keys::new(&config.issuer, config.keys.clone()));
            keys.begin_reading();
            Issuer { config: config.clone(), keys }
        };
        Self(configured.iter().map(issuer).collect())
    }

    /// Whether it is these that are configured.
    pub fn are(&self, configured: &[IssuerConfig]) -> bool {
        self.0.iter().map(|issuer| &issuer.config).eq(configured)
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether a bearer's text is a token of an issuer, valid or not, and not one of rehome's.
    pub fn is_theirs(&self, text: &str) -> bool {
        !self.is_empty() && text.starts_with("eyJ") && text.split('.').count() == 3
    }

    /// Who comes with this token.
    pub async fn person(&self, text: &str) -> Result<Person, Refused> {
        let bad = |why: &str| Refused::Token(format!("the token {why}"));
        if text.len() > TOKEN_BYTES_MAX {
            return Err(bad(&format!("has more than {TOKEN_BYTES_MAX} bytes")));
        }
        let header =
            decode_header(text).map_err(|_| bad("is not a JWT with a supported signature"))?;
        let claims: Value = dangerous::insecure_decode_claims(text)
            .map_err(|_| bad("has claims that cannot be read"))?;
        let named = claims["iss"].as_str().unwrap_or_default();
        let issuer = self.0.iter().find(|issuer| issuer.config.issuer == named);
        let issuer = issuer.ok_or_else(|| {
            let known: Vec<_> = self.0.iter().map(|one| &*one.config.issuer).collect();
            bad(&format!(
                "is of an issuer that is not trusted here; get one of {}",
                known.join(", ")
            ))
        })?;
        issuer.person(text, header.alg, header.kid.as_deref()).await
    }
}

impl Issuer {
    async fn person(
        &self,
        text: &str,
        algorithm: Algorithm,
        kid: Option<&str>,
    ) -> Result<Person, Refused> {
        let issuer = &self.config.issuer;
        if !self.config.algorithms.contains(&algorithm) {
            let taken: Vec<_> = self.config.algorithms.iter().map(|it| format!("{it:?}")).collect();
            let taken = taken.join(", ");
            return Err(Refused::Token(format!(
                "the token is signed with {algorithm:?}; {issuer} is configured for {taken}"
            )));
        }
        let key = self.keys.find(kid, algorithm).await?;
        let claims = self.claims(text, &key, algorithm)?;
        let skew = i64::try_from(self.config.skew.as_secs()).unwrap_or_default();
        let now = SystemClock.now().micros() / 1_000_000;
        if claims["iat"].as_f64().is_some_and(|at| at > (now + skew) as f64) {
            return Err(Refused::Token(format!(
                "the token of {issuer} was made in the future; set the clocks of both hosts right"
            )));
        }
        let grant = claims::grant(&self.config.roles, &claims).map_err(Refused::Nothing)?;
        let end = claims["exp"].as_f64().unwrap_or_default();
        let end = Duration::try_from_secs_f64(end).unwrap_or_default().as_secs();
        let end = i64::try_from(end).unwrap_or(i64::MAX);
        let end = end.saturating_add(skew).saturating_mul(1_000_000);
        Ok(Person {
            name: claims::name(&self.config, &claims).map_err(Refused::Token)?,
            grant,
            expires_at: Timestamp::from_micros(end),
        })
    }

    /// The claims of a valid token.
    fn claims(
        &self,
        text: &str,
        key: &DecodingKey,
        algorithm: Algorithm,
    ) -> Result<Value, Refused> {
        use jsonwebtoken::errors::ErrorKind;
        let IssuerConfig { issuer, audience, skew, .. } = &self.config;
        let mut wanted = Validation::new(algorithm);
        wanted.leeway = skew.as_secs();
        wanted.validate_nbf = true;
        wanted.set_required_spec_claims(&["exp", "iss", "aud", "sub"]);
        wanted.set_audience(audience);
        wanted.set_issuer(&[issuer]);
        let decoded = decode::<Value>(text, key, &wanted);
        decoded.map(|token| token.claims).map_err(|error| {
            let why = match error.kind() {
                ErrorKind::InvalidSignature => "is not signed by it".to_owned(),
                ErrorKind::ExpiredSignature => "has expired; get a new one there".to_owned(),
                ErrorKind::ImmatureSignature => {
                    "is not good yet; wait, or set the clocks of both hosts right".to_owned()
                }
                ErrorKind::InvalidAudience => {
                    format!("has another audience; get one for {}", audience.join(" or "))
                }
                ErrorKind::MissingRequiredClaim(claim) => {
                    format!("has no claim {claim}; have the issuer add it")
                }
                ErrorKind::InvalidClaimFormat(claim) => {
                    format!("has a claim {claim} that cannot be read")
                }
                _ => "is not good".to_owned(),
            };
            Refused::Token(format!("the token of {issuer} {why}"))
        })
    }
}
