//! Appends, in one round trip: the server numbers, chains and inserts what is new and expected; the
//! domain judges the rest here, on what the server found.

use rehome_domain::append::{Append, AppendConflict, Appended, Decision, decide, ends_chain};
use rehome_domain::digest::Parts;
use rehome_domain::event::{Event, NewEvent, Timestamp};
use rehome_domain::ids::{Epoch, TenantId};
use rehome_domain::ledger::{Head, Ledger};
use rehome_domain::stream::ExpectedVersion;
use rehome_ports::AppendOutcome;
use tokio_postgres::Row;
use tokio_postgres::types::Type;
use uuid::Uuid;

use super::Answer;
use crate::error::{Failure, ServerError};
use crate::rows::{self, Read};
use crate::server::{Client, LOCK_MS, Param, Server};

const APPEND: &str = "SELECT o_append, o_outcome, o_seq, o_stream_type, o_stream_id, o_version, \
     o_event_id, o_event_type, o_occurred_at, o_recorded_at, o_data, o_metadata, o_digest, o_role, \
     o_epoch FROM {schema}.append($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)";
const APPEND_ONE: &str = "SELECT o_append, o_outcome, o_seq, o_stream_type, o_stream_id, o_version, \
     o_event_id, o_event_type, o_occurred_at, o_recorded_at, o_data, o_metadata, o_digest, o_role, \
     o_epoch FROM {schema}.append_one($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, \
     $15)";

/// The same of a chain: where some were written and some were not, the statement fails and is undone as a
/// whole. What comes after the first that is refused must not stay.
const APPEND_CHAIN: &str = "SELECT o_append, o_outcome, o_seq, o_stream_type, o_stream_id, o_version, \
     o_event_id, o_event_type, o_occurred_at, o_recorded_at, o_data, o_metadata, o_digest, o_role, \
     o_epoch, CASE WHEN bool_or(o_outcome = 'written') OVER () \
         AND bool_or(o_outcome <> 'written') OVER () THEN 1 / (o_append - o_append) END \
     FROM {schema}.append($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)";

/// The appends in the server's form: one array per column.
#[derive(Default)]
struct Columns<'a> {
    stream_types: Vec<&'a str>,
    stream_ids: Vec<&'a str>,
    expected: Vec<i64>,
    counts: Vec<i32>,
    ids: Vec<Uuid>,
    types: Vec<&'a str>,
    occurred: Vec<Option<i64>>,
    recorded: Vec<Option<i64>>,
    data: Vec<&'a str>,
    metadata: Vec<&'a str>,
}

impl<'a> Columns<'a> {
    fn of(appends: &'a [Append]) -> Read<Self> {
        let mut columns = Self::default();
        for append in appends {
            columns.stream_types.push(append.stream.stream_type());
            columns.stream_ids.push(append.stream.stream_id());
            columns.expected.push(expected(append.expected));
            let count = i32::try_from(append.events.len());
            columns.counts.push(count.map_err(|_| ServerError::corrupt("an endless append"))?);
            for event in &append.events {
                columns.ids.push(event.id.uuid());
                columns.types.push(&event.event_type);
                columns.occurred.push(event.occurred_at.map(Timestamp::micros));
                columns.recorded.push(event.recorded_at.map(Timestamp::micros));
                columns.data.push(event.data.as_str());
                columns.metadata.push(event.metadata.as_str());
            }
        }
        Ok(columns)
    }
}

/// -1: any. What no stream can reach stays what no stream can reach.
fn expected(expected: ExpectedVersion) -> i64 {
    match expected {
        ExpectedVersion::Any => -1,
        ExpectedVersion::NoStream => 0,
        ExpectedVersion::Exact(version) => i64::try_from(version).unwrap_or(i64::MAX),
    }
}

pub(super) async fn append(
    server: &Server,
    tenant: TenantId,
    epoch: Epoch,
    appends: &[Append],
) -> Answer<Vec<AppendOutcome>> {
    let mut client = server.client().await?;
    let rows = match appends {
        [append] if append.events.len() == 1 && client.has_our_settings() => {
            send_one(&mut client, tenant, epoch, append, &append.events[0]).await?
        }
        _ => send(&mut client, APPEND, tenant, epoch, appends).await?,
    };
    drop(client);
    judged(&rows, epoch, appends)
}

/// Consecutive appends. A part in which not all are new is sent again in halves, down to
/// single appends, which are refused or stored as they are.
pub(super) async fn append_chain(
    server: &Server,
    tenant: TenantId,
    epoch: Epoch,
    appends: &[Append],
) -> Answer<Vec<AppendOutcome>> {
    let mut outcomes: Vec<AppendOutcome> = Vec::with_capacity(appends.len());
    let mut parts = vec![appends];
    while let Some(part) = parts.pop() {
        let sent = match part {
            [] => continue,
            [_] => append(server, tenant, epoch, part).await,
            _ => {
                let mut client = server.client().await?;
                match send(&mut client, APPEND_CHAIN, tenant, epoch, part).await {
                    Ok(rows) => judged(&rows, epoch, part),
                    Err(Failure::Server(error)) if error.is_undone_chain() => {
                        let (first, second) = part.split_at(part.len() / 2);
                        parts.extend([second, first]);
                        continue;
                    }
                    Err(error) => Err(error),
                }
            }
        };
        let answered = match sent {
            Ok(answered) => answered,
            // Of the whole, something was written.
            Err(Failure::Server(error)) if !outcomes.is_empty() => {
                return Err(error.after_a_part().into());
            }
            Err(error) => return Err(error),
        };
        let ends = |(append, outcome): (&Append, &AppendOutcome)| ends_chain(append, outcome);
        let end = part.iter().zip(&answered).position(ends);
        outcomes.extend(answered.into_iter().take(end.map_or(usize::MAX, |index| index + 1)));
        if end.is_some() {
            break;
        }
    }
    Ok(outcomes)
}

fn judged(rows: &[Row], epoch: Epoch, appends: &[Append]) -> Answer<Vec<AppendOutcome>> {
    let mut rows = rows.iter().peekable();
    match rows.peek() {
        None => Ledger::ABSENT.check_append(epoch)?,
        Some(row) if rows::get::<&str>(row, OUTCOME)? == "ledger" => {
            found_ledger(row)?.check_append(epoch)?;
            rows.next();
        }
        Some(row) if rows::get::<&str>(row, OUTCOME)? == "damaged" => {
            let seq = rows::count(row, EVENT)?;
            return Err(ServerError::corrupt(format!(
                "the ledger of a tenant does not have the digest of its last event, seq {seq}; one of the two \
                 was changed: run `rehome store verify`"
            ))
            .into());
        }
        Some(_) => {}
    }
    let mut outcomes = Vec::with_capacity(appends.len());
    for append in appends {
        let row = rows.next().ok_or_else(|| ServerError::corrupt("an append without an answer"))?;
        if rows::get::<&str>(row, OUTCOME)? == "written" {
            outcomes.push(Ok(written(row, append)?));
            continue;
        }
        let mut known = Vec::new();
        while let Some(row) = rows.peek()
            && rows::get::<&str>(row, OUTCOME)? == "known"
        {
            known.push(rows::event(row, EVENT)?);
            rows.next();
        }
        outcomes.push(judge(append, &known, rows::count(row, VERSION)?)?);
    }
    Ok(outcomes)
}

async fn send(
    client: &mut Client,
    statement: &str,
    tenant: TenantId,
    epoch: Epoch,
    appends: &[Append],
) -> Answer<Vec<Row>> {
    let columns = Columns::of(appends)?;
    let epoch = rows::int(epoch.0).unwrap_or(i64::MAX);
    let params: [Param<'_>; 13] = [
        (&tenant.uuid(), Type::UUID),
        (&epoch, Type::INT8),
        (&LOCK_MS, Type::INT4),
        (&columns.stream_types, Type::TEXT_ARRAY),
        (&columns.stream_ids, Type::TEXT_ARRAY),
        (&columns.expected, Type::INT8_ARRAY),
        (&columns.counts, Type::INT4_ARRAY),
        (&columns.ids, Type::UUID_ARRAY),
        (&columns.types, Type::TEXT_ARRAY),
        (&columns.occurred, Type::INT8_ARRAY),
        (&columns.recorded, Type::INT8_ARRAY),
        (&columns.data, Type::TEXT_ARRAY),
        (&columns.metadata, Type::TEXT_ARRAY),
    ];
    Ok(client.call(statement, &params).await?)
}

/// One event, as most appends are.
async fn send_one(
    client: &mut Client,
    tenant: TenantId,
    epoch: Epoch,
    append: &Append,
    event: &NewEvent,
) -> Answer<Vec<Row>> {
    let parts = Parts::of(&append.stream, event);
    let epoch = rows::int(epoch.0).unwrap_or(i64::MAX);
    let event_type: &str = &event.event_type;
    let params: [Param<'_>; 15] = [
        (&tenant.uuid(), Type::UUID),
        (&epoch, Type::INT8),
        (&LOCK_MS, Type::INT4),
        (&append.stream.stream_type(), Type::TEXT),
        (&append.stream.stream_id(), Type::TEXT),
        (&expected(append.expected), Type::INT8),
        (&event.id.uuid(), Type::UUID),
        (&event_type, Type::TEXT),
        (&event.occurred_at.map(Timestamp::micros), Type::INT8),
        (&event.recorded_at.map(Timestamp::micros), Type::INT8),
        (&event.data.as_str(), Type::TEXT),
        (&event.metadata.as_str(), Type::TEXT),
        (&parts.stream, Type::BYTEA),
        (&parts.kind, Type::BYTEA),
        (&parts.payload.as_slice(), Type::BYTEA),
    ];
    Ok(client.call(APPEND_ONE, &params).await?)
}

// Columns of the answer.
const OUTCOME: usize = 1;
const EVENT: usize = 2;
const VERSION: usize = 5;

fn found_ledger(row: &Row) -> Read<Ledger> {
    let role = rows::role(row, 13)?;
    let head = Head { seq: rows::count(row, EVENT)?, digest: rows::digest(row, 12)? };
    Ok(Ledger { role, epoch: Epoch(rows::count(row, 14)?), head })
}

fn written(row: &Row, append: &Append) -> Read<Appended> {
    let (first_seq, first_version) = (rows::count(row, EVENT)?, rows::count(row, VERSION)?);
    let more = (append.events.len() as u64).saturating_sub(1);
    Ok(Appended {
        first_version,
        last_version: first_version + more,
        first_seq,
        last_seq: first_seq + more,
    })
}

/// The domain's word on an append that the server did not write.
fn judge(append: &Append, found: &[Event], actual: u64) -> Read<Result<Appended, AppendConflict>> {
    let known: Vec<Option<Event>> = append
        .events
        .iter()
        .map(|new| found.iter().find(|old| old.id == new.id).cloned())
        .collect();
    // Nothing is numbered, so head and time are not needed.
    match decide(append, &known, actual, Head::EMPTY, Timestamp::default()) {
        Ok(Decision::Replay(appended)) => Ok(Ok(appended)),
        Err(conflict) => Ok(Err(conflict)),
        Ok(Decision::Write(_)) => {
            Err(ServerError::corrupt("an append that should have been taken and was not"))
        }
    }
}
