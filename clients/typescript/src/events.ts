/** Calls for applications: append, read, follow, checkpoints. */

import { goesInPath, problemOf, request, withIds } from "./core.ts";
import { NotFound } from "./errors.ts";
import type {
  Appended,
  Checkpoint,
  EventDocument,
  ExpectedVersionDocument,
  FeedPage,
  NewEventDocument,
  StreamPage,
} from "./models.ts";
import { Transport } from "./transport.ts";

const STREAM = "/v1/tenants/{tenant}/streams/{type}/{id}/events";
const FEED = "/v1/tenants/{tenant}/events";
const CHECKPOINT = "/v1/tenants/{tenant}/subscriptions/{name}";
/** Default number of events in a page. */
const PAGE = 500;

export interface AppendOptions {
  /** Default `any`; 0: no event yet. */
  expectedVersion?: ExpectedVersionDocument;
  /** W3C Trace Context. */
  traceparent?: string;
}

export class Events extends Transport {
  /**
   * Appends all of the events or none, and returns when they are stored.
   *
   * Events without an `event_id` get one before the first attempt, and every retry sends the same ids: no event is
   * stored twice, even if a response is lost or the tenant moves meanwhile. An application that retries after a crash
   * generates the ids itself and stores them.
   */
  async append(
    tenant: string,
    streamType: string,
    streamId: string,
    events: Iterable<NewEventDocument>,
    options: AppendOptions = {},
  ): Promise<Appended> {
    const body = { expected_version: options.expectedVersion, events: withIds(events) };
    const headers = { traceparent: options.traceparent };
    if (goesInPath(streamType, streamId)) {
      return this.json(request("POST", STREAM, { names: { tenant, type: streamType, id: streamId }, body, headers }));
    }
    const named = { stream_type: streamType, stream_id: streamId, ...body };
    return this.json(request("POST", "/v1/tenants/{tenant}/append", { names: { tenant }, body: named, headers }));
  }

  /** One page of a stream; it can have fewer than `limit` events. An empty page is the end. */
  async readStream(
    tenant: string,
    streamType: string,
    streamId: string,
    { fromVersion = 1, limit }: { fromVersion?: number; limit?: number } = {},
  ): Promise<StreamPage> {
    const part = { from_version: fromVersion, limit };
    if (goesInPath(streamType, streamId)) {
      return this.json(request("GET", STREAM, { names: { tenant, type: streamType, id: streamId }, query: part }));
    }
    const body = { stream_type: streamType, stream_id: streamId, ...part };
    return this.json(request("POST", "/v1/tenants/{tenant}/read", { names: { tenant }, body }));
  }

  /** All events of a stream, up to its current end. */
  async *stream(
    tenant: string,
    streamType: string,
    streamId: string,
    { fromVersion = 1 }: { fromVersion?: number } = {},
  ): AsyncGenerator<EventDocument, void> {
    for (;;) {
      const page = await this.readStream(tenant, streamType, streamId, { fromVersion, limit: PAGE });
      if (page.events.length === 0) return;
      yield* page.events;
      fromVersion = page.next_from_version;
    }
  }

  /** One page of the tenant's history; it can have fewer than `limit` events. An empty page is the end. */
  async readFeed(
    tenant: string,
    { afterSeq = 0, limit }: { afterSeq?: number; limit?: number } = {},
  ): Promise<FeedPage> {
    return this.json(request("GET", FEED, { names: { tenant }, query: { after_seq: afterSeq, limit } }));
  }

  /** All events of the tenant in order, up to the current end. */
  async *feed(tenant: string, { afterSeq = 0 }: { afterSeq?: number } = {}): AsyncGenerator<EventDocument, void> {
    for (;;) {
      const page = await this.readFeed(tenant, { afterSeq, limit: PAGE });
      if (page.events.length === 0) return;
      yield* page.events;
      afterSeq = page.next_after_seq;
    }
  }

  /**
   * Yields every event after that position once, in order, and then new events; it does not end.
   *
   * Continues across migrations of the tenant, server stops and broken connections. Throws `PositionBeyondEnd` if the
   * position is beyond the end of the history.
   */
  async *follow(tenant: string, { afterSeq = 0 }: { afterSeq?: number } = {}): AsyncGenerator<EventDocument, void> {
    for await (const event of this.#followed(tenant, afterSeq)) {
      if (event !== undefined) yield event;
    }
  }

  async *#followed(tenant: string, at: number): AsyncGenerator<EventDocument | undefined, void> {
    for (;;) {
      const headers = { Accept: "text/event-stream", "Last-Event-ID": String(at) };
      for await (const message of this.messages(request("GET", FEED, { names: { tenant }, headers }))) {
        if (message === undefined) {
          yield undefined;
          continue;
        }
        if (message.event === "error") throw problemOf(message);
        const event = this.parsed<EventDocument>(message.data);
        at = event.seq;
        yield event;
      }
    }
  }

  /** The last position that a subscription has processed; 0 if it is new. */
  async checkpoint(tenant: string, name: string): Promise<number> {
    return (await this.json<Checkpoint>(request("GET", CHECKPOINT, { names: { tenant, name } }))).seq;
  }

  /** Stores the last position that a subscription has processed, for all processes. */
  async setCheckpoint(tenant: string, name: string, seq: number): Promise<Checkpoint> {
    return this.json(request("PUT", CHECKPOINT, { names: { tenant, name }, body: { seq } }));
  }

  /**
   * Follows from the subscription's checkpoint, and advances it over processed events: at least once, in order.
   *
   * An event counts as processed when the caller requests the next one. The checkpoint is stored every `keepEvery`
   * events, every `keepAfter` milliseconds, and when the generator is returned.
   */
  async *subscribe(
    tenant: string,
    name: string,
    { keepEvery = 100, keepAfter = 5_000 }: { keepEvery?: number; keepAfter?: number } = {},
  ): AsyncGenerator<EventDocument, void> {
    let kept = await this.checkpoint(tenant, name);
    let dealtWith = kept;
    let keptAt = performance.now();
    try {
      for await (const event of this.#followed(tenant, kept)) {
        if (event !== undefined) {
          yield event;
          dealtWith = event.seq;
        }
        const due = dealtWith - kept >= keepEvery || performance.now() - keptAt >= keepAfter;
        if (due && dealtWith > kept) {
          await this.setCheckpoint(tenant, name, dealtWith);
          kept = dealtWith;
          keptAt = performance.now();
        }
      }
    } finally {
      if (dealtWith > kept) await this.setCheckpoint(tenant, name, dealtWith);
    }
  }

  /** Whether the tenant has ever had a write. */
  async exists(tenant: string): Promise<boolean> {
    try {
      await this.readFeed(tenant, { limit: 1 });
      return true;
    } catch (error) {
      if (error instanceof NotFound) return false;
      throw error;
    }
  }
}
