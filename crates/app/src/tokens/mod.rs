//! Tokens: the rights of callers of a server.
//!
//! A token is 256 random bits, shown once at its creation. The configuration, or the control plane, stores
//! its SHA-256. An expensive hash like argon2 would add nothing: it protects passwords,
//! which can be guessed; 256 random bits cannot, even by someone who has the hash.

use std::fmt;
use std::str::FromStr;

use rehome_api::Time;
use rehome_api::duration::Millis;
use rehome_domain::event::Timestamp;
use rehome_ports::SecretHash;
use rehome_ports::clock::{Clock as _, SystemClock};
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

use crate::error::AppError;

/// What tokens begin with, so that people and scanners for secrets know one when they see it.
pub const PREFIX: &str = "rehome_";
/// Most bytes of a token's name.
const NAME_BYTES_MAX: usize = 64;
/// The beginning of the year 9999, in microseconds since 1970.
const YEAR_9999: i64 = 253_370_764_800_000_000;

mod grant;

pub use grant::{Grant, Role};

pub(crate) fn later(now: Timestamp, length: Millis) -> Timestamp {
    let micros = i64::try_from(length.0).unwrap_or(i64::MAX).saturating_mul(1_000);
    // Times beyond the representable range never come.
    Timestamp::from_micros(now.micros().saturating_add(micros).min(YEAR_9999))
}

/// The SHA-256 of a token.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct TokenHash([u8; 32]);

impl TokenHash {
    /// The hash of a token's text.
    pub fn of(token: &str) -> Self {
        Self(Sha256::digest(token.as_bytes()).into())
    }

    /// Constant-time comparison.
    pub fn matches(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }

    /// In the control plane's form.
    pub const fn kept(&self) -> SecretHash {
        SecretHash::new(self.0)
    }

    /// From the control plane's form.
    pub const fn from_kept(kept: &SecretHash) -> Self {
        Self(*kept.as_bytes())
    }
}

impl FromStr for TokenHash {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        if text.len() != 64 || !text.bytes().all(|b| b.is_ascii_hexdigit()) {
            return Err(());
        }
        let mut bytes = [0; 32];
        for (i, byte) in bytes.iter_mut().enumerate() {
            *byte = u8::from_str_radix(&text[2 * i..2 * i + 2], 16).map_err(drop)?;
        }
        Ok(Self(bytes))
    }
}

impl fmt::Display for TokenHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        hex(&self.0, f)
    }
}

impl fmt::Debug for TokenHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("<a hash>")
    }
}

fn hex(bytes: &[u8], out: &mut impl fmt::Write) -> fmt::Result {
    bytes.iter().try_for_each(|byte| write!(out, "{byte:02x}"))
}

/// A secret of 256 random bits, as a text that begins with `prefix`.
pub fn secret(prefix: &str) -> Result<String, AppError> {
    let mut random = [0; 32];
    getrandom::fill(&mut random)
        .map_err(|error| AppError::failed("no_randomness", error.to_string()))?;
    let mut text = prefix.to_owned();
    // Writing to a String cannot fail.
    let _ = hex(&random, &mut text);
    Ok(text)
}

/// Checks the name of a token, which appears in logs of migrations.
pub fn check_name(name: &str) -> Result<(), &'static str> {
    let fits = |b: u8| b.is_ascii_alphanumeric() || b"._-@".contains(&b);
    if name.is_empty() || name.len() > NAME_BYTES_MAX || !name.bytes().all(fits) {
        return Err("a name is 1 to 64 letters, digits and . _ - @");
    }
    Ok(())
}

/// A token in a configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Token {
    /// Who, in logs.
    pub name: String,
    /// What its bearer may do.
    pub grant: Grant,
    /// Its hash.
    pub hash: TokenHash,
    /// From when on it is worth nothing.
    pub expires_at: Option<Timestamp>,
}

impl Token {
    /// One that does not expire.
    pub fn new(
        name: String,
        grant: impl Into<Grant>,
        hash: TokenHash,
    ) -> Result<Self, &'static str> {
        check_name(&name)?;
        Ok(Self { name, grant: grant.into(), hash, expires_at: None })
    }

    /// Creates a token; returns it with its secret, which is not stored.
    pub fn create(name: String, grant: impl Into<Grant>) -> Result<(Self, String), AppError> {
        let text = secret(PREFIX)?;
        let token = Self::new(name, grant, TokenHash::of(&text)).map_err(|problem| {
            AppError::new(crate::error::Kind::Usage, "bad_token_name", problem)
        })?;
        Ok((token, text))
    }

    /// The same, worth nothing after so long.
    #[must_use]
    pub fn expiring_in(self, length: Option<Millis>) -> Self {
        let expires_at = length.map(|length| later(SystemClock.now(), length));
        Self { expires_at, ..self }
    }

    /// The lines of the configuration that let it in; without them it is worth nothing.
    pub fn lines(&self) -> String {
        let expires = self
            .expires_at
            .map_or(String::new(), |end| format!("expires_at = \"{}\"\n", Time(end.micros())));
        format!(
            "[[auth.tokens]]\nname = \"{}\"\nrole = \"{}\"\n{}{expires}sha256 = \"{}\"\n",
            self.name,
            self.grant.role().as_str(),
            self.grant.lines(),
            self.hash
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_told_by_its_hash_and_its_text_is_not_kept() {
        let (token, text) = Token::create("ops".to_owned(), Role::Operator).unwrap();
        assert_eq!(text.len(), PREFIX.len() + 64);
        assert!(token.hash.matches(&TokenHash::of(&text)));
        assert!(!token.hash.matches(&TokenHash::of(&text[1..])));
        assert!(!format!("{token:?}{}", token.lines()).contains(&text[PREFIX.len()..]));
        let (_, other) = Token::create("ops".to_owned(), Role::Operator).unwrap();
        assert_ne!(text, other);
    }

    #[test]
    fn hashes_are_read_as_they_are_written() {
        let hash = TokenHash::of("x");
        assert_eq!(hash.to_string().parse(), Ok(hash));
        for text in ["", "00", &"+1".repeat(32), &"g".repeat(64), &"é".repeat(32), &"0".repeat(65)]
        {
            assert_eq!(text.parse::<TokenHash>(), Err(()), "{text}");
        }
    }

    #[test]
    fn a_name_cannot_break_out_of_where_it_is_written() {
        for name in ["", "a b", "a\"", "a\nb", "a: b", &"a".repeat(65)] {
            assert!(Token::create(name.to_owned(), Role::Viewer).is_err(), "{name}");
        }
    }
}
