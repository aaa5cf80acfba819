//! Spans held against the guide's tables.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context as _, Result, ensure};
use opentelemetry_proto::tonic::trace::v1::Span;
use rehome_tests::history::TENANT;

use crate::collector::text;

const PREFIX: &str = "eventsource.migration.";
/// The guide's names, parents, and the phase that each belongs to.
pub(crate) const TABLE: [(&str, Option<&str>, &str); 9] = [
    ("start", None, "pending"),
    ("bulk_copy", Some("start"), "bulk_copy"),
    ("bulk_copy.batch", Some("bulk_copy"), "bulk_copy"),
    ("dual_write", Some("start"), "dual_write"),
    ("dual_write.append", Some("dual_write"), "dual_write"),
    ("cutover", Some("start"), "cutover_paused"),
    ("cutover.pause", Some("cutover"), "cutover_paused"),
    ("cutover.verify", Some("cutover"), "cutover_paused"),
    ("cutover.switch", Some("cutover"), "cutover_paused"),
];

/// All spans of one migration, checked: one trace, no unknown name, each under the parent that the
/// guide gives it, with the guide's five attributes. By short name.
pub(crate) fn check(spans: Vec<Span>, migration: [u8; 16]) -> Result<BTreeMap<String, Vec<Span>>> {
    let names: BTreeMap<_, _> =
        spans.iter().map(|span| (span.span_id.clone(), span.name.clone())).collect();
    let id = uuid::Uuid::from_bytes(migration).to_string();
    let mut by_name: BTreeMap<String, Vec<Span>> = BTreeMap::new();
    for span in spans {
        ensure!(span.trace_id == migration, "another trace: {span:?}");
        let short = span.name.strip_prefix(PREFIX).context("not one of ours")?.to_owned();
        let row = TABLE.iter().find(|(name, ..)| *name == short);
        let (_, parent, phase) = row.with_context(|| format!("{short} is not in the guide"))?;
        match parent {
            None => ensure!(span.parent_span_id.is_empty(), "{span:?}"),
            Some(parent) => {
                let found = names.get(&span.parent_span_id);
                ensure!(found == Some(&format!("{PREFIX}{parent}")), "{found:?} over {span:?}");
            }
        }
        for (key, value) in [
            ("migration.id", id.as_str()),
            ("migration.tenant_id", TENANT),
            ("migration.phase", phase),
            ("migration.source_store", "shared"),
            ("migration.target_store", "dedicated"),
        ] {
            ensure!(text(&span.attributes, key) == Some(value), "{key} of {span:?}");
        }
        ensure!(span.start_time_unix_nano <= span.end_time_unix_nano, "{span:?}");
        by_name.entry(short).or_default().push(span);
    }
    Ok(by_name)
}

/// The names of the events in a span.
pub(crate) fn events(span: &Span) -> BTreeSet<&str> {
    span.events.iter().map(|event| event.name.as_str()).collect()
}

/// Why it failed, if it did.
pub(crate) fn failure(span: &Span) -> Option<&str> {
    const ERROR: i32 = 2;
    span.status.as_ref().filter(|status| status.code == ERROR).map(|status| &*status.message)
}
