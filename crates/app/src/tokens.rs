//! Tokens: who may do what through a server.
//!
//! A token is 256 random bits, shown once, when it is made. The configuration keeps its SHA-256.
//! That is enough, and an expensive hash like argon2 would add nothing: those are for passwords,
//! which can be guessed; 256 random bits cannot, whoever has the hash.

use std::fmt;
use std::str::FromStr;

use rehome_domain::ids::TenantId;
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

use crate::error::AppError;

/// What tokens begin with, so that people and scanners for secrets know one when they see it.
pub const PREFIX: &str = "rehome_";
/// Most bytes of a token's name.
const NAME_BYTES_MAX: usize = 64;

/// What the bearer of a token may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Append and read the events of one tenant, and nothing else.
    Tenant(TenantId),
    /// Look at migrations, stores and tenants; no events.
    Viewer,
    /// The same, and run migrations.
    Operator,
    /// Everything: events of all tenants, purges and recoveries too.
    Admin,
}

impl Role {
    /// The role of that name; `tenant` goes with the role of that name and with no other.
    pub fn parse(name: &str, tenant: Option<TenantId>) -> Result<Self, &'static str> {
        match (name, tenant) {
            ("tenant", Some(tenant)) => Ok(Self::Tenant(tenant)),
            ("tenant", None) => Err("the role tenant needs a tenant"),
            ("viewer" | "operator" | "admin", Some(_)) => Err("only the role tenant has a tenant"),
            ("viewer", None) => Ok(Self::Viewer),
            ("operator", None) => Ok(Self::Operator),
            ("admin", None) => Ok(Self::Admin),
            _ => Err("the roles are viewer, operator, admin and tenant"),
        }
    }

    /// Its name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Tenant(_) => "tenant",
            Self::Viewer => "viewer",
            Self::Operator => "operator",
            Self::Admin => "admin",
        }
    }
}

/// The SHA-256 of a token.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct TokenHash([u8; 32]);

impl TokenHash {
    /// The hash of a token's text.
    pub fn of(token: &str) -> Self {
        Self(Sha256::digest(token.as_bytes()).into())
    }

    /// Whether both are the same, in a time that does not tell how much of them is.
    pub fn matches(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
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

/// A token, as the configuration keeps it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Token {
    /// Who, in logs.
    pub name: String,
    /// What its bearer may do.
    pub role: Role,
    /// What tells it.
    pub hash: TokenHash,
}

impl Token {
    /// Checks the name: it stands in logs of migrations.
    pub fn new(name: String, role: Role, hash: TokenHash) -> Result<Self, &'static str> {
        let fits = |b: u8| b.is_ascii_alphanumeric() || b"._-@".contains(&b);
        if name.is_empty() || name.len() > NAME_BYTES_MAX || !name.bytes().all(fits) {
            return Err("a name is 1 to 64 letters, digits and . _ - @");
        }
        Ok(Self { name, role, hash })
    }

    /// Makes a new one; answers it with its text, which nothing keeps.
    pub fn create(name: String, role: Role) -> Result<(Self, String), AppError> {
        let mut random = [0; 32];
        getrandom::fill(&mut random)
            .map_err(|error| AppError::failed("no_randomness", error.to_string()))?;
        let mut text = PREFIX.to_owned();
        // Writing to a String cannot fail.
        let _ = hex(&random, &mut text);
        let token = Self::new(name, role, TokenHash::of(&text)).map_err(|problem| {
            AppError::new(crate::error::Kind::Usage, "bad_token_name", problem)
        })?;
        Ok((token, text))
    }

    /// The lines of the configuration that let it in; without them it is worth nothing.
    pub fn lines(&self) -> String {
        let tenant = match self.role {
            Role::Tenant(tenant) => format!("tenant = \"{tenant}\"\n"),
            _ => String::new(),
        };
        format!(
            "[[auth.tokens]]\nname = \"{}\"\nrole = \"{}\"\n{tenant}sha256 = \"{}\"\n",
            self.name,
            self.role.as_str(),
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

    #[test]
    fn a_tenant_belongs_to_the_role_of_that_name_only() {
        let tenant = TenantId::new(uuid::Uuid::nil());
        assert_eq!(Role::parse("tenant", Some(tenant)), Ok(Role::Tenant(tenant)));
        assert!(Role::parse("tenant", None).is_err());
        assert!(Role::parse("admin", Some(tenant)).is_err());
        assert!(Role::parse("root", None).is_err());
    }
}
