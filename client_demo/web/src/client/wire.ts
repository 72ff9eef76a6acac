/** samwire.v1 frames: one msgpack map each. */
import { decode, encode } from "@msgpack/msgpack";
import {
  bytes,
  count,
  each,
  type Fields,
  finite,
  flag,
  id,
  map,
  maybe,
  oneOf,
  orNull,
  share,
  text,
  tuple,
} from "./checks.ts";
import type { ClientMessage, MaskBody, RleBody, ServerMessage } from "./messages.ts";

/** The protocol's own bounds: a few bytes must not claim a list of millions. */
const BOUNDS = { maxArrayLength: 128, maxMapLength: 64, maxExtLength: 0 };

const rle = map<RleBody>({ size: tuple<[number, number]>(count, count), counts: bytes });

const mask: Fields<MaskBody> = {
  rle,
  bbox: tuple<MaskBody["bbox"]>(finite, finite, finite, finite),
  area: count,
  score: finite,
};

/** What each message must have; the compiler compares it with their types, a test with the schema. */
const FIELDS: { [M in ServerMessage as M["type"]]: Fields<Omit<M, "type">> } = {
  welcome: {
    session: text,
    protocol: text,
    server: text,
    model: map({ name: text, input_size: count }),
    limits: map({
      max_frame_bytes: count,
      max_data_bytes: count,
      max_image_bytes: count,
      max_image_pixels: count,
      max_points: count,
      max_waiting_clicks: count,
      idle_timeout_s: finite,
      segments_per_s: finite,
      max_prior_bytes: maybe(count),
    }),
    features: each(text),
  },
  send: { id },
  progress: {
    id,
    stage: oneOf("upload", "waiting", "download", "decode", "encode"),
    fraction: share,
    ahead: maybe(count),
  },
  opened: {
    id,
    width: count,
    height: count,
    sha256: text,
    cached: flag,
    timings: map({ wait_ms: finite, decode_ms: finite, encode_ms: finite }),
  },
  mask: {
    ...mask,
    id,
    object: count,
    prior: orNull(id),
    candidates: maybe(each(map(mask))),
    timings: map({ queue_ms: finite, decode_ms: finite, post_ms: finite, batch: count }),
  },
  done: { id },
  superseded: { id, by: maybe(id) },
  error: {
    id: maybe(id),
    code: text,
    message: text,
    field: maybe(text),
    fault: oneOf("client", "server", "overload"),
    retry_after: maybe(finite),
  },
  draining: { deadline_s: finite },
};

const SERVER = new Map<string, (message: object) => boolean>(
  Object.entries(FIELDS).map(([type, fields]) => [type, map(fields as Fields<object>)]),
);
const isTyped = map({ type: text });

/** A frame that is no message. */
export class FrameError extends Error {
  override name = "FrameError";
}

/** Absent and undefined are one; null is not: `prior: null` means "none". */
export function pack(message: ClientMessage): Uint8Array<ArrayBuffer> {
  return encode(message, { ignoreUndefined: true });
}

/**
 * The message of a frame, or null for a type this client does not know and so ignores, as it does
 * fields it does not know. Throws a `FrameError` for anything else.
 */
export function unpack(frame: unknown): ServerMessage | null {
  const message = read(frame);
  if (!isTyped(message)) throw new FrameError("expected one msgpack map with a type");
  const check = SERVER.get(message.type);
  if (!check) return null;
  if (!check(message)) throw new FrameError(`a field of ${message.type} is missing or wrong`);
  return message as ServerMessage;
}

function read(frame: unknown): unknown {
  if (!(frame instanceof ArrayBuffer || frame instanceof Uint8Array)) {
    throw new FrameError("expected a binary frame");
  }
  try {
    return decode(frame, BOUNDS);
  } catch (error) {
    throw new FrameError(`expected msgpack: ${error}`);
  }
}
