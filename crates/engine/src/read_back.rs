//! The auditor: re-reads what the target has stored, recomputes the chain, and compares it with
//! the source's own digest. When the cutover comes, all of the history but its last few events has
//! been proven from the target's disk, so the pause does not grow with the history.

use std::sync::Arc;

use rehome_domain::ids::{Epoch, TenantId};
use rehome_domain::ledger::{ChainBreak, Head, follow_chain};
use rehome_domain::verification::{Violation, ViolationType};
use rehome_ports::{BatchLimit, LedgerStore, ReadBackMark, StoreError};

/// The read-back of one replica.
pub(crate) struct ReadBack {
    pub(crate) tenant: TenantId,
    pub(crate) m: Epoch,
    pub(crate) source: Arc<dyn LedgerStore>,
    pub(crate) target: Arc<dyn LedgerStore>,
    pub(crate) verified: Head,
}

/// Why the read-back did not go on.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ReadBackError {
    /// What the target holds is not the source's history.
    #[error("read-back found a violation: {0}")]
    Violation(Violation),
    /// A store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl ReadBack {
    /// Goes on at `mark`, if it is a mark of this replica.
    pub(crate) fn new(
        tenant: TenantId,
        m: Epoch,
        source: Arc<dyn LedgerStore>,
        target: Arc<dyn LedgerStore>,
        mark: Option<ReadBackMark>,
    ) -> Self {
        let verified = mark.filter(|mark| mark.m == m).map_or(Head::EMPTY, |mark| mark.head);
        Self { tenant, m, source, target, verified }
    }

    /// The mark to keep.
    pub(crate) fn mark(&self) -> ReadBackMark {
        ReadBackMark { m: self.m, head: self.verified }
    }

    /// Reads back one batch; true if there was something to read.
    pub(crate) async fn step(&mut self, limit: BatchLimit) -> Result<bool, ReadBackError> {
        let feed = self.target.read_feed(self.tenant, self.verified.seq, limit).await?;
        // Past the switch the target goes on where the source ends: that is no violation.
        feed.ledger.check_replica(self.m).map_err(StoreError::from)?;
        if feed.events.is_empty() {
            if feed.ledger.head.seq == self.verified.seq {
                return Ok(false);
            }
            return Err(violation(
                ViolationType::Ledger,
                self.verified.seq + 1,
                "the ledger counts events that have no rows",
            ));
        }
        let head = follow_chain(self.verified, &feed.events).map_err(|broken| match broken {
            ChainBreak::Gap { expected, .. } => violation(
                ViolationType::Missing,
                expected,
                "the target has no row at this position",
            ),
            ChainBreak::Digest { seq } => violation(
                ViolationType::Content,
                seq,
                "the target's row does not give the digest that it was stored with",
            ),
        })?;
        let at_source = self.source.digest_at(self.tenant, head.seq).await?;
        if at_source != Some(head.digest) {
            // Nor is it one that the source, left since then, has been purged.
            let now = self.target.ledger(self.tenant).await?;
            now.check_replica(self.m).map_err(StoreError::from)?;
        }
        match at_source {
            Some(digest) if digest == head.digest => {}
            Some(_) => {
                return Err(violation(
                    ViolationType::Content,
                    head.seq,
                    "the target's history up to here is not the source's",
                ));
            }
            None => {
                return Err(violation(
                    ViolationType::Unexpected,
                    head.seq,
                    "the target holds an event that the source does not",
                ));
            }
        }
        self.verified = head;
        Ok(true)
    }

    /// Reads back until `goal`.
    pub(crate) async fn catch_up(
        &mut self,
        goal: u64,
        limit: BatchLimit,
    ) -> Result<(), ReadBackError> {
        while self.verified.seq < goal {
            if !self.step(limit).await? {
                return Err(violation(
                    ViolationType::Missing,
                    self.verified.seq + 1,
                    "the target has no row at this position",
                ));
            }
        }
        Ok(())
    }
}

fn violation(kind: ViolationType, seq: u64, detail: &str) -> ReadBackError {
    ReadBackError::Violation(Violation {
        kind,
        seq: Some(seq),
        stream: None,
        detail: detail.to_owned(),
    })
}
