//! The auditor: re-reads what the target has stored, recomputes the chain, and compares it with
//! the source's own digest. When the cutover comes, all of the history but its last few events has
//! been proven from the target's disk, so the pause does not grow with the history.

use std::sync::Arc;
use std::time::Duration;

use rehome_domain::event::Event;
use rehome_domain::ids::{Epoch, TenantId};
use rehome_domain::ledger::{ChainBreak, Head, follow_chain};
use rehome_domain::verification::{Side, Violation, ViolationType};
use rehome_ports::{BatchLimit, Fault, FaultKind, LedgerStore, ReadBackMark, StoreError};
use tokio::time::Instant;

/// The read-back of one replica.
pub(crate) struct ReadBack {
    pub(crate) tenant: TenantId,
    pub(crate) m: Epoch,
    pub(crate) source: Arc<dyn LedgerStore>,
    pub(crate) target: Arc<dyn LedgerStore>,
    pub(crate) verified: Head,
    /// Everything was read after this; `None`: unknown in this process.
    pub(crate) since: Option<Instant>,
}

/// Why the read-back did not continue.
#[derive(Debug)]
pub(crate) enum ReadBackError {
    /// What the target holds is not the source's history.
    Violation(Violation),
    /// A store failed.
    Store(StoreError),
}

impl From<StoreError> for ReadBackError {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

impl ReadBack {
    /// Continues at `mark`, if it is a mark of this replica.
    pub(crate) fn new(
        tenant: TenantId,
        m: Epoch,
        source: Arc<dyn LedgerStore>,
        target: Arc<dyn LedgerStore>,
        mark: Option<ReadBackMark>,
    ) -> Self {
        let verified = mark.filter(|mark| mark.m == m).map_or(Head::EMPTY, |mark| mark.head);
        let since = (verified.seq == 0).then(Instant::now);
        Self { tenant, m, source, target, verified, since }
    }

    /// The same from the beginning, now.
    pub(crate) fn anew(&self) -> Self {
        let (source, target) = (Arc::clone(&self.source), Arc::clone(&self.target));
        Self::new(self.tenant, self.m, source, target, None)
    }

    /// Whether all of it was read lately enough.
    pub(crate) fn is_trusted(&self, trusted: Duration) -> bool {
        self.since.is_some_and(|since| since.elapsed() <= trusted)
    }

    /// The mark to keep.
    pub(crate) fn mark(&self) -> ReadBackMark {
        ReadBackMark { m: self.m, head: self.verified }
    }

    /// Reads back one batch; true if there was something to read.
    pub(crate) async fn step(&mut self, limit: BatchLimit) -> Result<bool, ReadBackError> {
        match self.look(limit).await {
            Ok(head) => {
                let more = head != self.verified;
                self.verified = head;
                Ok(more)
            }
            Err(ReadBackError::Violation(violation)) => {
                // The rows read were this replica's only if it is still the replica: after the
                // switch the target continues where the source ends, and after an abort or in a repair
                // its rows are removed. None of that is a violation.
                let now = self.target.ledger(self.tenant).await?;
                now.check_replica(self.m).map_err(StoreError::from)?;
                Err(ReadBackError::Violation(violation))
            }
            Err(error) => Err(error),
        }
    }

    /// The head that the next batch of the target's rows gives.
    async fn look(&self, limit: BatchLimit) -> Result<Head, ReadBackError> {
        let feed = match self.target.read_feed(self.tenant, self.verified.seq, limit).await {
            Ok(feed) => feed,
            Err(StoreError::Fault(Fault { kind: FaultKind::Corrupt(why), .. })) => {
                return self.look_at_one(&why).await;
            }
            Err(error) => return Err(error.into()),
        };
        feed.ledger.check_replica(self.m).map_err(StoreError::from)?;
        if feed.events.is_empty() {
            if feed.ledger.head.seq == self.verified.seq {
                return Ok(self.verified);
            }
            return Err(in_copy(
                ViolationType::Ledger,
                self.verified.seq + 1,
                "the ledger counts events that have no rows",
            ));
        }
        self.compare(&feed.events).await
    }

    /// Where some of a batch cannot be read: only the next row.
    async fn look_at_one(&self, why: &str) -> Result<Head, ReadBackError> {
        let one = BatchLimit::events(1);
        match self.target.read_feed(self.tenant, self.verified.seq, one).await {
            Ok(feed) => self.compare(&feed.events).await,
            Err(StoreError::Fault(Fault { kind: FaultKind::Corrupt(_), .. })) => Err(in_copy(
                ViolationType::Content,
                self.verified.seq + 1,
                &format!("the target's row cannot be read: {why}"),
            )),
            Err(error) => Err(error.into()),
        }
    }

    /// Recomputes the chain over `events` and compares where it leads with the source.
    async fn compare(&self, events: &[Event]) -> Result<Head, ReadBackError> {
        let head = follow_chain(self.verified, events).map_err(|broken| match broken {
            ChainBreak::Gap { expected, .. } => {
                in_copy(ViolationType::Missing, expected, "the target has no row at this position")
            }
            ChainBreak::Digest { seq } => in_copy(
                ViolationType::Content,
                seq,
                "the target's row does not match its stored digest",
            ),
        })?;
        match self.source.digest_at(self.tenant, head.seq).await? {
            Some(digest) if digest == head.digest => Ok(head),
            at_source => Err(self.differs(head, at_source.is_some()).await?),
        }
    }

    /// The target's rows are consistent in themselves, and are not the source's.
    async fn differs(&self, head: Head, is_there: bool) -> Result<ReadBackError, StoreError> {
        if !is_there && self.source.ledger(self.tenant).await?.head.seq < head.seq {
            return Ok(in_copy(
                ViolationType::Unexpected,
                head.seq,
                "the target has an event that the source does not have",
            ));
        }
        // Up to `verified` the two are the same. From there on the source is right, unless its own
        // rows are no chain.
        let mut at = self.verified;
        while at.seq < head.seq {
            let left = usize::try_from(head.seq - at.seq).unwrap_or(usize::MAX);
            let feed = self.source.read_feed(self.tenant, at.seq, BatchLimit::events(left)).await?;
            let upto = feed.events.partition_point(|event| event.seq <= head.seq);
            at = match follow_chain(at, &feed.events[..upto]) {
                Ok(reached) if reached != at => reached,
                broken => {
                    let seq = match broken {
                        Err(ChainBreak::Digest { seq }) => seq,
                        Err(ChainBreak::Gap { expected, .. }) => expected,
                        Ok(_) => at.seq + 1,
                    };
                    return Ok(violation(
                        ViolationType::Content,
                        Side::Authority,
                        seq,
                        "the source's own row is missing or does not match its stored \
                         digest",
                    ));
                }
            };
        }
        Ok(in_copy(
            ViolationType::Content,
            head.seq,
            "the target's history up to here is not the source's",
        ))
    }

    /// Reads back until `goal`.
    pub(crate) async fn catch_up(
        &mut self,
        goal: u64,
        limit: BatchLimit,
    ) -> Result<(), ReadBackError> {
        while self.verified.seq < goal {
            if !self.step(limit).await? {
                return Err(in_copy(
                    ViolationType::Missing,
                    self.verified.seq + 1,
                    "the target has no row at this position",
                ));
            }
        }
        Ok(())
    }
}

fn in_copy(kind: ViolationType, seq: u64, detail: &str) -> ReadBackError {
    violation(kind, Side::Copy, seq, detail)
}

fn violation(kind: ViolationType, side: Side, seq: u64, detail: &str) -> ReadBackError {
    let detail = detail.to_owned();
    ReadBackError::Violation(Violation { kind, side, seq: Some(seq), stream: None, detail })
}
