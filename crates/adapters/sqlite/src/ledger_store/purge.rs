//! Removing a fenced history from its tail, so that the rest is always a valid prefix. Rows may be
//! missing or damaged, as when a copy is cut back or discarded because of that: the data
//! beside the events is computed from the remaining events, never from the removed ones.

use rehome_domain::digest::Digest;
use rehome_domain::ids::{Epoch, TenantId};
use rehome_domain::ledger::{Head, Ledger, Refused};
use rusqlite::{OptionalExtension as _, Transaction};

use super::ids::Ids;
use super::kept;
use super::tables::{self, Done};
use crate::error::Failure;
use crate::rows::{self, TenantNo};

/// Most events removed in one transaction, which then holds the write lock for some milliseconds.
const CHUNK_MAX: u32 = 1_000;

pub(super) fn purge(
    tx: &Transaction<'_>,
    ids: Ids,
    tenant: TenantId,
    k: Epoch,
    chunk: u32,
) -> Result<Ledger, Failure<Refused>> {
    let held = tables::ledger(tx, tenant)?;
    let ledger = held.map_or(Ledger::ABSENT, |(_, ledger)| ledger);
    ledger.check_purge(k)?;
    let Some((tenant_no, _)) = held else { return Ok(ledger) };

    let seq = ledger.head.seq.saturating_sub(chunk.min(CHUNK_MAX).into());
    remove(tx, ids, tenant_no, seq)?;
    if seq == 0 {
        ids.remove_all(tx, tenant_no)?;
        tx.prepare_cached("DELETE FROM streams WHERE tenant_no = ?1")?
            .execute([tenant_no.number()])?;
    }
    let end = end(tx, tenant_no, seq)?;
    kept::cut(tx, tenant_no, end.seq)?;
    let purged = ledger.purged_to(end);
    if purged != ledger {
        tables::set_ledger(tx, tenant_no, &purged)?;
    }
    Ok(purged)
}

pub(super) fn cut_back(
    tx: &Transaction<'_>,
    ids: Ids,
    tenant: TenantId,
    k: Epoch,
    to: Head,
    chunk: u32,
) -> Result<Ledger, Failure<Refused>> {
    let held = tables::ledger(tx, tenant)?;
    let Some((tenant_no, ledger)) = held else {
        Ledger::ABSENT.check_cut_back(k, to, None)?;
        return Ok(Ledger::ABSENT);
    };
    ledger.check_cut_back(k, to, tables::digest_at(tx, tenant_no, to.seq)?)?;

    let seq = ledger.head.seq.saturating_sub(chunk.min(CHUNK_MAX).into()).max(to.seq);
    remove(tx, ids, tenant_no, seq)?;
    let end = end(tx, tenant_no, seq)?;
    let head = if seq == to.seq || end.seq <= to.seq { to } else { end };
    kept::cut(tx, tenant_no, head.seq)?;
    if head == to {
        settle_streams(tx, tenant_no)?;
    }
    let cut = ledger.cut_to(head);
    if cut != ledger {
        tables::set_ledger(tx, tenant_no, &cut)?;
    }
    Ok(cut)
}

/// Removes the events after `seq`, and sets the versions of their streams to those of the rest.
fn remove(tx: &Transaction<'_>, ids: Ids, tenant: TenantNo, seq: u64) -> Done<()> {
    ids.remove(tx, tenant, seq)?;
    let range = (tenant.position(seq), tenant.last_position());
    let streams: Vec<i64> = tx
        .prepare_cached(
            "SELECT DISTINCT stream_no FROM events WHERE position > ?1 AND position <= ?2",
        )?
        .query_map(range, |row| row.get(0))?
        .collect::<Result<_, _>>()?;
    tx.prepare_cached("DELETE FROM events WHERE position > ?1 AND position <= ?2")?
        .execute(range)?;
    for stream in streams {
        tx.prepare_cached(
            "UPDATE streams SET version = coalesce( \
                 (SELECT max(version) FROM events WHERE stream_no = ?1), 0) WHERE stream_no = ?1",
        )?
        .execute([stream])?;
        tx.prepare_cached("DELETE FROM streams WHERE stream_no = ?1 AND version = 0")?
            .execute([stream])?;
    }
    Ok(())
}

/// Sets the version of every stream of the tenant from its events: `remove` does not see a stream whose events were
/// deleted by hand.
fn settle_streams(tx: &Transaction<'_>, tenant: TenantNo) -> Done<()> {
    tx.prepare_cached(
        "UPDATE streams SET version = coalesce( \
             (SELECT max(version) FROM events WHERE stream_no = streams.stream_no), 0) \
         WHERE tenant_no = ?1 AND version <> coalesce( \
             (SELECT max(version) FROM events WHERE stream_no = streams.stream_no), 0)",
    )?
    .execute([tenant.number()])?;
    tx.prepare_cached("DELETE FROM streams WHERE tenant_no = ?1 AND version = 0")?
        .execute([tenant.number()])?;
    Ok(())
}

/// The last event up to `seq` that is there.
fn end(tx: &Transaction<'_>, tenant: TenantNo, seq: u64) -> Done<Head> {
    let sql = "SELECT position, digest FROM events WHERE position > ?1 AND position <= ?2 \
               ORDER BY position DESC LIMIT 1";
    let range = (tenant.position(0), tenant.position(seq));
    let mut statement = tx.prepare_cached(sql)?;
    let last = statement
        .query_row(range, |row| Ok((row.get::<_, i64>(0)?, row.get::<_, Vec<u8>>(1)?)))
        .optional()?;
    let Some((position, digest)) = last else { return Ok(Head::EMPTY) };
    let digest = Digest::from_slice(&digest)
        .ok_or_else(|| crate::error::FileError::corrupt("a digest that is not 32 bytes long"))?;
    Ok(Head { seq: rows::seq_of(position), digest })
}
