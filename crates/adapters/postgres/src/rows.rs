//! Rows to domain values and back. What a row holds is checked: a value that cannot be is
//! [`FaultKind::Corrupt`](rehome_ports::FaultKind::Corrupt), never a guess.

use rehome_domain::digest::Digest;
use rehome_domain::event::{Event, EventType, Json, Timestamp};
use rehome_domain::ids::{Epoch, EventId, MigrationId, TenantId};
use rehome_domain::ledger::{Head, Ledger, Role};
use rehome_domain::stream::StreamName;
use rehome_ports::log_chain::{Followed, LogAnchor};
use tokio_postgres::Row;
use tokio_postgres::types::FromSql;
use uuid::Uuid;

use crate::error::ServerError;

pub(crate) type Read<T> = Result<T, ServerError>;

/// The highest number of an event; a position is a tenant's number and these forty bits.
pub(crate) const SEQ_MAX: i64 = (1 << 40) - 1;

/// A value of a row.
pub(crate) fn get<'a, T: FromSql<'a>>(row: &'a Row, column: usize) -> Read<T> {
    row.try_get(column)
        .map_err(|error| ServerError::corrupt(format!("a value of another type ({error})")))
}

/// A count in PostgreSQL's form.
pub(crate) fn int(count: u64) -> Read<i64> {
    i64::try_from(count).map_err(|_| ServerError::corrupt(format!("the number {count}")))
}

/// A stored count.
pub(crate) fn count(row: &Row, column: usize) -> Read<u64> {
    let value: i64 = get(row, column)?;
    u64::try_from(value).map_err(|_| ServerError::corrupt(format!("the number {value}")))
}

pub(crate) fn digest(row: &Row, column: usize) -> Read<Digest> {
    Digest::from_slice(get(row, column)?)
        .ok_or_else(|| ServerError::corrupt("a digest that is not 32 bytes long"))
}

pub(crate) fn tenant(row: &Row, column: usize) -> Read<TenantId> {
    get::<Uuid>(row, column).map(TenantId::new)
}

pub(crate) fn role(row: &Row, column: usize) -> Read<Role> {
    Role::parse(get(row, column)?)
        .ok_or_else(|| ServerError::corrupt("a ledger with an unknown role"))
}

/// A ledger from its role, epoch, seq and digest, in columns beginning with `first`.
pub(crate) fn ledger(row: &Row, first: usize) -> Read<Ledger> {
    let head = Head { seq: count(row, first + 2)?, digest: digest(row, first + 3)? };
    Ok(Ledger { role: role(row, first)?, epoch: Epoch(count(row, first + 1)?), head })
}

/// An anchor of a log: migration, tenant, entry, hash. No entry: the migration is named only.
pub(crate) fn log_anchor(row: &Row) -> Read<LogAnchor> {
    let seen = match get::<Option<i64>>(row, 2)? {
        Some(_) => Followed { index: count(row, 2)?, hash: digest(row, 3)? },
        None => Followed::START,
    };
    Ok(LogAnchor { migration: MigrationId::new(get(row, 0)?), tenant: tenant(row, 1)?, seen })
}

/// A stream's name from two columns beginning with `first`.
pub(crate) fn stream_name(row: &Row, first: usize) -> Read<StreamName> {
    let name = |column| get::<Option<&str>>(row, column);
    let (Some(kind), Some(id)) = (name(first)?, name(first + 1)?) else {
        return Err(ServerError::corrupt("an event of a stream without a name"));
    };
    StreamName::new(kind, id).map_err(|e| ServerError::corrupt(e.to_string()))
}

/// An event from its eleven columns beginning with `first`: seq, type and id of the stream,
/// version, id, type, times of occurring and recording, data, metadata, digest.
pub(crate) fn event(row: &Row, first: usize) -> Read<Event> {
    let seq = count(row, first)?;
    let payload = |column: usize, name| match get::<Option<&str>>(row, first + column)? {
        Some(text) => Ok(Json::trusted(text)),
        None => Err(ServerError::corrupt(format!("event {seq} without its {name}"))),
    };
    let time = |column: usize| get(row, first + column).map(Timestamp::from_micros);
    Ok(Event {
        seq,
        stream: stream_name(row, first + 1)?,
        version: count(row, first + 3)?,
        id: EventId::new(get(row, first + 4)?),
        event_type: EventType::new(get::<&str>(row, first + 5)?)
            .map_err(|e| ServerError::corrupt(format!("event {seq}: {e}")))?,
        occurred_at: time(6)?,
        recorded_at: time(7)?,
        data: payload(8, "data")?,
        metadata: payload(9, "metadata")?,
        digest: digest(row, first + 10)?,
        row: None,
    })
}
