/** samwire's browser client; importable on its own, without the page. */
export * from "./client.ts";
export type { ConnectionState } from "./connection.ts";
export { type ErrorDetails, type LocalErrorCode, SamwireError } from "./errors.ts";
export type { Prior, Prompts } from "./memory.ts";
export type * from "./messages.ts";
export { MAX_POINTS, SUBPROTOCOL } from "./messages.ts";
export { bytesOf, type OnProgress } from "./opening.ts";
export type { Traced } from "./rle/jobs.ts";
export { MaskWorker } from "./rle/mask-worker.ts";
export { type Polygon, polygons } from "./rle/polygons.ts";
export * from "./rle/runs.ts";
