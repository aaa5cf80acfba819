//! One store alone: does each tenant's ledger match its rows, and do the rows match what was stored?
//!
//! | level | what is read |
//! |---|---|
//! | `count` | rows and versions of each stream, counted by the store |
//! | `hash` | every row; the chain is recomputed from what the rows hold, up to the ledger's digest |
//! | `full` | both, and every stream once more by its own index |
//!
//! It stops at the first damage of a tenant: everything after it has another chain anyway.

use std::sync::Arc;

use rehome_domain::digest::{Digest, chain};
use rehome_domain::event::Event;
use rehome_domain::ids::TenantId;
use rehome_domain::ledger::Ledger;
use rehome_domain::migration::Options;
use rehome_domain::stream::StreamName;
use rehome_domain::verification::{Level, Side, Violation, ViolationType};
use rehome_ports::{BatchLimit, Fault, FaultKind, LedgerStore, StoreError, StreamVersion};

use crate::throttle::Throttle;

/// Rows read at once.
const RANGE: u64 = 1_000;
/// Streams read at once.
const STREAMS: usize = 1_000;
/// How often damage is checked again if the ledger changed meanwhile: after a purge, or when a
/// copy was cut back.
const AGAIN: usize = 5;

/// Parameters of the verification of a tenant.
#[derive(Clone, Copy, Debug)]
pub struct Alone {
    /// How deep.
    pub level: Level,
    /// Where to start: what was already verified is not read again.
    pub after_seq: u64,
    /// Read at most so many events per second; 0: as fast as it goes.
    pub rate_max: u32,
}

/// The result for a tenant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Looked {
    /// The position up to which the history was verified.
    pub upto: u64,
    /// The first damage.
    pub damage: Option<Violation>,
}

/// Verifies a tenant in `store`; `progress` gets the position up to which there is no damage, and
/// the number of rows read since its last call.
pub async fn check(
    store: &Arc<dyn LedgerStore>,
    tenant: TenantId,
    how: Alone,
    mut progress: impl FnMut(u64, u64),
) -> Result<Looked, StoreError> {
    let mut throttle = Throttle::default();
    throttle.retune(&Options { copy_rate_max: how.rate_max, ..Options::default() });
    let mut tries = 0;
    loop {
        let ledger = store.ledger(tenant).await?;
        let look = Look { store, tenant, how, ledger, throttle: &throttle };
        let damage = match look.damage(&mut progress).await {
            Err(StoreError::Fault(Fault { kind: FaultKind::Corrupt(why), .. })) => {
                Some(violation(ViolationType::Ledger, None, None, why))
            }
            other => other?,
        };
        let now = store.ledger(tenant).await?;
        let moved = now.head.seq < ledger.head.seq || now.epoch != ledger.epoch;
        tries += 1;
        if damage.is_none() || !moved || tries == AGAIN {
            return Ok(Looked { upto: ledger.head.seq, damage });
        }
    }
}

struct Look<'a> {
    store: &'a Arc<dyn LedgerStore>,
    tenant: TenantId,
    how: Alone,
    ledger: Ledger,
    throttle: &'a Throttle,
}

impl Look<'_> {
    async fn damage(
        &self,
        progress: &mut impl FnMut(u64, u64),
    ) -> Result<Option<Violation>, StoreError> {
        let counts = matches!(self.how.level, Level::Count | Level::Full);
        if matches!(self.how.level, Level::Hash | Level::Full)
            && let Some(damage) = self.rows(progress).await?
        {
            return Ok(Some(damage));
        }
        if counts && let Some(damage) = self.streams(progress).await? {
            return Ok(Some(damage));
        }
        self.beyond().await
    }

    /// The rows, in their order.
    async fn rows(
        &self,
        progress: &mut impl FnMut(u64, u64),
    ) -> Result<Option<Violation>, StoreError> {
        let head = self.ledger.head;
        let mut at = self.how.after_seq.min(head.seq);
        let Some(mut digest) = self.digest_at(at).await? else {
            return Ok(Some(missing(at)));
        };
        while at < head.seq {
            let events = match self.page(at).await? {
                Ok(events) => events,
                Err(damage) => return Ok(Some(damage)),
            };
            let before = at;
            for event in events.iter().take_while(|event| event.seq <= head.seq) {
                if event.seq != at + 1 {
                    return Ok(Some(missing(at + 1)));
                }
                digest = chain(&digest, event);
                if digest != event.digest {
                    return Ok(Some(content(event)));
                }
                at = event.seq;
            }
            if at == before {
                return Ok(Some(missing(at + 1)));
            }
            let read = at - before;
            progress(at, read);
            self.throttle.take(usize::try_from(read).unwrap_or(usize::MAX), 0).await;
        }
        if digest == head.digest {
            return Ok(None);
        }
        let detail = "the ledger's digest is not that of its last event".to_owned();
        Ok(Some(violation(ViolationType::Ledger, Some(head.seq), None, detail)))
    }

    /// The next rows, or the first one that cannot be read.
    async fn page(&self, after: u64) -> Result<Result<Vec<Event>, Violation>, StoreError> {
        let mut limit = usize::try_from(RANGE).unwrap_or(usize::MAX);
        loop {
            match self.store.read_feed(self.tenant, after, BatchLimit::events(limit)).await {
                Ok(feed) => return Ok(Ok(feed.events)),
                Err(StoreError::Fault(Fault { kind: FaultKind::Corrupt(why), .. })) => {
                    if limit == 1 {
                        if let Ok(None) = self.store.digest_at(self.tenant, after + 1).await {
                            return Ok(Err(missing(after + 1)));
                        }
                        let detail = format!("the row cannot be read: {why}");
                        let seq = Some(after + 1);
                        return Ok(Err(violation(ViolationType::Content, seq, None, detail)));
                    }
                    limit /= 2;
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// What the rows of each stream add up to; at level `full`, each stream by its index too.
    async fn streams(
        &self,
        progress: &mut impl FnMut(u64, u64),
    ) -> Result<Option<Violation>, StoreError> {
        let upto = self.ledger.head.seq;
        let (mut last, mut counted): (Option<StreamName>, u64) = (None, 0);
        loop {
            let page = self.store.streams(self.tenant, upto, last.as_ref(), STREAMS).await?;
            for stream in page.iter().filter(|stream| stream.events > 0) {
                if let Some(damage) = versions(stream) {
                    return Ok(Some(damage));
                }
                if self.how.level == Level::Full
                    && let Some(damage) = self.stream(stream).await?
                {
                    return Ok(Some(damage));
                }
                counted += stream.events;
                if self.how.level == Level::Count {
                    progress(0, stream.events);
                }
                let events = usize::try_from(stream.events).unwrap_or(usize::MAX);
                self.throttle.take(events, 0).await;
            }
            last = page.last().map(|stream| stream.stream.clone());
            if page.len() < STREAMS {
                break;
            }
        }
        if counted == upto {
            return Ok(None);
        }
        let detail = format!("{counted} event rows where the ledger has {upto}");
        Ok(Some(violation(ViolationType::Ledger, None, None, detail)))
    }

    async fn stream(&self, counted: &StreamVersion) -> Result<Option<Violation>, StoreError> {
        let (name, limit) = (&counted.stream, BatchLimit::events(STREAMS));
        let (mut version, mut seq) = (0, 0);
        while version < counted.last {
            let slice = self.store.read_stream(self.tenant, name, version + 1, limit).await?;
            let before = version;
            for event in slice.events.iter().take_while(|event| event.version <= counted.last) {
                if event.version != version + 1 || event.seq <= seq || event.stream != *name {
                    let detail = format!("event {} is not the next one of its stream", event.id);
                    let (kind, seq) = (ViolationType::Order, Some(event.seq));
                    return Ok(Some(violation(kind, seq, Some(name), detail)));
                }
                (version, seq) = (event.version, event.seq);
            }
            if version == before {
                let detail = format!("the stream has no event of version {}", version + 1);
                return Ok(Some(violation(ViolationType::Version, None, Some(name), detail)));
            }
        }
        Ok(None)
    }

    /// A row beyond the ledger's end.
    async fn beyond(&self) -> Result<Option<Violation>, StoreError> {
        let next = self.ledger.head.seq + 1;
        if self.store.digest_at(self.tenant, next).await?.is_none()
            || self.store.ledger(self.tenant).await?.head.seq >= next
        {
            return Ok(None);
        }
        let detail = "a row beyond the end of the ledger".to_owned();
        Ok(Some(violation(ViolationType::Unexpected, Some(next), None, detail)))
    }

    async fn digest_at(&self, seq: u64) -> Result<Option<Digest>, StoreError> {
        if seq == 0 {
            return Ok(Some(Digest::EMPTY));
        }
        self.store.digest_at(self.tenant, seq).await
    }
}

fn versions(stream: &StreamVersion) -> Option<Violation> {
    let detail = if stream.events != stream.last {
        format!("{} event rows, the last of version {}", stream.events, stream.last)
    } else if stream.version < stream.last {
        format!(
            "appends are checked against version {}, the last event has {}",
            stream.version, stream.last
        )
    } else {
        return None;
    };
    Some(violation(ViolationType::Version, None, Some(&stream.stream), detail))
}

fn missing(seq: u64) -> Violation {
    violation(ViolationType::Missing, Some(seq), None, "there is no row".to_owned())
}

fn content(event: &Event) -> Violation {
    let detail = "the row does not match its stored digest".to_owned();
    violation(ViolationType::Content, Some(event.seq), Some(&event.stream), detail)
}

fn violation(
    kind: ViolationType,
    seq: Option<u64>,
    stream: Option<&StreamName>,
    detail: String,
) -> Violation {
    Violation { kind, side: Side::Unknown, seq, stream: stream.cloned(), detail }
}
