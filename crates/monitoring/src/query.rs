//! The few shapes that the queries of rules and dashboards are made of.
//!
//! Every aggregation and every join keeps `deployment`, which the scrape configuration may give to
//! targets: series without it have an empty one.
//!
//! | who reports | a gauge | what a counter gained |
//! |---|---|---|
//! | whoever holds the lease, of the migration | [`now`] | [`advanced`] |
//! | each process, of itself | `sum by` | [`grown`] |

use crate::span::Span;

/// The identity of a migration.
pub(crate) const M: &str = "deployment, migration_id";
/// The identity of a migration and its tenant.
pub(crate) const MT: &str = "deployment, migration_id, tenant_id";
/// The identity of a tenant.
pub(crate) const T: &str = "deployment, tenant_id";

/// Where the states of migrations that are not over are kept, whatever processes report.
pub(crate) const UNFINISHED: &str = "migration_state != 4 != 5 != 6";

/// What a counter that each process keeps of itself gained within `window`, added up over processes.
///
/// `increase` alone sees nothing where a series is born above 0 and where it lives shorter than a scrape:
/// a series without a sample before the window counts whole, also when it has ended. Where it was there
/// before, or its process was started again meanwhile, `increase` is right. A series that was only not
/// scraped for a while is no new one, hence the hour.
pub(crate) fn grown(series: &str, by: &str, window: impl std::fmt::Display) -> String {
    format!(
        "sum by ({by}) ((increase({series}[{window}]) and (last_over_time({series}[1h] offset {window}) or resets({series}[{window}]) > 0)) or max_over_time({series}[{window}]))"
    )
}

/// What a counter of the migration itself gained within `window`: it goes on where it was when another
/// process takes over, or the same one is started again, and is the same whoever reports it.
pub(crate) fn advanced(series: &str, by: &str, window: impl std::fmt::Display) -> String {
    let latest = format!("max by ({by}) (max_over_time({series}[{window}]))");
    format!(
        "clamp_min({latest} - (max by ({by}) (last_over_time({series}[1h] offset {window})) or {latest} * 0), 0)"
    )
}

/// A gauge of the migration itself, as it is now; for as long as `gap` also when nobody reports it, as
/// while its process is started again.
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
