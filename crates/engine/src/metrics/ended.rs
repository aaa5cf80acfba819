//! How much of a migration that ended stays in a scrape. A drain ends thousands of them within the
//! retention; a scrape after ten thousand moves is as large as after twenty.
//!
//! ```text
//!  ended ──▶ among the newest FULL_MAX: all of its series, for the retention
//!        └─▶ older: its state and what went wrong, for BRIEF_FOR ──▶ nothing
//!                   (one that failed, until it is acknowledged or the retention is over)
//! ```
//!
//! Those at work are bounded too: an operator may start any number of them.
//!
//! The state is exported for a while in any case, so that a scrape sees that the migration came to an end:
//! one that only vanishes is taken for lost.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use rehome_domain::event::Timestamp;
use rehome_domain::ids::MigrationId;

use super::tracker::Entry;

/// So many migrations that ended last keep all of their series.
pub(super) const FULL_MAX: usize = 20;
/// The state of an older one is exported for so long after its end.
pub(super) const BRIEF_FOR: Duration = Duration::from_secs(60);
/// Rollback windows with a series of their own: those that are furthest behind.
pub(super) const WINDOWS_MAX: usize = 100;

/// So many migrations with work to do, or that failed, have series: those that need attention first, then the oldest. Of
/// the others there is only their number.
pub(super) const AT_WORK_MAX: usize = 200;

/// Those with work to do, or that failed, for which there is no room.
pub(super) fn crowded_out<'a>(entries: impl Iterator<Item = &'a Entry>) -> BTreeSet<MigrationId> {
    let mut at_work: Vec<_> = entries
        .filter(|entry| !entry.is_over() || entry.is_open_failure())
        .map(|entry| (!entry.needs_attention(), entry.migration.created_at, entry.migration.id))
        .collect();
    if at_work.len() <= AT_WORK_MAX {
        return BTreeSet::new();
    }
    at_work.sort_unstable();
    at_work.into_iter().skip(AT_WORK_MAX).map(|(_, _, id)| id).collect()
}

/// What becomes of the series of a migration that ended and is not among the newest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// Its state stays, and what went wrong.
    Brief,
    /// It has none any more.
    Gone,
}

/// Those that do not keep all of their series.
pub(super) fn fates<'a>(
    entries: impl Iterator<Item = &'a Entry>,
    now: Timestamp,
) -> BTreeMap<MigrationId, Fate> {
    let ended = |entry: &'a Entry| Some((entry.ended()?, entry.migration.id, entry));
    let mut ended: Vec<_> = entries.filter_map(ended).collect();
    ended.sort_by_key(|(at, id, _)| std::cmp::Reverse((*at, *id)));
    let for_micros = i64::try_from(BRIEF_FOR.as_micros()).unwrap_or(i64::MAX);
    let older = ended.into_iter().skip(FULL_MAX).map(|(at, id, entry)| {
        let is_new = now.micros().saturating_sub(at.micros()) < for_micros;
        let fate = if is_new || entry.is_open_failure() { Fate::Brief } else { Fate::Gone };
        (id, fate)
    });
    older.collect()
}
