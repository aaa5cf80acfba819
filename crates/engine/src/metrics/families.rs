//! Every metric family: the only place where a name, a type, a label or a bucket is defined, a file for each subject. The
//! exposition is checked against the table of all, and the reference page is generated from it.

mod drains;
mod migrations;
mod processes;

pub(super) use drains::*;
pub(super) use migrations::*;
pub(super) use processes::*;

/// The type of a family, as Prometheus and OpenMetrics know it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Kind {
    /// Only increases, and restarts at 0 with the process. Its samples end in `_total`.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Counts by upper bounds, in seconds.
    Histogram(&'static [f64]),
}

impl Kind {
    /// The name in an exposition.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram(_) => "histogram",
        }
    }
}

/// Which process reports a family's series.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReportedBy {
    /// The process that drives the migration, if it serves; otherwise every process that serves, as it observes it.
    Server,
    /// The process that drives the migration, if it serves.
    Driver,
    /// The process in which it happened.
    WhereItHappened,
    /// Every process that routes appends, about its own.
    EachRouter,
    /// Every process that serves.
    EachProcess,
    /// Every process that serves, all the same: what the control plane has.
    EachServer,
}

impl ReportedBy {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Server => "the lease holder; without a server that drives, each server",
            Self::Driver => "the lease holder",
            Self::WhereItHappened => "the process where it happened",
            Self::EachRouter => "each router",
            Self::EachProcess => "each process",
            Self::EachServer => "each server, from the control plane",
        }
    }
}

/// One metric family.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Family {
    /// The name; of a counter without `_total`, which its samples have.
    pub name: &'static str,
    /// The type.
    pub kind: Kind,
    /// The labels, in their order.
    pub labels: &'static [&'static str],
    /// The meaning, and the unit.
    pub help: &'static str,
    /// The processes that report it.
    pub reported_by: ReportedBy,
}

impl Family {
    const fn new(
        name: &'static str,
        kind: Kind,
        labels: &'static [&'static str],
        reported_by: ReportedBy,
        help: &'static str,
    ) -> Self {
        Self { name, kind, labels, help, reported_by }
    }

    /// The name of its samples (of a histogram: without `_bucket`, `_sum`, `_count`).
    pub fn sample(&self) -> String {
        match self.kind {
            Kind::Counter => format!("{}_total", self.name),
            _ => self.name.to_owned(),
        }
    }
}

use Kind::Histogram;

/// All families, in the order of the exposition.
pub const FAMILIES: &[Family] = &[
    STATE,
    PERCENT,
    COPIED,
    TOTAL,
    DURATION,
    INFO,
    BYTES,
    THROTTLE,
    SPEED,
    SLOWED,
    LAST_PROGRESS,
    SINCE,
    READ_BACK_LAG,
    TAKEOVERS,
    LEASE_LOST,
    UNATTENDED,
    CROWDED_OUT,
    UNPUBLISHED,
    RETRIES,
    WINDOW_LAG,
    OPERATIONS,
    TARGET_FAILURES,
    MIRROR_LATENCY,
    SYNC_LAG,
    SYNC_LAG_AGE,
    PAUSE,
    BLOCKED,
    ATTEMPTS,
    TIMEOUTS,
    VERIFICATION,
    VIOLATIONS,
    CHECKED,
    OPEN_VIOLATIONS,
    DRAIN_STATE,
    DRAIN_INFO,
    DRAIN_TENANTS,
    DRAIN_MOVES,
    DRAIN_EVENTS,
    DRAIN_EVENTS_MOVED,
    DRAIN_BYTES,
    DRAIN_FAILURES,
    DRAIN_FAILURES_MAX,
    DRAIN_WORKERS,
    DRAIN_WINDOW_OPEN,
    DRAIN_WINDOW_OPENS,
    DRAIN_WINDOW_MISSED,
    DRAIN_PROGRESS,
    DRAIN_REMAINING,
    DRAIN_NEEDS,
    APPENDS,
    LONGEST_WAIT,
    APPENDS_BLOCKED,
    FENCED,
    REFRESHES,
    STORE_UP,
    STORE_CHECKED,
    STORE_DAMAGED,
    STORE_VERIFIED,
    REMOVALS_STILL,
    CONTROL_UP,
    ROOM_USED,
    ROOM_SIZE,
    ROOM_REFUSED,
    SLOW_CLIENTS,
    LOOKED,
    BUILD,
    PROCESS,
    CPU,
    RESIDENT,
    STARTED,
];

/// The reference page, in Markdown.
pub fn reference() -> String {
    use std::fmt::Write as _;
    let mut page = String::from(
        "# Metrics\n\n\
         Served at `/metrics`, as OpenMetrics or as text 0.0.4, by `Accept`; the names of the samples are the \
         same in both. This page is generated from `crates/engine/src/metrics/families.rs`; a test fails when it \
         is stale.\n\n\
         Series of a migration start when a process takes it, and end 15 minutes after the migration ended \
         (`[telemetry] metrics_retention`): of the 20 that ended last all, of older ones the state and what went \
         wrong for a minute, of one that failed until it is acknowledged. So a scrape after ten thousand moves \
         is as small as after twenty. Of those at work at the same time, 200 have series (`migrations_without_series`). Series of a drain start with it and end as long after it; what each server \
         exports of it is the same, so aggregate with `max by (drain_id)`. Counters are 0 when their phase starts. \
         Several processes share a deployment. What the lease holder reports is about the migration, and \
         continues after a restart or a takeover: aggregate with `max by (migration_id, tenant_id)`, \
         counters too. What is reported where it happened, and what each router reports about its own appends, \
         starts at 0 with the process: add it up with `sum by`.\n\n\
         No series names its deployment. Where several share a Prometheus, the scrape configuration labels \
         their targets with `deployment`, which all shipped queries keep; see \
         [dashboards](dashboards.md#several-deployments-in-one-prometheus).\n\n\
         A command that drives a migration (`rehome --local migration start`) serves no metrics: each server \
         exports the state, the progress, the lag and the durations of a migration that no server drives, from \
         the control plane and the two ledgers, read every second. While a store does not answer, its last \
         known length counts, so the lag of a target that hangs continues to grow; when neither store has \
         answered for 60 seconds the numbers end and the state stays. Two servers both export such a \
         migration: use `max by`, also for `migration_events_copied_total`.\n\n\
         | Metric | Type | Labels | Reported by | Meaning |\n|---|---|---|---|---|\n",
    );
    for family in FAMILIES {
        let labels: Vec<String> = family.labels.iter().map(|label| format!("`{label}`")).collect();
        let (name, kind, by) = (family.sample(), family.kind.as_str(), family.reported_by.as_str());
        let _ = writeln!(
            page,
            "| `{name}` | {kind} | {} | {by} | {} |",
            labels.join(", "),
            family.help
        );
    }
    page.push_str("\n## Buckets, in seconds\n\n");
    for family in FAMILIES {
        if let Histogram(bounds) = family.kind {
            let bounds: Vec<String> = bounds.iter().map(ToString::to_string).collect();
            let _ = writeln!(page, "- `{}`: {}", family.name, bounds.join(", "));
        }
    }
    page
}
