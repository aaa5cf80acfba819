"""The documents of the API. Made by clients/generate.py from clients/openapi.json: change nothing here."""

from __future__ import annotations

from typing import Any, Literal, NotRequired, TypeAlias, TypedDict

API_VERSION = "0.1.0"


class Abort(TypedDict):
    """A migration to abort."""
    purge_target: NotRequired[bool]
    """Remove the copied events from the target."""
    reason: NotRequired[str | None]
    """The reason, for the migration's log."""


class AppendDocument(TypedDict):
    """Events for one stream, appended atomically."""
    events: list[NewEventDocument]
    """At least one."""
    expected_version: NotRequired[ExpectedVersionDocument | None]


class Appended(TypedDict):
    """The result of an append, the same for the first attempt and for every retry."""
    first_seq: int
    """Position of the first event in the tenant's history."""
    first_version: int
    """Version of the first event in its stream."""
    last_seq: int
    """Position of the last event in the tenant's history."""
    last_version: int
    """Version of the last event in its stream."""


class Baseline(TypedDict):
    """A tenant's appends before its migration, for comparison afterwards; stored with the migration."""
    append_p50_ms: NotRequired[float | None]
    """Median append latency, in milliseconds; `null` without appends."""
    append_p99_ms: NotRequired[float | None]
    """99th percentile of the append latency, in milliseconds."""
    events_per_s: float
    """Append rate of all writers, in events per second, from the ledger."""
    latency_from: NotRequired[str | None]
    """The source of the latency: `this process`, or `prometheus`."""
    remark: NotRequired[str | None]
    """Why a value is missing."""
    state: str
    """The migration's state at that time."""
    taken_at: Time
    """When it was recorded."""
    window_seconds: float
    """The length of the measurement, in seconds."""


class BaselineRequest(TypedDict):
    """A baseline to record."""
    window: NotRequired[Millis | None]


class Checklist(TypedDict):
    """One of the four checklists, each item with its result."""
    items: list[ChecklistItem]
    """The items, in the order of the contract."""
    migration_id: NotRequired[str | None]
    """The migration; `null` before the start of one."""
    phase: ChecklistPhase
    """The checklist."""
    status: ItemStatus
    """`fail` if an item failed, else `unknown` if one is unknown, else `pass`."""


class ChecklistItem(TypedDict):
    """One item."""
    status: ItemStatus
    """The result."""
    text: str
    """The text in the contract."""
    why: str
    """The reason."""

ChecklistPhase = Literal["before"] | Literal["during"] | Literal["cutover"] | Literal["after"]
"""The four checklists."""


class Checkpoint(TypedDict):
    """The checkpoint of a subscription."""
    name: str
    """The subscription."""
    seq: int
    """The last processed position; 0 for a new subscription."""


class CheckpointBeyondEnd(TypedDict):
    """A subscription whose checkpoint is beyond the end of the history: the store has lost events."""
    checkpoint: int
    """Its checkpoint."""
    end: int
    """The last event."""
    name: str
    """The subscription."""


class CheckpointMove(TypedDict):
    """The new checkpoint."""
    seq: int
    """The last processed position."""


class Cutover(TypedDict):
    """One attempt to switch the tenant."""
    deadline_ms: int
    """The longest pause that was allowed, in milliseconds; after it the cutover is rolled back."""
    outcome: str
    """`under_way`, `succeeded`, `timed_out` or `rolled_back`."""
    pause_ms: float
    """The write pause in milliseconds: from its intent until a store took writes again, or until now."""
    started_at: Time
    """When its intent was recorded: writers wait from here on."""


Drain = TypedDict(
    "Drain",
    {
        "again": "int",
        "created_at": "Time",
        "created_by": "str",
        "ended_at": "NotRequired[Time | None]",
        "eta_seconds": "NotRequired[float | None]",
        "events": "int",
        "events_moved": "int",
        "failures": "int",
        "from": "list[str]",
        "id": "str",
        "last_seen_at": "NotRequired[Time | None]",
        "moved": "int",
        "moving": "int",
        "needs": "list[str]",
        "options": "Options",
        "set_aside": "int",
        "settings": "DrainSettings",
        "state": "str",
        "statement": "NotRequired[DrainStatement | None]",
        "stays": "int",
        "tenants": "int",
        "tenants_per_second": "NotRequired[float | None]",
        "to": "list[DrainTarget]",
        "waiting": "int",
        "window_open": "bool",
        "window_opens_at": "NotRequired[Time | None]",
        "workers": "list[str]",
    },
)
"""A drain and its progress."""


class DrainPage(TypedDict):
    """A page of drains."""
    drains: list[Drain]
    """The drains, newest first."""
    next_cursor: NotRequired[str | None]
    """The `cursor` of the next page; `null` on the last page."""


DrainPlan = TypedDict(
    "DrainPlan",
    {
        "at": "Time",
        "deployment": "str",
        "events": "int",
        "from": "list[str]",
        "moves": "int",
        "opens_at": "NotRequired[Time | None]",
        "options": "OptionsPatch",
        "seconds": "float",
        "settings": "DrainSettings",
        "stays": "int",
        "tenants": "list[DrainTenant]",
        "to": "list[DrainTarget]",
        "warnings": "list[str]",
    },
)
"""The plan of a drain."""


DrainRequest = TypedDict(
    "DrainRequest",
    {
        "exclude": "NotRequired[list[str]]",
        "from": "list[str]",
        "options": "NotRequired[OptionsPatch]",
        "settings": "NotRequired[DrainSettings]",
        "tenants": "NotRequired[list[str]]",
        "to": "list[DrainTarget]",
    },
)
"""A drain to plan or start."""


class DrainRetry(TypedDict):
    """Tenants to retry."""
    reason: NotRequired[str | None]
    """The reason, for the drain's log."""
    tenants: NotRequired[list[str]]
    """These tenants; empty: all that were set aside."""


class DrainSettings(TypedDict):
    """The settings of a drain; missing ones have their default, or stay."""
    concurrency: NotRequired[int | None]
    """Maximum number of migrations at the same time."""
    copy_bytes_rate_max: NotRequired[int | None]
    """Maximum copy rate of all moves together, in bytes per second; 0: no limit."""
    copy_rate_max: NotRequired[int | None]
    """Maximum copy rate of all moves together, in events per second; 0: no limit."""
    cutover_tries: NotRequired[int | None]
    """A move whose cutover was rolled back this many times is aborted."""
    cutovers_per_minute: NotRequired[int | None]
    """Maximum number of cutovers that start in one minute; 0: no limit."""
    failures_max: NotRequired[int | None]
    """The drain pauses after this many failures; 0: never."""
    order: NotRequired[str | None]
    """The order of the tenants: `smallest`, `largest` or `idle` first."""
    patience: NotRequired[Millis | None]
    per_source: NotRequired[int | None]
    """Maximum number of those from one source; 0: no limit."""
    per_target: NotRequired[int | None]
    """Maximum number of those to one target; 0: no limit."""
    placement: NotRequired[str | None]
    """How targets are chosen: `weights`, `free_space` or `least_loaded`."""
    retry_after: NotRequired[Millis | None]
    tries: NotRequired[int | None]
    """Number of attempts for each tenant."""
    window: NotRequired[str | None]
    """When cutovers may start, for example `Mon-Fri 01:00-05:00 Europe/Berlin`; `any`: at any time."""


class DrainStart(TypedDict):
    """A drain to start: from a request, or from a plan."""
    id: NotRequired[str | None]
    """Its id, chosen by the caller, so that a start can be retried after a lost response."""
    plan: NotRequired[DrainPlan | None]
    reason: NotRequired[str | None]
    """The reason, for the drain's log."""
    request: NotRequired[DrainRequest | None]


class DrainStatement(TypedDict):
    """The summary of a drain."""
    can_be_switched_off: bool
    """Whether the stores can be switched off."""
    moved: int
    """Number of tenants at their targets, each compared with its source before its switch."""
    not_begun: int
    """Number of tenants that were not started."""
    set_aside: int
    """Number of tenants that were set aside."""
    stays: int
    """Number of tenants that stay, by reason."""
    tenants_left: int
    """Number of tenants in the stores now, including later arrivals."""
    why_not: list[str]
    """Why not, a sentence each."""
    windows_open: int
    """Number of rollback windows that need the stores."""


class DrainTarget(TypedDict):
    """A target store."""
    store: str
    """The store's id."""
    weight: NotRequired[int]
    """Its weight among the targets."""


class DrainTenant(TypedDict):
    """One tenant of a drain."""
    events: int
    """Events when the drain was planned."""
    migration_id: NotRequired[str | None]
    """Its last migration."""
    place: int
    """Its place in the order."""
    seconds: float
    """The estimated duration of its move, in seconds, by the plan."""
    since: Time
    """When it entered this state."""
    source_store: str
    """Its source store."""
    state: str
    """Its state: `waiting`, `again` (set aside, to be retried), `moving`, `moved`, `set_aside` or `stays`."""
    stay: NotRequired[str | None]
    """Why it stays: `pinned`, `excluded`, `other_drain`, `gone` or `no_target`."""
    target_store: NotRequired[str | None]
    """Its target store."""
    tenant_id: str
    """The tenant."""
    tries: int
    """The number of attempts."""
    why: NotRequired[str | None]
    """Why it was set aside, or why it stays."""
    worker: NotRequired[str | None]
    """The process that works on it."""


class DrainTenantPage(TypedDict):
    """A page of a drain's tenants."""
    next_after: NotRequired[int | None]
    """The `after` of the next page; `null` on the last page."""
    tenants: list[DrainTenant]
    """The tenants, in order."""


class DrainTuning(TypedDict):
    """Settings of a drain to change."""
    options: NotRequired[OptionsPatch]
    """The options of migrations that start from now on."""
    reason: NotRequired[str | None]
    """The reason, for the drain's log."""
    settings: NotRequired[DrainSettings]
    """The settings; missing ones stay."""
    to: NotRequired[list[DrainTarget] | None]
    """The new targets, complete; missing: unchanged."""


class Estimate(TypedDict):
    """How long a migration will take: four texts for people, and the same numbers for programs."""
    bulk_copy_estimate: str
    """Copying, for example `2.5 minutes`."""
    bulk_copy_seconds: float
    """Copying."""
    cutover_estimate: str
    """The pause, for example `5.0 seconds`."""
    cutover_seconds: float
    """The pause."""
    dual_write_estimate: str
    """Catching up, for example `5.0 seconds`."""
    dual_write_seconds: float
    """Catching up."""
    total_estimate: str
    """The total with the buffer, for example `3.9 minutes`."""
    total_seconds: float
    """The total with the buffer."""


class EstimateRequest(TypedDict):
    """Inputs of an estimate; missing ones have the default of the monitoring contract."""
    buffer_factor: NotRequired[float | None]
    """Safety factor on the sum."""
    copy_rate_per_second: NotRequired[float | None]
    """Copy rate, in events per second."""
    cutover_pause_seconds: NotRequired[float | None]
    """Write pause, in seconds."""
    dual_write_lag_events: NotRequired[int | None]
    """Lag, in events, when mirroring starts."""
    total_events: int
    """Events to copy."""
    write_rate_per_second: NotRequired[float | None]
    """Write rate of the tenant, in events per second."""


class EventDocument(TypedDict):
    """A stored event."""
    data: Any
    """The event's content."""
    event_id: str
    """Unique within the tenant."""
    event_type: str
    """The event type."""
    metadata: dict[str, Any]
    """The writer's metadata."""
    occurred_at: Time
    """When it happened."""
    recorded_at: Time
    """When the first store stored it."""
    seq: int
    """Position in the tenant's history, from 1."""
    stream_id: str
    """The stream id."""
    stream_type: str
    """The stream type."""
    tenant_id: str
    """The tenant."""
    version: int
    """Position in the stream, from 1."""

ExpectedVersionDocument: TypeAlias = 'int | ExpectedWord'
"""The expected state of the stream: its version (0: no event yet), `any` or `no_stream`."""

ExpectedWord = Literal["any"] | Literal["no_stream"]
"""The words for an expected state."""


class FeedPage(TypedDict):
    """A page of a tenant's history."""
    events: list[EventDocument]
    """The events, in the order of `seq`, without gaps."""
    next_after_seq: int
    """The `after_seq` of the next page."""


class Finding(TypedDict):
    """One check of the plan."""
    check: str
    """What was checked."""
    detail: str
    """The finding, and the remedy if it did not pass."""
    ok: bool
    """Whether it passed."""


class HealthReport(TypedDict):
    """The document of `GET /health/migration`, with the fields of the monitoring contract."""
    active_migrations: int
    """Migrations that have not ended: neither migrated nor failed nor rolled back."""
    details: list[str]
    """A sentence for each reason."""
    high_sync_lag_count: int
    """Those in `dual_write` whose target is more than 1,000 events behind."""
    status: HealthStatus
    """The worst finding."""
    stuck_migrations: int
    """Those in `bulk_copy` without progress for 15 minutes."""
    target_write_failure_rate: float
    """Of the time in the last 5 minutes with something to mirror, the fraction in which the target did not accept
    it: 0 to 1; 0 without traffic.
    """

HealthStatus = Literal["healthy"] | Literal["degraded"] | Literal["unhealthy"]
"""The status."""

ItemStatus = Literal["pass"] | Literal["unknown"] | Literal["fail"]
"""The result of an item, from good to bad."""


class Liveness(TypedDict):
    """The document of `/health/live` and `/health/ready`."""
    detail: NotRequired[str | None]
    """The reason, if not."""
    status: str
    """`live`, `ready` or `not_ready`."""


class LogEntry(TypedDict):
    """One entry of a migration's log."""
    actor: str
    """The actor."""
    at: Time
    """When it was recorded."""
    chain_broken: NotRequired[str | None]
    """How this entry differs from what was recorded, or what is missing before it; absent if nothing is wrong.
    """
    details: dict[str, Any]
    """The other fields of the fact."""
    event: str
    """The name of the fact."""
    hash: str
    """The hash up to and including this entry."""
    index: int
    """Its number, from 1, without gaps."""
    reason: NotRequired[str | None]
    """The reason that an operator gave."""


class LogPage(TypedDict):
    """A page of a migration's log."""
    entries: list[LogEntry]
    """The entries, in order."""
    next_after: int
    """The `after` of the next page."""


class Migration(TypedDict):
    """A migration and its progress."""
    allowed_actions: NotRequired[list[str]]
    """Actions that its state allows: `cutover`, `withdraw`, `pause`, `resume`, `tune`, `verify`, `repair`, `return`,
    `acknowledge`, `abort`.
    """
    completed_at: NotRequired[Time | None]
    created_at: Time
    """When it was requested."""
    cutover_requested: NotRequired[bool]
    """Whether a cutover is requested and has not begun: until then it can be withdrawn."""
    error: NotRequired[str | None]
    """Why it failed, or why its last cutover was rolled back, withdrawn or vetoed."""
    eta_seconds: NotRequired[float | None]
    """Seconds until everything is copied, at that rate."""
    events_copied: NotRequired[int | None]
    """Events of the history that are in the target."""
    events_total: NotRequired[int | None]
    """Events of the history that must be in the target."""
    hooks: NotRequired[str | None]
    """Hooks whose notification is outstanding, and why; it is retried. Not in lists."""
    id: str
    """Its id."""
    last_cutover: NotRequired[Cutover | None]
    needs: NotRequired[list[str]]
    """The decisions of an operator that it waits for, each with the command: a manual cutover that is ready, a
    pause, a failure, an open violation. Empty: none.
    """
    open_violation: NotRequired[str | None]
    """Violations that verifications found and that are neither refuted nor repaired, and what to do; they block the
    cutover.
    """
    progress_percent: NotRequired[float | None]
    """Progress, from 0 to 100."""
    rate_events_per_s: NotRequired[float | None]
    """Recent copy rate, in events per second."""
    read_back_seq: NotRequired[int | None]
    """The position up to which the target was read back from its disk and equals the source."""
    return_until: NotRequired[Time | None]
    source_last_seen_at: NotRequired[Time | None]
    source_store: str
    """The source store."""
    source_unanswered_since: NotRequired[Time | None]
    started_at: NotRequired[Time | None]
    state: str
    """`pending`, `bulk_copy`, `dual_write`, `cutover_paused`, `migrated`, `failed`, `rolled_back` or `paused`.
    """
    sync_lag_events: NotRequired[int | None]
    """Events that the target is behind."""
    target_last_seen_at: NotRequired[Time | None]
    target_store: str
    """The target store."""
    target_unanswered_since: NotRequired[Time | None]
    tenant_id: str
    """The tenant."""
    throttle_percent: NotRequired[int | None]
    """How hard it works, in percent of what it could: less than 100 while it gives way to writers. Not in lists.
    """
    throttle_reason: NotRequired[str | None]
    """Why it gives way: `source_appends`, `target_appends`, `source_reads`, `read_back`, `target_writes` or
    `mirror_lag`. Not in lists.
    """
    waiting: NotRequired[str | None]
    """Why it makes no progress at the moment: a fault after which the driver retries. `null` while it makes
    progress, and without a driver.
    """
    waiting_since: NotRequired[Time | None]


class MigrationPage(TypedDict):
    """A page of migrations."""
    migrations: list[Migration]
    """The migrations, newest first."""
    next_cursor: NotRequired[str | None]
    """The `cursor` of the next page; `null` on the last page."""


class MigrationStart(TypedDict):
    """A migration to start."""
    options: NotRequired[OptionsPatch]
    """The options; missing ones come from the server's configuration."""
    reason: NotRequired[str | None]
    """The reason, for the migration's log."""
    target_store: str
    """The target store."""
    tenant_id: str
    """The tenant."""

Millis = str
"""A number of milliseconds."""


MoveCheckpoints = TypedDict(
    "MoveCheckpoints",
    {
        "from": "str",
        "reason": "NotRequired[str | None]",
        "to": "str",
    },
)
"""Checkpoints to copy from one store to another."""


class MovedCheckpoint(TypedDict):
    """A checkpoint of one table, as written in the other store."""
    position: int
    """The position up to which everything was read."""
    row: dict[str, str | None]
    """The row's other columns, as texts."""
    table: str
    """Its table."""
    translated: int
    """The position in the other store. It skips nothing and may repeat some events."""
    written: bool
    """Whether it was written; otherwise a row that is as far was already there."""


MovedCheckpoints = TypedDict(
    "MovedCheckpoints",
    {
        "from": "str",
        "left": "list[str]",
        "moved": "list[MovedCheckpoint]",
        "tenant_id": "str",
        "to": "str",
    },
)
"""A tenant's checkpoints, copied from one store to another."""


class NewEventDocument(TypedDict):
    """An event to append."""
    data: Any
    """Any JSON, stored unchanged."""
    event_id: NotRequired[str | None]
    """Unique within the tenant, created by the writer and the same on every retry, which makes a retry safe. Without
    an id the server creates one, and a retry is a new event.
    """
    event_type: str
    """The event type; 1 to 256 bytes."""
    metadata: NotRequired[dict[str, Any] | None]
    """The writer's metadata, stored unchanged; default `{}`."""
    occurred_at: NotRequired[Time | None]


class Notice(TypedDict):
    """A cordon of a store, or a pin of a tenant."""
    by: NotRequired[str | None]
    """Who set it."""
    since: NotRequired[Time | None]
    there: bool
    """Whether it is set."""
    what: str
    """The store or the tenant."""
    why: NotRequired[str | None]
    """The reason."""


class Options(TypedDict):
    """The options of a migration."""
    batch_bytes: int
    """Maximum size of a copy batch in bytes, approximately."""
    batch_events: int
    """Maximum number of events in a copy batch."""
    copy_bytes_rate_max: int
    """Maximum copy rate, in bytes per second; 0: no limit."""
    copy_rate_max: int
    """Maximum copy rate, in events per second; 0: no limit."""
    cutover: str
    """`auto`, `manual`, or the earliest time of the cutover (RFC 3339)."""
    cutover_timeout_ms: int
    """Maximum write pause, in milliseconds; a longer cutover is rolled back."""
    lag_events_max: int
    """The lag, in events, below which a cutover may start and above which writers are slowed down."""
    mirror_ack: str
    """When an append is acknowledged: once it is in the `source`, or also in the `target`."""
    mirror_ack_timeout_ms: int
    """Maximum time that an append waits for the target, in milliseconds."""
    rollback_window: Millis
    """How long to keep replicating to the old source after the cutover; `0`: not at all."""
    verification: str
    """The level of the verification before the cutover: `count`, `hash` or `full`."""


class OptionsPatch(TypedDict):
    """Options to change; missing ones stay."""
    batch_bytes: NotRequired[int | None]
    """See [`Options::batch_bytes`]."""
    batch_events: NotRequired[int | None]
    """See [`Options::batch_events`]."""
    copy_bytes_rate_max: NotRequired[int | None]
    """See [`Options::copy_bytes_rate_max`]."""
    copy_rate_max: NotRequired[int | None]
    """See [`Options::copy_rate_max`]."""
    cutover: NotRequired[str | None]
    """See [`Options::cutover`]."""
    cutover_timeout_ms: NotRequired[int | None]
    """See [`Options::cutover_timeout_ms`]."""
    lag_events_max: NotRequired[int | None]
    """See [`Options::lag_events_max`]."""
    mirror_ack: NotRequired[str | None]
    """See [`Options::mirror_ack`]."""
    mirror_ack_timeout_ms: NotRequired[int | None]
    """See [`Options::mirror_ack_timeout_ms`]."""
    rollback_window: NotRequired[Millis | None]
    verification: NotRequired[str | None]
    """See [`Options::verification`]."""


class Plan(TypedDict):
    """The plan of a migration."""
    estimate: NotRequired[Estimate | None]
    events_to_copy: int
    """Events to copy, without those that the target already has."""
    findings: list[Finding]
    """The checks."""
    possible: bool
    """Whether the migration is possible."""
    read_events_per_s: NotRequired[float | None]
    """Read rate of the source on a sample, in events per second."""
    source_store: str
    """The source store."""
    target_store: str
    """The target store."""
    tenant_id: str
    """The tenant."""


class PlanRequest(TypedDict):
    """A possible migration."""
    target_store: str
    """The target store."""
    tenant_id: str
    """The tenant."""


class Probe(TypedDict):
    """An estimate of a migration, from the tenant and earlier measurements."""
    best: NotRequired[Estimate | None]
    converges: bool
    """Whether the copy is likely faster than the tenant writes."""
    copy_events_per_s: RateRange
    """Copy rate, in events per second."""
    copy_rate_from: str
    """The source of the copy rate: `given`, `earlier migrations` or `reading`."""
    estimate: NotRequired[Estimate | None]
    events_to_copy: int
    """Events to copy, without those that the target already has."""
    read_events_per_s: float
    """Read rate of the source on a sample, in events per second."""
    remarks: list[str]
    """Remarks on these numbers."""
    source_store: str
    """The source store."""
    target_store: str
    """The target store."""
    tenant_id: str
    """The tenant."""
    worst: NotRequired[Estimate | None]
    write_events_per_s: float
    """Write rate of the tenant, in events per second."""


class ProbeRequest(TypedDict):
    """A tenant to probe, for an estimate of its migration."""
    buffer_factor: NotRequired[float | None]
    """Safety factor on the sum."""
    copy_rate_per_second: NotRequired[float | None]
    """Copy rate, in events per second, instead of that of earlier migrations."""
    cutover_pause_seconds: NotRequired[float | None]
    """Write pause, in seconds."""
    dual_write_lag_events: NotRequired[int | None]
    """Lag, in events, when mirroring starts."""
    target_store: str
    """The target store."""
    tenant_id: str
    """The tenant."""
    write_rate_per_second: NotRequired[float | None]
    """Write rate of the tenant, in events per second, instead of the measured one."""


class Problem(TypedDict):
    """A problem document. `type` is stable, for programs; `detail` is for people and may change."""
    actual_version: NotRequired[int | None]
    """For a version conflict: the stream's version (0: no event)."""
    detail: str
    """What happened, to which tenant, and what to do next."""
    end: NotRequired[int | None]
    """For a position beyond the end of the history: the last position."""
    event_id: NotRequired[str | None]
    """For a conflict of ids: the first id that is in use."""
    limit: NotRequired[int | None]
    """For a request that is too large: the maximum."""
    migration_id: NotRequired[str | None]
    """The migration."""
    position: NotRequired[int | None]
    """For a position beyond the end of the history: the position."""
    request_id: NotRequired[str | None]
    """The request id, as in `X-Request-Id` and the server's log."""
    state: NotRequired[str | None]
    """The state of that migration."""
    status: int
    """The HTTP status."""
    tenant_id: NotRequired[str | None]
    """The tenant."""
    title: str
    """The same for people."""
    type: str
    """The kind of problem, for example `urn:rehome:problem:version_conflict`."""


class Purge(TypedDict):
    """A copy to purge that a tenant left behind."""
    close_window: NotRequired[bool]
    """Close the rollback window: the tenant cannot return afterwards."""
    reason: NotRequired[str | None]
    """The reason, for the log of the tenant's last migration."""
    store: str
    """The store."""


class RateRange(TypedDict):
    """A range of rates, in events per second."""
    high: float
    """The best case."""
    likely: float
    """The likely case."""
    low: float
    """The worst case."""


class Reason(TypedDict):
    """The reason for an action."""
    reason: NotRequired[str | None]
    """The reason, for the migration's log."""


class RecoverRequest(TypedDict):
    """What to recover after the control plane was restored from a backup."""
    accept_loss: NotRequired[bool]
    """The tenant, whose store has lost events, continues from the named store with the events there."""
    apply: NotRequired[bool]
    """Update the control plane; without it nothing is changed."""
    reason: NotRequired[str | None]
    """The reason, for the logs of the tenants' last migrations."""
    store: NotRequired[str | None]
    """The store with the authority, where the stores leave it open."""
    tenant_id: NotRequired[str | None]
    """Only this tenant."""


class Recovery(TypedDict):
    """A tenant whose stores are ahead of the control plane."""
    checkpoints: NotRequired[list[CheckpointBeyondEnd]]
    """The subscriptions whose checkpoint is beyond the end of the history."""
    losses: NotRequired[list[str]]
    """The evidence that the store with the authority has lost events, a sentence each. A recovery does not repair
    it.
    """
    missed_logs: NotRequired[list[str]]
    """How the logs of the tenant's migrations are not those that its stores have seen, a sentence each. After a
    recovery the stores take the logs for what they are.
    """
    recovered: bool
    """Whether the control plane was changed."""
    route_epoch: int
    """The highest epoch in the control plane; 0 if it does not know the tenant."""
    route_store: NotRequired[str | None]
    """The store that the control plane names."""
    store: NotRequired[str | None]
    """The store that would have, or now has, the authority; `null` if an operator has to decide."""
    stores: list[TenantInStore]
    """What the stores have."""
    tenant_id: str
    """The tenant."""
    undecided: NotRequired[str | None]
    """Why none was chosen."""


class RemoveTenant(TypedDict):
    """A tenant to remove."""
    events: NotRequired[int | None]
    """The number of events that it has, as a confirmation: with any other number nothing is removed. Without it
    nothing is changed, and the answer has the number.
    """
    reason: NotRequired[str | None]
    """The reason, for the log line about the removal."""


class Resume(TypedDict):
    """A migration to resume."""
    keep_window: NotRequired[bool]
    """For a migrated one: keep replicating to the old source until the rollback window ends."""
    reason: NotRequired[str | None]
    """The reason, for the migration's log."""


class Return(TypedDict):
    """A tenant to return to its previous store."""
    options: NotRequired[OptionsPatch]
    """The options; missing ones come from the server's configuration."""
    reason: NotRequired[str | None]
    """The reason, for the migration's log."""


class StoreCheck(TypedDict):
    """The state of a store."""
    clock_skew_ms: NotRequired[int | None]
    """Its clock minus the process's, in milliseconds."""
    default: bool
    """Whether new tenants are created here."""
    deployment: NotRequired[str | None]
    """The deployment it belongs to."""
    durability: NotRequired[str | None]
    """How durable a commit is."""
    durable: NotRequired[bool | None]
    """Whether a commit survives the loss of power."""
    engine: NotRequired[str | None]
    """The engine and its version."""
    format: NotRequired[int | None]
    """The format of its tables."""
    id: str
    """Its id in the configuration."""
    identity: NotRequired[str | None]
    """The identity that it got at its creation."""
    last_seen_at: NotRequired[Time | None]
    ok: bool
    """Whether it is usable."""
    problems: list[str]
    """The problems."""
    reachable: bool
    """Whether it answers."""
    tenants: list[TenantInStore]
    """The first of those tenants."""
    tenants_total: NotRequired[int | None]
    """Number of tenants with a ledger."""
    unanswered_since: NotRequired[Time | None]
    url: str
    """Its address, without any secret."""


class StoreCheckReport(TypedDict):
    """The result of checking the stores."""
    ok: bool
    """Whether every checked store is usable."""
    stores: list[StoreCheck]
    """One document per store."""


class StreamAppendDocument(TypedDict):
    """The same with the stream's name."""
    events: list[NewEventDocument]
    """At least one."""
    expected_version: NotRequired[ExpectedVersionDocument | None]
    stream_id: str
    """The stream id."""
    stream_type: str
    """The stream type."""


class StreamPage(TypedDict):
    """A page of a stream."""
    events: list[EventDocument]
    """The events, in the order of their versions."""
    next_from_version: int
    """The `from_version` of the next page."""


class StreamRead(TypedDict):
    """Which part of a stream to read."""
    from_version: NotRequired[int | None]
    """The first version to read; default 1."""
    limit: NotRequired[int | None]
    """Maximum number of events; default 100, at most 1000."""
    stream_id: str
    """The stream id."""
    stream_type: str
    """The stream type."""


class TakingBaseline(TypedDict):
    """A baseline that is being measured."""
    migration_id: str
    """The migration."""
    state: str
    """`running`."""


class Tenant(TypedDict):
    """One tenant: where it is, and what every store has of it."""
    digest: NotRequired[str | None]
    """The hash chain up to the last of them."""
    epoch: int
    """The route's epoch."""
    migration: NotRequired[Migration | None]
    problems: list[str]
    """The problems."""
    rollback_window_open: bool
    """Whether it can return to its previous store."""
    seq: NotRequired[int | None]
    """Events in the store that has the authority; `null` when it does not answer."""
    state: NotRequired[str | None]
    """The state of its last migration; `null` before the first."""
    store: str
    """The store that has the authority."""
    stores: list[TenantInStore]
    """What each store has of it."""
    tenant_id: str
    """The tenant."""


class TenantInStore(TypedDict):
    """A tenant's ledger in one store."""
    authority: bool
    """Whether the route names this store."""
    digest: str
    """The hash chain up to the last of them."""
    epoch: int
    """The ledger's fencing token."""
    last_seen_at: NotRequired[Time | None]
    role: str
    """`active`, `replica`, `fenced` or `absent`."""
    seq: int
    """Number of the tenant's events there."""
    store: str
    """The store."""
    tenant_id: str
    """The tenant."""


class TenantPage(TypedDict):
    """A page of tenants."""
    next_cursor: NotRequired[str | None]
    """The `cursor` of the next page; `null` on the last page."""
    tenants: list[TenantRow]
    """In the order of their ids."""


class TenantPurge(TypedDict):
    """The result of a purge."""
    events_purged: int
    """Number of removed events."""
    store: str
    """The store."""
    tenant_id: str
    """The tenant."""


class TenantRemoval(TypedDict):
    """A tenant that was removed, or can be."""
    events: int
    """Number of events that were, or would be, removed; 0 if the tenant was removed before."""
    removed: bool
    """Whether it is removed now."""
    store: str
    """The store."""
    tenant_id: str
    """The tenant."""


class TenantRow(TypedDict):
    """A tenant in a list."""
    migration_id: NotRequired[str | None]
    """Its last migration."""
    name: NotRequired[str | None]
    """What a table of another library calls it, as far as this process has seen."""
    pinned: NotRequired[str | None]
    """Why it is pinned; `null` if it is not."""
    removing: NotRequired[int | None]
    """The number of events whose removal was requested, while that is not complete: the tenant has neither readers
    nor writers; `null` otherwise.
    """
    rollback_window_open: bool
    """Whether it can return."""
    state: NotRequired[str | None]
    """The phase of its last migration."""
    store: str
    """The store that has the authority."""
    tenant_id: str
    """The tenant."""


class TenantUnguarded(TypedDict):
    """A tenant that is no longer guarded."""
    changed: bool
    """Whether this call changed anything."""
    store: str
    """The store."""
    tenant_id: str
    """The tenant."""

Time = str
"""Microseconds since the Unix epoch, UTC."""


class Token(TypedDict):
    """A token."""
    created_at: NotRequired[Time | None]
    created_by: NotRequired[str | None]
    """Who created it."""
    expires_at: NotRequired[Time | None]
    kept_in: str
    """Where it is stored: `control_plane`, for all servers, or `configuration`, for the servers that have it.
    """
    last_used_at: NotRequired[Time | None]
    name: str
    """Its name in logs. A rotated token keeps the name."""
    revoked_at: NotRequired[Time | None]
    revoked_by: NotRequired[str | None]
    """Who revoked it."""
    role: str
    """`admin`, `operator`, `viewer`, `tenant`, `reader` or `metrics`."""
    state: str
    """`good`, `expired` or `revoked`; `unknown` if its role is one of a later version."""
    stores: list[str]
    """The stores that it is bound to; empty: not bound."""
    tenants: list[str]
    """The tenants that it is bound to; empty: not bound."""


class TokenCreate(TypedDict):
    """A token to store. The caller creates the secret, keeps it, and sends its hash."""
    expires_in: NotRequired[Millis | None]
    name: str
    """Its name in logs: 1 to 64 letters, digits and `. _ - @`."""
    reason: NotRequired[str | None]
    """The reason."""
    role: str
    """`admin`, `operator`, `viewer`, `tenant`, `reader` or `metrics`."""
    sha256: str
    """The SHA-256 of the secret, in hexadecimal. The secret must be 256 random bits or equivalent."""
    stores: NotRequired[list[str]]
    """The stores that it is bound to."""
    tenants: NotRequired[list[str]]
    """The tenants that it is bound to."""


class TokenRotate(TypedDict):
    """A token that replaces another."""
    expires_in: NotRequired[Millis | None]
    keep_old_for: NotRequired[Millis | None]
    reason: NotRequired[str | None]
    """The reason."""
    sha256: str
    """The SHA-256 of the new secret, in hexadecimal."""


class Tokens(TypedDict):
    """All tokens."""
    closed: bool
    """Whether every request needs a token, also where no server has one in its configuration."""
    tokens: list[Token]
    """The tokens, those of the configuration first, then in the order of their creation."""


TranslatedPosition = TypedDict(
    "TranslatedPosition",
    {
        "events": "int",
        "from": "str",
        "position": "int",
        "tenant_id": "str",
        "to": "str",
        "translated": "int",
    },
)
"""A position of one table, translated to another table with the tenant's events."""


class Unguard(TypedDict):
    """A tenant whose guard to remove."""
    reason: NotRequired[str | None]
    """The reason, for the log of the tenant's last migration."""


class Verification(TypedDict):
    """The report of a verification."""
    authority: str
    """The store that has the authority."""
    copy: str
    """The store that must have a prefix of it."""
    events_checked: int
    """Number of events compared, in each of the two stores."""
    level: str
    """The level: `count`, `hash` or `full`."""
    migration_id: str
    """The migration whose two stores were compared."""
    ok: bool
    """Whether there are no differences."""
    open_violation: NotRequired[str | None]
    """The open violations of the migration after this verification, and what to do: they block the cutover. They
    stay open after a verification that is less deep than the one that found them.
    """
    sample: float
    """The compared fraction of the history, from 0 to 1."""
    tenant_id: str
    """The tenant."""
    upto_seq: int
    """The position up to which the copy was compared."""
    violations: list[Violation]
    """The first violations."""
    violations_total: int
    """Number of violations."""


class Verify(TypedDict):
    """Parameters of a verification."""
    after_seq: NotRequired[int]
    """Start after this position."""
    level: NotRequired[str | None]
    """The level: `count`, `hash` or `full`; default `full`."""
    rate_max: NotRequired[int]
    """Maximum read rate, in events per second; 0: no limit."""
    reason: NotRequired[str | None]
    """The reason, for the migration's log."""
    sample: NotRequired[float | None]
    """The fraction of the history to compare, above 0 and at most 1; default 1."""


class Verifying(TypedDict):
    """A running verification; the migration's log will have its result."""
    migration_id: str
    """The migration."""
    state: str
    """`running`."""


class Violation(TypedDict):
    """One difference between the actual and the expected state."""
    detail: str
    """What differs, without any payload."""
    seq: NotRequired[int | None]
    """The position."""
    stream_id: NotRequired[str | None]
    """The stream id."""
    stream_type: NotRequired[str | None]
    """The stream type."""
    type: str
    """`missing`, `unexpected`, `content`, `order`, `version` or `ledger`."""


class Worker(TypedDict):
    """The process that works on a migration."""
    holder: NotRequired[str | None]
    """The process, by its lease; `null` if there is none."""


class Tuning(OptionsPatch):
    """Options to change, and the reason."""
    reason: NotRequired[str | None]
    """The reason, for the migration's log."""
