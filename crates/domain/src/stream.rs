//! Streams: the unit of optimistic concurrency inside a tenant.

use std::fmt;

/// Maximum size of a stream's type and id together, in bytes, the same in every store.
pub const STREAM_NAME_BYTES_MAX: usize = 1_024;

/// A stream's type and id: non-empty UTF-8 without NUL, compared byte by byte, never normalised.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StreamName {
    stream_type: Box<str>,
    stream_id: Box<str>,
}

/// Why a pair of texts names no stream.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidStreamName {
    /// One of the two is empty.
    #[error("stream {0} is empty")]
    Empty(&'static str),
    /// One of the two holds U+0000, which PostgreSQL text cannot keep.
    #[error("stream {0} contains a NUL character")]
    Nul(&'static str),
    /// Together they are over [`STREAM_NAME_BYTES_MAX`].
    #[error("stream type and id have {0} bytes together; the maximum is {STREAM_NAME_BYTES_MAX}")]
    TooLong(usize),
}

impl StreamName {
    /// Validates the two texts.
    pub fn new(
        stream_type: impl Into<Box<str>>,
        stream_id: impl Into<Box<str>>,
    ) -> Result<Self, InvalidStreamName> {
        let (stream_type, stream_id) = (stream_type.into(), stream_id.into());
        for (which, text) in [("type", &stream_type), ("id", &stream_id)] {
            if text.is_empty() {
                return Err(InvalidStreamName::Empty(which));
            }
            if text.contains('\0') {
                return Err(InvalidStreamName::Nul(which));
            }
        }
        let bytes = stream_type.len() + stream_id.len();
        if bytes > STREAM_NAME_BYTES_MAX {
            return Err(InvalidStreamName::TooLong(bytes));
        }
        Ok(Self { stream_type, stream_id })
    }

    /// The kind of thing the stream is about, for example `order`.
    pub fn stream_type(&self) -> &str {
        &self.stream_type
    }

    /// Which one of that kind.
    pub fn stream_id(&self) -> &str {
        &self.stream_id
    }
}

impl fmt::Display for StreamName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.stream_type.escape_debug(), self.stream_id.escape_debug())
    }
}

impl fmt::Debug for StreamName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

/// What a writer believes about a stream before it appends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExpectedVersion {
    /// Append whatever is there.
    Any,
    /// The stream has no event yet.
    NoStream,
    /// The stream's last event has exactly this version (0: no event yet).
    Exact(u64),
}

impl ExpectedVersion {
    /// Whether a stream at `actual` (0: no event) is what the writer expects.
    pub const fn accepts(self, actual: u64) -> bool {
        match self {
            Self::Any => true,
            Self::NoStream => actual == 0,
            Self::Exact(expected) => expected == actual,
        }
    }
}
