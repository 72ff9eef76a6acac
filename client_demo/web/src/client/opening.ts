/**
 * Images on their way to the server: by digest first, bytes only when asked for.
 *
 * An `Opening` outlives connections. It is started anew on each: the server knows the digest, so
 * a picture it still holds costs neither upload nor encode.
 */
import type { Connection } from "./connection.ts";
import { ofAnotherKind, SamwireError } from "./errors.ts";
import type { Opened, Progress, ServerMessage } from "./messages.ts";

export type OnProgress = (progress: Pick<Progress, "stage" | "fraction" | "ahead">) => void;

/** What is sent goes out whole, so a click waits for at most the rest of one of these. */
export const CHUNK_BYTES = 64 << 10;
/** No click passes the picture it is about: its upload may fill the socket's buffer. */
const HIGH_WATER_BYTES = 512 << 10;
/** Clicks pass the next picture, on a slow link too: little of it may be ahead of them. */
const PREFETCH_HIGH_WATER_BYTES = CHUNK_BYTES;
const DRAIN_MS = 15;

export interface Picture {
  readonly blob: Blob;
  /** Null where the browser offers no digest (a page not served securely): then bytes go at once. */
  readonly sha256: string | null;
}

export class Opening {
  /** On this connection; 0 while it is not asked for there. */
  id = 0;
  readonly result: Promise<Opened | null>;
  #resolve!: (opened: Opened | null) => void;
  #reject!: (error: unknown) => void;
  #finished = false;
  #opened: Opened | null = null;

  constructor(
    readonly picture: Picture,
    readonly prefetch: boolean,
    readonly onProgress: OnProgress = () => {},
  ) {
    this.result = new Promise((resolve, reject) => {
      this.#resolve = resolve;
      this.#reject = reject;
    });
    this.result.catch(() => {}); // whoever asked handles it; a reopen has nobody who did
  }

  get finished(): boolean {
    return this.#finished;
  }

  /** The image, once it is open; it stays null when that failed. */
  get opened(): Opened | null {
    return this.#opened;
  }

  /** Ask for the image on a fresh connection, under a fresh id. */
  start(connection: Connection, id: number): void {
    this.id = id;
    const { blob, sha256 } = this.picture;
    const prefetch = this.prefetch || undefined;
    connection.send({ type: "open", id, size: blob.size, sha256: sha256 ?? undefined, prefetch });
    if (!sha256) this.#send(connection);
  }

  /** Take a message about this image. */
  receive(message: ServerMessage, connection: Connection): void {
    if (this.#finished) return;
    if (message.type === "send") this.#send(connection);
    else if (message.type === "progress") this.#tell(message, connection);
    else if (message.type === "superseded") this.fail(superseded());
    // A server that stops closes the connection next, or is left: it is asked again on another one.
    else if (message.type === "error" && message.code === "restarting") this.id = 0;
    else if (message.type === "error") this.fail(SamwireError.from(message));
    else if (message.type === "opened" && !this.prefetch) this.#succeed(message);
    else if (message.type === "done" && this.prefetch) this.#succeed(null);
    else this.fail(ofAnotherKind(message.type));
  }

  fail(error: unknown): void {
    this.#finished = true;
    this.#reject(error);
  }

  #succeed(opened: Opened | null): void {
    this.#finished = true;
    this.#opened = opened;
    this.#resolve(opened);
  }

  /** What `onProgress` raises is thrown at who opens the image, and is no fault of anything else. */
  #tell(progress: Progress, connection: Connection): void {
    try {
      this.onProgress(progress);
    } catch (error) {
      this.#giveUp(error, connection);
    }
  }

  #giveUp(error: unknown, connection: Connection): void {
    connection.send({ type: "cancel", target: this.id });
    this.fail(error);
  }

  #send(connection: Connection): void {
    const { id } = this;
    this.#upload(connection).catch((error) => {
      if (this.id === id && !this.#finished) this.#giveUp(error, connection);
    });
  }

  /** Chunk after chunk while this id is the one that counts; clicks go between them. */
  async #upload(connection: Connection): Promise<void> {
    const { id, picture } = this;
    const highWater = this.prefetch ? PREFETCH_HIGH_WATER_BYTES : HIGH_WATER_BYTES;
    for (let at = 0; at < picture.blob.size; at += CHUNK_BYTES) {
      const chunk = await bytesOf(picture.blob.slice(at, at + CHUNK_BYTES));
      while (connection.bufferedBytes > highWater) {
        await new Promise((resolve) => setTimeout(resolve, DRAIN_MS));
      }
      if (this.id !== id || this.#finished) return;
      if (!connection.send({ type: "data", id, bytes: new Uint8Array(chunk) })) return;
      const sent = Math.min(at + chunk.byteLength, picture.blob.size);
      this.onProgress({ stage: "upload", fraction: sent / picture.blob.size });
    }
  }
}

export function superseded(): SamwireError {
  return new SamwireError("superseded", "Another image was opened instead.");
}

/** The hex SHA-256 of a picture, where the browser can tell. */
export async function digest(blob: Blob): Promise<string | null> {
  if (!globalThis.crypto?.subtle) return null;
  const hash = await crypto.subtle.digest("SHA-256", await bytesOf(blob));
  return Array.from(new Uint8Array(hash), (byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** A file's bytes: it may be gone or changed since it was chosen, or a folder. */
export async function bytesOf(blob: Blob): Promise<ArrayBuffer> {
  try {
    return await blob.arrayBuffer();
  } catch {
    throw new SamwireError("unreadable", "The file could not be read.");
  }
}
