//! The comparison at the end of an import: is every row of the source one event of a store, and nothing else?
//!
//! Both sides are read once, in whatever order they come. For each tenant the digests of all its rows are added
//! up modulo 2^256 (an incremental multiset hash: Clarke and others, ASIACRYPT 2003, section 5), and so are those of its events: equal sums and equal counts mean
//! the same set of events. Where versions are compared too, so is the order of each stream. Memory grows with
//! the number of tenants only.

use std::collections::BTreeMap;

use rehome_api::VerifiedImport;
use rehome_domain::ids::TenantId;
use rehome_ports::{BatchLimit, EventSource, EventStore as _, SourceParts};

use super::row::{self, Likeness};
use crate::deployment::Deployment;
use crate::error::{AppError, Kind};

/// Tenants that a message names.
const NAMED: usize = 5;

/// A set of events, in few bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Sum {
    count: u64,
    /// Little-endian words of the sum.
    words: [u64; 4],
}

impl Sum {
    fn add(&mut self, digest: &[u8; 32]) {
        self.count += 1;
        let mut carry = false;
        for (word, bytes) in self.words.iter_mut().zip(digest.as_chunks::<8>().0) {
            let (sum, over) = word.overflowing_add(u64::from_le_bytes(*bytes));
            let (sum, again) = sum.overflowing_add(u64::from(carry));
            (*word, carry) = (sum, over || again);
        }
    }
}

/// What to compare.
pub(super) struct Compare<'a> {
    /// Where the events are.
    pub(super) deployment: &'a Deployment,
    /// The tenant of all rows.
    pub(super) only: Option<TenantId>,
    /// Rows behind this position are not compared: they came later.
    pub(super) up_to: Option<i64>,
}

impl Compare<'_> {
    /// Compares. `progress` gets the number of rows and events that were read.
    pub(super) async fn run(
        &self,
        source: &mut dyn EventSource,
        mut progress: impl FnMut(u64),
    ) -> Result<VerifiedImport, AppError> {
        let parts = source.parts();
        let mut sums: BTreeMap<TenantId, Sum> = BTreeMap::new();
        let mut read = 0;
        source.begin().await?;
        loop {
            let rows = source.next().await?;
            if rows.is_empty() {
                break;
            }
            read += rows.len() as u64;
            for found in rows {
                if self.up_to.is_some_and(|last| found.position > last) {
                    continue;
                }
                let position = found.position;
                let Some(tenant) = row::tenant(&found, self.only) else { continue };
                let changed = |why: &str| {
                    let message = format!(
                        "{} changed while it was imported: row {position}: {why}",
                        source.name()
                    );
                    AppError::new(Kind::Violated, "source_changed", message).tenant(tenant)
                };
                let line = row::line(tenant, found, parts).map_err(|why| changed(&why))?;
                let likeness =
                    Likeness::of_line(&line, parts).ok_or_else(|| changed("no event"))?;
                sums.entry(tenant).or_default().add(&likeness.digest());
            }
            progress(read);
        }
        let mut verified = VerifiedImport::default();
        let mut differ = Vec::new();
        for (tenant, expected) in sums {
            let found = self.events(tenant, parts, |more| {
                read += more;
                progress(read);
            });
            let found = found.await?;
            if found == expected {
                verified.tenants += 1;
                verified.events += found.count;
            } else {
                differ.push((tenant, expected, found));
            }
        }
        if differ.is_empty() { Ok(verified) } else { Err(differing(source.name(), &differ)) }
    }

    async fn events(
        &self,
        tenant: TenantId,
        parts: SourceParts,
        mut progress: impl FnMut(u64),
    ) -> Result<Sum, AppError> {
        let router = self.deployment.engine().router();
        let (mut sum, mut after) = (Sum::default(), 0);
        loop {
            let events = router.read_feed(tenant, after, BatchLimit::PAGE).await?;
            let Some(last) = events.last() else { return Ok(sum) };
            after = last.seq;
            for event in &events {
                sum.add(&Likeness::of_event(event, parts).digest());
            }
            progress(events.len() as u64);
        }
    }
}

fn differing(source: &str, differ: &[(TenantId, Sum, Sum)]) -> AppError {
    let named = differ.iter().take(NAMED).map(|(tenant, expected, found)| {
        let (rows, events) = (expected.count, found.count);
        if rows == events {
            format!("\ntenant {tenant}: {rows} rows and as many events, but their content differs")
        } else {
            format!("\ntenant {tenant}: {rows} rows in the source, {events} events in the store")
        }
    });
    let named: String = named.collect();
    let more = differ.len().saturating_sub(NAMED);
    let more = if more > 0 { format!("\nand {more} more") } else { String::new() };
    let message = format!(
        "{source} and the stores have different events for {} tenants; causes are rows that were changed or removed after \
         they were imported, or events that other writers appended{named}{more}",
        differ.len()
    );
    AppError::new(Kind::Violated, "import_differs", message)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sum(digests: &[[u8; 32]]) -> Sum {
        let mut sum = Sum::default();
        for digest in digests {
            sum.add(digest);
        }
        sum
    }

    #[test]
    fn a_sum_does_not_depend_on_the_order_and_does_on_everything_else() {
        let (a, b, c) = ([255; 32], [1; 32], [128; 32]);
        assert_eq!(sum(&[a, b, c]), sum(&[c, a, b]));
        assert_ne!(sum(&[a, b]), sum(&[a, b, b]));
        assert_ne!(sum(&[a, b]), sum(&[a, c]));
        // A carry goes through all words: 2^256 - 1 and 1 are 0.
        let mut one = [0; 32];
        one[0] = 1;
        assert_eq!(sum(&[a, one]).words, [0; 4]);
    }
}
