//! Continuing a replica.
//!
//! The chain is checked here, before anything is locked: it is a property of the events and the
//! head that they continue, and the condition under the row's lock ties that head to the row. A few
//! events go in one statement. Many go by COPY, in a transaction that holds the row during the
//! transfer; an interruption leaves the head where it was. Events with rows of another library's table always go by COPY.

use std::collections::HashMap;

use rehome_domain::event::Event;
use rehome_domain::ids::{Epoch, TenantId};
use rehome_domain::ledger::{Head, Ledger, follow_chain};
use rehome_domain::stream::StreamName;
use tokio_postgres::Row;
use tokio_postgres::types::Type;
use uuid::Uuid;

use super::lock_holder::{self, Wait};
use super::{Answer, copy};
use crate::error::ServerError;
use crate::rows::{self, Read};
use crate::server::Server;

/// From so many events on, COPY is worth its round trips.
const COPY_FROM: usize = 64;
/// Most events and, roughly, bytes of one transaction.
const EVENTS_MAX: usize = 16_384;
const BYTES_MAX: usize = 16 << 20;
/// Events whose chain is checked before other tasks of the same thread get a turn.
const EVENTS_AT_ONCE: usize = 256;

const EXTEND: &str = "SELECT o_role, o_epoch, o_seq, o_digest FROM {schema}.extend(\
     $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16)";

/// The target, the migration, and the head to continue.
#[derive(Clone, Copy)]
pub(super) struct Target {
    pub(super) tenant: TenantId,
    pub(super) m: Epoch,
    pub(super) previous: Head,
}

pub(super) async fn extend(
    server: &Server,
    tenant: TenantId,
    m: Epoch,
    previous: Head,
    events: &[Event],
) -> Answer<Head> {
    let target = Target { tenant, m, previous };
    let events = fitting(events);
    let good = chained(previous, events).await;
    if good == 0 {
        // By nothing, or by what breaks the chain: the rules have the word.
        let ledger = super::read::ledger(server, tenant).await?;
        return Ok(ledger.extend(m, previous, events)?.head);
    }
    let events = &events[..good];
    let is_small = events.len() < COPY_FROM && events.iter().all(|event| event.row.is_none());
    let mut wait = Wait::new(tenant);
    let ledger = loop {
        let tried = if is_small {
            insert(server, target, events).await
        } else {
            copy::copy(server, target, events).await
        };
        match tried {
            Ok(ledger) => break ledger,
            Err(error) if error.is_locked() => wait.or(server, error).await?,
            Err(error) => return Err(error.into()),
        }
    };
    // The ledger as it was found: the guard let the events in exactly if this rule does.
    ledger.extend(m, previous, &[])?;
    Ok(Head::of(&events[good - 1]))
}

/// As many as fit into one transaction, at least one.
pub(crate) fn fitting(events: &[Event]) -> &[Event] {
    let mut bytes = 0;
    let fitting = events.iter().take(EVENTS_MAX).take_while(|event| {
        let room = bytes < BYTES_MAX;
        bytes += event.bytes();
        room
    });
    &events[..fitting.count()]
}

/// How many of `events` continue the chain from `head`.
pub(crate) async fn chained(mut head: Head, events: &[Event]) -> usize {
    let mut good = 0;
    for some in events.chunks(EVENTS_AT_ONCE) {
        for event in some {
            match follow_chain(head, std::slice::from_ref(event)) {
                Ok(next) => (head, good) = (next, good + 1),
                Err(_) => return good,
            }
        }
        tokio::task::yield_now().await;
    }
    good
}

/// The streams of some events, each once, and which one each event is of.
pub(super) struct Streams<'a> {
    pub(super) types: Vec<&'a str>,
    pub(super) ids: Vec<&'a str>,
    pub(super) of: Vec<usize>,
}

impl<'a> Streams<'a> {
    pub(super) fn of(events: &'a [Event]) -> Self {
        let mut numbers: HashMap<&StreamName, usize> = HashMap::new();
        let mut streams = Self { types: Vec::new(), ids: Vec::new(), of: Vec::new() };
        for event in events {
            let next = streams.types.len();
            let number = *numbers.entry(&event.stream).or_insert(next);
            if number == next {
                streams.types.push(event.stream.stream_type());
                streams.ids.push(event.stream.stream_id());
            }
            streams.of.push(number);
        }
        streams
    }
}

/// The ledger as it was found.
pub(super) fn found(rows: &[Row]) -> Read<Ledger> {
    rows.first().map_or(Ok(Ledger::ABSENT), |row| rows::ledger(row, 0))
}

async fn insert(server: &Server, target: Target, events: &[Event]) -> Read<Ledger> {
    let streams = Streams::of(events);
    let numbers: Vec<i32> = (streams.of.iter())
        .map(|of| i32::try_from(of + 1).map_err(|_| ServerError::corrupt("too many streams")))
        .collect::<Read<_>>()?;
    let versions: Vec<i64> =
        events.iter().map(|event| rows::int(event.version)).collect::<Read<_>>()?;
    let ids: Vec<Uuid> = events.iter().map(|event| event.id.uuid()).collect();
    let types: Vec<&str> = events.iter().map(|event| &*event.event_type).collect();
    let occurred: Vec<i64> = events.iter().map(|event| event.occurred_at.micros()).collect();
    let recorded: Vec<i64> = events.iter().map(|event| event.recorded_at.micros()).collect();
    let data: Vec<&str> = events.iter().map(|event| event.data.as_str()).collect();
    let metadata: Vec<&str> = events.iter().map(|event| event.metadata.as_str()).collect();
    let digests: Vec<&[u8]> =
        events.iter().map(|event| event.digest.as_bytes().as_slice()).collect();
    let mut client = server.client().await?;
    let rows = client
        .write(
            EXTEND,
            &[
                (&target.tenant.uuid(), Type::UUID),
                (&lock_holder::LOOK_AFTER_MS, Type::INT4),
                (&rows::int(target.m.0).unwrap_or(i64::MAX), Type::INT8),
                (&rows::int(target.previous.seq)?, Type::INT8),
                (&target.previous.digest.as_bytes().as_slice(), Type::BYTEA),
                (&streams.types, Type::TEXT_ARRAY),
                (&streams.ids, Type::TEXT_ARRAY),
                (&numbers, Type::INT4_ARRAY),
                (&versions, Type::INT8_ARRAY),
                (&ids, Type::UUID_ARRAY),
                (&types, Type::TEXT_ARRAY),
                (&occurred, Type::INT8_ARRAY),
                (&recorded, Type::INT8_ARRAY),
                (&data, Type::TEXT_ARRAY),
                (&metadata, Type::TEXT_ARRAY),
                (&digests, Type::BYTEA_ARRAY),
            ],
        )
        .await?;
    found(&rows)
}
