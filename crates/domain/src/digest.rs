//! The hash chain over a tenant's history.
//!
//! `digest(n) = SHA-256(digest(n-1) ‖ canonical(event n))`, `digest(0)` = 32 zero bytes. The chain
//! covers the SHA-256 of data and metadata and not the texts themselves, so that a payload can be
//! erased one day with its hash kept in its place and the history still verifies. The construction
//! is the one of certificate logs and of Git: whoever holds the head holds the whole history.

use std::fmt;
use std::str::FromStr;

use sha2::{Digest as _, Sha256};

use crate::event::Event;

/// A SHA-256 over a history up to some event.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Digest([u8; 32]);

impl Digest {
    /// The digest of the empty history.
    pub const EMPTY: Self = Self([0; 32]);

    /// Wraps 32 bytes read from a store.
    pub const fn new(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// Reads the 32 bytes back; `None` when there are not 32.
    pub fn from_slice(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(Self)
    }

    /// The 32 bytes.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

/// The digest after `event`, given the digest before it. `event.digest` is not read.
pub fn chain(previous: &Digest, event: &Event) -> Digest {
    let mut hash = Sha256::new();
    hash.update(previous.0);
    hash.update(event.seq.to_be_bytes());
    update_text(&mut hash, event.stream.stream_type());
    update_text(&mut hash, event.stream.stream_id());
    hash.update(event.version.to_be_bytes());
    hash.update(event.id.as_bytes());
    update_text(&mut hash, &event.event_type);
    hash.update(event.occurred_at.micros().to_be_bytes());
    hash.update(event.recorded_at.micros().to_be_bytes());
    hash.update(Sha256::digest(event.data.as_str()));
    hash.update(Sha256::digest(event.metadata.as_str()));
    Digest(hash.finalize().into())
}

fn update_text(hash: &mut Sha256, text: &str) {
    let bytes =
        u32::try_from(text.len()).expect("names and types are at most a few thousand bytes");
    hash.update(bytes.to_be_bytes());
    hash.update(text.as_bytes());
}

/// SHA-256 of several parts one after the other; for chains over other records than events.
pub fn sha256(parts: &[&[u8]]) -> Digest {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update(part);
    }
    Digest(hash.finalize().into())
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The text is not 64 hexadecimal digits.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a digest is 64 hexadecimal digits")]
pub struct InvalidDigest;

impl FromStr for Digest {
    type Err = InvalidDigest;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.len() != 64 || !text.bytes().all(|b| b.is_ascii_hexdigit()) {
            return Err(InvalidDigest);
        }
        let mut bytes = [0; 32];
        for (byte, pair) in bytes.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
            let pair = std::str::from_utf8(pair).map_err(|_| InvalidDigest)?;
            *byte = u8::from_str_radix(pair, 16).map_err(|_| InvalidDigest)?;
        }
        Ok(Self(bytes))
    }
}
