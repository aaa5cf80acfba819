// The documents of the API. Made by clients/generate.py from clients/openapi.json: change nothing here.

export const API_VERSION = "0.1.0";

/** A migration to abort. */
export interface Abort {
  /** Remove the copied events from the target. */
  purge_target?: boolean;
  /** The reason, for the migration's log. */
  reason?: string | null;
}

/** Events for one stream, appended atomically. */
export interface AppendDocument {
  /** At least one. */
  events: NewEventDocument[];
  expected_version?: ExpectedVersionDocument | null;
}

/** The result of an append, the same for the first attempt and for every retry. */
export interface Appended {
  /** Position of the first event in the tenant's history. */
  first_seq: number;
  /** Version of the first event in its stream. */
  first_version: number;
  /** Position of the last event in the tenant's history. */
  last_seq: number;
  /** Version of the last event in its stream. */
  last_version: number;
}

/** A tenant's appends before its migration, for comparison afterwards; stored with the migration. */
export interface Baseline {
  /** Median append latency, in milliseconds; `null` without appends. */
  append_p50_ms?: number | null;
  /** 99th percentile of the append latency, in milliseconds. */
  append_p99_ms?: number | null;
  /** Append rate of all writers, in events per second, from the ledger. */
  events_per_s: number;
  /** The source of the latency: `this process`, or `prometheus`. */
  latency_from?: string | null;
  /** Why a value is missing. */
  remark?: string | null;
  /** The migration's state at that time. */
  state: string;
  /** When it was recorded. */
  taken_at: Time;
  /** The length of the measurement, in seconds. */
  window_seconds: number;
}

/** A baseline to record. */
export interface BaselineRequest {
  window?: Millis | null;
}

/** One of the four checklists, each item with its result. */
export interface Checklist {
  /** The items, in the order of the contract. */
  items: ChecklistItem[];
  /** The migration; `null` before the start of one. */
  migration_id?: string | null;
  /** The checklist. */
  phase: ChecklistPhase;
  /** `fail` if an item failed, else `unknown` if one is unknown, else `pass`. */
  status: ItemStatus;
}

/** One item. */
export interface ChecklistItem {
  /** The result. */
  status: ItemStatus;
  /** The text in the contract. */
  text: string;
  /** The reason. */
  why: string;
}

/** The four checklists. */
export type ChecklistPhase = "before" | "during" | "cutover" | "after";

/** The checkpoint of a subscription. */
export interface Checkpoint {
  /** The subscription. */
  name: string;
  /** The last processed position; 0 for a new subscription. */
  seq: number;
}

/** A subscription whose checkpoint is beyond the end of the history: the store has lost events. */
export interface CheckpointBeyondEnd {
  /** Its checkpoint. */
  checkpoint: number;
  /** The last event. */
  end: number;
  /** The subscription. */
  name: string;
}

/** The new checkpoint. */
export interface CheckpointMove {
  /** The last processed position. */
  seq: number;
}

/** One attempt to switch the tenant. */
export interface Cutover {
  /** The longest pause that was allowed, in milliseconds; after it the cutover is rolled back. */
  deadline_ms: number;
  /** `under_way`, `succeeded`, `timed_out` or `rolled_back`. */
  outcome: string;
  /** The write pause in milliseconds: from its intent until a store took writes again, or until now. */
  pause_ms: number;
  /** When its intent was recorded: writers wait from here on. */
  started_at: Time;
}

/** A drain and its progress. */
export interface Drain {
  /** Number of those that were set aside and will be retried. */
  again: number;
  /** When it was started. */
  created_at: Time;
  /** Who started it, and why. */
  created_by: string;
  ended_at?: Time | null;
  /** Estimated seconds until it ends, at that rate; `null` if nothing moves. */
  eta_seconds?: number | null;
  /** Number of events of the tenants to move. */
  events: number;
  /** Number of events of the tenants that have moved. */
  events_moved: number;
  /** Number of failures since the last start or resume. */
  failures: number;
  /** The sources. */
  from: string[];
  /** Its id. */
  id: string;
  last_seen_at?: Time | null;
  /** Number of those that have moved. */
  moved: number;
  /** Number of those that are moving. */
  moving: number;
  /** What an operator has to do, a sentence each. */
  needs: string[];
  /** The options of its migrations. */
  options: Options;
  /** Number of those that have no attempts left. */
  set_aside: number;
  /** The settings, complete. */
  settings: DrainSettings;
  /** Its state: `running`, `paused`, `budget_spent`, `cancelling`, `cancelled` or `finished`. */
  state: string;
  statement?: DrainStatement | null;
  /** Number of tenants that stay. */
  stays: number;
  /** Number of tenants to move. */
  tenants: number;
  /** Tenants moved per second, since it started; `null` before the first. */
  tenants_per_second?: number | null;
  /** The targets. */
  to: DrainTarget[];
  /** Number of those that have not started. */
  waiting: number;
  /** Whether cutovers may start now. */
  window_open: boolean;
  window_opens_at?: Time | null;
  /** The processes that work on it. */
  workers: string[];
}

/** A page of drains. */
export interface DrainPage {
  /** The drains, newest first. */
  drains: Drain[];
  /** The `cursor` of the next page; `null` on the last page. */
  next_cursor?: string | null;
}

/** The plan of a drain. */
export interface DrainPlan {
  /** When it was made. */
  at: Time;
  /** The deployment. */
  deployment: string;
  /** Number of their events. */
  events: number;
  /** The stores to empty. */
  from: string[];
  /** Number of tenants to move. */
  moves: number;
  opens_at?: Time | null;
  /** The options of its migrations, complete. */
  options: OptionsPatch;
  /** The estimated duration, in seconds, without waiting for windows. */
  seconds: number;
  /** The settings, complete. */
  settings: DrainSettings;
  /** Number of tenants that stay. */
  stays: number;
  /** Every tenant, in the order of the moves; those that stay last. */
  tenants: DrainTenant[];
  /** The target stores. */
  to: DrainTarget[];
  /** Warnings for the operator. */
  warnings: string[];
}

/** A drain to plan or start. */
export interface DrainRequest {
  /** Exclude these tenants. */
  exclude?: string[];
  /** The stores to empty. */
  from: string[];
  /** The options of its migrations; missing ones come from the configuration. */
  options?: OptionsPatch;
  /** The settings. */
  settings?: DrainSettings;
  /** Only these tenants; empty: all. */
  tenants?: string[];
  /** The target stores. */
  to: DrainTarget[];
}

/** Tenants to retry. */
export interface DrainRetry {
  /** The reason, for the drain's log. */
  reason?: string | null;
  /** These tenants; empty: all that were set aside. */
  tenants?: string[];
}

/** The settings of a drain; missing ones have their default, or stay. */
export interface DrainSettings {
  /** Maximum number of migrations at the same time. */
  concurrency?: number | null;
  /** Maximum copy rate of all moves together, in bytes per second; 0: no limit. */
  copy_bytes_rate_max?: number | null;
  /** Maximum copy rate of all moves together, in events per second; 0: no limit. */
  copy_rate_max?: number | null;
  /** A move whose cutover was rolled back this many times is aborted. */
  cutover_tries?: number | null;
  /** Maximum number of cutovers that start in one minute; 0: no limit. */
  cutovers_per_minute?: number | null;
  /** The drain pauses after this many failures; 0: never. */
  failures_max?: number | null;
  /** The order of the tenants: `smallest`, `largest` or `idle` first. */
  order?: string | null;
  patience?: Millis | null;
  /** Maximum number of those from one source; 0: no limit. */
  per_source?: number | null;
  /** Maximum number of those to one target; 0: no limit. */
  per_target?: number | null;
  /** How targets are chosen: `weights`, `free_space` or `least_loaded`. */
  placement?: string | null;
  retry_after?: Millis | null;
  /** Number of attempts for each tenant. */
  tries?: number | null;
  /** When cutovers may start, for example `Mon-Fri 01:00-05:00 Europe/Berlin`; `any`: at any time. */
  window?: string | null;
}

/** A drain to start: from a request, or from a plan. */
export interface DrainStart {
  /** Its id, chosen by the caller, so that a start can be retried after a lost response. */
  id?: string | null;
  plan?: DrainPlan | null;
  /** The reason, for the drain's log. */
  reason?: string | null;
  request?: DrainRequest | null;
}

/** The summary of a drain. */
export interface DrainStatement {
  /** Whether the stores can be switched off. */
  can_be_switched_off: boolean;
  /** Number of tenants at their targets, each compared with its source before its switch. */
  moved: number;
  /** Number of tenants that were not started. */
  not_begun: number;
  /** Number of tenants that were set aside. */
  set_aside: number;
  /** Number of tenants that stay, by reason. */
  stays: number;
  /** Number of tenants in the stores now, including later arrivals. */
  tenants_left: number;
  /** Why not, a sentence each. */
  why_not: string[];
  /** Number of rollback windows that need the stores. */
  windows_open: number;
}

/** A target store. */
export interface DrainTarget {
  /** The store's id. */
  store: string;
  /** Its weight among the targets. */
  weight?: number;
}

/** One tenant of a drain. */
export interface DrainTenant {
  /** Events when the drain was planned. */
  events: number;
  /** Its last migration. */
  migration_id?: string | null;
  /** Its place in the order. */
  place: number;
  /** The estimated duration of its move, in seconds, by the plan. */
  seconds: number;
  /** When it entered this state. */
  since: Time;
  /** Its source store. */
  source_store: string;
  /** Its state: `waiting`, `again` (set aside, to be retried), `moving`, `moved`, `set_aside` or `stays`. */
  state: string;
  /** Why it stays: `pinned`, `excluded`, `other_drain`, `gone` or `no_target`. */
  stay?: string | null;
  /** Its target store. */
  target_store?: string | null;
  /** The tenant. */
  tenant_id: string;
  /** The number of attempts. */
  tries: number;
  /** Why it was set aside, or why it stays. */
  why?: string | null;
  /** The process that works on it. */
  worker?: string | null;
}

/** A page of a drain's tenants. */
export interface DrainTenantPage {
  /** The `after` of the next page; `null` on the last page. */
  next_after?: number | null;
  /** The tenants, in order. */
  tenants: DrainTenant[];
}

/** Settings of a drain to change. */
export interface DrainTuning {
  /** The options of migrations that start from now on. */
  options?: OptionsPatch;
  /** The reason, for the drain's log. */
  reason?: string | null;
  /** The settings; missing ones stay. */
  settings?: DrainSettings;
  /** The new targets, complete; missing: unchanged. */
  to?: DrainTarget[] | null;
}

/** How long a migration will take: four texts for people, and the same numbers for programs. */
export interface Estimate {
  /** Copying, for example `2.5 minutes`. */
  bulk_copy_estimate: string;
  /** Copying. */
  bulk_copy_seconds: number;
  /** The pause, for example `5.0 seconds`. */
  cutover_estimate: string;
  /** The pause. */
  cutover_seconds: number;
  /** Catching up, for example `5.0 seconds`. */
  dual_write_estimate: string;
  /** Catching up. */
  dual_write_seconds: number;
  /** The total with the buffer, for example `3.9 minutes`. */
  total_estimate: string;
  /** The total with the buffer. */
  total_seconds: number;
}

/** Inputs of an estimate; missing ones have the default of the monitoring contract. */
export interface EstimateRequest {
  /** Safety factor on the sum. */
  buffer_factor?: number | null;
  /** Copy rate, in events per second. */
  copy_rate_per_second?: number | null;
  /** Write pause, in seconds. */
  cutover_pause_seconds?: number | null;
  /** Lag, in events, when mirroring starts. */
  dual_write_lag_events?: number | null;
  /** Events to copy. */
  total_events: number;
  /** Write rate of the tenant, in events per second. */
  write_rate_per_second?: number | null;
}

/** A stored event. */
export interface EventDocument {
  /** The event's content. */
  data: unknown;
  /** Unique within the tenant. */
  event_id: string;
  /** The event type. */
  event_type: string;
  /** The writer's metadata. */
  metadata: Record<string, unknown>;
  /** When it happened. */
  occurred_at: Time;
  /** When the first store stored it. */
  recorded_at: Time;
  /** Position in the tenant's history, from 1. */
  seq: number;
  /** The stream id. */
  stream_id: string;
  /** The stream type. */
  stream_type: string;
  /** The tenant. */
  tenant_id: string;
  /** Position in the stream, from 1. */
  version: number;
}

/** The expected state of the stream: its version (0: no event yet), `any` or `no_stream`. */
export type ExpectedVersionDocument = number | ExpectedWord;

/** The words for an expected state. */
export type ExpectedWord = "any" | "no_stream";

/** A page of a tenant's history. */
export interface FeedPage {
  /** The events, in the order of `seq`, without gaps. */
  events: EventDocument[];
  /** The `after_seq` of the next page. */
  next_after_seq: number;
}

/** One check of the plan. */
export interface Finding {
  /** What was checked. */
  check: string;
  /** The finding, and the remedy if it did not pass. */
  detail: string;
  /** Whether it passed. */
  ok: boolean;
}

/** The document of `GET /health/migration`, with the fields of the monitoring contract. */
export interface HealthReport {
  /** Migrations that have not ended: neither migrated nor failed nor rolled back. */
  active_migrations: number;
  /** A sentence for each reason. */
  details: string[];
  /** Those in `dual_write` whose target is more than 1,000 events behind. */
  high_sync_lag_count: number;
  /** The worst finding. */
  status: HealthStatus;
  /** Those in `bulk_copy` without progress for 15 minutes. */
  stuck_migrations: number;
  /**
   * Of the time in the last 5 minutes with something to mirror, the fraction in which the target did not accept
   * it: 0 to 1; 0 without traffic.
   */
  target_write_failure_rate: number;
}

/** The status. */
export type HealthStatus = "healthy" | "degraded" | "unhealthy";

/** The result of an item, from good to bad. */
export type ItemStatus = "pass" | "unknown" | "fail";

/** The document of `/health/live` and `/health/ready`. */
export interface Liveness {
  /** The reason, if not. */
  detail?: string | null;
  /** `live`, `ready` or `not_ready`. */
  status: string;
}

/** One entry of a migration's log. */
export interface LogEntry {
  /** The actor. */
  actor: string;
  /** When it was recorded. */
  at: Time;
  /** How this entry differs from what was recorded, or what is missing before it; absent if nothing is wrong. */
  chain_broken?: string | null;
  /** The other fields of the fact. */
  details: Record<string, unknown>;
  /** The name of the fact. */
  event: string;
  /** The hash up to and including this entry. */
  hash: string;
  /** Its number, from 1, without gaps. */
  index: number;
  /** The reason that an operator gave. */
  reason?: string | null;
}

/** A page of a migration's log. */
export interface LogPage {
  /** The entries, in order. */
  entries: LogEntry[];
  /** The `after` of the next page. */
  next_after: number;
}

/** A migration and its progress. */
export interface Migration {
  /**
   * Actions that its state allows: `cutover`, `withdraw`, `pause`, `resume`, `tune`, `verify`, `repair`, `return`,
   * `acknowledge`, `abort`.
   */
  allowed_actions?: string[];
  completed_at?: Time | null;
  /** When it was requested. */
  created_at: Time;
  /** Whether a cutover is requested and has not begun: until then it can be withdrawn. */
  cutover_requested?: boolean;
  /** Why it failed, or why its last cutover was rolled back, withdrawn or vetoed. */
  error?: string | null;
  /** Seconds until everything is copied, at that rate. */
  eta_seconds?: number | null;
  /** Events of the history that are in the target. */
  events_copied?: number | null;
  /** Events of the history that must be in the target. */
  events_total?: number | null;
  /** Hooks whose notification is outstanding, and why; it is retried. Not in lists. */
  hooks?: string | null;
  /** Its id. */
  id: string;
  last_cutover?: Cutover | null;
  /**
   * The decisions of an operator that it waits for, each with the command: a manual cutover that is ready, a
   * pause, a failure, an open violation. Empty: none.
   */
  needs?: string[];
  /**
   * Violations that verifications found and that are neither refuted nor repaired, and what to do; they block the
   * cutover.
   */
  open_violation?: string | null;
  /** Progress, from 0 to 100. */
  progress_percent?: number | null;
  /** Recent copy rate, in events per second. */
  rate_events_per_s?: number | null;
  /** The position up to which the target was read back from its disk and equals the source. */
  read_back_seq?: number | null;
  return_until?: Time | null;
  source_last_seen_at?: Time | null;
  /** The source store. */
  source_store: string;
  source_unanswered_since?: Time | null;
  started_at?: Time | null;
  /** `pending`, `bulk_copy`, `dual_write`, `cutover_paused`, `migrated`, `failed`, `rolled_back` or `paused`. */
  state: string;
  /** Events that the target is behind. */
  sync_lag_events?: number | null;
  target_last_seen_at?: Time | null;
  /** The target store. */
  target_store: string;
  target_unanswered_since?: Time | null;
  /** The tenant. */
  tenant_id: string;
  /** How hard it works, in percent of what it could: less than 100 while it gives way to writers. Not in lists. */
  throttle_percent?: number | null;
  /**
   * Why it gives way: `source_appends`, `target_appends`, `source_reads`, `read_back`, `target_writes` or
   * `mirror_lag`. Not in lists.
   */
  throttle_reason?: string | null;
  /**
   * Why it makes no progress at the moment: a fault after which the driver retries. `null` while it makes
   * progress, and without a driver.
   */
  waiting?: string | null;
  waiting_since?: Time | null;
}

/** A page of migrations. */
export interface MigrationPage {
  /** The migrations, newest first. */
  migrations: Migration[];
  /** The `cursor` of the next page; `null` on the last page. */
  next_cursor?: string | null;
}

/** A migration to start. */
export interface MigrationStart {
  /** The options; missing ones come from the server's configuration. */
  options?: OptionsPatch;
  /** The reason, for the migration's log. */
  reason?: string | null;
  /** The target store. */
  target_store: string;
  /** The tenant. */
  tenant_id: string;
}

/** A number of milliseconds. */
export type Millis = string;

/** Checkpoints to copy from one store to another. */
export interface MoveCheckpoints {
  /** The store to read them from. */
  from: string;
  /** The reason, for the log of the tenant's last migration. */
  reason?: string | null;
  /** The store to write them to. */
  to: string;
}

/** A checkpoint of one table, as written in the other store. */
export interface MovedCheckpoint {
  /** The position up to which everything was read. */
  position: number;
  /** The row's other columns, as texts. */
  row: Record<string, string | null>;
  /** Its table. */
  table: string;
  /** The position in the other store. It skips nothing and may repeat some events. */
  translated: number;
  /** Whether it was written; otherwise a row that is as far was already there. */
  written: boolean;
}

/** A tenant's checkpoints, copied from one store to another. */
export interface MovedCheckpoints {
  /** The old store. */
  from: string;
  /** The tables of the layout that stay, a sentence each, with what to do. */
  left: string[];
  /** The checkpoints. */
  moved: MovedCheckpoint[];
  /** The tenant. */
  tenant_id: string;
  /** The new store. */
  to: string;
}

/** An event to append. */
export interface NewEventDocument {
  /** Any JSON, stored unchanged. */
  data: unknown;
  /**
   * Unique within the tenant, created by the writer and the same on every retry, which makes a retry safe. Without
   * an id the server creates one, and a retry is a new event.
   */
  event_id?: string | null;
  /** The event type; 1 to 256 bytes. */
  event_type: string;
  /** The writer's metadata, stored unchanged; default `{}`. */
  metadata?: Record<string, unknown> | null;
  occurred_at?: Time | null;
}

/** A cordon of a store, or a pin of a tenant. */
export interface Notice {
  /** Who set it. */
  by?: string | null;
  since?: Time | null;
  /** Whether it is set. */
  there: boolean;
  /** The store or the tenant. */
  what: string;
  /** The reason. */
  why?: string | null;
}

/** The options of a migration. */
export interface Options {
  /** Maximum size of a copy batch in bytes, approximately. */
  batch_bytes: number;
  /** Maximum number of events in a copy batch. */
  batch_events: number;
  /** Maximum copy rate, in bytes per second; 0: no limit. */
  copy_bytes_rate_max: number;
  /** Maximum copy rate, in events per second; 0: no limit. */
  copy_rate_max: number;
  /** `auto`, `manual`, or the earliest time of the cutover (RFC 3339). */
  cutover: string;
  /** Maximum write pause, in milliseconds; a longer cutover is rolled back. */
  cutover_timeout_ms: number;
  /** The lag, in events, below which a cutover may start and above which writers are slowed down. */
  lag_events_max: number;
  /** When an append is acknowledged: once it is in the `source`, or also in the `target`. */
  mirror_ack: string;
  /** Maximum time that an append waits for the target, in milliseconds. */
  mirror_ack_timeout_ms: number;
  /** How long to keep replicating to the old source after the cutover; `0`: not at all. */
  rollback_window: Millis;
  /** The level of the verification before the cutover: `count`, `hash` or `full`. */
  verification: string;
}

/** Options to change; missing ones stay. */
export interface OptionsPatch {
  /** See [`Options::batch_bytes`]. */
  batch_bytes?: number | null;
  /** See [`Options::batch_events`]. */
  batch_events?: number | null;
  /** See [`Options::copy_bytes_rate_max`]. */
  copy_bytes_rate_max?: number | null;
  /** See [`Options::copy_rate_max`]. */
  copy_rate_max?: number | null;
  /** See [`Options::cutover`]. */
  cutover?: string | null;
  /** See [`Options::cutover_timeout_ms`]. */
  cutover_timeout_ms?: number | null;
  /** See [`Options::lag_events_max`]. */
  lag_events_max?: number | null;
  /** See [`Options::mirror_ack`]. */
  mirror_ack?: string | null;
  /** See [`Options::mirror_ack_timeout_ms`]. */
  mirror_ack_timeout_ms?: number | null;
  rollback_window?: Millis | null;
  /** See [`Options::verification`]. */
  verification?: string | null;
}

/** The plan of a migration. */
export interface Plan {
  estimate?: Estimate | null;
  /** Events to copy, without those that the target already has. */
  events_to_copy: number;
  /** The checks. */
  findings: Finding[];
  /** Whether the migration is possible. */
  possible: boolean;
  /** Read rate of the source on a sample, in events per second. */
  read_events_per_s?: number | null;
  /** The source store. */
  source_store: string;
  /** The target store. */
  target_store: string;
  /** The tenant. */
  tenant_id: string;
}

/** A possible migration. */
export interface PlanRequest {
  /** The target store. */
  target_store: string;
  /** The tenant. */
  tenant_id: string;
}

/** An estimate of a migration, from the tenant and earlier measurements. */
export interface Probe {
  best?: Estimate | null;
  /** Whether the copy is likely faster than the tenant writes. */
  converges: boolean;
  /** Copy rate, in events per second. */
  copy_events_per_s: RateRange;
  /** The source of the copy rate: `given`, `earlier migrations` or `reading`. */
  copy_rate_from: string;
  estimate?: Estimate | null;
  /** Events to copy, without those that the target already has. */
  events_to_copy: number;
  /** Read rate of the source on a sample, in events per second. */
  read_events_per_s: number;
  /** Remarks on these numbers. */
  remarks: string[];
  /** The source store. */
  source_store: string;
  /** The target store. */
  target_store: string;
  /** The tenant. */
  tenant_id: string;
  worst?: Estimate | null;
  /** Write rate of the tenant, in events per second. */
  write_events_per_s: number;
}

/** A tenant to probe, for an estimate of its migration. */
export interface ProbeRequest {
  /** Safety factor on the sum. */
  buffer_factor?: number | null;
  /** Copy rate, in events per second, instead of that of earlier migrations. */
  copy_rate_per_second?: number | null;
  /** Write pause, in seconds. */
  cutover_pause_seconds?: number | null;
  /** Lag, in events, when mirroring starts. */
  dual_write_lag_events?: number | null;
  /** The target store. */
  target_store: string;
  /** The tenant. */
  tenant_id: string;
  /** Write rate of the tenant, in events per second, instead of the measured one. */
  write_rate_per_second?: number | null;
}

/** A problem document. `type` is stable, for programs; `detail` is for people and may change. */
export interface Problem {
  /** For a version conflict: the stream's version (0: no event). */
  actual_version?: number | null;
  /** What happened, to which tenant, and what to do next. */
  detail: string;
  /** For a position beyond the end of the history: the last position. */
  end?: number | null;
  /** For a conflict of ids: the first id that is in use. */
  event_id?: string | null;
  /** For a request that is too large: the maximum. */
  limit?: number | null;
  /** The migration. */
  migration_id?: string | null;
  /** For a position beyond the end of the history: the position. */
  position?: number | null;
  /** The request id, as in `X-Request-Id` and the server's log. */
  request_id?: string | null;
  /** The state of that migration. */
  state?: string | null;
  /** The HTTP status. */
  status: number;
  /** The tenant. */
  tenant_id?: string | null;
  /** The same for people. */
  title: string;
  /** The kind of problem, for example `urn:rehome:problem:version_conflict`. */
  type: string;
}

/** A copy to purge that a tenant left behind. */
export interface Purge {
  /** Close the rollback window: the tenant cannot return afterwards. */
  close_window?: boolean;
  /** The reason, for the log of the tenant's last migration. */
  reason?: string | null;
  /** The store. */
  store: string;
}

/** A range of rates, in events per second. */
export interface RateRange {
  /** The best case. */
  high: number;
  /** The likely case. */
  likely: number;
  /** The worst case. */
  low: number;
}

/** The reason for an action. */
export interface Reason {
  /** The reason, for the migration's log. */
  reason?: string | null;
}

/** What to recover after the control plane was restored from a backup. */
export interface RecoverRequest {
  /** The tenant, whose store has lost events, continues from the named store with the events there. */
  accept_loss?: boolean;
  /** Update the control plane; without it nothing is changed. */
  apply?: boolean;
  /** The reason, for the logs of the tenants' last migrations. */
  reason?: string | null;
  /** The store with the authority, where the stores leave it open. */
  store?: string | null;
  /** Only this tenant. */
  tenant_id?: string | null;
}

/** A tenant whose stores are ahead of the control plane. */
export interface Recovery {
  /** The subscriptions whose checkpoint is beyond the end of the history. */
  checkpoints?: CheckpointBeyondEnd[];
  /**
   * The evidence that the store with the authority has lost events, a sentence each. A recovery does not repair
   * it.
   */
  losses?: string[];
  /**
   * How the logs of the tenant's migrations are not those that its stores have seen, a sentence each. After a
   * recovery the stores take the logs for what they are.
   */
  missed_logs?: string[];
  /** Whether the control plane was changed. */
  recovered: boolean;
  /** The highest epoch in the control plane; 0 if it does not know the tenant. */
  route_epoch: number;
  /** The store that the control plane names. */
  route_store?: string | null;
  /** The store that would have, or now has, the authority; `null` if an operator has to decide. */
  store?: string | null;
  /** What the stores have. */
  stores: TenantInStore[];
  /** The tenant. */
  tenant_id: string;
  /** Why none was chosen. */
  undecided?: string | null;
}

/** A tenant to remove. */
export interface RemoveTenant {
  /**
   * The number of events that it has, as a confirmation: with any other number nothing is removed. Without it
   * nothing is changed, and the answer has the number.
   */
  events?: number | null;
  /** The reason, for the log line about the removal. */
  reason?: string | null;
}

/** A migration to resume. */
export interface Resume {
  /** For a migrated one: keep replicating to the old source until the rollback window ends. */
  keep_window?: boolean;
  /** The reason, for the migration's log. */
  reason?: string | null;
}

/** A tenant to return to its previous store. */
export interface Return {
  /** The options; missing ones come from the server's configuration. */
  options?: OptionsPatch;
  /** The reason, for the migration's log. */
  reason?: string | null;
}

/** The state of a store. */
export interface StoreCheck {
  /** Its clock minus the process's, in milliseconds. */
  clock_skew_ms?: number | null;
  /** Whether new tenants are created here. */
  default: boolean;
  /** The deployment it belongs to. */
  deployment?: string | null;
  /** How durable a commit is. */
  durability?: string | null;
  /** Whether a commit survives the loss of power. */
  durable?: boolean | null;
  /** The engine and its version. */
  engine?: string | null;
  /** The format of its tables. */
  format?: number | null;
  /** Its id in the configuration. */
  id: string;
  /** The identity that it got at its creation. */
  identity?: string | null;
  last_seen_at?: Time | null;
  /** Whether it is usable. */
  ok: boolean;
  /** The problems. */
  problems: string[];
  /** Whether it answers. */
  reachable: boolean;
  /** The first of those tenants. */
  tenants: TenantInStore[];
  /** Number of tenants with a ledger. */
  tenants_total?: number | null;
  unanswered_since?: Time | null;
  /** Its address, without any secret. */
  url: string;
}

/** The result of checking the stores. */
export interface StoreCheckReport {
  /** Whether every checked store is usable. */
  ok: boolean;
  /** One document per store. */
  stores: StoreCheck[];
}

/** The same with the stream's name. */
export interface StreamAppendDocument {
  /** At least one. */
  events: NewEventDocument[];
  expected_version?: ExpectedVersionDocument | null;
  /** The stream id. */
  stream_id: string;
  /** The stream type. */
  stream_type: string;
}

/** A page of a stream. */
export interface StreamPage {
  /** The events, in the order of their versions. */
  events: EventDocument[];
  /** The `from_version` of the next page. */
  next_from_version: number;
}

/** Which part of a stream to read. */
export interface StreamRead {
  /** The first version to read; default 1. */
  from_version?: number | null;
  /** Maximum number of events; default 100, at most 1000. */
  limit?: number | null;
  /** The stream id. */
  stream_id: string;
  /** The stream type. */
  stream_type: string;
}

/** A baseline that is being measured. */
export interface TakingBaseline {
  /** The migration. */
  migration_id: string;
  /** `running`. */
  state: string;
}

/** One tenant: where it is, and what every store has of it. */
export interface Tenant {
  /** The hash chain up to the last of them. */
  digest?: string | null;
  /** The route's epoch. */
  epoch: number;
  migration?: Migration | null;
  /** The problems. */
  problems: string[];
  /** Whether it can return to its previous store. */
  rollback_window_open: boolean;
  /** Events in the store that has the authority; `null` when it does not answer. */
  seq?: number | null;
  /** The state of its last migration; `null` before the first. */
  state?: string | null;
  /** The store that has the authority. */
  store: string;
  /** What each store has of it. */
  stores: TenantInStore[];
  /** The tenant. */
  tenant_id: string;
}

/** A tenant's ledger in one store. */
export interface TenantInStore {
  /** Whether the route names this store. */
  authority: boolean;
  /** The hash chain up to the last of them. */
  digest: string;
  /** The ledger's fencing token. */
  epoch: number;
  last_seen_at?: Time | null;
  /** `active`, `replica`, `fenced` or `absent`. */
  role: string;
  /** Number of the tenant's events there. */
  seq: number;
  /** The store. */
  store: string;
  /** The tenant. */
  tenant_id: string;
}

/** A page of tenants. */
export interface TenantPage {
  /** The `cursor` of the next page; `null` on the last page. */
  next_cursor?: string | null;
  /** In the order of their ids. */
  tenants: TenantRow[];
}

/** The result of a purge. */
export interface TenantPurge {
  /** Number of removed events. */
  events_purged: number;
  /** The store. */
  store: string;
  /** The tenant. */
  tenant_id: string;
}

/** A tenant that was removed, or can be. */
export interface TenantRemoval {
  /** Number of events that were, or would be, removed; 0 if the tenant was removed before. */
  events: number;
  /** Whether it is removed now. */
  removed: boolean;
  /** The store. */
  store: string;
  /** The tenant. */
  tenant_id: string;
}

/** A tenant in a list. */
export interface TenantRow {
  /** Its last migration. */
  migration_id?: string | null;
  /** What a table of another library calls it, as far as this process has seen. */
  name?: string | null;
  /** Why it is pinned; `null` if it is not. */
  pinned?: string | null;
  /**
   * The number of events whose removal was requested, while that is not complete: the tenant has neither readers
   * nor writers; `null` otherwise.
   */
  removing?: number | null;
  /** Whether it can return. */
  rollback_window_open: boolean;
  /** The phase of its last migration. */
  state?: string | null;
  /** The store that has the authority. */
  store: string;
  /** The tenant. */
  tenant_id: string;
}

/** A tenant that is no longer guarded. */
export interface TenantUnguarded {
  /** Whether this call changed anything. */
  changed: boolean;
  /** The store. */
  store: string;
  /** The tenant. */
  tenant_id: string;
}

/** Microseconds since the Unix epoch, UTC. */
export type Time = string;

/** A token. */
export interface Token {
  created_at?: Time | null;
  /** Who created it. */
  created_by?: string | null;
  expires_at?: Time | null;
  /** Where it is stored: `control_plane`, for all servers, or `configuration`, for the servers that have it. */
  kept_in: string;
  last_used_at?: Time | null;
  /** Its name in logs. A rotated token keeps the name. */
  name: string;
  revoked_at?: Time | null;
  /** Who revoked it. */
  revoked_by?: string | null;
  /** `admin`, `operator`, `viewer`, `tenant`, `reader` or `metrics`. */
  role: string;
  /** `good`, `expired` or `revoked`; `unknown` if its role is one of a later version. */
  state: string;
  /** The stores that it is bound to; empty: not bound. */
  stores: string[];
  /** The tenants that it is bound to; empty: not bound. */
  tenants: string[];
}

/** A token to store. The caller creates the secret, keeps it, and sends its hash. */
export interface TokenCreate {
  expires_in?: Millis | null;
  /** Its name in logs: 1 to 64 letters, digits and `. _ - @`. */
  name: string;
  /** The reason. */
  reason?: string | null;
  /** `admin`, `operator`, `viewer`, `tenant`, `reader` or `metrics`. */
  role: string;
  /** The SHA-256 of the secret, in hexadecimal. The secret must be 256 random bits or equivalent. */
  sha256: string;
  /** The stores that it is bound to. */
  stores?: string[];
  /** The tenants that it is bound to. */
  tenants?: string[];
}

/** A token that replaces another. */
export interface TokenRotate {
  expires_in?: Millis | null;
  keep_old_for?: Millis | null;
  /** The reason. */
  reason?: string | null;
  /** The SHA-256 of the new secret, in hexadecimal. */
  sha256: string;
}

/** All tokens. */
export interface Tokens {
  /** Whether every request needs a token, also where no server has one in its configuration. */
  closed: boolean;
  /** The tokens, those of the configuration first, then in the order of their creation. */
  tokens: Token[];
}

/** A position of one table, translated to another table with the tenant's events. */
export interface TranslatedPosition {
  /** How many of the tenant's events the reader has read, by the position. */
  events: number;
  /** The store of the position. */
  from: string;
  /** The position there, up to which everything was read. */
  position: number;
  /** The tenant. */
  tenant_id: string;
  /** The store to continue in. */
  to: string;
  /** The position to continue from. It skips nothing and may repeat some events. */
  translated: number;
}

/** Options to change, and the reason. */
export interface Tuning extends OptionsPatch {
  /** The reason, for the migration's log. */
  reason?: string | null;
}

/** A tenant whose guard to remove. */
export interface Unguard {
  /** The reason, for the log of the tenant's last migration. */
  reason?: string | null;
}

/** The report of a verification. */
export interface Verification {
  /** The store that has the authority. */
  authority: string;
  /** The store that must have a prefix of it. */
  copy: string;
  /** Number of events compared, in each of the two stores. */
  events_checked: number;
  /** The level: `count`, `hash` or `full`. */
  level: string;
  /** The migration whose two stores were compared. */
  migration_id: string;
  /** Whether there are no differences. */
  ok: boolean;
  /**
   * The open violations of the migration after this verification, and what to do: they block the cutover. They
   * stay open after a verification that is less deep than the one that found them.
   */
  open_violation?: string | null;
  /** The compared fraction of the history, from 0 to 1. */
  sample: number;
  /** The tenant. */
  tenant_id: string;
  /** The position up to which the copy was compared. */
  upto_seq: number;
  /** The first violations. */
  violations: Violation[];
  /** Number of violations. */
  violations_total: number;
}

/** Parameters of a verification. */
export interface Verify {
  /** Start after this position. */
  after_seq?: number;
  /** The level: `count`, `hash` or `full`; default `full`. */
  level?: string | null;
  /** Maximum read rate, in events per second; 0: no limit. */
  rate_max?: number;
  /** The reason, for the migration's log. */
  reason?: string | null;
  /** The fraction of the history to compare, above 0 and at most 1; default 1. */
  sample?: number | null;
}

/** A running verification; the migration's log will have its result. */
export interface Verifying {
  /** The migration. */
  migration_id: string;
  /** `running`. */
  state: string;
}

/** One difference between the actual and the expected state. */
export interface Violation {
  /** What differs, without any payload. */
  detail: string;
  /** The position. */
  seq?: number | null;
  /** The stream id. */
  stream_id?: string | null;
  /** The stream type. */
  stream_type?: string | null;
  /** `missing`, `unexpected`, `content`, `order`, `version` or `ledger`. */
  type: string;
}

/** The process that works on a migration. */
export interface Worker {
  /** The process, by its lease; `null` if there is none. */
  holder?: string | null;
}
