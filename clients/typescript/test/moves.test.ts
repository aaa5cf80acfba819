// A tenant moves there and back while clients write and follow, and answers get lost: nothing is lost, stored twice, out
// of order or changed.

import assert from "node:assert/strict";
import { test } from "node:test";
import { Client } from "../src/index.ts";
import type { Appended, EventDocument, Migration, NewEventDocument } from "../src/index.ts";
import { Breaker, TOKEN, URL_OF_SERVER } from "./kit.ts";

/** Appends of each writer between two steps of the operator. */
const BETWEEN = 30;

interface Acked {
  firstSeq: number;
  lastVersion: number;
  data: unknown[];
}

class Writer {
  acked: Acked[] = [];
  number: number;
  stream: string;

  constructor(number: number) {
    this.number = number;
    // The last two write to one stream, and expect nothing of it.
    this.stream = number < 2 ? `of-${number}` : "all";
  }

  async append(client: Client, tenant: string): Promise<void> {
    const n = this.acked.length;
    const data = Array.from({ length: (n % 3) + 1 }, (_, part) => ({ writer: this.number, n: n * 10 + part }));
    const events: NewEventDocument[] = data.map((one) => ({ event_type: "Changed", data: one }));
    const expectedVersion = this.number < 2 ? (this.acked.at(-1)?.lastVersion ?? 0) : "any";
    const done: Appended = await client.append(tenant, "order", this.stream, events, { expectedVersion });
    assert.equal(done.last_version - done.first_version, events.length - 1);
    this.acked.push({ firstSeq: done.first_seq, lastVersion: done.last_version, data });
  }
}

test("writers and followers do not notice a move", async () => {
  const breaker = await Breaker.start(25);
  const stop = new AbortController();
  const client = new Client(breaker.url, { token: TOKEN, signal: stop.signal });
  // The operator's requests that are not repeatable go past the breaker.
  const operator = new Client(URL_OF_SERVER, { token: TOKEN, signal: stop.signal });
  const tenant = crypto.randomUUID();
  const writers = [0, 1, 2, 3].map((number) => new Writer(number));
  const followed: EventDocument[] = [];
  const subscribed: number[] = [];
  let writing = true;
  let failed: unknown;
  const isLast = (event: EventDocument) => Object.hasOwn(event.data as object, "last");

  const write = async (writer: Writer) => {
    while (writing) await writer.append(client, tenant);
  };
  const follow = async () => {
    for await (const event of client.follow(tenant)) {
      followed.push(event);
      if (isLast(event)) return;
    }
  };
  const subscribe = async () => {
    for (;;) {
      // Comes back again and again, from its checkpoint.
      let seen = 0;
      for await (const event of client.subscribe(tenant, "reader", { keepEvery: 7 })) {
        subscribed.push(event.seq);
        if (isLast(event)) return;
        seen += 1;
        if (seen === 50) break;
      }
    }
  };
  const watched = (work: Promise<void>) => {
    work.catch((error) => (failed ??= error));
    return work;
  };
  const goesOn = async () => {
    const goals = writers.map((writer) => writer.acked.length + BETWEEN);
    while (writers.some((writer, which) => writer.acked.length < (goals[which] ?? 0))) {
      if (failed !== undefined) throw failed;
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
  };
  const mayCutOver = async (migration: Migration) => {
    for await (const found of client.watchMigration(migration.id)) {
      if (found.state === "dual_write" && found.allowed_actions?.includes("cutover")) return;
    }
  };

  try {
    // The tenant is there before anybody follows it.
    await writers[0]?.append(client, tenant);
    const writes = writers.map((writer) => watched(write(writer)));
    const follows = [watched(follow()), watched(subscribe())];
    await goesOn();
    const options = { cutover: "manual", cutover_timeout_ms: 60_000, rollback_window: "1h" };
    const there = await operator.startMigration(tenant, "dedicated", { options, reason: "a test" });
    await mayCutOver(there);
    await goesOn();
    await operator.cutOver(there.id);
    await client.waitForMigration(there.id);
    assert.equal((await client.tenant(tenant)).store, "dedicated");
    await goesOn();
    const back = await operator.returnTenant(there.id, { options: { cutover: "auto" }, reason: "and back" });
    await client.waitForMigration(back.id);
    assert.equal((await client.tenant(tenant)).store, "shared");
    await goesOn();
    writing = false;
    await Promise.all(writes);
    await client.append(tenant, "order", "end", [{ event_type: "Changed", data: { last: true } }]);
    await Promise.all(follows);

    const history: EventDocument[] = [];
    for await (const event of client.feed(tenant)) history.push(event);
    assert.deepEqual(followed, history, "the follower saw something else");
    history.pop();
    assert.deepEqual(history.map((event) => event.seq), history.map((_, index) => index + 1), "gaps");
    assert.equal(new Set(history.map((event) => event.event_id)).size, history.length, "stored twice");
    let told = 0;
    for (const writer of writers) {
      for (const { firstSeq, lastVersion, data } of writer.acked) {
        const stored = history.slice(firstSeq - 1, firstSeq - 1 + data.length);
        assert.deepEqual(stored.map((event) => event.data), data);
        assert.equal(stored.at(-1)?.version, lastVersion);
        assert.ok(stored.every((event) => event.stream_id === writer.stream));
        told += data.length;
      }
    }
    assert.equal(told, history.length, "an event that nobody was told of, or one that is lost");
    // At least once, and in order each time: nothing is left out.
    assert.deepEqual(new Set(subscribed).size, history.length + 1);
    assert.ok(subscribed.every((seq, index) => index === 0 || seq <= (subscribed[index - 1] ?? 0) + 1));
    assert.ok(breaker.broke > 10, `only ${breaker.broke} answers were lost`);
  } finally {
    writing = false;
    stop.abort();
    breaker.close();
  }
});
