// Every operation of the API is called by a method of the client, against a real server.

import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { test } from "node:test";
import { API_VERSION, Client, Conflict, Forbidden, NotFound, Problem, Unauthorized } from "../src/index.ts";
import { TOKEN, URL_OF_SERVER } from "./kit.ts";

interface Described {
  info: { version: string };
  paths: Record<string, Record<string, unknown>>;
}

const document = JSON.parse(await readFile(new URL("../../openapi.json", import.meta.url), "utf8")) as Described;
const operations = Object.entries(document.paths).flatMap(([path, methods]) =>
  Object.keys(methods).map((method) => ({
    name: `${method.toUpperCase()} ${path}`,
    method: method.toUpperCase(),
    path,
    pattern: new RegExp(`^${path.replace(/\{\w+\}/g, "[^/]+")}$`),
  })),
);
const called = new Set<string>();

/** Writes down which operations are called. */
const recorded: typeof fetch = async (input, init) => {
  const { pathname } = new URL(String(input));
  const fits = operations.filter((one) => one.method === init?.method && one.pattern.test(pathname));
  // `/v1/drains/plan` is none of the drains.
  const named = fits.filter((one) => one.path === pathname);
  for (const one of named.length > 0 ? named : fits) called.add(one.name);
  return fetch(input, init);
};

const client = new Client(URL_OF_SERVER, { token: TOKEN, fetch: recorded });
const tenant = crypto.randomUUID();

async function cutOverIsAllowed(migration: string): Promise<void> {
  for await (const found of client.watchMigration(migration)) {
    if (found.state === "dual_write" && found.allowed_actions?.includes("cutover")) return;
  }
}

async function refused(call: Promise<unknown>, code: string): Promise<void> {
  await assert.rejects(call, (error) => error instanceof Problem && error.code === code);
}

async function all<T>(values: AsyncIterable<T>): Promise<T[]> {
  const found = [];
  for await (const value of values) found.push(value);
  return found;
}

test("every operation has a method", async (t) => {
  await t.test("of applications", async () => {
    assert.equal(await client.exists(tenant), false);
    const placed = { event_type: "Placed", data: { text: "a b/%\u2028 ü\u0085" }, metadata: { by: "me" } };
    for (const [type, id] of [["order", "o-1"], ["a/b %2F", ".."]] as const) {
      const done = await client.append(tenant, type, id, [placed, placed], { expectedVersion: "no_stream" });
      assert.equal(done.last_version, 2);
      const page = await client.readStream(tenant, type, id, { fromVersion: 2, limit: 10 });
      assert.deepEqual(page.events.map((event) => [event.version, event.stream_id, event.data]), [[2, id, placed.data]]);
      assert.equal((await all(client.stream(tenant, type, id))).length, 2);
    }
    assert.equal(await client.exists(tenant), true);
    const seen = [];
    for await (const event of client.follow(tenant)) if (seen.push(event) === 4) break;
    assert.deepEqual(seen, await all(client.feed(tenant)));
    assert.equal(await client.checkpoint(tenant, "a reader"), 0);
    assert.deepEqual(await client.setCheckpoint(tenant, "a reader", 3), { name: "a reader", seq: 3 });
  });

  await t.test("of migrations", async () => {
    assert.equal((await client.plan(tenant, "dedicated")).tenant_id, tenant);
    assert.ok((await client.estimate({ total_events: 1_000_000 })).total_seconds > 0);
    await client.probe({ tenant_id: tenant, target_store: "dedicated" });
    await client.checklistBefore();
    const start = { options: { cutover: "manual" }, key: crypto.randomUUID(), reason: "a test" };
    const { id } = await client.startMigration(tenant, "dedicated", start);
    assert.equal((await client.startMigration(tenant, "dedicated", start)).id, id);
    await cutOverIsAllowed(id);
    await client.takeBaseline(id, { window: "1s" });
    await client.baseline(id);
    await client.migrationWorker(id);
    await client.checklist(id, "during");
    assert.equal((await client.verifyMigration(id, { level: "full" })).ok, true);
    assert.equal((await client.pauseMigration(id, { reason: "a break" })).state, "paused");
    await client.resumeMigration(id);
    assert.equal((await client.tuneMigration(id, { lag_events_max: 777 })).lag_events_max, 777);
    assert.equal((await client.migrationOptions(id)).lag_events_max, 777);
    await assert.rejects(client.repairMigration(id), Conflict);
    await assert.rejects(client.withdrawCutover(id), Conflict);
    await assert.rejects(client.acknowledgeMigration(id), Conflict);
    const { ifMatch } = await client.seen(id);
    await client.abortMigration(id, { purgeTarget: true });
    assert.equal((await client.waitForMigration(id, "cleaned_up")).state, "rolled_back");
    await refused(client.abortMigration(id, { ifMatch }), "changed_meanwhile");

    const moved = await client.startMigration(tenant, "dedicated", {
      options: { cutover: "manual", rollback_window: "1h" },
    });
    await cutOverIsAllowed(moved.id);
    await client.cutOver(moved.id);
    await client.waitForMigration(moved.id, "cut_over");
    const back = await client.returnTenant(moved.id, { options: { cutover: "auto" } });
    await client.waitForMigration(back.id);
    assert.equal((await client.tenant(tenant)).store, "shared");
    assert.ok((await all(client.eachLogEntry(id))).some((entry) => entry.reason === "a break"));
    assert.deepEqual((await all(client.eachMigration({ tenant }))).map((one) => one.id), [back.id, moved.id, id]);
    await assert.rejects(client.migration(crypto.randomUUID()), NotFound);
  });

  await t.test("of drains", async () => {
    const other = crypto.randomUUID();
    await client.append(other, "order", "o-1", [{ event_type: "Placed", data: 1 }]);
    const asked = { from: ["shared"], to: [{ store: "dedicated" }], tenants: [other] };
    const plan = await client.planDrain(asked);
    assert.equal(plan.moves, 1);
    const { id } = await client.startDrain({ plan, reason: "a test" });
    await client.pauseDrain(id);
    await client.tuneDrain(id, { settings: { concurrency: 2 } });
    await client.resumeDrain(id);
    assert.equal((await all(client.watchDrain(id, { every: 100 }))).at(-1)?.state, "finished");
    const tenants = await all(client.eachDrainTenant(id));
    assert.deepEqual(tenants.map((one) => [one.tenant_id, one.state]), [[other, "moved"]]);
    assert.ok((await client.drains({ limit: 10 })).drains.some((one) => one.id === id));
    await assert.rejects(client.retryDrain(id), Conflict);
    await assert.rejects(client.cancelDrain(id), Conflict);
  });

  await t.test("of the deployment", async () => {
    assert.ok((await client.isLive()) && (await client.isReady()));
    assert.ok("status" in (await client.migrationHealth()));
    assert.match(await client.metrics(), /migration_state/);
    assert.deepEqual((await client.stores()).stores.map((store) => store.id), ["dedicated", "shared"]);
    assert.equal((await client.store("dedicated")).ok, true);
    assert.equal((await client.cordon("dedicated", { reason: "a test" })).there, true);
    assert.equal((await client.uncordon("dedicated")).there, false);
    assert.equal((await client.pin(tenant, { reason: "a test" })).why, "a test");
    assert.deepEqual((await all(client.eachTenant({ pinned: true }))).map((row) => row.tenant_id), [tenant]);
    assert.equal((await client.unpin(tenant)).there, false);
    assert.equal((await client.purge(tenant, { store: "dedicated", close_window: true })).store, "dedicated");
    const counted = await client.removeTenant(tenant);
    assert.ok(counted.events > 0 && !counted.removed);
    await refused(client.removeTenant(tenant, { events: counted.events + 1 }), "not_removable");
    assert.ok((await client.recover()).every((found) => !found.recovered));
    // Of tables of other libraries, which this deployment does not have.
    const between = { from: "shared", to: "dedicated" };
    await refused(client.unguard(tenant), "refused");
    await refused(client.translatePosition(tenant, { position: 1, ...between }), "refused");
    assert.deepEqual((await client.moveCheckpoints(tenant, between)).moved, []);

    const name = `of-${tenant}`;
    const made = await client.createToken(name, "tenant", { tenants: [tenant], expires_in: "1h" });
    let { secret } = made;
    assert.equal(made.token.state, "good");
    const bound = new Client(URL_OF_SERVER, { token: async () => secret });
    assert.equal(await bound.exists(tenant), true);
    await assert.rejects(bound.stores(), Forbidden);
    ({ secret } = await client.rotateToken(name));
    assert.equal(await bound.exists(tenant), true);
    await client.revokeToken(name);
    await assert.rejects(bound.readFeed(tenant), Unauthorized);
    assert.ok((await client.tokens()).tokens.some((token) => token.name === name));
    assert.equal(((await client.openapi()) as unknown as Described).info.version, API_VERSION);
  });

  assert.deepEqual(operations.map((one) => one.name).filter((name) => !called.has(name)), []);
});

test("the package has the version of the API", async () => {
  const made = JSON.parse(await readFile(new URL("../package.json", import.meta.url), "utf8")) as { version: string };
  assert.equal(made.version, document.info.version);
  assert.equal(API_VERSION, document.info.version);
});
