//! The hash chain over a tenant's history.
//!
//! `digest(n) = SHA-256(digest(n-1) ‖ canonical(event n))`, `digest(0)` = 32 zero bytes. The chain
//! covers the SHA-256 of data and metadata and not the texts themselves, so that a later version can
//! erase a payload and keep its hash, and the history still verifies. Certificate logs and Git use the same
//! construction: the head identifies the whole history.

use std::fmt;
use std::str::FromStr;

use sha2::{Digest as _, Sha256};

use crate::event::{Event, Json, NewEvent};
use crate::ids::EventId;
use crate::stream::StreamName;

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

/// The digest after `event`, given the digest before it. `event.digest` is not read. For a row of another
/// library's table, the chain covers all copied columns: `SHA-256(digest(n-1) ‖ seq ‖ SHA-256(row))`. This input is
/// shorter than that of any event in rehome's tables, so the two cannot be confused.
pub fn chain(previous: &Digest, event: &Event) -> Digest {
    match &event.row {
        Some(row) => sha256(&[&previous.0, &event.seq.to_be_bytes(), &row.digest().0]),
        None => chain_parts(previous, event),
    }
}

/// A digest of what an event is without a row: all its parts. A store with rehome's own tables keeps it with the event's row, which
/// the chain covers instead of the parts.
pub fn contents(event: &Event) -> Digest {
    chain_parts(&Digest::EMPTY, event)
}

fn chain_parts(previous: &Digest, event: &Event) -> Digest {
    let mut hash = Sha256::new();
    hash.update(previous.0);
    hash.update(event.seq.to_be_bytes());
    stream_part(&event.stream, |bytes| hash.update(bytes));
    hash.update(event.version.to_be_bytes());
    kind_part(event.id, &event.event_type, |bytes| hash.update(bytes));
    hash.update(event.occurred_at.micros().to_be_bytes());
    hash.update(event.recorded_at.micros().to_be_bytes());
    hash.update(payload_part(&event.data, &event.metadata));
    Digest(hash.finalize().into())
}

/// The input of [`chain`] for an event that has no number yet, for a store that numbers and chains where
/// its rows are: `digest(n) = SHA-256(digest(n-1) ‖ seq ‖ stream ‖ version ‖ kind ‖ occurred_at ‖
/// recorded_at ‖ payload)`, numbers as 8 bytes with the most significant first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parts {
    /// The stream's type and id, each after its length.
    pub stream: Vec<u8>,
    /// The event's id, and its type after its length.
    pub kind: Vec<u8>,
    /// The hashes of data and metadata.
    pub payload: [u8; 64],
}

impl Parts {
    /// The parts of an event that is to be appended to a stream.
    pub fn of(stream: &StreamName, event: &NewEvent) -> Self {
        let (mut of_stream, mut kind) = (Vec::new(), Vec::new());
        stream_part(stream, |bytes| of_stream.extend_from_slice(bytes));
        kind_part(event.id, &event.event_type, |bytes| kind.extend_from_slice(bytes));
        Self { stream: of_stream, kind, payload: payload_part(&event.data, &event.metadata) }
    }
}

fn stream_part(stream: &StreamName, mut put: impl FnMut(&[u8])) {
    put(&length(stream.stream_type()));
    put(stream.stream_type().as_bytes());
    put(&length(stream.stream_id()));
    put(stream.stream_id().as_bytes());
}

fn kind_part(id: EventId, event_type: &str, mut put: impl FnMut(&[u8])) {
    put(id.as_bytes());
    put(&length(event_type));
    put(event_type.as_bytes());
}

fn payload_part(data: &Json, metadata: &Json) -> [u8; 64] {
    let mut hashes = [0; 64];
    hashes[..32].copy_from_slice(&Sha256::digest(data.as_str()));
    hashes[32..].copy_from_slice(&Sha256::digest(metadata.as_str()));
    hashes
}

fn length(text: &str) -> [u8; 4] {
    u32::try_from(text.len())
        .expect("names and types are at most a few thousand bytes")
        .to_be_bytes()
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
