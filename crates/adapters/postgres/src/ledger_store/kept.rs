//! The rows of another library's table, beside the events that were copied with them.

use std::sync::Arc;

use rehome_domain::digest::{self, Digest};
use rehome_domain::event::Event;
use rehome_domain::layout::{KeptRows, RowsRefused};
use rehome_domain::ledger::Head;
use rehome_ports::FaultKind;
use rehome_ports::record::{read_row_form, write_row_form};
use tokio_postgres::Row;
use tokio_postgres::types::Type;

use super::extend::Target;
use crate::error::ServerError;
use crate::rows::{self, Read};
use crate::schema;
use crate::server::Transaction;

const FIND: &str = "SELECT upto_seq, form FROM {schema}.row_forms WHERE tenant_no = $1";

const COPY: &str =
    "COPY {schema}.event_rows (position, record, contents) FROM STDIN (FORMAT binary)";

const COPY_TYPES: [Type; 3] = [Type::INT8, Type::BYTEA, Type::BYTEA];

const END: &str = "\
    WITH kept AS ( \
        INSERT INTO {schema}.row_forms AS f (tenant_no, upto_seq, form) VALUES ($4, $5, $6) \
        ON CONFLICT (tenant_no) DO UPDATE SET upto_seq = excluded.upto_seq) \
    UPDATE {schema}.ledger SET seq = $2, digest = $3 WHERE tenant = $1";

/// The error for rows that are not kept.
pub(super) fn refused(why: RowsRefused) -> ServerError {
    ServerError::new(FaultKind::NotSetUp(why.to_string()))
}

/// Rows that are to be kept.
pub(super) struct Keep {
    tenant_no: i32,
    kept: KeptRows,
    is_first: bool,
}

impl Keep {
    /// What is kept with `events`, which follow event `after`; the ledger is locked. `None`: no more than now.
    pub(super) async fn of(
        tx: &mut Transaction<'_>,
        tenant_no: i32,
        after: u64,
        events: &[Event],
    ) -> Read<Option<Self>> {
        let Some(brought) = KeptRows::of(events).map_err(refused)? else { return Ok(None) };
        let found = tx.query(FIND, &[(&tenant_no, Type::INT4)]).await?;
        let there = found.first().map(|row| kept(row, 0)).transpose()?;
        let kept = brought.after(there.as_ref(), after).map_err(refused)?;
        Ok(kept.map(|kept| Self { tenant_no, kept, is_first: there.is_none() }))
    }

    /// Sends the rows.
    pub(super) async fn send(&self, tx: &mut Transaction<'_>, events: &[Event]) -> Read<()> {
        let base = i64::from(self.tenant_no) << 40;
        let mut writer = tx.copy_in(COPY, &COPY_TYPES).await?;
        for event in events {
            let Some(row) = &event.row else { break };
            let contents = digest::contents(event);
            writer
                .row(&[
                    &(base + rows::int(event.seq)?),
                    &row.as_str().as_bytes(),
                    &contents.as_bytes().as_slice(),
                ])
                .await?;
        }
        writer.finish().await
    }

    /// Moves the head, and notes which events have a row.
    pub(super) async fn end(
        self,
        tx: &mut Transaction<'_>,
        target: Target,
        head: Head,
    ) -> Read<()> {
        tx.query(
            END,
            &[
                (&target.tenant.uuid(), Type::UUID),
                (&rows::int(head.seq)?, Type::INT8),
                (&head.digest.as_bytes().as_slice(), Type::BYTEA),
                (&self.tenant_no, Type::INT4),
                (&rows::int(self.kept.upto)?, Type::INT8),
                (&write_row_form(&self.kept.form), Type::TEXT),
            ],
        )
        .await?;
        if self.is_first {
            schema::keeps_rows(tx).await?;
        }
        Ok(())
    }
}

/// Which events have a row, from two columns beginning with `first`.
fn kept(row: &Row, first: usize) -> Read<KeptRows> {
    let form = read_row_form(rows::get(row, first + 1)?);
    let form = form.map_err(|error| ServerError::corrupt(error.to_string()))?;
    Ok(KeptRows { upto: rows::count(row, first)?, form: Arc::new(form) })
}

/// The same from columns that are NULL where no event has one.
pub(super) fn found(row: &Row, first: usize) -> Read<Option<KeptRows>> {
    match rows::get::<Option<i64>>(row, first)? {
        None => Ok(None),
        Some(_) => kept(row, first).map(Some),
    }
}

/// The event with the row that is in two columns beginning with `first`, if it has one that can be read.
pub(super) fn joined(
    kept: Option<&KeptRows>,
    event: Event,
    row: &Row,
    first: usize,
) -> Read<Event> {
    let Some(kept) = kept else { return Ok(event) };
    let record = rows::get::<Option<&[u8]>>(row, first)?.map(std::str::from_utf8);
    let contents = rows::get::<Option<&[u8]>>(row, first + 1)?.and_then(Digest::from_slice);
    Ok(match (record, contents) {
        (Some(Ok(record)), Some(contents)) => kept.joined(event, record, &contents),
        _ => event,
    })
}
