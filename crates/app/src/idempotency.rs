//! The one way in which a start can be repeated: the id of what it starts, a migration or a drain, is derived from the
//! client's key, so that is the only record that is needed. It outlives a lost response, a restart and a change of server.

use sha2::{Digest as _, Sha256};
use uuid::Uuid;

use crate::error::{AppError, Kind};

/// A key that a client chose to make a request repeatable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdempotencyKey {
    who: String,
    key: String,
}

impl IdempotencyKey {
    /// A key, and whose it is: the same key of another is another.
    pub fn new(who: impl Into<String>, key: impl Into<String>) -> Self {
        Self { who: who.into(), key: key.into() }
    }

    /// The id of what the request starts: a UUID of version 8 (RFC 9562).
    pub(crate) fn id(&self, deployment: &str) -> Uuid {
        let mut hash = Sha256::new();
        for part in ["rehome idempotency key", deployment, &self.who, &self.key] {
            hash.update((part.len() as u64).to_be_bytes());
            hash.update(part);
        }
        let hash: [u8; 32] = hash.finalize().into();
        let mut bytes = [0; 16];
        bytes.copy_from_slice(&hash[..16]);
        uuid::Builder::from_custom_bytes(bytes).into_uuid()
    }
}

/// The key was used before, for something else.
pub(crate) fn reused() -> AppError {
    let message = "the idempotency key was used for another start; use a new one";
    AppError::new(Kind::Refused, "key_reused", message)
}
