/** Requests, retry rules and server-sent events, without I/O. */

import { NoAnswer, OutcomeUnknown, problem } from "./errors.ts";
import type { Problem } from "./errors.ts";
import type { NewEventDocument } from "./models.ts";

/** Milliseconds between attempts: the first wait, and the longest. */
export const FIRST_WAIT = 100;
const LONGEST_WAIT = 5_000;
/** The server sends a keep-alive at least every 15 seconds. */
export const SILENCE = 60_000;
/** Refusals that mean that the request had no effect. */
const NOTHING_DONE = new Set([
  "access_unknown",
  "keys_unknown",
  "stopping",
  "too_many_answers",
  "too_many_appends",
  "too_many_followers",
  "too_many_requests",
  "unreachable",
  "writes_paused",
]);
/** Errors of a connection that was not established. */
const NOT_CONNECTED = new Set(["ECONNREFUSED", "ENOTFOUND", "EAI_AGAIN", "EHOSTUNREACH", "UND_ERR_CONNECT_TIMEOUT"]);
/** Characters that paths and proxies leave unchanged. */
const PLAIN = /^[A-Za-z0-9_~-][A-Za-z0-9_~.-]*$/;

/** One request; every attempt sends the same bytes. */
export interface Request {
  method: string;
  path: string;
  body: string | undefined;
  headers: Record<string, string>;
  /** Whether the request is idempotent. */
  repeatable: boolean;
}

export interface Sent {
  names?: Record<string, string>;
  query?: Record<string, string | number | boolean | null | undefined>;
  body?: object;
  headers?: Record<string, string | undefined>;
  repeatable?: boolean;
}

/** A request to a path of the API; `names` replace the parameters in braces. */
export function request(method: string, template: string, sent: Sent = {}): Request {
  const path = template.replace(/\{(\w+)\}/g, (_, name: string) => encodeURIComponent(String(sent.names?.[name])));
  const query = new URLSearchParams();
  for (const [name, value] of Object.entries(sent.query ?? {})) {
    if (value !== undefined && value !== null) query.set(name, String(value));
  }
  const headers: Record<string, string> = {};
  for (const [name, value] of Object.entries(sent.headers ?? {})) {
    if (value !== undefined) headers[name] = value;
  }
  const body = sent.body === undefined ? undefined : JSON.stringify(sent.body);
  if (body !== undefined) headers["Content-Type"] = "application/json";
  const asked = query.toString();
  return { method, path: asked ? `${path}?${asked}` : path, body, headers, repeatable: sent.repeatable ?? true };
}

/** Whether paths and proxies leave both names unchanged. */
export function goesInPath(streamType: string, streamId: string): boolean {
  return PLAIN.test(streamType) && PLAIN.test(streamId);
}

/** The events with their ids. Ids are generated before the first attempt, which makes a retry safe. */
export function withIds(events: Iterable<NewEventDocument>): NewEventDocument[] {
  return Array.from(events, (event) => ({ ...event, event_id: event.event_id ?? crypto.randomUUID() }));
}

/** Decides whether to retry a call, and how it ends otherwise. Waits are in milliseconds. */
export class Attempts {
  #request: Request;
  #deadline: number;
  #wait = FIRST_WAIT;

  constructor(request: Request, retryFor: number) {
    this.#request = request;
    this.#deadline = performance.now() + retryFor;
  }

  /** How long to wait after this response; throws its problem if there is no further attempt. */
  refused(status: number, retryAfter: string | null, body: string): number {
    const seconds = retryAfter === null ? Number.NaN : Number(retryAfter);
    const known = seconds >= 0 ? seconds : undefined;
    const why = problem(status, body, known);
    const again = (status === 429 || status === 503) && (this.#request.repeatable || NOTHING_DONE.has(why.code));
    if (!again || !this.#left((known ?? 0) * 1000)) throw why;
    return this.#next(known === undefined ? undefined : known * 1000);
  }

  /** How long to wait after a connection broke; `reads`: the request changes nothing. */
  broke(error: unknown, reads = false): number {
    const what = `${this.#request.method} ${this.#request.path}`;
    const cause = error instanceof Error ? (error.cause as { code?: string } | undefined) : undefined;
    const sent = !NOT_CONNECTED.has(cause?.code ?? "");
    if (sent && !reads && !this.#request.repeatable) {
      throw new OutcomeUnknown(`${what}: its answer was lost`, { cause: error });
    }
    if (!this.#left(0)) throw new NoAnswer(`${what}: no answer (${String(error)})`, { cause: error });
    return this.#next(undefined);
  }

  #left(wait: number): boolean {
    return performance.now() + wait < this.#deadline;
  }

  #next(retryAfter: number | undefined): number {
    // Spreads the retries of several clients.
    const wait = this.#wait * (0.5 + Math.random() / 2);
    this.#wait = Math.min(this.#wait * 2, LONGEST_WAIT);
    return retryAfter ?? wait;
  }
}

/** A server-sent event; `event` defaults to `message`. */
export interface Message {
  event: string;
  id: string | undefined;
  data: string;
}

/** The problem that a message has. */
export function problemOf(message: Message): Problem {
  const status = (JSON.parse(message.data) as { status?: number }).status;
  return problem(status ?? 500, message.data);
}

/** Reads server-sent events. */
export class Messages {
  #rest = "";
  #event = "message";
  #id: string | undefined;
  #data: string[] = [];
  /** Milliseconds to wait before reconnecting, set by the server. */
  retry = 1_000;

  /** The messages that a piece completes; `undefined` is a keep-alive. */
  *read(piece: string): Generator<Message | undefined> {
    const lines = (this.#rest + piece).split("\n");
    this.#rest = lines.pop() ?? "";
    for (const line of lines) {
      const text = line.endsWith("\r") ? line.slice(0, -1) : line;
      const message = this.#line(text);
      if (message !== undefined || text.startsWith(":")) yield message;
    }
  }

  #line(line: string): Message | undefined {
    if (line === "") {
      const message = { event: this.#event, id: this.#id, data: this.#data.join("\n") };
      const isOne = this.#data.length > 0;
      this.#event = "message";
      this.#data = [];
      return isOne ? message : undefined;
    }
    const colon = line.indexOf(":");
    const name = colon < 0 ? line : line.slice(0, colon);
    const value = colon < 0 ? "" : line.slice(colon + 1).replace(/^ /, "");
    if (name === "data") this.#data.push(value);
    else if (name === "event") this.#event = value;
    else if (name === "id") this.#id = value;
    else if (name === "retry" && /^\d+$/.test(value)) this.retry = Number(value);
    return undefined;
  }
}

/** The checked address; refuses to send a token unencrypted to another machine. */
export function checkBase(url: string, hasToken: boolean, withoutTls: boolean): string {
  const parsed = new URL(url);
  if (parsed.protocol !== "http:" && parsed.protocol !== "https:") {
    throw new TypeError(`${url} is no http:// or https:// address`);
  }
  const here = parsed.hostname === "localhost" || parsed.hostname === "[::1]" || /^127\./.test(parsed.hostname);
  if (hasToken && parsed.protocol === "http:" && !here && !withoutTls) {
    throw new TypeError(
      `a token would be sent to ${parsed.hostname} in the clear: use https, or withoutTls where the way is safe`,
    );
  }
  return url.replace(/\/+$/, "");
}
