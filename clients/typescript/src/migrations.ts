/** Calls for migrations. */

import { problemOf, request } from "./core.ts";
import { Events } from "./events.ts";
import { NoAnswer } from "./errors.ts";
import type {
  Baseline,
  Checklist,
  ChecklistPhase,
  Estimate,
  EstimateRequest,
  LogEntry,
  LogPage,
  Migration,
  MigrationPage,
  Options,
  OptionsPatch,
  Plan,
  Probe,
  ProbeRequest,
  Verification,
  Verify,
  Worker,
} from "./models.ts";

const ONE = "/v1/migrations/{migration}";

export type Until = "migrated" | "cut_over" | "cleaned_up" | "repaired" | "nothing_left";

export interface Start {
  options?: OptionsPatch;
  /** Why, for the migration's log. */
  reason?: string;
  /** A repeated key returns the same migration; by default the client generates a key. */
  key?: string;
}

/** Arguments of an action: its reason, and the tag of the state that it applies to (from `seen`). */
export interface Asked {
  reason?: string;
  ifMatch?: string;
}

export class Migrations extends Events {
  /** One page of the migrations, newest first; `next_cursor` leads to the next page. */
  async migrations(
    query: { state?: string; tenant?: string; cursor?: string; limit?: number } = {},
  ): Promise<MigrationPage> {
    return this.json(request("GET", "/v1/migrations", { query }));
  }

  /** All migrations, newest first. */
  async *eachMigration(query: { state?: string; tenant?: string } = {}): AsyncGenerator<Migration, void> {
    let cursor: string | undefined;
    do {
      const page = await this.migrations({ ...query, cursor });
      yield* page.migrations;
      cursor = page.next_cursor ?? undefined;
    } while (cursor !== undefined);
  }

  /** Starts a migration. */
  async startMigration(tenant: string, targetStore: string, start: Start = {}): Promise<Migration> {
    const { options, reason, key = crypto.randomUUID() } = start;
    const body = { tenant_id: tenant, target_store: targetStore, options, reason };
    return this.json(request("POST", "/v1/migrations", { body, headers: { "Idempotency-Key": key } }));
  }

  /** Starts a migration back to the source, within the rollback window; returns the new migration. */
  async returnTenant(migration: string, start: Start & Asked = {}): Promise<Migration> {
    const { options, reason, key = crypto.randomUUID(), ifMatch } = start;
    const headers = { "Idempotency-Key": key, "If-Match": ifMatch };
    return this.json(request("POST", `${ONE}/return`, { names: { migration }, body: { options, reason }, headers }));
  }

  /** Its state and progress. */
  async migration(migration: string): Promise<Migration> {
    return this.json(request("GET", ONE, { names: { migration } }));
  }

  /** Its state and progress, and the tag (`ifMatch`) that limits an action to this state. */
  async seen(migration: string): Promise<{ migration: Migration; ifMatch: string }> {
    const answer = await this.answer(request("GET", ONE, { names: { migration } }));
    return { migration: this.parsed(answer.body), ifMatch: answer.headers.get("ETag") ?? "" };
  }

  /** One page of its log: what happened, who requested it, and why. */
  async migrationLog(migration: string, { after = 0 }: { after?: number } = {}): Promise<LogPage> {
    return this.json(request("GET", `${ONE}/log`, { names: { migration }, query: { after } }));
  }

  /** Its log so far. */
  async *eachLogEntry(migration: string): AsyncGenerator<LogEntry, void> {
    let after = 0;
    for (;;) {
      const page = await this.migrationLog(migration, { after });
      if (page.entries.length === 0) return;
      yield* page.entries;
      after = page.next_after;
    }
  }

  /** The process that runs it. */
  async migrationWorker(migration: string): Promise<Worker> {
    return this.json(request("GET", `${ONE}/worker`, { names: { migration } }));
  }

  /**
   * Yields the migration now and after each change, until its end or the state `until`; with `until`, throws
   * the problem if it ended otherwise.
   */
  async *watchMigration(migration: string, { until }: { until?: Until } = {}): AsyncGenerator<Migration, void> {
    for (;;) {
      const sent = request("GET", `${ONE}/watch`, { names: { migration }, query: { until } });
      for await (const message of this.messages(sent)) {
        if (message === undefined) continue;
        if (message.event === "problem") throw problemOf(message);
        yield this.parsed<Migration>(message.data);
        if (message.event === "end") return;
      }
    }
  }

  /** Waits for that state; throws the problem if it ended otherwise. */
  async waitForMigration(migration: string, until: Until = "migrated"): Promise<Migration> {
    let found: Migration | undefined;
    for await (found of this.watchMigration(migration, { until }));
    if (found === undefined) throw new NoAnswer(`nothing was seen of migration ${migration}`);
    return found;
  }

  /** Pauses it; the tenant's writes continue at the source. */
  async pauseMigration(migration: string, asked: Asked = {}): Promise<Migration> {
    return this.#act(`${ONE}/pause`, migration, asked);
  }

  /** Resumes one that is paused, or that no process runs. */
  async resumeMigration(migration: string, asked: Asked & { keepWindow?: boolean } = {}): Promise<Migration> {
    return this.#act(`${ONE}/resume`, migration, asked, { keep_window: asked.keepWindow });
  }

  /** Requests the cutover; `waitForMigration(id, "cut_over")` waits for it. */
  async cutOver(migration: string, asked: Asked = {}): Promise<Migration> {
    return this.#act(`${ONE}/cutover`, migration, asked);
  }

  /** Withdraws a requested cutover before it begins; the next one needs a new request. */
  async withdrawCutover(migration: string, asked: Asked = {}): Promise<Migration> {
    return this.#act(`${ONE}/withdraw`, migration, asked);
  }

  /** Aborts it before its cutover; the tenant stays at the source. */
  async abortMigration(migration: string, asked: Asked & { purgeTarget?: boolean } = {}): Promise<Migration> {
    return this.#act(`${ONE}/abort`, migration, asked, { purge_target: asked.purgeTarget });
  }

  /** Repairs the copy: truncates it to before the damage, copies the rest again and verifies it. */
  async repairMigration(migration: string, asked: Asked = {}): Promise<Migration> {
    return this.#act(`${ONE}/repair`, migration, asked);
  }

  /** Acknowledges its failure. */
  async acknowledgeMigration(migration: string, asked: Asked = {}): Promise<Migration> {
    return this.#act(`${ONE}/acknowledge`, migration, asked);
  }

  async #act(template: string, migration: string, asked: Asked, more: object = {}): Promise<Migration> {
    const body = { reason: asked.reason, ...more };
    const headers = { "If-Match": asked.ifMatch };
    return this.json(request("POST", template, { names: { migration }, body, headers, repeatable: false }));
  }

  /** Its options. */
  async migrationOptions(migration: string): Promise<Options> {
    return this.json(request("GET", `${ONE}/options`, { names: { migration } }));
  }

  /** Changes options while it runs; returns all options. */
  async tuneMigration(migration: string, options: OptionsPatch, asked: Asked = {}): Promise<Options> {
    const headers = { "If-Match": asked.ifMatch };
    const body = { ...options, reason: asked.reason };
    // Repeating it has no effect; with `ifMatch` the second request is refused.
    const repeatable = asked.ifMatch === undefined;
    return this.json(request("PATCH", `${ONE}/options`, { names: { migration }, body, headers, repeatable }));
  }

  /** Compares both stores, and waits for the result. */
  async verifyMigration(migration: string, verify: Verify = {}): Promise<Verification> {
    return this.#untilDone(`${ONE}/verify`, migration, verify);
  }

  /** The stored baseline of the tenant from before the migration. */
  async baseline(migration: string): Promise<Baseline> {
    return this.json(request("GET", `${ONE}/baseline`, { names: { migration } }));
  }

  /** Measures a baseline of the tenant and stores it. */
  async takeBaseline(migration: string, { window }: { window?: string } = {}): Promise<Baseline> {
    return this.#untilDone(`${ONE}/baseline`, migration, { window });
  }

  async #untilDone<T>(template: string, migration: string, body: object): Promise<T> {
    // With a key, a repeated call waits for the first one and returns its result.
    const headers = { "Idempotency-Key": crypto.randomUUID() };
    const sent = request("POST", template, { names: { migration }, body, headers });
    for (;;) {
      const answer = await this.answer(sent);
      if (answer.status !== 202) return this.parsed(answer.body);
    }
  }

  /** The checklist of the guide for the current phase, with current values. */
  async checklist(migration: string, phase: ChecklistPhase): Promise<Checklist> {
    return this.json(request("GET", `${ONE}/checklists/{phase}`, { names: { migration, phase } }));
  }

  /** The checklist before a migration. */
  async checklistBefore(): Promise<Checklist> {
    return this.json(request("GET", "/v1/checklists/{phase}", { names: { phase: "before" } }));
  }

  /** What a migration would do; changes nothing. */
  async plan(tenant: string, targetStore: string): Promise<Plan> {
    return this.json(request("POST", "/v1/plans", { body: { tenant_id: tenant, target_store: targetStore } }));
  }

  /** Estimates the duration of a migration from given numbers. */
  async estimate(asked: EstimateRequest): Promise<Estimate> {
    return this.json(request("POST", "/v1/estimates", { body: asked }));
  }

  /** Estimates the duration of a migration from the tenant's data. */
  async probe(asked: ProbeRequest): Promise<Probe> {
    return this.json(request("POST", "/v1/probes", { body: asked }));
  }
}
