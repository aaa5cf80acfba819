//! One replica, continued by `extend`: what copying, mirroring and catching up have in common.

use std::sync::Arc;

use rehome_domain::event::Event;
use rehome_domain::ids::{Epoch, TenantId};
use rehome_domain::ledger::{Head, Refusal};
use rehome_ports::{BatchLimit, LedgerStore, StoreError};

/// A tenant's replica in a store, and where it ends as far as this process knows.
pub(crate) struct Replica {
    pub(crate) tenant: TenantId,
    pub(crate) m: Epoch,
    pub(crate) store: Arc<dyn LedgerStore>,
    pub(crate) head: Head,
}

impl Replica {
    /// Reads where the replica ends. Refused when the store's ledger is no replica of epoch `m`.
    pub(crate) async fn open(
        store: Arc<dyn LedgerStore>,
        tenant: TenantId,
        m: Epoch,
    ) -> Result<Self, StoreError> {
        let mut replica = Self { tenant, m, store, head: Head::EMPTY };
        replica.refresh().await?;
        Ok(replica)
    }

    /// Reads again where the replica ends.
    pub(crate) async fn refresh(&mut self) -> Result<(), StoreError> {
        let ledger = self.store.ledger(self.tenant).await?;
        ledger.check_replica(self.m)?;
        self.head = ledger.head;
        Ok(())
    }

    /// Extends by those of `events` that are missing. If another process extended first,
    /// continues from its head; what does not fit there is left for the next read.
    pub(crate) async fn extend(&mut self, events: &[Event]) -> Result<(), StoreError> {
        loop {
            let rest = &events[events.partition_point(|event| event.seq <= self.head.seq)..];
            match rest.first() {
                Some(first) if first.seq == self.head.seq + 1 => {}
                _ => return Ok(()),
            }
            match self.store.extend(self.tenant, self.m, self.head, rest).await {
                Ok(head) => self.head = head,
                Err(StoreError::Refused(refused)) if refused.why == Refusal::NotAtHead => {
                    self.head = refused.ledger.head;
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Extends from `source` until the replica reaches `goal`.
    pub(crate) async fn catch_up(
        &mut self,
        source: &dyn LedgerStore,
        goal: u64,
        limit: BatchLimit,
    ) -> Result<(), StoreError> {
        while self.head.seq < goal {
            let feed = source.read_feed(self.tenant, self.head.seq, limit).await?;
            if feed.events.is_empty() {
                return Err(rehome_domain::ledger::Refused {
                    why: Refusal::HistoryMissing,
                    ledger: feed.ledger,
                }
                .into());
            }
            self.extend(&feed.events).await?;
        }
        Ok(())
    }
}
