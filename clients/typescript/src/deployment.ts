/** Stores, tenants, tokens, and the state of the deployment. */

import { request } from "./core.ts";
import { Drains } from "./drains.ts";
import { Problem } from "./errors.ts";
import type {
  MovedCheckpoints,
  MoveCheckpoints,
  Notice,
  Purge,
  Reason,
  RecoverRequest,
  Recovery,
  RemoveTenant,
  StoreCheckReport,
  Tenant,
  TenantPage,
  TenantPurge,
  TenantRemoval,
  TenantRow,
  TenantUnguarded,
  Token,
  TokenCreate,
  TokenRotate,
  Tokens,
  TranslatedPosition,
} from "./models.ts";

const TENANT = "/v1/tenants/{tenant}";
const STORE = "/v1/stores/{store}";

/** A token's secret, which the client generates and never sends, and the stored token. */
export interface MadeToken {
  secret: string;
  token: Token;
}

export class Deployment extends Drains {
  /** Whether the server is up. */
  async isLive(): Promise<boolean> {
    return (await this.answer(request("GET", "/health/live"))).status === 200;
  }

  /** Whether the server can answer applications now. */
  async isReady(): Promise<boolean> {
    try {
      return (await this.answer(request("GET", "/health/ready"), 0)).status === 200;
    } catch (error) {
      if (error instanceof Problem && error.status === 503) return false;
      throw error;
    }
  }

  /** The health of the deployment's migrations. */
  async migrationHealth(): Promise<Record<string, unknown>> {
    return this.json(request("GET", "/health/migration"));
  }

  /** The metrics, in the Prometheus text format. */
  async metrics(): Promise<string> {
    return (await this.answer(request("GET", "/metrics"))).body;
  }

  /** The description of the API. */
  async openapi(): Promise<Record<string, unknown>> {
    return this.json(request("GET", "/openapi.json"));
  }

  /** All stores, with their current state. */
  async stores(): Promise<StoreCheckReport> {
    return this.json(request("GET", "/v1/stores"));
  }

  /** One store, with its current state. */
  async store(store: string): Promise<StoreCheckReport> {
    return this.json(request("GET", STORE, { names: { store } }));
  }

  /** Cordons a store: it takes no new tenants and no migrations. */
  async cordon(store: string, reason: Reason = {}): Promise<Notice> {
    return this.json(request("POST", `${STORE}/cordon`, { names: { store }, body: reason }));
  }

  /** Uncordons a store. */
  async uncordon(store: string, reason: Reason = {}): Promise<Notice> {
    return this.json(request("POST", `${STORE}/uncordon`, { names: { store }, body: reason }));
  }

  /** The store and the state of a tenant. */
  async tenant(tenant: string): Promise<Tenant> {
    return this.json(request("GET", TENANT, { names: { tenant } }));
  }

  /** One page of the tenants, ordered by id; a page with fewer than `limit` items is not always the last one. */
  async tenants(
    query: { store?: string; search?: string; pinned?: boolean; cursor?: string; limit?: number } = {},
  ): Promise<TenantPage> {
    return this.json(request("GET", "/v1/tenants", { query }));
  }

  /** All tenants, ordered by id. */
  async *eachTenant(
    query: { store?: string; search?: string; pinned?: boolean } = {},
  ): AsyncGenerator<TenantRow, void> {
    let cursor: string | undefined;
    do {
      const page = await this.tenants({ ...query, cursor });
      yield* page.tenants;
      cursor = page.next_cursor ?? undefined;
    } while (cursor !== undefined);
  }

  /** Pins a tenant: drains do not move it. */
  async pin(tenant: string, reason: Reason = {}): Promise<Notice> {
    return this.json(request("POST", `${TENANT}/pin`, { names: { tenant }, body: reason }));
  }

  /** Unpins a tenant. */
  async unpin(tenant: string, reason: Reason = {}): Promise<Notice> {
    return this.json(request("POST", `${TENANT}/unpin`, { names: { tenant }, body: reason }));
  }

  /** Removes a tenant that has so many events. Without a number, counts them and changes nothing. Irreversible. */
  async removeTenant(tenant: string, removal: RemoveTenant = {}): Promise<TenantRemoval> {
    return this.json(request("POST", `${TENANT}/remove`, { names: { tenant }, body: removal, repeatable: false }));
  }

  /** Deletes the copy that a migration left behind in a store. Irreversible. */
  async purge(tenant: string, purge: Purge): Promise<TenantPurge> {
    return this.json(request("POST", `${TENANT}/purge`, { names: { tenant }, body: purge, repeatable: false }));
  }

  /** Removes the guard of a tenant whose events are in a table of another library. */
  async unguard(tenant: string, reason: Reason = {}): Promise<TenantUnguarded> {
    return this.json(request("POST", `${TENANT}/unguard`, { names: { tenant }, body: reason, repeatable: false }));
  }

  /** Translates a position of one store's table into a position of another store's table. */
  async translatePosition(
    tenant: string,
    query: { position: number; from: string; to: string },
  ): Promise<TranslatedPosition> {
    return this.json(request("GET", `${TENANT}/position`, { names: { tenant }, query }));
  }

  /** Copies the tenant's checkpoints from one store's table to another's. */
  async moveCheckpoints(tenant: string, move: MoveCheckpoints): Promise<MovedCheckpoints> {
    return this.json(request("POST", `${TENANT}/checkpoints`, { names: { tenant }, body: move, repeatable: false }));
  }

  /** Compares a restored control plane with the stores; `apply` brings it up to date. */
  async recover(recover: RecoverRequest = {}): Promise<Recovery[]> {
    return this.json(request("POST", "/v1/recoveries", { body: recover, repeatable: !recover.apply }));
  }

  /** All tokens, without their secrets. */
  async tokens(): Promise<Tokens> {
    return this.json(request("GET", "/v1/tokens"));
  }

  /** Creates a token. */
  async createToken(
    name: string,
    role: string,
    more: Partial<Omit<TokenCreate, "name" | "role" | "sha256">> = {},
  ): Promise<MadeToken> {
    const secret = newSecret();
    const body = { name, role, ...more, sha256: await sha256(secret) };
    return { secret, token: await this.json(request("POST", "/v1/tokens", { body })) };
  }

  /** Replaces a token's secret. */
  async rotateToken(name: string, more: Partial<Omit<TokenRotate, "sha256">> = {}): Promise<MadeToken> {
    const secret = newSecret();
    const body = { ...more, sha256: await sha256(secret) };
    return { secret, token: await this.json(request("POST", "/v1/tokens/{name}/rotate", { names: { name }, body })) };
  }

  /** Revokes a token and ends its sessions and feeds. */
  async revokeToken(name: string, reason: Reason = {}): Promise<Token[]> {
    return this.json(request("POST", "/v1/tokens/{name}/revoke", { names: { name }, body: reason }));
  }
}

function newSecret(): string {
  return `rehome_${hex(crypto.getRandomValues(new Uint8Array(32)))}`;
}

async function sha256(text: string): Promise<string> {
  return hex(new Uint8Array(await crypto.subtle.digest("SHA-256", new TextEncoder().encode(text))));
}

function hex(bytes: Uint8Array): string {
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}
