//! The contract of [`AccessRegistry`]; [`access_registry_contract!`] runs it.
//!
//! [`access_registry_contract!`]: crate::access_registry_contract

pub mod sessions;
pub mod tokens;

use std::sync::Arc;

use rehome_domain::event::Timestamp;
use rehome_domain::ids::TokenId;

use super::kit::{event_id, store_id, tenant};
use crate::{AccessContents, AccessRegistry, AccessScope, AccessToken, Revocation, SecretHash};

/// A registry under test.
pub type Registry = Arc<dyn AccessRegistry>;

/// The hash of the `n`th secret.
pub fn hash(n: u8) -> SecretHash {
    SecretHash::new([n; 32])
}

/// The `n`th second.
pub fn second(n: i64) -> Timestamp {
    Timestamp::from_micros(1_767_225_600_000_000 + n * 1_000_000)
}

/// The `n`th token, made in the `n`th second, with all that a token can have.
pub fn token(n: u8) -> AccessToken {
    AccessToken {
        id: TokenId::new(event_id(n.into()).uuid()),
        name: format!("name-{n}"),
        role: "operator".to_owned(),
        scope: AccessScope {
            tenants: vec![tenant(1), tenant(n.into())],
            stores: vec![store_id("shared"), store_id("dedicated")],
            read_only: n.is_multiple_of(2),
        },
        hash: hash(n),
        created_at: second(n.into()),
        created_by: "an operator at a host: because \u{1f511}".to_owned(),
        expires_at: Some(second(1_000)),
        revoked: None,
        last_used_at: None,
    }
}

/// An operator acted in the `n`th second.
pub fn by(name: &str, n: i64) -> Revocation {
    Revocation { at: second(n), by: name.to_owned() }
}

/// All of it, and its revision.
pub async fn all(registry: &Registry) -> (u64, AccessContents) {
    let access = registry.access(None).await.unwrap();
    (access.rev, access.contents.unwrap())
}
