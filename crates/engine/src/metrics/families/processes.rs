//! The families of processes: their appends, stores, connections and resources.

use super::Family;
use super::Kind::{Counter, Gauge, Histogram};
use super::ReportedBy::{EachProcess, EachRouter};

const TENANT: &[&str] = &["tenant_id"];

// Appends and routes.
pub(in crate::metrics) const APPENDS: Family = Family::new(
    "append_duration_seconds",
    Histogram(crate::appends::APPEND_BUCKETS),
    &["tenant_id", "outcome"],
    EachRouter,
    "Latency of appends as the application sees it, by outcome: ok, conflict, invalid, paused, busy, unavailable, unknown; the least recently active tenants are together under other",
);
pub(in crate::metrics) const LONGEST_WAIT: Family = Family::new(
    "append_longest_wait_seconds",
    Gauge,
    TENANT,
    EachRouter,
    "Age of the oldest append without a response, from its submission, whatever it waits for; 0 when none waits",
);
pub(in crate::metrics) const APPENDS_BLOCKED: Family = Family::new(
    "append_blocked_seconds",
    Gauge,
    TENANT,
    EachRouter,
    "How long appends have waited, timed out and been retried while none was acknowledged; 0 when none waits",
);
pub(in crate::metrics) const FENCED: Family = Family::new(
    "fenced_appends",
    Counter,
    TENANT,
    EachRouter,
    "Appends that a store refused because the tenant had moved; each was routed again",
);
pub(in crate::metrics) const REFRESHES: Family =
    Family::new("route_refreshes", Counter, &[], EachRouter, "Routes read from the control plane");
// The process.
pub(in crate::metrics) const STORE_UP: Family = Family::new(
    "store_up",
    Gauge,
    &["store_id"],
    EachProcess,
    "1 if the store answered the last request",
);
pub(in crate::metrics) const STORE_CHECKED: Family = Family::new(
    "store_verification_events_checked",
    Counter,
    &["store_id"],
    EachProcess,
    "Events that scheduled verifications of the store have read",
);
pub(in crate::metrics) const STORE_DAMAGED: Family = Family::new(
    "store_damaged_tenants",
    Gauge,
    &["store_id"],
    EachProcess,
    "Tenants whose rows contradict their ledger, until a verification finds them intact",
);
pub(in crate::metrics) const STORE_VERIFIED: Family = Family::new(
    "store_verified_timestamp_seconds",
    Gauge,
    &["store_id"],
    EachProcess,
    "When a scheduled verification last reached the end of the store: Unix time in seconds; 0 before the first",
);
pub(in crate::metrics) const REMOVALS_STILL: Family = Family::new(
    "tenant_removals_interrupted",
    Gauge,
    &[],
    EachProcess,
    "Removals of tenants that are not complete and have made no progress for 10 seconds",
);
pub(in crate::metrics) const CONTROL_UP: Family = Family::new(
    "control_plane_up",
    Gauge,
    &[],
    EachProcess,
    "1 if the control plane answered the last request",
);
pub(in crate::metrics) const ROOM_USED: Family = Family::new(
    "server_room_used",
    Gauge,
    &["room"],
    EachProcess,
    "Resources that connections and requests hold, by room: connections, requests, followers, body_bytes, answer_bytes",
);
pub(in crate::metrics) const ROOM_SIZE: Family = Family::new(
    "server_room_size",
    Gauge,
    &["room"],
    EachProcess,
    "Limit of the resource, by room",
);
pub(in crate::metrics) const ROOM_REFUSED: Family = Family::new(
    "server_room_refusals",
    Counter,
    &["room", "bound"],
    EachProcess,
    "Requests refused with 429, and idle connections closed, by room and bound: share (of one caller or address), size",
);
pub(in crate::metrics) const SLOW_CLIENTS: Family = Family::new(
    "server_slow_clients",
    Counter,
    &["direction"],
    EachProcess,
    "Clients that were disconnected because they were too slow, by direction: body, answer",
);
pub(in crate::metrics) const LOOKED: Family = Family::new(
    "migration_last_look_timestamp_seconds",
    Gauge,
    &[],
    EachProcess,
    "When this process last listed the migrations of the control plane: Unix time in seconds",
);
pub(in crate::metrics) const BUILD: Family = Family::new(
    "rehome_build_info",
    Gauge,
    &["version"],
    EachProcess,
    "Always 1: the version of rehome",
);
pub(in crate::metrics) const PROCESS: Family = Family::new(
    "rehome_process_info",
    Gauge,
    &["process"],
    EachProcess,
    "Always 1: the name under which the process holds leases",
);
pub(in crate::metrics) const CPU: Family = Family::new(
    "process_cpu_seconds",
    Counter,
    &[],
    EachProcess,
    "User and system time of the process, in seconds",
);
pub(in crate::metrics) const RESIDENT: Family = Family::new(
    "process_resident_memory_bytes",
    Gauge,
    &[],
    EachProcess,
    "Memory of the process, in bytes",
);
pub(in crate::metrics) const STARTED: Family = Family::new(
    "process_start_time_seconds",
    Gauge,
    &[],
    EachProcess,
    "When the process started: Unix time in seconds",
);
