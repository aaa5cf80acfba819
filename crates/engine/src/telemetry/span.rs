//! A span, and the source of its identity.
//!
//! The trace id of a migration has the bytes of its id; a phase's span id is a hash of the migration, the
//! phase, and the number of cutovers before it. So every process that works on a migration, also after a
//! restart, computes the same parents without storing or passing anything. The ids of leaves
//! (batches, commits, parts of a cutover) are a hash that includes the time.

use rehome_domain::event::Timestamp;
use rehome_domain::ids::TenantId;
use rehome_domain::migration::{Migration, Phase};

use super::names::attribute;

/// A span that is over, ready to be sent.
#[derive(Clone, Debug, PartialEq)]
pub struct Span {
    /// The trace: the migration's id.
    pub trace: [u8; 16],
    /// The span, unique in the trace.
    pub id: [u8; 8],
    /// Its parent; `None` for the root.
    pub parent: Option<[u8; 8]>,
    /// One of [`super::names::span`].
    pub name: &'static str,
    /// When it began.
    pub start: Timestamp,
    /// When it ended; not before `start`.
    pub end: Timestamp,
    /// Its attributes.
    pub attributes: Vec<Attribute>,
    /// What happened within it, in order.
    pub events: Vec<SpanEvent>,
    /// Why it failed, if it did.
    pub error: Option<Box<str>>,
    /// What a commit of the mirror wrote: links to the callers are found by it.
    pub mirrored: Option<Mirrored>,
}

/// A key and its value.
pub type Attribute = (&'static str, Value);

/// The value of an attribute.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// A text.
    Text(Box<str>),
    /// A number that does not go below 0.
    Number(u64),
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::Text(text.into())
    }
}

impl From<u64> for Value {
    fn from(number: u64) -> Self {
        Self::Number(number)
    }
}

/// Something that happened within a span.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SpanEvent {
    /// What: a fact's name.
    pub name: &'static str,
    /// The time.
    pub at: Timestamp,
    /// More about it.
    pub attributes: Vec<Attribute>,
}

/// The events that a commit of the mirror wrote.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mirrored {
    /// The tenant.
    pub tenant: TenantId,
    /// The position before the first.
    pub after: u64,
    /// The position of the last.
    pub upto: u64,
}

impl Span {
    /// A span of this migration, with the attributes that all have.
    pub(super) fn new(
        migration: &Migration,
        id: [u8; 8],
        parent: Option<[u8; 8]>,
        name: &'static str,
        phase: Phase,
        (start, end): (Timestamp, Timestamp),
    ) -> Self {
        Self {
            trace: *migration.id.as_bytes(),
            id,
            parent,
            name,
            start,
            end: end.max(start),
            attributes: vec![
                (attribute::ID, migration.id.to_string().as_str().into()),
                (attribute::TENANT, migration.tenant.to_string().as_str().into()),
                (attribute::PHASE, phase.as_str().into()),
                (attribute::SOURCE, migration.source.as_str().into()),
                (attribute::TARGET, migration.target.as_str().into()),
            ],
            events: Vec::new(),
            error: None,
            mirrored: None,
        }
    }

    pub(super) fn with(mut self, key: &'static str, value: impl Into<Value>) -> Self {
        self.attributes.push((key, value.into()));
        self
    }
}

/// The id of the span of that name: `number` distinguishes spans of the same name.
pub(super) fn span_id(migration: &Migration, name: &str, number: u64) -> [u8; 8] {
    match hash(migration, name, number) {
        // All zeros is no id.
        0 => [1; 8],
        id => id.to_be_bytes(),
    }
}

/// Whether a leaf is in the sampled `ratio` (0.0 to 1.0): the same in every process.
pub(super) fn is_sampled(migration: &Migration, name: &str, number: u64, ratio: f64) -> bool {
    const FULL: f64 = u64::MAX as f64;
    ratio >= 1.0 || (hash(migration, name, number) as f64) < ratio * FULL
}

/// FNV-1a over 64 bits, its bits mixed once more as the finalizer of MurmurHash3 does. The same in
/// every build, which the standard library's hasher does not promise.
fn hash(migration: &Migration, name: &str, number: u64) -> u64 {
    let bytes = migration.id.as_bytes().iter().chain(name.as_bytes());
    let number = number.to_be_bytes();
    let mut hash = bytes.chain(&number).fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    });
    hash = (hash ^ hash >> 33).wrapping_mul(0xff51_afd7_ed55_8ccd);
    hash = (hash ^ hash >> 33).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    hash ^ hash >> 33
}
