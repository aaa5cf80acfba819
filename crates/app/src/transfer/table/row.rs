//! A row of a source becomes a line of an import.

use rehome_api::time::Time;
use rehome_domain::append::Append;
use rehome_domain::digest::sha256;
use rehome_domain::event::{Event, EventType, Json, NewEvent, Timestamp};
use rehome_domain::ids::{EventId, TenantId};
use rehome_domain::layout::{event_id_of, tenant_of};
use rehome_domain::stream::{ExpectedVersion, StreamName};
use rehome_ports::json::{self, JsonLimits};
use rehome_ports::{Moment, SourceParts, SourceRow};

use crate::transfer::rounds::Line;

/// The type of streams that have none.
const STREAM_TYPE: &str = "stream";

/// Whose a row is. `only`: the tenant of all rows. `None`: the row names no tenant.
pub(super) fn tenant(row: &SourceRow, only: Option<TenantId>) -> Option<TenantId> {
    only.or_else(|| row.tenant.as_deref().filter(|name| !name.is_empty()).map(tenant_of))
}

/// Reads a row of a tenant. The error names all that is wrong with it, and no content.
pub(super) fn line(tenant: TenantId, row: SourceRow, parts: SourceParts) -> Result<Line, String> {
    let mut wrong = Vec::new();
    let stream_type = row.stream_type.unwrap_or_else(|| STREAM_TYPE.to_owned());
    let stream = match row.stream_id {
        None => Err("stream_id is NULL".to_owned()),
        Some(id) => StreamName::new(stream_type, id).map_err(|error| error.to_string()),
    };
    let stream = keep(stream, &mut wrong);
    let event_type = match row.event_type {
        None => Err("event_type is NULL".to_owned()),
        Some(text) => EventType::new(text).map_err(|error| error.to_string()),
    };
    let event_type = keep(event_type, &mut wrong);
    let version = match row.version {
        None if parts.version => Err("version is NULL".to_owned()),
        None => Ok(None),
        Some(version) => u64::try_from(version).ok().filter(|version| *version > 0).map(Some).ok_or_else(|| {
            format!("version is {version}, but the first version of a stream is 1; add the difference: version + 1")
        }),
    };
    let version = keep(version, &mut wrong).flatten();
    let id = match &row.event_id {
        None if parts.event_id && !parts.version => Err("event_id is NULL".to_owned()),
        None => Ok(None),
        Some(text) => uuid::Uuid::try_parse(text)
            .map(|id| Some(EventId::new(id)))
            .map_err(|_| "event_id is not a UUID".to_owned()),
    };
    let id = keep(id, &mut wrong).flatten();
    let occurred = keep(time("occurred_at", row.occurred_at), &mut wrong).flatten();
    let recorded = keep(time("recorded_at", row.recorded_at), &mut wrong).flatten();
    if parts.time && occurred.is_none() && recorded.is_none() && wrong.is_empty() {
        wrong.push("its time is NULL".to_owned());
    }
    let data = match row.data {
        None => Err("data is NULL".to_owned()),
        Some(text) => payload("data", &text, parts),
    };
    let data = keep(data, &mut wrong);
    let metadata = match row.metadata {
        None => Ok(Json::trusted("{}")),
        Some(text) => payload("metadata", &text, parts),
    };
    let metadata = keep(metadata, &mut wrong);
    let (Some(stream), Some(event_type), Some(data), Some(metadata), true) =
        (stream, event_type, data, metadata, wrong.is_empty())
    else {
        return Err(wrong.join("; "));
    };
    // One of the two is there, see `SourceParts::of_query`.
    let id = id.unwrap_or_else(|| event_id_of(tenant, &stream, version.unwrap_or_default()));
    let event = NewEvent {
        id,
        event_type,
        occurred_at: occurred.or(recorded),
        recorded_at: recorded.or(occurred),
        data,
        metadata,
    };
    let expected =
        version.map_or(ExpectedVersion::Any, |version| ExpectedVersion::Exact(version - 1));
    let number = u64::try_from(row.position).unwrap_or_default();
    Ok(Line { number, append: Append { stream, expected, events: vec![event] }, version })
}

fn keep<T>(found: Result<T, String>, wrong: &mut Vec<String>) -> Option<T> {
    found.map_err(|why| wrong.push(why)).ok()
}

fn time(name: &str, moment: Option<Moment>) -> Result<Option<Timestamp>, String> {
    match moment {
        None => Ok(None),
        Some(Moment::Micros(micros)) => Ok(Some(Timestamp::from_micros(micros))),
        Some(Moment::Text(text)) => match text.parse::<Time>() {
            Ok(time) => Ok(Some(Timestamp::from_micros(time.0))),
            Err(reason) => Err(format!("{name}: {reason}")),
        },
    }
}

fn payload(name: &str, text: &str, parts: SourceParts) -> Result<Json, String> {
    match json::parse(text, JsonLimits::default()) {
        Ok(json) => Ok(json),
        Err(json::JsonError::Syntax(_)) if parts.texts => Ok(json::string(text)),
        Err(json::JsonError::Syntax(_)) => {
            Err(format!("{name} is not JSON; convert a text to a JSON string with to_json({name})"))
        }
        Err(reason) => Err(format!("{name}: {reason}")),
    }
}

/// The identity of an event by its source's columns: equal for a row and for the event created from it.
pub(super) struct Likeness<'a> {
    stream: &'a StreamName,
    version: Option<u64>,
    id: EventId,
    event_type: &'a EventType,
    times: Option<(Timestamp, Timestamp)>,
    data: &'a Json,
    metadata: &'a Json,
}

impl<'a> Likeness<'a> {
    /// Of a row.
    pub(super) fn of_line(line: &'a Line, parts: SourceParts) -> Option<Self> {
        let event = line.append.events.first()?;
        let times = event.occurred_at.zip(event.recorded_at).filter(|_| parts.time);
        Some(Self {
            stream: &line.append.stream,
            version: line.version,
            id: event.id,
            event_type: &event.event_type,
            times,
            data: &event.data,
            metadata: &event.metadata,
        })
    }

    /// Of an event in a store.
    pub(super) fn of_event(event: &'a Event, parts: SourceParts) -> Self {
        Self {
            stream: &event.stream,
            version: parts.version.then_some(event.version),
            id: event.id,
            event_type: &event.event_type,
            times: parts.time.then_some((event.occurred_at, event.recorded_at)),
            data: &event.data,
            metadata: &event.metadata,
        }
    }

    /// SHA-256 of all of it, each part after its length.
    pub(super) fn digest(&self) -> [u8; 32] {
        let version = self.version.unwrap_or_default().to_be_bytes();
        let (occurred, recorded) = self.times.unwrap_or_default();
        let (occurred, recorded) =
            (occurred.micros().to_be_bytes(), recorded.micros().to_be_bytes());
        let id = self.id.uuid();
        let parts: [&[u8]; 9] = [
            self.stream.stream_type().as_bytes(),
            self.stream.stream_id().as_bytes(),
            &version,
            id.as_bytes(),
            self.event_type.as_bytes(),
            &occurred,
            &recorded,
            self.data.as_str().as_bytes(),
            self.metadata.as_str().as_bytes(),
        ];
        let lengths = parts.map(|part| (part.len() as u64).to_be_bytes());
        let all: Vec<&[u8]> = lengths
            .iter()
            .zip(parts)
            .flat_map(|(length, part)| [length.as_slice(), part])
            .collect();
        *sha256(&all).as_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: SourceParts = SourceParts {
        tenant: true,
        event_id: true,
        version: true,
        time: true,
        position: true,
        texts: false,
    };

    fn row() -> SourceRow {
        SourceRow {
            position: 7,
            tenant: Some("acme".to_owned()),
            stream_type: None,
            stream_id: Some("o-1".to_owned()),
            event_id: Some("c2c013fe-d2ae-5acd-8630-cc358ad564e5".to_owned()),
            event_type: Some("Placed".to_owned()),
            version: Some(3),
            occurred_at: Some(Moment::Text("2024-06-15T10:30:00+02:00".to_owned())),
            recorded_at: Some(Moment::Micros(5)),
            data: Some("{\"a\":\n1}".to_owned()),
            metadata: None,
        }
    }

    #[test]
    fn a_row_becomes_an_append_at_its_version() {
        let line = line(tenant_of("acme"), row(), ALL).unwrap();
        assert_eq!((line.number, line.version), (7, Some(3)));
        assert_eq!(line.append.expected, ExpectedVersion::Exact(2));
        assert_eq!(line.append.stream, StreamName::new("stream", "o-1").unwrap());
        let event = &line.append.events[0];
        assert_eq!(event.occurred_at.unwrap().micros(), 1_718_440_200_000_000);
        assert_eq!(event.recorded_at.unwrap().micros(), 5);
        assert_eq!((event.data.as_str(), event.metadata.as_str()), ("{\"a\":1}", "{}"));
    }

    #[test]
    fn without_an_id_it_gets_one_of_stream_and_version_and_the_same_each_time() {
        let without = SourceRow { event_id: None, ..row() };
        let parts = SourceParts { event_id: false, ..ALL };
        let id = |row: SourceRow| line(tenant_of("acme"), row, parts).unwrap().append.events[0].id;
        assert_eq!(id(without.clone()), id(without.clone()));
        assert_ne!(id(without.clone()), id(SourceRow { version: Some(4), ..without }));
    }

    #[test]
    fn all_that_is_wrong_with_a_row_is_named_and_nothing_that_it_holds() {
        let secret = "4111111111111111";
        let bad = SourceRow {
            stream_id: None,
            event_id: Some(secret.to_owned()),
            event_type: None,
            version: Some(0),
            occurred_at: Some(Moment::Text(secret.to_owned())),
            data: Some(format!("{secret} and more")),
            metadata: Some(String::new()),
            ..row()
        };
        let why = line(tenant_of("acme"), bad, ALL).err().unwrap();
        for part in [
            "stream_id is NULL",
            "event_type is NULL",
            "version is 0",
            "event_id is not a UUID",
            "occurred_at: not a time",
            "data is not JSON",
            "metadata is not JSON",
        ] {
            assert!(why.contains(part), "{part}: {why}");
        }
        assert!(!why.contains(secret), "{why}");
    }

    #[test]
    fn a_text_that_is_no_json_is_a_string_where_the_layout_says_that_it_is_a_text() {
        let text = SourceRow { data: Some("hello".to_owned()), ..row() };
        let parts = SourceParts { texts: true, ..ALL };
        let line = line(tenant_of("acme"), text, parts).unwrap();
        assert_eq!(line.append.events[0].data.as_str(), "\"hello\"");
    }

    #[test]
    fn two_rows_that_differ_in_any_part_are_not_alike() {
        let digest = |row: SourceRow| {
            let line = line(tenant_of("acme"), row, ALL).unwrap();
            Likeness::of_line(&line, ALL).unwrap().digest()
        };
        let changed: [fn(&mut SourceRow); 7] = [
            |row| row.stream_type = Some("x".to_owned()),
            |row| row.stream_id = Some("o-2".to_owned()),
            |row| row.event_id = Some(uuid::Uuid::nil().to_string()),
            |row| row.version = Some(4),
            |row| row.occurred_at = None,
            |row| row.data = Some("{\"a\": 1}".to_owned()),
            |row| row.metadata = Some("{\"b\":1}".to_owned()),
        ];
        for (n, change) in changed.into_iter().enumerate() {
            let mut other = row();
            change(&mut other);
            assert_ne!(digest(other), digest(row()), "{n}");
        }
    }
}
