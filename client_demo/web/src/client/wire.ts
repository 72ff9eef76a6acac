/** samwire.v1 frames: one msgpack map each. */
import { decode, encode } from "@msgpack/msgpack";
import type { ClientMessage, ServerMessage } from "./messages.ts";

const SERVER_TYPES: Record<ServerMessage["type"], true> = {
  welcome: true,
  send: true,
  progress: true,
  opened: true,
  mask: true,
  done: true,
  superseded: true,
  error: true,
  draining: true,
};

/** Absent and undefined are one; null is not: `prior: null` means "none". */
export function pack(message: ClientMessage): Uint8Array<ArrayBuffer> {
  return encode(message, { ignoreUndefined: true });
}

/** The message of a frame, or null for a type this client does not know and so ignores. */
export function unpack(frame: ArrayBuffer | Uint8Array): ServerMessage | null {
  const fields: unknown = decode(frame);
  const known = typeof fields === "object" && fields !== null && "type" in fields;
  if (!known || !Object.hasOwn(SERVER_TYPES, String(fields.type))) return null;
  return fields as ServerMessage;
}
