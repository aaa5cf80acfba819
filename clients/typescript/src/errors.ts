/** Errors. A server's refusal is a problem document (RFC 9457), whose `type` is stable. */

import type { Problem as ProblemDocument } from "./models.ts";

const PREFIX = "urn:rehome:problem:";

/** All errors of this package. */
export class RehomeError extends Error {
  override name = "RehomeError";
}

/** No server responded within the retry time. Calls that are safe to repeat were repeated. */
export class NoAnswer extends RehomeError {
  override name = "NoAnswer";
}

/** The response to an action was lost; the action may have taken effect. Check the state before repeating it. */
export class OutcomeUnknown extends RehomeError {
  override name = "OutcomeUnknown";
}

/** A refusal. `code` names its type; `document` has the rest. */
export class Problem extends RehomeError {
  override name = "Problem";
  readonly status: number;
  /** The stable name of its type, for example `version_conflict`. */
  readonly code: string;
  readonly document: Partial<ProblemDocument>;
  /** Seconds to wait before repeating the call. */
  readonly retryAfter: number | undefined;

  constructor(status: number, document: Partial<ProblemDocument>, retryAfter?: number) {
    const type = String(document.type ?? "about:blank");
    const code = type.startsWith(PREFIX) ? type.slice(PREFIX.length) : type;
    super(document.detail ? `${code}: ${document.detail}` : `status ${status}`);
    this.status = status;
    this.code = code;
    this.document = document;
    this.retryAfter = retryAfter;
  }

  get detail(): string {
    return this.document.detail ?? "";
  }

  get requestId(): string | undefined {
    return this.document.request_id ?? undefined;
  }
}

/** The stream is not at the expected version: read from `actualVersion` and decide again. */
export class VersionConflict extends Problem {
  override name = "VersionConflict";
  get actualVersion(): number {
    return this.document.actual_version ?? 0;
  }
}

/** An event id is in use for another event, or only a part of the append is stored. */
export class IdConflict extends Problem {
  override name = "IdConflict";
  get eventId(): string | undefined {
    return this.document.event_id ?? undefined;
  }
}

/** A position beyond the end of the history: the store has lost events, or the position is of another tenant. */
export class PositionBeyondEnd extends Problem {
  override name = "PositionBeyondEnd";
  get position(): number {
    return this.document.position ?? 0;
  }
  get end(): number {
    return this.document.end ?? 0;
  }
}

/** The tenant's writes are paused by a cutover, for longer than the retry time. */
export class WritesPaused extends Problem {
  override name = "WritesPaused";
}

/** The token is missing, wrong, expired or revoked. */
export class Unauthorized extends Problem {
  override name = "Unauthorized";
}

/** The token's role or scope does not allow it. */
export class Forbidden extends Problem {
  override name = "Forbidden";
}

/** There is no such tenant, migration, drain, store or token. */
export class NotFound extends Problem {
  override name = "NotFound";
}

/** The current state does not allow it; `detail` names the next step. */
export class Conflict extends Problem {
  override name = "Conflict";
}

/** The request exceeds a limit of the server; `document.limit` has the maximum. */
export class TooLarge extends Problem {
  override name = "TooLarge";
}

const BY_CODE: Record<string, typeof Problem> = {
  version_conflict: VersionConflict,
  id_conflict: IdConflict,
  position_beyond_end: PositionBeyondEnd,
  writes_paused: WritesPaused,
};
const BY_STATUS: Record<number, typeof Problem> = {
  401: Unauthorized,
  403: Forbidden,
  404: NotFound,
  409: Conflict,
  413: TooLarge,
};

/** The error for a refusal, by its type, or else by its status. */
export function problem(status: number, body: string, retryAfter?: number): Problem {
  let document: Partial<ProblemDocument>;
  try {
    document = JSON.parse(body);
    if (typeof document !== "object" || document === null) throw new SyntaxError("no document");
  } catch {
    // The response is from a proxy.
    document = { detail: body.replace(/\s+/g, " ").trim().slice(0, 200) };
  }
  const code = String(document.type ?? "").replace(PREFIX, "");
  const kind = BY_CODE[code] ?? BY_STATUS[status] ?? Problem;
  return new kind(status, document, retryAfter);
}
