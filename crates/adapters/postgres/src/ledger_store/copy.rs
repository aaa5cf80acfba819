//! Many events at once, by COPY in its binary format.

use rehome_domain::event::Event;
use rehome_domain::layout::RowsRefused;
use rehome_domain::ledger::{Head, Ledger};
use tokio_postgres::types::Type;

use super::extend::{Streams, Target, found};
use super::kept::{self, Keep};
use super::lock_holder;
use crate::error::ServerError;
use crate::rows::{self, Read};
use crate::server::{Server, Transaction};

const BEGIN: &str = "SELECT o_role, o_epoch, o_seq, o_digest, o_tenant_no, o_stream_nos, \
     o_versions FROM {schema}.begin_extend($1, $2, $3, $4, $5, $6, $7)";

const COPY: &str = "COPY {schema}.events (position, stream_no, version, occurred_at, recorded_at, \
     tenant_no, event_id, digest, event_type, data, metadata) FROM STDIN (FORMAT binary)";

const COPY_TYPES: [Type; 11] = [
    Type::INT8,
    Type::INT8,
    Type::INT8,
    Type::INT8,
    Type::INT8,
    Type::INT4,
    Type::UUID,
    Type::BYTEA,
    Type::TEXT,
    Type::TEXT,
    Type::TEXT,
];

const END: &str = "UPDATE {schema}.ledger SET seq = $2, digest = $3 WHERE tenant = $1";

/// Answers the ledger as it was found, under its lock; the events are in if it is the target's.
pub(super) async fn copy(server: &Server, target: Target, events: &[Event]) -> Read<Ledger> {
    let streams = Streams::of(events);
    let mut client = server.client().await?;
    let mut tx = client.begin().await?;
    let rows = tx
        .query(
            BEGIN,
            &[
                (&target.tenant.uuid(), Type::UUID),
                (&lock_holder::LOOK_AFTER_MS, Type::INT4),
                (&rows::int(target.m.0).unwrap_or(i64::MAX), Type::INT8),
                (&rows::int(target.previous.seq)?, Type::INT8),
                (&target.previous.digest.as_bytes().as_slice(), Type::BYTEA),
                (&streams.types, Type::TEXT_ARRAY),
                (&streams.ids, Type::TEXT_ARRAY),
            ],
        )
        .await;
    let rows = match rows {
        Ok(rows) => rows,
        Err(error) => {
            // A row that is held is met often, and the connection is as good as before.
            if error.is_locked() {
                tx.roll_back().await?;
            }
            return Err(error);
        }
    };
    let ledger = found(&rows)?;
    let numbered = match rows.first() {
        Some(row) => rows::get::<Option<Vec<i64>>>(row, 5)?.map(|numbers| (row, numbers)),
        None => None,
    };
    let Some((row, stream_nos)) = numbered else {
        tx.roll_back().await?;
        return Ok(ledger);
    };
    let tenant_no: i32 = rows::get(row, 4)?;
    let mut versions: Vec<i64> = rows::get(row, 6)?;
    if stream_nos.len() != streams.types.len() {
        return Err(ServerError::corrupt("streams that were numbered and are not there"));
    }
    check_versions(&streams, &mut versions, events)?;
    let keep = Keep::of(&mut tx, tenant_no, target.previous.seq, events).await?;
    send(&mut tx, tenant_no, &streams, &stream_nos, events).await?;
    let head = events.last().map_or(target.previous, Head::of);
    if let Some(keep) = keep {
        keep.send(&mut tx, events).await?;
        keep.end(&mut tx, target, head).await?;
    } else {
        end(&mut tx, target, head).await?;
    }
    tx.commit().await?;
    Ok(ledger)
}

async fn end(tx: &mut Transaction<'_>, target: Target, head: Head) -> Read<()> {
    tx.query(
        END,
        &[
            (&target.tenant.uuid(), Type::UUID),
            (&rows::int(head.seq)?, Type::INT8),
            (&head.digest.as_bytes().as_slice(), Type::BYTEA),
        ],
    )
    .await?;
    Ok(())
}

/// Each event's version must be the next one of its stream.
fn check_versions(streams: &Streams<'_>, versions: &mut [i64], events: &[Event]) -> Read<()> {
    for (event, of) in events.iter().zip(&streams.of) {
        versions[*of] += 1;
        let (next, is, seq) = (versions[*of], event.version, event.seq);
        if rows::int(is)? != next {
            if event.row.is_some() {
                let next = next.unsigned_abs();
                return Err(kept::refused(RowsRefused::Version { seq, is, next }));
            }
            let why = format!(
                "a stream whose next version is {next}; event {seq} of the source says {is}"
            );
            return Err(ServerError::corrupt(why));
        }
    }
    Ok(())
}

async fn send(
    tx: &mut Transaction<'_>,
    tenant_no: i32,
    streams: &Streams<'_>,
    stream_nos: &[i64],
    events: &[Event],
) -> Read<()> {
    let base = i64::from(tenant_no) << 40;
    let mut writer = tx.copy_in(COPY, &COPY_TYPES).await?;
    for (event, of) in events.iter().zip(&streams.of) {
        let seq = rows::int(event.seq)?;
        if seq > rows::SEQ_MAX {
            return Err(ServerError::corrupt(format!("{seq} events, more than a tenant can have")));
        }
        writer
            .row(&[
                &(base + seq),
                &stream_nos[*of],
                &rows::int(event.version)?,
                &event.occurred_at.micros(),
                &event.recorded_at.micros(),
                &tenant_no,
                &event.id.uuid(),
                &event.digest.as_bytes().as_slice(),
                &&*event.event_type,
                &event.data.as_str(),
                &event.metadata.as_str(),
            ])
            .await?;
    }
    writer.finish().await
}
