/**
 * Images on their way to the server: by digest first, bytes only when asked for.
 *
 * An `Opening` outlives connections. It is started anew on each: the server knows the digest, so
 * a picture it still holds costs neither upload nor encode.
 */
import type { Connection } from "./connection.ts";
import { SamwireError } from "./errors.ts";
import { MAX_DATA_BYTES, type Opened, type Progress, type ServerMessage } from "./messages.ts";

export type OnProgress = (progress: Pick<Progress, "stage" | "fraction" | "ahead">) => void;

/** More than this in the socket's buffer would hold clicks up behind the picture. */
const HIGH_WATER_BYTES = 512 << 10;
const DRAIN_MS = 15;

export interface Picture {
  readonly blob: Blob;
  /** Null where the browser offers no digest (a page not served securely): then bytes go at once. */
  readonly sha256: string | null;
}

export class Opening {
  id = 0;
  readonly result: Promise<Opened | null>;
  #resolve!: (opened: Opened | null) => void;
  #reject!: (error: SamwireError) => void;
  #finished = false;

  constructor(
    readonly picture: Picture,
    readonly prefetch: boolean,
    private readonly onProgress: OnProgress = () => {},
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

  /** Ask for the image on a fresh connection, under a fresh id. */
  start(connection: Connection, id: number): void {
    this.id = id;
    const { blob, sha256 } = this.picture;
    const prefetch = this.prefetch || undefined;
    connection.send({ type: "open", id, size: blob.size, sha256: sha256 ?? undefined, prefetch });
    if (!sha256) void this.#upload(connection);
  }

  /** Take a message about this image. */
  receive(message: ServerMessage, connection: Connection): void {
    if (message.type === "send") void this.#upload(connection);
    else if (message.type === "progress") this.onProgress(message);
    else if (message.type === "opened") this.#succeed(message);
    else if (message.type === "done") this.#succeed(null);
    else if (message.type === "error") this.fail(SamwireError.from(message));
    else if (message.type === "superseded") this.fail(superseded());
  }

  fail(error: SamwireError): void {
    this.#finished = true;
    this.#reject(error);
  }

  #succeed(opened: Opened | null): void {
    this.#finished = true;
    this.#resolve(opened);
  }

  /** Chunk after chunk while this id is the one that counts; clicks go between them. */
  async #upload(connection: Connection): Promise<void> {
    const { id, picture } = this;
    for (let at = 0; at < picture.blob.size; at += MAX_DATA_BYTES) {
      const chunk = await picture.blob.slice(at, at + MAX_DATA_BYTES).arrayBuffer();
      while (connection.bufferedBytes > HIGH_WATER_BYTES) {
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
  const hash = await crypto.subtle.digest("SHA-256", await blob.arrayBuffer());
  return Array.from(new Uint8Array(hash), (byte) => byte.toString(16).padStart(2, "0")).join("");
}
