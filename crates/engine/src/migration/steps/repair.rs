//! pending, with a repair requested: the copy is cut back to before the damage. This is like an abort
//! and a new start on the rest of the target, but under the same migration:
//!
//! ```text
//! scan      the copy's rows against the source's    the last position that both agree on
//!           the source's rows from there on         they are what is copied again: no chain, no repair
//! drop      target: drop(m)                         no process extends it from here on
//! cut back  target: cut_back(m, to), in chunks      from the tail, the head lowered with each
//! record    control plane: cut_back                 m = a new epoch; prepare adopts the rest under it
//! ```
//!
//! A driver that finds the row unchanged may repeat each step. A sleeper's `drop` and
//! `cut_back` bring the old `m`, and are refused once the rest was adopted under the new one.

use rehome_domain::digest::Digest;
use rehome_domain::event::Event;
use rehome_domain::ledger::{Head, follow_chain};
use rehome_domain::migration::Fact;
use rehome_ports::{BatchLimit, Fault, FaultKind, LedgerStore, StoreError};

use super::clean_up::{CHUNK, retire};
use super::{Context, StepError};
use crate::failpoint;
use crate::throttle::Throttle;

/// What there is to cut back to.
enum Scan {
    /// Up to here the copy is the source's history.
    Good(Head),
    /// The source's own rows are damaged, so there is nothing to copy from.
    SourceDamaged(String),
}

impl Context {
    /// Cuts the copy back to before the damage, or reports why that would not help.
    pub(crate) async fn repair(&self) -> Result<(), StepError> {
        let to = match self.scan().await? {
            Scan::Good(to) => to,
            Scan::SourceDamaged(why) => {
                self.note(Fact::RepairRefused { why: why.into() }).await?;
                return Ok(());
            }
        };
        let (tenant, m) = (self.tenant(), self.migration.m);
        failpoint::hit("repair.scanned");
        retire(&*self.target, &*self.source, tenant, m).await?;
        failpoint::hit("repair.dropped");
        let before = self.target.ledger(tenant).await?.head.seq;
        while self.target.cut_back(tenant, m, to, CHUNK).await?.head != to {
            failpoint::hit("repair.chunk");
        }
        failpoint::hit("repair.cut");
        let route = self.route().await?;
        let events = before.saturating_sub(to.seq);
        self.record(route.rev, Fact::CutBack { to, events }).await?;
        failpoint::hit("repair.recorded");
        Ok(())
    }

    /// Finds the last position before the damage.
    async fn scan(&self) -> Result<Scan, StepError> {
        let mut throttle = Throttle::default();
        throttle.retune(&self.migration.options);
        let good = self.agreed(&throttle).await?;
        let found = self.migration.violations.open.as_ref().and_then(|open| open.finding.seq);
        let upto = match found {
            Some(seq) => good.seq.min(seq.saturating_sub(1)),
            // The problem is not in the rows: the whole copy is removed.
            None if good == self.target.ledger(self.tenant()).await?.head => 0,
            None => good.seq,
        };
        let to = if upto == good.seq { good } else { self.head_at(upto).await? };
        if self.source.digest_at(self.tenant(), to.seq).await? != Some(to.digest) {
            return Ok(Scan::SourceDamaged(format!(
                "the row of the source, store \"{}\", at seq {} differs from the copied one",
                self.source.id(),
                to.seq
            )));
        }
        self.check_source(to, &throttle).await
    }

    /// How far the copy's rows are a chain and the source's.
    async fn agreed(&self, throttle: &Throttle) -> Result<Head, StepError> {
        let tenant = self.tenant();
        let goal = self.target.ledger(tenant).await?.head.seq;
        let mut good = Head::EMPTY;
        while good.seq < goal {
            let Some(page) = page(&*self.target, self, good.seq).await? else { break };
            throttle.take(page.len(), page.iter().map(Event::bytes).sum()).await;
            let chained = chained(good, &page);
            let Some(last) = page[..chained].last().map(Head::of) else { break };
            if self.source.digest_at(tenant, last.seq).await? == Some(last.digest) {
                good = last;
            } else {
                return self.agreed_within(good, &page[..chained]).await;
            }
            if chained < page.len() {
                break;
            }
        }
        Ok(good)
    }

    /// The last of `rows` that the source has too. They are a chain, so it has none after one that it
    /// has not.
    async fn agreed_within(&self, from: Head, rows: &[Event]) -> Result<Head, StepError> {
        let (mut good, mut low, mut high) = (from, 0, rows.len());
        while low < high {
            let middle = low + (high - low) / 2;
            let head = Head::of(&rows[middle]);
            if self.source.digest_at(self.tenant(), head.seq).await? == Some(head.digest) {
                (good, low) = (head, middle + 1);
            } else {
                high = middle;
            }
        }
        Ok(good)
    }

    /// The copy's head at a position up to which it was found to be the source's.
    async fn head_at(&self, seq: u64) -> Result<Head, StepError> {
        let digest = self.target.digest_at(self.tenant(), seq).await?.unwrap_or(Digest::EMPTY);
        Ok(Head { seq, digest })
    }

    /// The copy is thrown away only for rows that are a chain: where the source's are damaged, the
    /// copy may be the only good one.
    async fn check_source(&self, to: Head, throttle: &Throttle) -> Result<Scan, StepError> {
        let goal = self.source.ledger(self.tenant()).await?.head;
        let mut at = to;
        while at.seq < goal.seq {
            let rows = page(&*self.source, self, at.seq).await?.unwrap_or_default();
            throttle.take(rows.len(), rows.iter().map(Event::bytes).sum()).await;
            match follow_chain(at, &rows) {
                Ok(reached) if reached != at => at = reached,
                _ => {
                    let seq = at.seq + chained(at, &rows) as u64 + 1;
                    return Ok(Scan::SourceDamaged(format!(
                        "the source's own row at seq {seq} in store \"{}\" is missing, cannot be \
                         read, or does not match its stored digest",
                        self.source.id()
                    )));
                }
            }
        }
        Ok(Scan::Good(to))
    }
}

/// How many of `rows` continue `from`.
fn chained(from: Head, rows: &[Event]) -> usize {
    let mut at = from;
    rows.iter()
        .take_while(|event| match follow_chain(at, std::slice::from_ref(*event)) {
            Ok(head) => {
                at = head;
                true
            }
            Err(_) => false,
        })
        .count()
}

/// The next rows, as far as they can be read; `None`: there is none, or the next one cannot be.
async fn page(
    store: &dyn LedgerStore,
    context: &Context,
    after: u64,
) -> Result<Option<Vec<Event>>, StoreError> {
    for limit in [context.limit(), BatchLimit::events(1)] {
        match store.read_feed(context.tenant(), after, limit).await {
            Ok(feed) => return Ok(Some(feed.events).filter(|events| !events.is_empty())),
            Err(StoreError::Fault(Fault { kind: FaultKind::Corrupt(_), .. })) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(None)
}
