//! Removing a fenced history from its tail, so that what is left is always an honest prefix.

use rehome_domain::ids::{Epoch, TenantId};
use rehome_domain::ledger::{Head, Ledger, Refused};
use rusqlite::Transaction;

use super::tables::{self, Done, Stream};
use crate::error::{Failure, FileError};
use crate::rows::{self, TenantNo};

/// Most events removed in one transaction, which then holds the write lock for some milliseconds.
const CHUNK_MAX: u32 = 1_000;

pub(super) fn purge(
    tx: &Transaction<'_>,
    tenant: TenantId,
    k: Epoch,
    chunk: u32,
) -> Result<Ledger, Failure<Refused>> {
    let held = tables::ledger(tx, tenant)?;
    let ledger = held.map_or(Ledger::ABSENT, |(_, ledger)| ledger);
    ledger.check_purge(k)?;
    let Some((tenant_no, _)) = held else { return Ok(ledger) };

    let seq = ledger.head.seq.saturating_sub(chunk.min(CHUNK_MAX).into());
    cut_streams(tx, tenant_no, seq)?;
    tx.prepare_cached("DELETE FROM events WHERE position > ?1 AND position <= ?2")?
        .execute((tenant_no.position(seq), tenant_no.last_position()))?;
    let head = match seq {
        0 => Head::EMPTY,
        seq => Head {
            seq,
            digest: tables::digest_at(tx, tenant_no, seq)?.ok_or_else(|| {
                FileError::corrupt(format!("no event {seq}, which should be there"))
            })?,
        },
    };
    let purged = ledger.purged_to(head);
    if purged != ledger {
        tables::set_ledger(tx, tenant_no, &purged)?;
    }
    Ok(purged)
}

/// Takes the versions of the events after `seq` back from their streams.
fn cut_streams(tx: &Transaction<'_>, tenant: TenantNo, seq: u64) -> Done<()> {
    let mut cut = tx.prepare_cached(
        "SELECT stream_no, min(version) - 1 FROM events \
         WHERE position > ?1 AND position <= ?2 GROUP BY stream_no",
    )?;
    let mut cut = cut.query((tenant.position(seq), tenant.last_position()))?;
    while let Some(row) = cut.next()? {
        let stream = Stream { number: row.get(0)?, version: rows::count(row, 1)? };
        if stream.version > 0 {
            tables::set_stream(tx, stream)?;
        } else {
            tx.prepare_cached("DELETE FROM streams WHERE stream_no = ?1")?
                .execute([stream.number])?;
        }
    }
    if seq == 0 {
        tx.prepare_cached("DELETE FROM streams WHERE tenant_no = ?1")?
            .execute([tenant.number()])?;
    }
    Ok(())
}
