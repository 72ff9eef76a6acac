// GENERATED from server/protocol.py by `npm run generate`; do not edit.

export const SUBPROTOCOL = "samwire.v1";
export const MAX_DATA_BYTES = 262144;
export const MAX_POINTS = 64;
export const MAX_PRIOR_BYTES = 262144;

export type ClientMessage = Hello | Open | Data | Segment | Cancel | Release | Close;
export type ServerMessage = Welcome | Send | Progress | Opened | MaskReply | Done | Superseded | Error | Draining;

/** Every code the server's error table has. */
export type ErrorCode =
  | "abuse"
  | "bad_data"
  | "bad_field"
  | "bad_frame"
  | "bad_id"
  | "bad_image"
  | "busy"
  | "forbidden_origin"
  | "frame_too_big"
  | "full"
  | "hello_required"
  | "idle"
  | "image_too_large"
  | "internal"
  | "mask_too_complex"
  | "no_positive_prompt"
  | "not_open"
  | "overload"
  | "prior_gone"
  | "rate_limited"
  | "restarting"
  | "sha256_mismatch"
  | "slow_reader"
  | "text_frame"
  | "timeout"
  | "too_many_pixels"
  | "unauthorized"
  | "unknown_field"
  | "unknown_type"
  | "unsupported"
  | "upload_stalled"
  | "version";

/**
 * A notice: the request `target` is no longer wanted.
 */
export interface Cancel {
type: "cancel"
target: number
}
/**
 * Free the image; the connection stays.
 */
export interface Close {
type: "close"
id: number
}
/**
 * The next bytes of the open `id`, until its `size` is reached.
 */
export interface Data {
type: "data"
id: number
bytes: Uint8Array
}
/**
 * The answer to `close` and to a prefetch.
 */
export interface Done {
type: "done"
id: number
}
/**
 * The server stops within `deadline_s`; work already running is still answered.
 */
export interface Draining {
type: "draining"
deadline_s: number
}
/**
 * The request `id` failed, or a frame that has no usable id.
 */
export interface Error {
type: "error"
id?: number
code: string
message: string
field?: string
fault: ("client" | "server" | "overload")
retry_after?: number
}
/**
 * Always first: who is there.
 */
export interface Hello {
type: "hello"
token?: string
client?: string
}
/**
 * What the server refuses to go beyond.
 */
export interface Limits {
max_frame_bytes: number
max_data_bytes: number
max_image_bytes: number
max_image_pixels: number
max_points: number
max_waiting_clicks: number
idle_timeout_s: number
segments_per_s: number
max_prior_bytes?: number
}
/**
 * One mask: `bbox` is x, y, width, height; `score` the predicted IoU in 0..1.
 */
export interface MaskBody {
rle: RleBody
bbox: [number, number, number, number]
area: number
score: number
}
/**
 * COCO compressed RLE: `size` is height, width; `counts` the characters as bytes.
 */
export interface RleBody {
size: [number, number]
counts: Uint8Array
}
/**
 * The answer to `segment`. `prior`: the id whose logits were refined, or None.
 */
export interface MaskReply {
rle: RleBody
bbox: [number, number, number, number]
area: number
score: number
type: "mask"
id: number
object: number
prior: (number | null)
candidates?: MaskBody[]
timings: SegmentTimings
}
/**
 * Where a segment's time went; `batch`: how many prompts shared the decode.
 */
export interface SegmentTimings {
queue_ms: number
decode_ms: number
post_ms: number
batch: number
}
/**
 * The model that serves every session of this process.
 */
export interface ModelInfo {
name: string
input_size: number
}
/**
 * Open an image; a new open replaces it. `prefetch`: into the cache only.
 */
export interface Open {
type: "open"
id: number
size: number
sha256?: string
prefetch?: boolean
}
/**
 * Where an open's time went, in milliseconds.
 */
export interface OpenTimings {
wait_ms: number
decode_ms: number
encode_ms: number
}
/**
 * The image is open: its size after EXIF orientation is the prompts' coordinate system.
 */
export interface Opened {
type: "opened"
id: number
width: number
height: number
sha256: string
cached: boolean
timings: OpenTimings
}
/**
 * How far the open `id` is. `ahead`: how many encodes come first, while `waiting`.
 */
export interface Progress {
type: "progress"
id: number
stage: ("upload" | "waiting" | "download" | "decode" | "encode")
fraction: number
ahead?: number
}
/**
 * A notice: forget this object.
 */
export interface Release {
type: "release"
object: number
}
/**
 * The whole prompt set of one object.
 * 
 * `prior`: absent = automatic; None = none; (mask id, candidate index); or a mask as RLE.
 */
export interface Segment {
type: "segment"
id: number
object?: number
points?: [number, number, number][]
box?: [number, number, number, number]
kind?: ("click" | "hover")
candidates?: boolean
prior?: ([number, number] | RleBody | null)
}
/**
 * Not cached: send the bytes of the open `id`.
 */
export interface Send {
type: "send"
id: number
}
/**
 * The request `id` was overtaken, `by` the one named if there is one.
 */
export interface Superseded {
type: "superseded"
id: number
by?: number
}
/**
 * The answer to `hello`.
 */
export interface Welcome {
type: "welcome"
session: string
protocol: string
server: string
model: ModelInfo
limits: Limits
features: string[]
}
