//! Level `count`: what the rows of each stream add up to, on both sides.

use std::sync::Arc;

use rehome_domain::ids::TenantId;
use rehome_domain::stream::StreamName;
use rehome_domain::verification::{Side, Violation, ViolationType};
use rehome_ports::{LedgerStore, StoreError, StreamVersion};

use super::Report;

/// Streams read at once.
const PAGE: usize = 1_000;

pub(super) async fn compare(
    authority: &Arc<dyn LedgerStore>,
    copy: &Arc<dyn LedgerStore>,
    tenant: TenantId,
    report: &mut Report,
) -> Result<(), StoreError> {
    let mut left = Streams::new(authority, tenant, report.upto);
    let mut right = Streams::new(copy, tenant, report.upto);
    let (mut ours, mut theirs) = (left.next().await?, right.next().await?);
    loop {
        // Both sides come in the same bytewise order.
        match (&ours, &theirs) {
            (None, None) => break,
            (Some(a), Some(b)) if a.stream == b.stream => {
                compare_stream(a, b, report);
                ours = left.next().await?;
                theirs = right.next().await?;
            }
            (Some(a), b) if b.as_ref().is_none_or(|b| a.stream < b.stream) => {
                add(
                    report,
                    ViolationType::Missing,
                    Side::Unknown,
                    a,
                    "the copy has no event of this stream",
                );
                ours = left.next().await?;
            }
            (_, Some(b)) => {
                add(
                    report,
                    ViolationType::Unexpected,
                    Side::Unknown,
                    b,
                    "the authority has no event of it",
                );
                theirs = right.next().await?;
            }
            (Some(_), None) => unreachable!("covered by the guard above"),
        }
    }
    report.events_checked = right.events;
    for (side, counted) in [(Side::Authority, left.events), (Side::Copy, right.events)] {
        if counted != report.upto {
            report.add(Violation {
                kind: ViolationType::Ledger,
                side,
                seq: None,
                stream: None,
                detail: format!(
                    "the {side} has {counted} event rows where its ledger has {}",
                    report.upto
                ),
            });
        }
    }
    Ok(())
}

fn compare_stream(a: &StreamVersion, b: &StreamVersion, report: &mut Report) {
    for (side, has) in [(Side::Authority, a), (Side::Copy, b)] {
        if has.events != has.last {
            let detail =
                format!("{side}: {} event rows, the last of version {}", has.events, has.last);
            add(report, ViolationType::Version, side, has, &detail);
        }
        // It may be higher because of concurrent appends, never lower.
        if has.version < has.last {
            let detail = format!(
                "{side}: appends are checked against version {}, the last event has {}",
                has.version, has.last
            );
            add(report, ViolationType::Version, side, has, &detail);
        }
    }
    if a.events < b.events {
        let detail = format!("{} events in the copy, {} in the authority", b.events, a.events);
        add(report, ViolationType::Unexpected, Side::Unknown, b, &detail);
    } else if a.events > b.events {
        let detail = format!("{} events in the copy, {} in the authority", b.events, a.events);
        add(report, ViolationType::Missing, Side::Unknown, a, &detail);
    }
}

fn add(report: &mut Report, kind: ViolationType, side: Side, stream: &StreamVersion, detail: &str) {
    report.add(Violation {
        kind,
        side,
        seq: None,
        stream: Some(stream.stream.clone()),
        detail: detail.to_owned(),
    });
}

/// The streams of one side, page by page.
struct Streams<'a> {
    store: &'a Arc<dyn LedgerStore>,
    tenant: TenantId,
    max_seq: u64,
    page: std::vec::IntoIter<StreamVersion>,
    last: Option<StreamName>,
    over: bool,
    events: u64,
}

impl<'a> Streams<'a> {
    fn new(store: &'a Arc<dyn LedgerStore>, tenant: TenantId, max_seq: u64) -> Self {
        Self {
            store,
            tenant,
            max_seq,
            page: Vec::new().into_iter(),
            last: None,
            over: false,
            events: 0,
        }
    }

    /// The next stream that has an event.
    async fn next(&mut self) -> Result<Option<StreamVersion>, StoreError> {
        loop {
            for stream in self.page.by_ref() {
                self.last = Some(stream.stream.clone());
                if stream.events > 0 {
                    self.events += stream.events;
                    return Ok(Some(stream));
                }
            }
            if self.over {
                return Ok(None);
            }
            let page =
                self.store.streams(self.tenant, self.max_seq, self.last.as_ref(), PAGE).await?;
            self.over = page.len() < PAGE;
            self.page = page.into_iter();
        }
    }
}
