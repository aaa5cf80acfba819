/** A client of rehome: append, read and follow events, and move tenants between stores while they are written to. */

import { Deployment } from "./deployment.ts";

/** A client of a deployment's servers. */
export class Client extends Deployment {}

export * from "./errors.ts";
export { Problem } from "./errors.ts";
export type * from "./models.ts";
export { API_VERSION } from "./models.ts";
export type { AppendOptions } from "./events.ts";
export type { MadeToken } from "./deployment.ts";
export type { Asked, Start, Until } from "./migrations.ts";
export type { ClientOptions } from "./transport.ts";
