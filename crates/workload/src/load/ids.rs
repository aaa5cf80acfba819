//! Ids that identify their writer: UUIDs of version 8 (RFC 9562, section 5.8).
//!
//! ```text
//! 48 bits    4 bits  12 bits  2 bits   1 bit              61 bits
//! load       8       writer   variant  1: of a stream     number
//! ```
//!
//! The check finds the append that an event belongs to without a table of ids.

use std::fmt;

use uuid::Uuid;

/// The writer's number in the ids of streams that all writers share.
pub(super) const SHARED: u16 = 0xFFF;

const LOAD_SHIFT: u32 = 80;
const WRITER_SHIFT: u32 = 64;
const VERSION: u128 = 8 << 76;
const VARIANT: u128 = 0b10 << 62;
const STREAM: u128 = 1 << 61;
const NUMBER: u128 = STREAM - 1;

/// Distinguishes one load's ids from all others: 48 random bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LoadId(u64);

impl LoadId {
    /// One that no other load has.
    pub fn random() -> Self {
        let bits = Uuid::new_v4().as_u128() >> LOAD_SHIFT;
        Self(u64::try_from(bits).expect("48 bits are left"))
    }

    pub(super) fn event(self, writer: u16, number: u64) -> Uuid {
        self.id(writer, 0, number)
    }

    pub(super) fn stream(self, writer: u16, number: u64) -> Uuid {
        self.id(writer, STREAM, number)
    }

    fn id(self, writer: u16, kind: u128, number: u64) -> Uuid {
        let load = u128::from(self.0) << LOAD_SHIFT;
        let writer = u128::from(writer & SHARED) << WRITER_SHIFT;
        Uuid::from_u128(load | VERSION | writer | VARIANT | kind | u128::from(number) & NUMBER)
    }
}

impl fmt::Display for LoadId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:012x}", self.0)
    }
}

impl std::str::FromStr for LoadId {
    type Err = std::num::ParseIntError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        u64::from_str_radix(text, 16).map(|bits| Self(bits & 0xFFFF_FFFF_FFFF))
    }
}

/// The content of a load's id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Said {
    pub(super) load: LoadId,
    pub(super) writer: u16,
    pub(super) is_stream: bool,
    pub(super) number: u64,
}

/// Parses an id; the result is meaningful only if the load is a known one.
pub(super) fn read(id: Uuid) -> Option<Said> {
    let bits = id.as_u128();
    let ours = bits & (0xF << 76) == VERSION && bits & (0b11 << 62) == VARIANT;
    ours.then(|| Said {
        load: LoadId(u64::try_from(bits >> LOAD_SHIFT).unwrap_or_default()),
        writer: u16::try_from((bits >> WRITER_SHIFT) & 0xFFF).unwrap_or_default(),
        is_stream: bits & STREAM != 0,
        number: u64::try_from(bits & NUMBER).unwrap_or_default(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_says_who_gave_it() {
        let load = LoadId::random();
        for (id, is_stream) in [(load.event(7, 123_456), false), (load.stream(7, 123_456), true)] {
            assert_eq!(id.get_version_num(), 8);
            let said = Said { load, writer: 7, is_stream, number: 123_456 };
            assert_eq!(read(id), Some(said));
        }
        assert_eq!(load.to_string().parse(), Ok(load));
    }

    #[test]
    fn an_id_of_somebody_else_says_nothing() {
        assert_eq!(read(Uuid::new_v4()), None);
        assert_eq!(read(Uuid::now_v7()), None);
    }
}
