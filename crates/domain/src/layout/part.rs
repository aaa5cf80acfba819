//! Which parts of an event a column has.

use std::fmt;

use super::{Layout, TenantPart};

/// A part of an event that a column of another library's table has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Part {
    /// The tenant.
    Tenant,
    /// The tenant, under this key of an object of JSON.
    TenantUnder(String),
    /// The tenant, before this separator.
    TenantBefore(String),
    /// The type of the stream.
    StreamType,
    /// One of the columns that name the stream, from 0 on.
    StreamId(usize),
    /// The version in the stream, which is this for its first event.
    Version(u8),
    /// The event's id.
    EventId,
    /// The event's type.
    EventType,
    /// When it happened.
    OccurredAt,
    /// When it was recorded.
    RecordedAt,
    /// The content.
    Data,
    /// The metadata.
    Metadata,
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tenant => f.write_str("tenant"),
            Self::TenantUnder(key) => write!(f, "tenant under the key \"{key}\""),
            Self::TenantBefore(separator) => write!(f, "tenant before \"{separator}\""),
            Self::StreamType => f.write_str("stream_type"),
            Self::StreamId(n) => write!(f, "stream_id {}", n + 1),
            Self::Version(_) => f.write_str("version"),
            Self::EventId => f.write_str("event_id"),
            Self::EventType => f.write_str("event_type"),
            Self::OccurredAt => f.write_str("occurred_at"),
            Self::RecordedAt => f.write_str("recorded_at"),
            Self::Data => f.write_str("data"),
            Self::Metadata => f.write_str("metadata"),
        }
    }
}

impl Layout {
    /// The parts that a copied column has, in a fixed order. A column without any is copied by its name.
    pub fn parts_of(&self, column: &str) -> Vec<Part> {
        let mut parts = Vec::new();
        match &self.tenant {
            TenantPart::Column(name) if name == column => parts.push(Part::Tenant),
            TenantPart::Json { column: name, key } if name == column => {
                parts.push(Part::TenantUnder(key.clone()));
            }
            TenantPart::Prefix { separator }
                if self.stream_id.first().is_some_and(|it| it == column) =>
            {
                parts.push(Part::TenantBefore(separator.clone()));
            }
            TenantPart::Column(_) | TenantPart::Json { .. } | TenantPart::Prefix { .. } => {}
        }
        let of_stream = (0..).zip(&self.stream_id).filter(|(_, name)| *name == column);
        parts.extend(of_stream.map(|(n, _)| Part::StreamId(n)));
        let optional = [
            (Part::StreamType, &self.stream_type),
            (Part::EventId, &self.event_id),
            (Part::OccurredAt, &self.occurred_at),
            (Part::RecordedAt, &self.recorded_at),
            (Part::Metadata, &self.metadata),
        ];
        let optional = optional.into_iter().filter_map(|(part, name)| Some((part, name.as_ref()?)));
        let named = [
            (Part::Version(self.first_version), &self.version),
            (Part::EventType, &self.event_type),
            (Part::Data, &self.data),
        ];
        let found = optional.chain(named).filter(|(_, name)| *name == column);
        parts.extend(found.map(|(part, _)| part));
        parts
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_column_may_have_several_parts_and_one_that_is_not_named_has_none() {
        let mut layout = Layout::built_in("eventsource-py").unwrap();
        assert_eq!(layout.parts_of("tenant_id"), [Part::Tenant]);
        assert_eq!(layout.parts_of("version"), [Part::Version(1)]);
        assert_eq!(layout.parts_of("aggregate_id"), [Part::StreamId(0)]);
        assert_eq!(layout.parts_of("actor_id"), []);
        layout.stream_id = vec!["tenant_id".to_owned(), "aggregate_id".to_owned()];
        assert_eq!(layout.parts_of("tenant_id"), [Part::Tenant, Part::StreamId(0)]);
        assert_eq!(layout.parts_of("aggregate_id"), [Part::StreamId(1)]);
        layout.tenant = TenantPart::Prefix { separator: "-".to_owned() };
        let before = Part::TenantBefore("-".to_owned());
        assert_eq!(layout.parts_of("tenant_id"), [before, Part::StreamId(0)]);
        layout.tenant = TenantPart::Json { column: "payload".to_owned(), key: "t".to_owned() };
        let under = Part::TenantUnder("t".to_owned());
        assert_eq!(layout.parts_of("payload"), [under, Part::Data]);
    }
}
