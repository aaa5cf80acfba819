//! Copying rows whole, with positions of the target's own; and removing them from the tail.

use std::sync::Arc;

use rehome_domain::event::Event;
use rehome_domain::ids::{Epoch, TenantId};
use rehome_domain::layout::RowOrder;
use rehome_domain::ledger::{Head, Ledger, Refused, follow_chain};
use rusqlite::{OptionalExtension as _, Transaction, params_from_iter};

use super::cell::Cell;
use super::guarded::{Guarded, add_position, forget_clashes};
use super::install::Table;
use super::shape::not_set_up;
use super::{Answer, SqliteAdopted, change};
use crate::error::{Failure, FileError};
use crate::file::Turn;
use crate::rows;

type Done<T> = Result<T, FileError>;

/// Most events and, roughly, bytes of one call.
const EVENTS_MAX: usize = 4_096;
const BYTES_MAX: usize = 8 << 20;
/// Events checked before other tasks of the same thread get a turn.
const EVENTS_AT_ONCE: usize = 256;
/// Events inserted between two checks of the clock and the queue.
const EVENTS_PER_LOOK: usize = 8;
/// Most rows removed in one transaction, which then holds the write lock for some milliseconds.
const CHUNK_MAX: u32 = 1_000;

/// Rows to be put in, each with the head that it reaches; and in which order they are digested.
struct Packed {
    rows: Vec<(Head, Vec<Cell>)>,
    order: Option<RowOrder>,
}

pub(super) async fn extend(
    store: &SqliteAdopted,
    tenant: TenantId,
    m: Epoch,
    previous: Head,
    events: &[Event],
) -> Answer<Head> {
    let packed = pack(store, previous, events).await?;
    if packed.rows.is_empty() {
        // By nothing, or by what breaks the chain: the rules have the word.
        let ledger = change::ledger(store, tenant).await?;
        return Ok(ledger.extend(m, previous, events)?.head);
    }
    let packed = Arc::new(packed);
    let (mut reached, mut from) = (previous, 0);
    while from < packed.rows.len() {
        store.file.wal().caught_up().await;
        let some = Arc::clone(&packed);
        let upto = store
            .write(move |tx, table, turn| {
                insert(tx, table, turn, (tenant, m), reached, &some, from)
            })
            .await;
        match upto {
            Ok(count) => from += count,
            // The stored prefix stays: the caller continues from it and then gets the error again.
            Err(_) if from > 0 => return Ok(reached),
            Err(failure) => return Err(failure),
        }
        reached = packed.rows[from - 1].0;
    }
    Ok(reached)
}

/// The events that continue the chain, as many as fit, as rows.
async fn pack(store: &SqliteAdopted, mut previous: Head, events: &[Event]) -> Answer<Packed> {
    let mut packed = Packed { rows: Vec::new(), order: None };
    let continues = |head, event| follow_chain(head, std::slice::from_ref(event));
    if events.first().is_none_or(|event| continues(previous, event).is_err()) {
        return Ok(packed);
    }
    // In an order of their own are the next, if any.
    let (count, order) = store.table.rows.of_one_form(events)?;
    packed.order = order;
    let mut bytes = 0;
    for some in events[..count.min(EVENTS_MAX)].chunks(EVENTS_AT_ONCE) {
        for event in some {
            let Ok(head) = continues(previous, event) else { return Ok(packed) };
            if bytes >= BYTES_MAX {
                return Ok(packed);
            }
            bytes += event.bytes();
            packed.rows.push((head, store.table.rows.values(event, packed.order.as_ref())?));
            previous = head;
        }
        tokio::task::yield_now().await;
    }
    Ok(packed)
}

/// Puts rows in, at least one, until the turn is over. Answers how many.
fn insert(
    tx: &Transaction<'_>,
    table: &Table,
    turn: &Turn,
    (tenant, m): (TenantId, Epoch),
    previous: Head,
    packed: &Packed,
    from: usize,
) -> Result<usize, Failure<Refused>> {
    let Some(mut guarded) = Guarded::find(tx, tenant)? else {
        return Err(not_a_copy(Ledger::ABSENT.extend(m, previous, &[])));
    };
    guarded.ledger.extend(m, previous, &[])?;
    if guarded.ledger.head.seq == 0 {
        // The first of a copy decides.
        guarded.order.clone_from(&packed.order);
    } else if guarded.order != packed.order {
        return Err(in_another_order(tenant).into());
    }
    let mut statement = tx.prepare_cached(&table.sql.insert)?;
    let mut count = 0;
    for (head, cells) in &packed.rows[from..] {
        statement
            .execute(params_from_iter(cells))
            .map_err(|error| does_not_fit(error, head.seq))?;
        let position = tx.last_insert_rowid();
        add_position(tx, guarded.no.new_position(head.seq)?, position, &head.digest)?;
        guarded.ledger.head = *head;
        guarded.floor = guarded.floor.max(position);
        count += 1;
        if count % EVENTS_PER_LOOK == 0 && turn.is_over() {
            break;
        }
    }
    guarded.save(tx)?;
    Ok(count)
}

/// The copy was begun from a store whose rows are digested in another order.
fn in_another_order(tenant: TenantId) -> FileError {
    not_set_up(format!(
        "its copy of tenant {tenant} was begun from a store of another layout, in whose order rows are digested; abort the \
         migration with `--purge-target`, and start it again"
    ))
}

fn not_a_copy(refused: Result<Ledger, Refused>) -> Failure<Refused> {
    match refused {
        Err(refused) => refused.into(),
        Ok(_) => FileError::corrupt("a copy without its row").into(),
    }
}

fn does_not_fit(error: rusqlite::Error, seq: u64) -> FileError {
    if error.sqlite_error_code() == Some(rusqlite::ErrorCode::ConstraintViolation) {
        return not_set_up(format!(
            "event {seq} of the source cannot be inserted into its table: {error}"
        ));
    }
    error.into()
}

pub(super) async fn purge(
    store: &SqliteAdopted,
    tenant: TenantId,
    k: Epoch,
    chunk: u32,
) -> Answer<Ledger> {
    store
        .write(move |tx, table, _| {
            let Some(mut guarded) = Guarded::find(tx, tenant)? else {
                Ledger::ABSENT.check_purge(k)?;
                return Ok(Ledger::ABSENT);
            };
            guarded.ledger.check_purge(k)?;
            let seq = guarded.ledger.head.seq.saturating_sub(chunk.min(CHUNK_MAX).into());
            remove(tx, table, &guarded, seq)?;
            guarded.ledger = guarded.ledger.purged_to(end(tx, &guarded, seq)?);
            guarded.save(tx)?;
            Ok(guarded.ledger)
        })
        .await
}

pub(super) async fn cut_back(
    store: &SqliteAdopted,
    tenant: TenantId,
    k: Epoch,
    to: Head,
    chunk: u32,
) -> Answer<Ledger> {
    store
        .write(move |tx, table, _| {
            let Some(mut guarded) = Guarded::find(tx, tenant)? else {
                Ledger::ABSENT.check_cut_back(k, to, None)?;
                return Ok(Ledger::ABSENT);
            };
            guarded.ledger.check_cut_back(k, to, guarded.digest_at(tx, to.seq)?)?;
            let chunk = chunk.min(CHUNK_MAX).into();
            let seq = guarded.ledger.head.seq.saturating_sub(chunk).max(to.seq);
            remove(tx, table, &guarded, seq)?;
            let end = end(tx, &guarded, seq)?;
            let head = if seq == to.seq || end.seq <= to.seq { to } else { end };
            guarded.ledger = guarded.ledger.cut_to(head);
            guarded.save(tx)?;
            Ok(guarded.ledger)
        })
        .await
}

/// Removes the rows after number `seq`. Rows may be missing.
fn remove(tx: &Transaction<'_>, table: &Table, guarded: &Guarded, seq: u64) -> Done<()> {
    let range = (guarded.no.position(seq), guarded.no.last_position());
    let positions: Vec<i64> = tx
        .prepare_cached(
            "SELECT position FROM rehome_guard_positions WHERE place > ?1 AND place <= ?2",
        )?
        .query_map(range, |row| row.get(0))?
        .collect::<Result<_, _>>()?;
    let mut delete = tx.prepare_cached(&table.sql.delete)?;
    for position in positions {
        delete.execute([position])?;
    }
    tx.prepare_cached("DELETE FROM rehome_guard_positions WHERE place > ?1 AND place <= ?2")?
        .execute(range)?;
    forget_clashes(tx)
}

/// The last number up to `seq` that is there.
fn end(tx: &Transaction<'_>, guarded: &Guarded, seq: u64) -> Done<Head> {
    let sql = "SELECT place, digest FROM rehome_guard_positions WHERE place > ?1 AND place <= ?2 \
               ORDER BY place DESC LIMIT 1";
    let range = (guarded.no.position(0), guarded.no.position(seq));
    let last = tx
        .prepare_cached(sql)?
        .query_row(range, |row| Ok((row.get::<_, i64>(0)?, rows::digest(row, 1))))
        .optional()?;
    let Some((place, digest)) = last else { return Ok(Head::EMPTY) };
    Ok(Head { seq: rows::seq_of(place), digest: digest? })
}
