//! Writing the ids that were put off: many at once, in their order, in transactions as short as others need.
//!
//! ```text
//! readers:         ids of the next rows, page by page ─▶ sorted ─┐
//! writer thread:                                   insert, commit, insert, commit ... ─▶ `after` moves
//! ```
//!
//! Rows of an active or a replicated history do not change, and only a fenced one loses any. Each step checks that the
//! ledger still has the role and the epoch under which the ids were read, so what it inserts is true; ids inserted by
//! a step before a crash are inserted again.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use rehome_domain::ids::TenantId;
use rehome_domain::ledger::{Ledger, Refused, Role};
use rehome_ports::StoreError;
use rusqlite::Transaction;
use tokio::task::JoinHandle;

use super::Store;
use super::ids::{self, IdAt, Ids};
use super::tables::{self, Done};
use crate::error::Failure;
use crate::file::Turn;
use crate::rows::TenantNo;

/// So many ids are sorted together: 3 MiB. The more there are, the more of them go into each page.
pub(super) const IDS_AT_ONCE: u64 = 131_072;
/// Ids read in one snapshot.
const IDS_OF_A_PAGE: u64 = 16_384;
/// So few are read and inserted in one transaction.
const IDS_FEW: u64 = 512;
/// Ids inserted between two checks of the clock and the queue.
const IDS_PER_LOOK: usize = 32;

/// An import that has appended nothing for so long has paused or ended.
const QUIET: Duration = Duration::from_secs(2);

/// How long an append of an import waits for the settling that it makes necessary. Its outcome must not be late.
const HELD_MAX: Duration = Duration::from_millis(500);

/// What is settled beside appends: some while an import appends, all when none does.
#[derive(Default)]
pub(super) struct Soon {
    waiting: Mutex<Waiting>,
    /// Held while some of an import's ids are settled.
    settling: Arc<tokio::sync::Mutex<()>>,
}

#[derive(Default)]
struct Waiting {
    tenants: BTreeSet<TenantId>,
    /// Counts what imports append.
    imported: u64,
    task: Option<JoinHandle<()>>,
    /// Settles some of an import's ids.
    some: Option<JoinHandle<()>>,
}

impl Soon {
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Settles [`IDS_AT_ONCE`] ids of an import, unless some are being settled, and holds the import back for a
    /// moment so that it does not put off many more.
    pub(super) async fn settle_some(&self, store: &Arc<Store>, tenant: TenantId) {
        if let Ok(settling) = Arc::clone(&self.settling).try_lock_owned() {
            let store = Arc::downgrade(store);
            let some = tokio::spawn(async move {
                if let Some(store) = store.upgrade() {
                    // The next append tries again.
                    let _ = settle(&store, tenant, false).await;
                }
                drop(settling);
            });
            self.lock().some = Some(some);
        }
        // It takes as long as it takes; the next append waits too.
        let _ = tokio::time::timeout(HELD_MAX, self.settling.lock()).await;
    }

    /// Settles the tenant's ids beside what else happens.
    pub(super) fn settle(&self, store: &Arc<Store>, tenant: TenantId, imports: bool) {
        let mut waiting = self.lock();
        waiting.imported += u64::from(imports);
        waiting.tenants.insert(tenant);
        if waiting.task.is_none() {
            waiting.task = Some(tokio::spawn(settle_waiting(Arc::downgrade(store))));
        }
    }

    /// Begins nothing more.
    pub(super) fn stop(&self) {
        let mut waiting = self.lock();
        for task in [waiting.task.take(), waiting.some.take()].into_iter().flatten() {
            task.abort();
        }
    }
}

async fn settle_waiting(store: Weak<Store>) {
    let mut imported = None;
    loop {
        tokio::time::sleep(QUIET).await;
        let Some(store) = store.upgrade() else { return };
        let tenant = {
            let mut waiting = store.soon.lock();
            if imported.replace(waiting.imported) != Some(waiting.imported) {
                continue;
            }
            let Some(tenant) = waiting.tenants.pop_first() else {
                waiting.task = None;
                return;
            };
            tenant
        };
        // What fails now is tried again by the next append, and reported to the caller that waits for it.
        let _ = settle(&store, tenant, true).await;
    }
}

/// A tenant whose ids are put off.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Owed {
    tenant: TenantNo,
    ledger: Ledger,
    after: u64,
}

/// Settles what is put off; if not `all`, the first [`IDS_AT_ONCE`] of it. What a fenced history owes waits until it
/// is active or a replica again.
pub(super) async fn settle(store: &Store, tenant: TenantId, all: bool) -> Result<(), StoreError> {
    let kept = store.ids;
    if kept == Ids::Index {
        return Ok(());
    }
    while let Some(owed) = store.read(move |tx| Ok(owed(tx, kept, tenant)?)).await? {
        let left = owed.ledger.head.seq - owed.after;
        if left <= IDS_FEW {
            store.write_long(move |tx, _| few(tx, kept, tenant)).await?;
        } else {
            let upto = owed.after + left.min(IDS_AT_ONCE);
            insert(store, tenant, owed, upto).await?;
            if !all {
                break;
            }
        }
    }
    Ok(())
}

fn owed(tx: &Transaction<'_>, kept: Ids, tenant: TenantId) -> Done<Option<Owed>> {
    let Some((tenant, ledger)) = tables::ledger(tx, tenant)? else { return Ok(None) };
    if !matches!(ledger.role, Role::Active | Role::Replica) {
        return Ok(None);
    }
    let after = kept.put_off(tx, tenant)?;
    Ok(after.map(|after| Owed { tenant, ledger, after }))
}

/// Settles the rest if it has remained small.
fn few(tx: &Transaction<'_>, kept: Ids, tenant: TenantId) -> Result<(), Failure<Refused>> {
    match owed(tx, kept, tenant)? {
        Some(owed) if owed.ledger.head.seq - owed.after <= IDS_FEW => {
            Ok(rest(tx, kept, owed.tenant, &owed.ledger)?)
        }
        _ => Ok(()),
    }
}

/// Settles all that is left, in the caller's transaction.
pub(super) fn rest(tx: &Transaction<'_>, kept: Ids, tenant: TenantNo, ledger: &Ledger) -> Done<()> {
    let Some(after) = kept.put_off(tx, tenant)? else { return Ok(()) };
    let mut left = ids::between(tx, tenant, after, ledger.head.seq)?;
    left.sort_unstable();
    let mut insert = kept.insert(tx)?;
    for (id, position) in left {
        insert.insert(tenant, &id, position)?;
    }
    ids::settled(tx, tenant)
}

/// Inserts the ids up to event `upto`, unless another process changes what is owed.
async fn insert(store: &Store, tenant: TenantId, owed: Owed, upto: u64) -> Result<(), StoreError> {
    let mut sorted: Vec<IdAt> = Vec::new();
    let mut from = owed.after;
    while from < upto {
        let to = upto.min(from + IDS_OF_A_PAGE);
        let page = store.read(move |tx| Ok(ids::between(tx, owed.tenant, from, to)?)).await?;
        sorted.extend(page);
        from = to;
    }
    let sort = move |_: &Transaction<'_>| {
        sorted.sort_unstable();
        Ok(Arc::new(sorted))
    };
    let sorted = store.read(sort).await?;
    let mut done = 0;
    while done < sorted.len() {
        store.file.wal().caught_up().await;
        store.file.wal().in_bulk();
        let (sorted, kept) = (Arc::clone(&sorted), store.ids);
        let step = move |tx: &Transaction<'_>, turn: &Turn| {
            let is = self::owed(tx, kept, tenant)?;
            let same = is.is_some_and(|is| {
                let epochs = (is.ledger.role, is.ledger.epoch);
                is.after == owed.after && epochs == (owed.ledger.role, owed.ledger.epoch)
            });
            if !same {
                return Ok(sorted.len());
            }
            let mut insert = kept.insert(tx)?;
            let mut next = done;
            while let Some((id, position)) = sorted.get(next) {
                insert.insert(owed.tenant, id, *position)?;
                next += 1;
                if next.is_multiple_of(IDS_PER_LOOK) && turn.is_over() {
                    break;
                }
            }
            if next == sorted.len() {
                ids::put_off_after(tx, owed.tenant, upto)?;
            }
            Ok(next)
        };
        done = store.write_long(step).await?;
    }
    Ok(())
}
