//! Is the copy the history? Three levels; every difference typed and named.
//!
//! The verifier reads the stores' rows and trusts no counters. `authority` is the store
//! that has the authority (or had it, before a switch), `copy` the one that must be a prefix of it.

pub mod alone;
mod compare;
mod count;

use std::collections::BTreeMap;
use std::sync::Arc;

use rehome_domain::ids::TenantId;
use rehome_domain::verification::{Coverage, Finding, Level, Side, Violation, ViolationType};
use rehome_ports::{LedgerStore, StoreError};

/// Most violations that a report lists; all are counted.
pub const VIOLATIONS_LISTED: usize = 100;

/// What to verify.
#[derive(Clone, Copy, Debug)]
pub struct Request {
    /// How deep.
    pub level: Level,
    /// The fraction of the history to compare, in ranges spread over all of it: 1.0 is everything.
    /// For `hash` and `full`; `count` always covers everything.
    pub sample: f64,
    /// Where to start: an interrupted verification continues after what it covered.
    pub after_seq: u64,
    /// Read at most so many events per second; 0: as fast as it goes.
    pub rate_max: u32,
}

impl Default for Request {
    fn default() -> Self {
        Self { level: Level::Hash, sample: 1.0, after_seq: 0, rate_max: 0 }
    }
}

/// What a verification found.
#[derive(Clone, Debug, PartialEq)]
pub struct Report {
    /// The level.
    pub level: Level,
    /// Events compared, in each of the two stores.
    pub events_checked: u64,
    /// The position up to which the copy was compared.
    pub upto: u64,
    /// The first [`VIOLATIONS_LISTED`] violations.
    pub violations: Vec<Violation>,
    /// All violations.
    pub violations_total: u64,
    /// All violations, by type.
    pub violations_by_type: BTreeMap<ViolationType, u64>,
}

impl Report {
    /// Of a verification that has found nothing yet.
    pub fn new(level: Level, upto: u64) -> Self {
        Self {
            level,
            events_checked: 0,
            upto,
            violations: Vec::new(),
            violations_total: 0,
            violations_by_type: BTreeMap::new(),
        }
    }

    fn add(&mut self, violation: Violation) {
        self.violations_total += 1;
        *self.violations_by_type.entry(violation.kind).or_default() += 1;
        if self.violations.len() < VIOLATIONS_LISTED {
            self.violations.push(violation);
        }
    }

    fn add_at(&mut self, kind: ViolationType, side: Side, seq: u64, detail: impl Into<String>) {
        self.add(Violation { kind, side, seq: Some(seq), stream: None, detail: detail.into() });
    }

    /// The coverage, for this `request`.
    pub(crate) fn coverage(&self, request: &Request) -> Coverage {
        let counted = self.level == Level::Count;
        Coverage {
            level: self.level,
            after: if counted { 0 } else { request.after_seq },
            upto: self.upto,
            whole: counted || request.sample >= 1.0,
        }
    }

    /// The finding to record, if there is a violation.
    pub(crate) fn finding(&self, coverage: Coverage) -> Option<Finding> {
        let first = self.violations.first()?;
        let sides = self.violations.iter().map(|violation| violation.side);
        Some(Finding {
            violations: self.violations_total,
            seq: self.violations.iter().filter_map(|violation| violation.seq).min(),
            side: sides.max().unwrap_or(Side::Unknown),
            ..Finding::of(first, coverage)
        })
    }
}

/// Verifies that the tenant's history in `copy` is a prefix of the one in `authority`.
pub async fn compare(
    authority: &Arc<dyn LedgerStore>,
    copy: &Arc<dyn LedgerStore>,
    tenant: TenantId,
    request: &Request,
) -> Result<Report, StoreError> {
    // The copy's ledger first: the authority is then at least as far.
    let copied = copy.ledger(tenant).await?.head;
    let whole = authority.ledger(tenant).await?.head;
    let upto = copied.seq.min(whole.seq);
    let mut report = Report::new(request.level, upto);
    if copied.seq > whole.seq {
        report.add_at(
            ViolationType::Unexpected,
            Side::Unknown,
            whole.seq + 1,
            format!("the copy has {} events, the authority {}", copied.seq, whole.seq),
        );
    }
    match authority.digest_at(tenant, upto).await? {
        Some(digest) if upto < copied.seq || digest == copied.digest => {}
        Some(_) => {
            let why = "the ledgers' digests differ here";
            report.add_at(ViolationType::Ledger, Side::Unknown, upto, why);
        }
        None => {
            let why = "the authority has no row here";
            report.add_at(ViolationType::Missing, Side::Authority, upto, why);
        }
    }
    match request.level {
        Level::Count => count::compare(authority, copy, tenant, &mut report).await?,
        Level::Hash | Level::Full => {
            compare::compare(authority, copy, tenant, request, &mut report).await?;
        }
    }
    Ok(report)
}
