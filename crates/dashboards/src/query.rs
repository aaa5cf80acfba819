//! The query patterns of rules and dashboards.
//!
//! Every aggregation and every join keeps `deployment`, which the scrape configuration may add to
//! targets: series without it have an empty one.
//!
//! | reported by | a gauge | the increase of a counter |
//! |---|---|---|
//! | the lease holder, about the migration | [`now`] | [`advanced`] |
//! | each process, about itself | `sum by` | [`grown`] |

use crate::span::Span;

/// The identity of a migration.
pub(crate) const M: &str = "deployment, migration_id";
/// The identity of a migration and its tenant.
pub(crate) const MT: &str = "deployment, migration_id, tenant_id";
/// The identity of a tenant.
pub(crate) const T: &str = "deployment, tenant_id";

/// The identity of a drain.
pub(crate) const D: &str = "deployment, drain_id";

/// Where the states of migrations that are not over are kept, whatever processes report.
pub(crate) const UNFINISHED: &str = "migration_state != 4 != 5 != 6";

/// The increase of a counter of each process within `window`, summed over processes.
///
/// `increase` alone misses a series that starts above 0 or lives shorter than a scrape:
/// a series without a sample before the window counts in full, also if it has ended. If it was there
/// before, or its process restarted meanwhile, `increase` is right. A series that was only not
/// scraped for a while is not a new one, hence the hour.
pub(crate) fn grown(series: &str, by: &str, window: impl std::fmt::Display) -> String {
    format!(
        "sum by ({by}) ((increase({series}[{window}]) and (last_over_time({series}[1h] offset {window}) or resets({series}[{window}]) > 0)) or max_over_time({series}[{window}]))"
    )
}

/// The increase of a counter about the migration within `window`: it continues when another
/// process takes over, or the same one restarts, and is the same whichever process reports it.
pub(crate) fn advanced(series: &str, by: &str, window: impl std::fmt::Display) -> String {
    let latest = format!("max by ({by}) (max_over_time({series}[{window}]))");
    format!(
        "clamp_min({latest} - (max by ({by}) (last_over_time({series}[1h] offset {window})) or {latest} * 0), 0)"
    )
}

/// The current value of a gauge about the migration; for as long as `gap` also without a report, as
/// while its process restarts.
pub(crate) fn now(series: &str, by: &str, gap: Span) -> String {
    format!("(max by ({by}) ({series}) or max by ({by}) (last_over_time({series}[{gap}])))")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shapes_are_what_their_names_say() {
        assert_eq!(
            now("migration_state", M, Span::minutes(1)),
            "(max by (deployment, migration_id) (migration_state) or max by (deployment, \
             migration_id) (last_over_time(migration_state[1m])))"
        );
        assert!(grown("c_total{a=\"b\"}", T, "5m").contains("max_over_time(c_total{a=\"b\"}[5m])"));
        assert!(advanced("c_total", M, "1h").contains("last_over_time(c_total[1h] offset 1h)"));
    }
}
