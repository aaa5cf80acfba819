/** Sends requests, retries where that is safe, and reads responses and streams. */

import { Attempts, FIRST_WAIT, Messages, SILENCE, checkBase } from "./core.ts";
import type { Message, Request } from "./core.ts";
import { Problem } from "./errors.ts";

export interface ClientOptions {
  /** A token, or a function that returns the current one. */
  token?: string | (() => string | Promise<string>);
  /** Milliseconds for which calls that are safe to repeat are retried; default 60,000. */
  retryFor?: number;
  /** Milliseconds for one attempt; default 60,000. */
  timeout?: number;
  /** Allows sending the token to another machine without TLS. */
  withoutTls?: boolean;
  /** Aborts all calls. */
  signal?: AbortSignal;
  /** Parses documents, in place of `JSON.parse`, which rounds integers beyond 2^53. */
  parse?: (text: string) => unknown;
  /** Replaces the global `fetch`: for your own certificates, or a proxy. */
  fetch?: typeof fetch;
}

/** A response with its whole body. */
export interface Answer {
  status: number;
  headers: Headers;
  body: string;
}

/** A connection to the servers of a deployment. */
export class Transport {
  #base: string;
  #options: ClientOptions;

  /** `url` is the address of a server, or of a load balancer. */
  constructor(url: string, options: ClientOptions = {}) {
    this.#base = checkBase(url, options.token !== undefined, options.withoutTls ?? false);
    this.#options = options;
  }

  /** The document in the response. */
  protected async json<T>(request: Request): Promise<T> {
    return this.parsed<T>((await this.answer(request)).body);
  }

  protected parsed<T>(text: string): T {
    return (this.#options.parse ?? JSON.parse)(text) as T;
  }

  protected async answer(request: Request, retryFor = this.#options.retryFor ?? 60_000): Promise<Answer> {
    const attempts = new Attempts(request, retryFor);
    for (;;) {
      let wait: number;
      try {
        const timeout = AbortSignal.timeout(this.#options.timeout ?? 60_000);
        const response = await this.#send(request, timeout);
        const body = await response.text();
        if (response.ok) return { status: response.status, headers: response.headers, body };
        wait = attempts.refused(response.status, response.headers.get("Retry-After"), body);
      } catch (error) {
        if (error instanceof Problem || this.#options.signal?.aborted) throw error;
        wait = attempts.broke(error);
      }
      await this.sleep(wait);
    }
  }

  /** The server-sent events of one connection, until it ends; `undefined` is a keep-alive. */
  protected async *messages(request: Request): AsyncGenerator<Message | undefined, void> {
    const messages = new Messages();
    const connection = new AbortController();
    let silence: ReturnType<typeof setTimeout> | undefined;
    const heard = () => {
      clearTimeout(silence);
      silence = setTimeout(() => connection.abort(new Error("nothing was heard")), SILENCE);
    };
    try {
      const response = await this.#opened(request, connection.signal, heard);
      const reader = response.body?.pipeThrough(new TextDecoderStream()).getReader();
      for (;;) {
        const piece = await reader?.read();
        if (piece === undefined || piece.done) break;
        heard();
        yield* messages.read(piece.value);
      }
    } catch (error) {
      if (error instanceof Problem || this.#options.signal?.aborted || !(error instanceof Error)) throw error;
      if (error.name === "NoAnswer") throw error;
      // The caller reconnects and continues from its position.
      messages.retry = FIRST_WAIT;
    } finally {
      clearTimeout(silence);
      connection.abort();
    }
    await this.sleep(messages.retry);
  }

  async #opened(request: Request, signal: AbortSignal, heard: () => void): Promise<Response> {
    const attempts = new Attempts(request, this.#options.retryFor ?? 60_000);
    for (;;) {
      let wait: number;
      heard();
      try {
        const response = await this.#send(request, signal);
        if (response.ok) return response;
        wait = attempts.refused(response.status, response.headers.get("Retry-After"), await response.text());
      } catch (error) {
        if (error instanceof Problem || this.#options.signal?.aborted || signal.aborted) throw error;
        wait = attempts.broke(error, true);
      }
      await this.sleep(wait);
    }
  }

  async #send(request: Request, signal: AbortSignal): Promise<Response> {
    const { token, signal: stop } = this.#options;
    const headers: Record<string, string> = { ...request.headers };
    const shown = typeof token === "function" ? await token() : token;
    if (shown !== undefined) headers["Authorization"] = `Bearer ${shown}`;
    return (this.#options.fetch ?? fetch)(this.#base + request.path, {
      method: request.method,
      headers,
      body: request.body ?? null,
      redirect: "error",
      signal: stop === undefined ? signal : AbortSignal.any([stop, signal]),
    });
  }

  protected async sleep(milliseconds: number): Promise<void> {
    const signal = this.#options.signal;
    signal?.throwIfAborted();
    await new Promise<void>((resolve) => {
      const done = () => {
        clearTimeout(timer);
        signal?.removeEventListener("abort", done);
        resolve();
      };
      const timer = setTimeout(done, milliseconds);
      signal?.addEventListener("abort", done, { once: true });
    });
    signal?.throwIfAborted();
  }
}
