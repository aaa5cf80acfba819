//! The few names that the model's one tenant needs, as the domain's types.

use rehome_domain::append::Append;
use rehome_domain::event::{EventType, Json, NewEvent, Timestamp};
use rehome_domain::ids::{EventId, MigrationId, StoreId, TenantId};
use rehome_domain::stream::{ExpectedVersion, StreamName};

/// One of the two stores.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Site {
    /// The default store, where the tenant is created.
    A = 0,
    /// The other one.
    B = 1,
}

impl Site {
    /// Both.
    pub const ALL: [Self; 2] = [Self::A, Self::B];

    /// The store that a row names.
    pub(crate) fn of(store: &StoreId) -> Self {
        if store.as_str() == "a" { Self::A } else { Self::B }
    }

    /// The name for a row.
    pub(crate) fn id(self) -> StoreId {
        let name = match self {
            Self::A => "a",
            Self::B => "b",
        };
        name.parse().expect("one letter is a store's name")
    }

    /// The one that this one is not.
    pub(crate) const fn other(self) -> Self {
        match self {
            Self::A => Self::B,
            Self::B => Self::A,
        }
    }
}

/// A number for each event that a writer has. Its id, fixed before the first send, is made of it.
pub type Write = u8;

/// The event that a lone process appends to show that the tenant can be written to.
pub const PROBE: Write = 7;

/// The model has no clock: every record has this time.
pub(crate) const NOW: Timestamp = Timestamp::from_micros(0);

pub(crate) fn tenant() -> TenantId {
    TenantId::from_slice(&[7; 16]).expect("sixteen bytes")
}

pub(crate) fn migration_id(n: u8) -> MigrationId {
    MigrationId::from_slice(&[n; 16]).expect("sixteen bytes")
}

pub(crate) fn event_id(write: Write) -> EventId {
    EventId::from_slice(&[write; 16]).expect("sixteen bytes")
}

/// The append of one event; `expected` is the version that the writer believes in, if any.
pub(crate) fn append_of(write: Write, expected: Option<u64>) -> Append {
    Append {
        stream: StreamName::new("s", "1").expect("a good name"),
        expected: expected.map_or(ExpectedVersion::Any, ExpectedVersion::Exact),
        events: vec![NewEvent {
            id: event_id(write),
            event_type: EventType::new("e").expect("a good name"),
            occurred_at: None,
            recorded_at: None,
            data: Json::trusted("{}"),
            metadata: Json::trusted("{}"),
        }],
    }
}
