//! Levels `hash` and `full`: both stores' rows, read side by side.
//!
//! Each row's digest is recomputed from its content and the digest stored before it, so that one
//! changed row is one violation and not one for every row after it. `full` also compares field by
//! field, and so can report what differs, and whether it is the content or the order.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use rehome_domain::digest::{self, Digest};
use rehome_domain::event::Event;
use rehome_domain::ids::TenantId;
use rehome_domain::migration::Options;
use rehome_domain::verification::{Level, Side, Violation, ViolationType};
use rehome_ports::{BatchLimit, Fault, FaultKind, LedgerStore, StoreError};
use tokio::sync::mpsc;
use tokio_util::task::AbortOnDropHandle;

use super::{Report, Request};
use crate::throttle::Throttle;

/// Events of one range: the unit of reading and of a sample.
const RANGE: u64 = 1_000;
/// Ranges read ahead of the one that is compared.
const READ_AHEAD: usize = 1;

pub(super) async fn compare(
    authority: &Arc<dyn LedgerStore>,
    copy: &Arc<dyn LedgerStore>,
    tenant: TenantId,
    request: &Request,
    report: &mut Report,
) -> Result<(), StoreError> {
    let mut throttle = Throttle::default();
    throttle.retune(&Options { copy_rate_max: request.rate_max, ..Options::default() });
    let (authority, copy) = (Arc::clone(authority), Arc::clone(copy));
    let mut ranges = read_ahead(authority, copy, tenant, ranges(request, report.upto));
    compare_all(&mut ranges.receiver, request.after_seq, &mut throttle, report).await
}

/// Compares what the reader sends. A reader that ends before it has sent the last range, as by a panic, is an error:
/// what it did not send was not compared.
async fn compare_all(
    ranges: &mut mpsc::Receiver<Result<Range, StoreError>>,
    after: u64,
    throttle: &mut Throttle,
    report: &mut Report,
) -> Result<(), StoreError> {
    let mut reached = after;
    while let Some(range) = ranges.recv().await {
        let range = range?;
        reached = range.end;
        let checked = compare_range(&range, report);
        throttle.take(checked, 0).await;
    }
    if reached < report.upto {
        let why = format!("the reader of both stores ended after event {reached}");
        return Err(Fault::new("verification", FaultKind::Unreachable(why)).into());
    }
    Ok(())
}

/// The ranges to compare: after one position up to another. They are spread evenly: one is read each time the share
/// adds up to a whole one. The last is always read.
fn ranges(request: &Request, upto: u64) -> impl Iterator<Item = (u64, u64)> + Send + use<> {
    let share = request.sample.clamp(0.0, 1.0);
    let (mut debt, mut after) = (0.0, request.after_seq);
    std::iter::from_fn(move || {
        while after < upto {
            let end = (after + RANGE).min(upto);
            let range = (after, end);
            after = end;
            debt += share;
            if debt >= 1.0 || end == upto {
                debt -= 1.0;
                return Some(range);
            }
        }
        None
    })
}

/// The rows of a range in both stores, and the digests stored before them.
struct Range {
    after: u64,
    end: u64,
    ours: Vec<Event>,
    ours_before: Option<Digest>,
    theirs: Vec<Event>,
    theirs_before: Option<Digest>,
}

struct Ranges {
    receiver: mpsc::Receiver<Result<Range, StoreError>>,
    _reader: AbortOnDropHandle<()>,
}

/// Reads the next range, of both stores at once, while the last one is compared.
fn read_ahead(
    authority: Arc<dyn LedgerStore>,
    copy: Arc<dyn LedgerStore>,
    tenant: TenantId,
    ranges: impl Iterator<Item = (u64, u64)> + Send + 'static,
) -> Ranges {
    let (sender, receiver) = mpsc::channel(READ_AHEAD);
    let reader = tokio::spawn(async move {
        for (after, end) in ranges {
            // A range is read once there is room for it, so memory is bounded.
            let Ok(room) = sender.reserve().await else { return };
            let range = read_range(&authority, &copy, tenant, after, end).await;
            let failed = range.is_err();
            room.send(range);
            if failed {
                return;
            }
        }
    });
    Ranges { receiver, _reader: AbortOnDropHandle::new(reader) }
}

async fn read_range(
    authority: &Arc<dyn LedgerStore>,
    copy: &Arc<dyn LedgerStore>,
    tenant: TenantId,
    after: u64,
    end: u64,
) -> Result<Range, StoreError> {
    let (ours, theirs, ours_before, theirs_before) = tokio::try_join!(
        biased;
        read(authority, tenant, after, end),
        read(copy, tenant, after, end),
        authority.digest_at(tenant, after),
        copy.digest_at(tenant, after),
    )?;
    Ok(Range { after, end, ours, ours_before, theirs, theirs_before })
}

fn compare_range(range: &Range, report: &mut Report) -> usize {
    let Range { after, end, ours, ours_before, theirs, theirs_before } = range;
    let ours_broken = broken(*ours_before, ours);
    let theirs_broken = broken(*theirs_before, theirs);
    // Where two rows differ, the one that the authority holds is right, unless it is broken in itself.
    let side = |seq| if ours_broken.contains(&seq) { Side::Authority } else { Side::Copy };
    let different = compare_rows(*after, *end, ours, theirs, side, report);
    for (side, broken) in [(Side::Authority, ours_broken), (Side::Copy, theirs_broken)] {
        // A position that was named already is not named again.
        for seq in broken.into_iter().filter(|seq| !different.contains(seq)) {
            let why = format!("{side}: the row does not match its stored digest");
            report.add_at(ViolationType::Content, side, seq, why);
        }
    }
    let checked = theirs.len();
    report.events_checked += checked as u64;
    checked
}

/// Position by position; answers the positions at which the two differ.
fn compare_rows(
    after: u64,
    end: u64,
    ours: &[Event],
    theirs: &[Event],
    side: impl Fn(u64) -> Side,
    report: &mut Report,
) -> HashSet<u64> {
    let (ours, theirs) = (by_seq(ours), by_seq(theirs));
    let positions: HashMap<_, _> = ours.values().map(|event| (event.id, event.seq)).collect();
    let mut different = HashSet::new();
    for seq in after + 1..=end {
        let before = report.violations_total;
        match (ours.get(&seq), theirs.get(&seq)) {
            (Some(a), Some(b)) => compare_event(a, b, side(seq), &positions, report),
            (Some(_), None) => {
                report.add_at(
                    ViolationType::Missing,
                    Side::Copy,
                    seq,
                    "the copy has no row here that can be read",
                );
            }
            (None, Some(_)) => {
                report.add_at(
                    ViolationType::Unexpected,
                    Side::Authority,
                    seq,
                    "the authority has no row here that can be read",
                );
            }
            (None, None) => {
                report.add_at(
                    ViolationType::Ledger,
                    Side::Authority,
                    seq,
                    "neither store has a row here that can be read",
                );
            }
        }
        if report.violations_total > before {
            different.insert(seq);
        }
    }
    different
}

fn by_seq(events: &[Event]) -> HashMap<u64, &Event> {
    events.iter().map(|event| (event.seq, event)).collect()
}

/// The rows of a range. A missing or unreadable row is left out: the row
/// in its place on the other side identifies it.
async fn read(
    store: &Arc<dyn LedgerStore>,
    tenant: TenantId,
    after: u64,
    end: u64,
) -> Result<Vec<Event>, StoreError> {
    let mut events: Vec<Event> = Vec::new();
    let mut at = after;
    while at < end {
        let left = usize::try_from(end - at).unwrap_or(usize::MAX);
        let page = match store.read_feed(tenant, at, BatchLimit::events(left)).await {
            Ok(feed) => feed.events,
            Err(StoreError::Fault(Fault { kind: FaultKind::Corrupt(_), .. })) => {
                at += 1;
                continue;
            }
            Err(error) => return Err(error),
        };
        let Some(last) = page.last() else { break };
        at = last.seq;
        events.extend(page.into_iter().filter(|event| event.seq <= end));
    }
    Ok(events)
}

/// The positions of the rows that do not give the digest that they were stored with.
fn broken(before: Option<Digest>, rows: &[Event]) -> BTreeSet<u64> {
    let mut previous = before;
    let mut broken = BTreeSet::new();
    for event in rows {
        // Without the row before: that it is missing is named in another range.
        if previous.is_some_and(|digest| digest::chain(&digest, event) != event.digest) {
            broken.insert(event.seq);
        }
        previous = Some(event.digest);
    }
    broken
}

fn compare_event(
    a: &Event,
    b: &Event,
    side: Side,
    positions: &HashMap<rehome_domain::ids::EventId, u64>,
    report: &mut Report,
) {
    if report.level == Level::Hash {
        if a.digest != b.digest {
            report.add_at(ViolationType::Content, side, b.seq, "the digests differ from here on");
        }
        return;
    }
    if a.id != b.id {
        let (kind, detail) = match positions.get(&b.id) {
            Some(seq) => (ViolationType::Order, format!("event {} belongs at seq {seq}", b.id)),
            None => (ViolationType::Unexpected, format!("event {} where {} should be", b.id, a.id)),
        };
        let (seq, stream) = (Some(b.seq), Some(b.stream.clone()));
        report.add(Violation { kind, side, seq, stream, detail });
        return;
    }
    if a.version != b.version {
        let detail = format!("version {} where {} should be", b.version, a.version);
        let stream = Some(b.stream.clone());
        let (kind, seq) = (ViolationType::Version, Some(b.seq));
        report.add(Violation { kind, side, seq, stream, detail });
    }
    for (field, same) in [
        ("stream", a.stream == b.stream),
        ("event type", a.event_type == b.event_type),
        ("occurred_at", a.occurred_at == b.occurred_at),
        ("recorded_at", a.recorded_at == b.recorded_at),
        ("data", a.data == b.data),
        ("metadata", a.metadata == b.metadata),
    ] {
        if !same {
            let stream = Some(b.stream.clone());
            let detail = format!("{field} of event {} differs", b.id);
            report.add(Violation {
                kind: ViolationType::Content,
                side,
                seq: Some(b.seq),
                stream,
                detail,
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_reader_that_ends_early_is_no_clean_verification() {
        let range = |after, end| {
            Ok(Range {
                after,
                end,
                ours: Vec::new(),
                ours_before: None,
                theirs: Vec::new(),
                theirs_before: None,
            })
        };
        for (sent, ends_well) in [(0, false), (1, false), (2, true)] {
            let (sender, mut receiver) = mpsc::channel(2);
            for (after, end) in [(0, 5), (5, 9)].into_iter().take(sent) {
                sender.send(range(after, end)).await.unwrap();
            }
            drop(sender);
            let mut report = Report::new(Level::Hash, 9);
            let compared =
                compare_all(&mut receiver, 0, &mut Throttle::default(), &mut report).await;
            assert_eq!(compared.is_ok(), ends_well, "{sent} of 2 ranges");
        }
    }
}
