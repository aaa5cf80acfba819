/** Drains: operators empty stores, tenant by tenant. */

import { request } from "./core.ts";
import { Migrations } from "./migrations.ts";
import type {
  Drain,
  DrainPage,
  DrainPlan,
  DrainRequest,
  DrainRetry,
  DrainStart,
  DrainTenant,
  DrainTenantPage,
  DrainTuning,
  Reason,
} from "./models.ts";

const ONE = "/v1/drains/{drain}";
/** Final states. */
const OVER = new Set(["cancelled", "finished"]);

export class Drains extends Migrations {
  /** One page of the drains, newest first; `open`: only those that have not ended. */
  async drains(query: { open?: boolean; cursor?: string; limit?: number } = {}): Promise<DrainPage> {
    return this.json(request("GET", "/v1/drains", { query }));
  }

  /** What a drain would do; changes nothing. `startDrain({ plan })` starts exactly this plan. */
  async planDrain(asked: DrainRequest): Promise<DrainPlan> {
    return this.json(request("POST", "/v1/drains/plan", { body: asked }));
  }

  /** Starts a drain, from a `plan` or a `request`. A repeated `id` returns the same drain. */
  async startDrain(start: DrainStart): Promise<Drain> {
    return this.json(request("POST", "/v1/drains", { body: { ...start, id: start.id ?? crypto.randomUUID() } }));
  }

  /** Its progress, what needs an operator, and its result after its end. */
  async drain(drain: string): Promise<Drain> {
    return this.json(request("GET", ONE, { names: { drain } }));
  }

  /** Yields the drain now and after each change, until it ends. Polls at this interval in milliseconds. */
  async *watchDrain(drain: string, { every = 1_000 }: { every?: number } = {}): AsyncGenerator<Drain, void> {
    let before = "";
    for (;;) {
      const found = await this.drain(drain);
      const now = JSON.stringify(found);
      if (now !== before) yield found;
      if (OVER.has(found.state)) return;
      before = now;
      await this.sleep(every);
    }
  }

  /** One page of its tenants, in the order of the drain. */
  async drainTenants(
    drain: string,
    query: {
      state?: "waiting" | "again" | "moving" | "moved" | "set_aside" | "stays";
      after?: number;
      limit?: number;
    } = {},
  ): Promise<DrainTenantPage> {
    return this.json(request("GET", `${ONE}/tenants`, { names: { drain }, query }));
  }

  /** All of its tenants, in the order of the drain. */
  async *eachDrainTenant(drain: string): AsyncGenerator<DrainTenant, void> {
    let after: number | undefined;
    do {
      const page = await this.drainTenants(drain, { after });
      yield* page.tenants;
      after = page.next_after ?? undefined;
    } while (after !== undefined);
  }

  /** Starts no further migrations; running ones continue. */
  async pauseDrain(drain: string, reason: Reason = {}): Promise<Drain> {
    return this.#act("POST", `${ONE}/pause`, drain, reason);
  }

  /** Resumes a paused drain. */
  async resumeDrain(drain: string, reason: Reason = {}): Promise<Drain> {
    return this.#act("POST", `${ONE}/resume`, drain, reason);
  }

  /** Cancels it: running migrations are aborted; a cutover that has begun finishes first. */
  async cancelDrain(drain: string, reason: Reason = {}): Promise<Drain> {
    return this.#act("POST", `${ONE}/cancel`, drain, reason);
  }

  /** Retries tenants that the drain set aside: the named ones, or all of them. */
  async retryDrain(drain: string, retry: DrainRetry = {}): Promise<Drain> {
    return this.#act("POST", `${ONE}/retry`, drain, retry);
  }

  /** Changes its options. */
  async tuneDrain(drain: string, tuning: DrainTuning): Promise<Drain> {
    return this.#act("PATCH", `${ONE}/settings`, drain, tuning);
  }

  async #act(method: string, template: string, drain: string, body: object): Promise<Drain> {
    return this.json(request(method, template, { names: { drain }, body, repeatable: false }));
  }
}
