// Refusals are errors of their kind, and what is tried again is what may be.

import assert from "node:assert/strict";
import { test } from "node:test";
import {
  Client,
  IdConflict,
  NoAnswer,
  NotFound,
  OutcomeUnknown,
  PositionBeyondEnd,
  Problem,
  TooLarge,
  VersionConflict,
  WritesPaused,
} from "../src/index.ts";
import { Breaker, TLS, TOKEN, URL_OF_SERVER } from "./kit.ts";

const placed = { event_type: "Placed", data: {} };
const client = new Client(URL_OF_SERVER, { token: TOKEN });

test("conflicts say what is there", async () => {
  const tenant = crypto.randomUUID();
  const event = { ...placed, event_id: crypto.randomUUID() };
  const first = await client.append(tenant, "order", "o-1", [event], { expectedVersion: 0 });
  // The same again is answered as the first time, whatever is expected.
  assert.deepEqual(await client.append(tenant, "order", "o-1", [event], { expectedVersion: 0 }), first);
  await assert.rejects(
    client.append(tenant, "order", "o-1", [placed], { expectedVersion: "no_stream" }),
    (error) => error instanceof VersionConflict && error.actualVersion === 1,
  );
  await assert.rejects(
    client.append(tenant, "order", "o-2", [event]),
    (error) => error instanceof IdConflict && error.eventId === event.event_id,
  );
  const beyond = (error: unknown) => error instanceof PositionBeyondEnd && error.position === 5 && error.end === 1;
  await assert.rejects(client.readFeed(tenant, { afterSeq: 5 }), beyond);
  await assert.rejects(client.follow(tenant, { afterSeq: 5 }).next(), beyond);
});

test("what makes no sense is refused", async () => {
  await assert.rejects(client.tenant(crypto.randomUUID()), (error) => error instanceof NotFound && !!error.requestId);
  await assert.rejects(client.append("no uuid", "order", "o-1", [placed]), (error) => {
    return error instanceof Problem && error.status === 400;
  });
  const many = Array.from({ length: 1001 }, () => placed);
  await assert.rejects(client.append(crypto.randomUUID(), "order", "o-1", many), (error) => {
    return error instanceof TooLarge && error.document.limit === 1000;
  });
});

test("tokens do not travel in the clear", () => {
  assert.throws(() => new Client("http://rehome.example:7411", { token: "rehome_x" }), /in the clear/);
  assert.throws(() => new Client("ftp://rehome.example"), /no http/);
  new Client("http://rehome.example:7411", { token: "rehome_x", withoutTls: true });
});

test("a server with TLS is known by who vouches for it", async () => {
  // NODE_EXTRA_CA_CERTS names it.
  assert.equal(await new Client(TLS, { token: TOKEN }).isLive(), true);
});

test("an append whose answers are lost is stored once", async () => {
  // Many an answer is lost on its way.
  const breaker = await Breaker.start(4);
  const lossy = new Client(breaker.url, { token: TOKEN });
  const tenant = crypto.randomUUID();
  for (let version = 0; version < 20; version += 1) {
    const done = await lossy.append(tenant, "order", "o-1", [placed], { expectedVersion: version });
    assert.equal(done.first_version, version + 1);
  }
  breaker.close();
  assert.equal((await client.readFeed(tenant)).events.length, 20);
  assert.ok(breaker.broke >= 5, `only ${breaker.broke} answers were lost`);
});

/** A client that gets these answers in turn, and what it sent. */
function answered(given: (() => Response)[], retryFor = 60_000): { client: Client; sent: RequestInit[] } {
  const sent: RequestInit[] = [];
  const fake: typeof fetch = async (_, init) => {
    sent.push(init ?? {});
    const answer = given[sent.length - 1];
    assert.ok(answer, "it asks too often");
    return answer();
  };
  return { client: new Client("http://localhost", { fetch: fake, retryFor }), sent };
}

const later = (code: string, status = 503) => () =>
  new Response(JSON.stringify({ type: `urn:rehome:problem:${code}`, detail: "later", status }), {
    status,
    headers: { "Retry-After": "0" },
  });
const broken = (code: string) => () => {
  throw new TypeError("fetch failed", { cause: { code } });
};
const lost = broken("ECONNRESET");
const unreached = broken("ECONNREFUSED");
const done = () => new Response(JSON.stringify({ state: "paused" }));

test("retries send the same", async () => {
  const given = [later("writes_paused"), lost, later("too_many_appends", 429), unreached, done];
  const append = answered(given);
  await append.client.append("t", "order", "o-1", [placed, placed]);
  assert.equal(append.sent.length, 5);
  assert.equal(new Set(append.sent.map((init) => init.body)).size, 1);
  const { events } = JSON.parse(String(append.sent[0]?.body)) as { events: { event_id: string }[] };
  assert.equal(new Set(events.map((event) => event.event_id)).size, 2);
  const start = answered([lost, done]);
  await start.client.startMigration("t", "dedicated");
  const keys = start.sent.map((init) => new Headers(init.headers).get("Idempotency-Key"));
  assert.equal(new Set(keys).size, 1);
});

test("an action is not asked for twice", async () => {
  // Nothing was done: it is.
  for (const first of [later("stopping"), later("too_many_requests", 429), unreached]) {
    const { client: patient, sent } = answered([first, done]);
    assert.equal((await patient.pauseMigration("m")).state, "paused");
    assert.equal(sent.length, 2);
  }
  // Who knows: it is not.
  await assert.rejects(answered([lost]).client.pauseMigration("m"), OutcomeUnknown);
  await assert.rejects(answered([later("timed_out")]).client.pauseMigration("m"), Problem);
});

test("patience ends, and a signal ends everything", async () => {
  await assert.rejects(
    answered([later("writes_paused")], 0).client.append("t", "order", "o-1", [placed]),
    (error) => error instanceof WritesPaused && error.retryAfter === 0,
  );
  await assert.rejects(answered([unreached], 0).client.isLive(), NoAnswer);
  const stop = new AbortController();
  const tenant = crypto.randomUUID();
  const stopped = new Client(URL_OF_SERVER, { token: TOKEN, signal: stop.signal });
  await stopped.append(tenant, "order", "o-1", [placed]);
  const events = stopped.follow(tenant);
  await events.next();
  const waiting = assert.rejects(events.next(), { name: "AbortError" });
  stop.abort();
  await waiting;
});
